use std::time::{Duration, Instant};

use super::pick::{Nobody, Outcome, Pick, Tried};
use super::*;
use crate::endpoint::Standing;
use crate::health::availability::Availability;
use crate::instance::Instance;
use crate::instance::check::CheckOverride;
use crate::registry::lease::Lease;
use crate::registry::snapshot::Revision;

const TTL: Duration = Duration::from_secs(10);

/// A cluster of one member, `web-1`, and what it told.
struct Scene {
    cluster: Arc<Cluster>,
    member: Member,
    told: Arc<Mutex<Vec<Testimony>>>,
}

struct Ear(Arc<Mutex<Vec<Testimony>>>);

impl Witness for Ear {
    fn changed(&self, _: &ServiceName, _: &InstanceId, _: Fitness) {}

    fn testify(&self, _: &ServiceName, _: &InstanceId, testimony: Testimony) {
        self.0.lock().unwrap().push(testimony);
    }
}

impl Scene {
    fn new(check: CheckOverride, recalled: Option<Fitness>) -> Self {
        let now = Instant::now();
        let template = testing::member("web-1");
        let instance = Instance {
            ttl: Some(TTL),
            check,
            ..Instance::clone(&template.instance)
        };
        let lease = match recalled {
            Some(_) => Lease::in_doubt(TTL, now),
            None => Lease::new(TTL, now),
        };
        let member = Member {
            instance: Arc::new(instance),
            lease: Some(Arc::new(lease)),
            recalled,
            ..template
        };
        let told: Arc<Mutex<Vec<Testimony>>> = Arc::default();
        let surroundings = Surroundings {
            prober: Prober::new(1).0,
            witness: Box::new(Ear(Arc::clone(&told))),
            zone: None,
            revision: Default::default(),
        };
        let cluster = Arc::new(Cluster::new(
            "web".parse().unwrap(),
            Arc::new(Policy::default()),
            Admission::Probe,
            Arc::default(),
            Arc::new(surroundings),
        ));
        let scene = Self {
            cluster,
            member,
            told,
        };
        scene.publish();
        scene
    }

    /// A member that has passed its first probe.
    fn ready() -> Self {
        let scene = Self::new(CheckOverride::default(), None);
        scene.probed(Ok(()), Instant::now());
        scene
    }

    fn publish(&self) {
        let id = self.member.instance.id.clone();
        let member = Arc::new(self.member.clone());
        self.cluster.reconcile(&OrdMap::unit(id, member));
    }

    fn pick(&self) -> Result<Pick, Nobody> {
        self.cluster.pick(0, &Tried::default(), Instant::now())
    }

    fn probed(&self, answer: Result<(), &str>, now: Instant) {
        let key = self.cluster.control().slots["web-1"].endpoint.key();
        let answer = answer.map_err(str::to_owned);
        let id = self.member.instance.id.clone();
        self.cluster.probed(&id, key, answer, now);
    }

    /// Publishes the member as `change` leaves it.
    fn amend(&mut self, change: impl FnOnce(&mut Member)) {
        change(&mut self.member);
        self.member.observed = self.member.observed.next();
        self.publish();
    }

    fn patch(&mut self) {
        self.amend(|member| Arc::make_mut(&mut member.instance).weight += 1);
    }

    fn miss(&self) -> Instant {
        let lease = self.member.lease.as_ref().unwrap();
        let now = lease.deadline().unwrap();
        assert!(lease.miss(now));
        self.cluster.lease_changed(&self.member.instance.id, now);
        now
    }

    fn renew(&self, now: Instant) {
        self.member.lease.as_ref().unwrap().renew(now);
        self.cluster.lease_changed(&self.member.instance.id, now);
    }

    fn availability(&self) -> Availability {
        self.cluster.status("web-1").unwrap().availability
    }

    fn told(&self) -> Vec<Testimony> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

fn fails() -> Testimony {
    Testimony::Fails("refused".to_owned())
}

#[test]
fn the_last_endpoint_to_fail_is_picked_before_panic_is_published_too() {
    let scene = Scene::ready();
    let standing = |standing| {
        let held = scene.pick().ok().unwrap();
        held.endpoint().set_standing(standing);
    };
    standing(Standing::LastResort);
    assert!(scene.pick().is_ok());
    standing(Standing::Barred);
    assert_eq!(scene.pick().err(), Some(Nobody::Available));
    assert_eq!(scene.cluster.in_flight(), 0);
}

#[test]
fn a_request_is_withdrawn_from_an_instance_that_drains_before_it_was_sent() {
    let mut scene = Scene::ready();
    let pick = scene.pick().ok().unwrap();
    assert!(pick.holds());
    scene.member.draining = true;
    scene.member.observed = Revision(2);
    scene.publish();
    assert!(!pick.holds());
    pick.withdraw();
    let status = scene.cluster.status("web-1").unwrap();
    assert_eq!((status.in_flight, status.served), (0, 0));
}

#[test]
fn a_lease_that_ran_out_makes_suspect_until_it_is_renewed() {
    let scene = Scene::ready();
    assert_eq!(scene.availability(), Availability::Ready);
    let now = scene.miss();
    assert_eq!(scene.availability(), Availability::Suspect);
    assert!(scene.pick().is_ok(), "doubt still serves");
    scene.renew(now);
    assert_eq!(scene.availability(), Availability::Ready);
    assert_eq!(scene.told(), []);
}

#[test]
fn probes_testify_of_a_suspect_and_of_nobody_else() {
    let scene = Scene::ready();
    scene.probed(Err("refused"), Instant::now());
    assert_eq!(scene.told(), []);
    let now = scene.miss();
    scene.probed(Ok(()), now);
    scene.probed(Err("refused"), now);
    assert_eq!(scene.told(), [Testimony::Answers, fails()]);
}

#[test]
fn requests_that_were_answered_within_a_ttl_count_as_a_probe_that_passed() {
    let scene = Scene::ready();
    let mut pick = scene.pick().ok().unwrap();
    let deadline = scene.member.lease.as_ref().unwrap().deadline().unwrap();
    pick.report(Outcome::Answered, deadline - TTL / 2);
    let now = scene.miss();
    assert_eq!(scene.told(), [Testimony::Answers]);

    scene.probed(Err("refused"), now);
    assert_eq!(scene.told(), [fails()], "it answered before, not meanwhile");
    pick.report(Outcome::Answered, now);
    scene.probed(Err("timed out"), now + Duration::from_millis(500));
    assert_eq!(scene.told(), [Testimony::Answers], "the probe is at fault");
}

#[test]
fn a_member_without_a_check_is_asked_while_its_lease_is_in_doubt() {
    let scene = Scene::new(CheckOverride::off(), None);
    assert_eq!(scene.availability(), Availability::Ready);
    assert!(scene.cluster.control().slots["web-1"].is_unprobed());
    let now = scene.miss();
    assert!(!scene.cluster.control().slots["web-1"].is_unprobed());
    scene.probed(Err("refused"), now);
    assert_eq!(scene.told(), [fails()]);
    assert_eq!(scene.availability(), Availability::Suspect);
    scene.renew(now);
    assert!(scene.cluster.control().slots["web-1"].is_unprobed());
    assert_eq!(scene.availability(), Availability::Ready);
}

#[test]
fn a_suspect_that_is_changed_or_drained_remains_one_and_is_asked_on() {
    for check in [CheckOverride::default(), CheckOverride::off()] {
        let mut scene = Scene::new(check, None);
        scene.probed(Ok(()), Instant::now());
        let now = scene.miss();
        scene.patch();
        assert_eq!(scene.availability(), Availability::Suspect);
        scene.amend(|member| member.draining = true);
        assert!(!scene.cluster.control().slots["web-1"].is_unprobed());
        scene.probed(Err("refused"), now);
        assert_eq!(scene.told(), [fails()]);

        scene.member.lease.as_ref().unwrap().renew(now);
        scene.amend(|member| member.draining = false);
        assert_ne!(scene.availability(), Availability::Draining);
        scene.probed(Err("refused"), now);
        assert_eq!(scene.told(), [], "it was heard of again");
    }
}

#[test]
fn a_suspect_whose_check_is_turned_off_is_asked_on() {
    let scene = Scene::ready();
    let now = scene.miss();
    let unchecked = Policy {
        check: None,
        ..Policy::default()
    };
    scene.cluster.configure(&unchecked, Admission::Probe);
    assert!(!scene.cluster.control().slots["web-1"].is_unprobed());
    scene.probed(Err("refused"), now);
    assert_eq!(scene.told(), [fails()]);
    scene.renew(now);
    assert!(scene.cluster.control().slots["web-1"].is_unprobed());
}

#[test]
fn a_refused_request_and_a_failed_probe_are_enough_together() {
    let scene = Scene::ready();
    scene.probed(Err("refused"), Instant::now());
    assert_eq!(scene.availability(), Availability::Suspect, "one is not");
    scene.probed(Ok(()), Instant::now());
    let mut pick = scene.pick().ok().unwrap();
    pick.report(Outcome::Unreachable, Instant::now());
    assert_eq!(
        scene.availability(),
        Availability::Ready,
        "nor is the other"
    );
    scene.probed(Err("refused"), Instant::now());
    assert_eq!(scene.availability(), Availability::Unhealthy);
}

#[test]
fn whoever_came_back_from_the_store_serves_and_is_suspect_until_heard_of() {
    let by_probe = Scene::new(CheckOverride::default(), Some(Fitness::Fit));
    assert_eq!(by_probe.availability(), Availability::Suspect);
    assert!(by_probe.pick().is_ok());
    by_probe.probed(Ok(()), Instant::now());
    assert_eq!(by_probe.availability(), Availability::Ready);

    let by_heartbeat = Scene::new(CheckOverride::default(), Some(Fitness::Fit));
    by_heartbeat.renew(Instant::now());
    assert_eq!(by_heartbeat.availability(), Availability::Ready);

    let dead = Scene::new(CheckOverride::default(), Some(Fitness::Fit));
    dead.probed(Err("refused"), Instant::now());
    assert_eq!(dead.availability(), Availability::Unhealthy);

    let unchecked = Scene::new(CheckOverride::off(), Some(Fitness::Unproven));
    assert_eq!(unchecked.availability(), Availability::Suspect);
    unchecked.renew(Instant::now());
    assert_eq!(unchecked.availability(), Availability::Ready);
}

#[test]
fn whoever_came_back_and_has_neither_lease_nor_check_any_more_is_no_suspect() {
    let mut scene = Scene::new(CheckOverride::default(), Some(Fitness::Fit));
    let unchecked = Policy {
        check: None,
        ..Policy::default()
    };
    scene.cluster.configure(&unchecked, Admission::Probe);
    assert_eq!(scene.availability(), Availability::Suspect, "it may renew");
    scene
        .cluster
        .configure(&Policy::default(), Admission::Probe);
    scene.amend(|member| member.lease = None);
    assert_eq!(scene.availability(), Availability::Suspect);
    scene.cluster.configure(&unchecked, Admission::Probe);
    assert_eq!(scene.availability(), Availability::Ready);
}

#[test]
fn a_restart_proves_nobody_and_clears_nobody() {
    let unproven = Scene::new(CheckOverride::default(), Some(Fitness::Unproven));
    assert_eq!(unproven.availability(), Availability::Starting);
    assert_eq!(unproven.pick().err(), Some(Nobody::Available));
    let failing = Scene::new(CheckOverride::default(), Some(Fitness::Failing));
    assert_eq!(failing.availability(), Availability::Unhealthy);
}
