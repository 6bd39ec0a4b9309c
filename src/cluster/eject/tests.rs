use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use imbl::OrdMap;
use proptest::prelude::*;

use super::*;
use crate::balance::{Algorithm, Balance};
use crate::cluster::pick::{Nobody, Tried};
use crate::cluster::policy::{Admission, Panic, Policy};
use crate::cluster::testing::{cluster, member};
use crate::health::outlier::Outlier;
use crate::registry::snapshot::Member;

const BASE: Duration = Duration::from_secs(30);
const FAULT: Outcome = Outcome::Faulted { retry_after: None };

/// A cluster whose members are as their registrations say, at a moment that tests move on.
struct Stage {
    cluster: Arc<Cluster>,
    members: OrdMap<InstanceId, Arc<Member>>,
    now: Instant,
}

fn policy(outlier: Outlier) -> Policy {
    Policy {
        check: None,
        balance: Balance {
            algorithm: Algorithm::RoundRobin,
            ..Balance::default()
        },
        outlier: Some(outlier),
        ..Policy::default()
    }
}

fn name(index: usize) -> String {
    format!("web-{index}")
}

impl Stage {
    fn new(members: usize, policy: &Policy) -> Self {
        let mut stage = Self {
            cluster: cluster(policy, None),
            members: OrdMap::new(),
            now: Instant::now() + Duration::from_secs(60),
        };
        for index in 0..members {
            stage.join(index);
        }
        stage
    }

    fn of(members: usize) -> Self {
        Self::new(members, &policy(Outlier::default()))
    }

    fn publish(&self) {
        self.cluster.reconcile(&self.members);
    }

    fn join(&mut self, index: usize) {
        let member = member(&name(index));
        let id = member.instance.id.clone();
        self.members.insert(id, Arc::new(member));
        self.publish();
    }

    fn leave(&mut self, index: usize) {
        self.members.remove(name(index).as_str());
        self.publish();
    }

    fn amend(&mut self, index: usize, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get(name(index).as_str()) {
            let mut member = Member::clone(member);
            change(&mut member);
            member.observed = member.observed.next();
            let id = member.instance.id.clone();
            self.members.insert(id, Arc::new(member));
            self.publish();
        }
    }

    fn restart(&mut self, index: usize) {
        self.amend(index, |member| {
            let instance = Arc::make_mut(&mut member.instance);
            instance.generation = Some(instance.generation.unwrap_or(0) + 1);
        });
    }

    fn pick(&self) -> Result<Pick, Nobody> {
        self.cluster.pick(0, &Tried::default(), self.now)
    }

    /// Picks until it is this member's turn, or gives up.
    fn pick_of(&self, index: usize) -> Option<Pick> {
        let mine = |pick: &Pick| pick.endpoint().instance.id.as_str() == name(index);
        (0..50).find_map(|_| self.pick().ok().filter(mine))
    }

    fn fail(&self, index: usize, times: usize) {
        for _ in 0..times {
            let mut pick = self.pick_of(index).expect("it is picked");
            pick.report(FAULT, self.now);
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.cluster.tick(self.now);
    }

    fn probed(&self, index: usize, answer: Result<(), &str>) {
        let id: InstanceId = name(index).parse().unwrap();
        let key = self.cluster.control().slots[&id].endpoint.key();
        let answer = answer.map_err(str::to_owned);
        self.cluster.probed(&id, key, answer, self.now);
    }

    fn availability(&self, index: usize) -> Availability {
        self.cluster.status(&name(index)).unwrap().availability
    }

    /// How many are out, and how many may be.
    fn census(&self) -> (usize, usize) {
        let control = self.cluster.control();
        let Census { out, present, .. } = Census::of(&control);
        (
            out,
            outlier::quota(&control.policy.outlier.unwrap(), present),
        )
    }
}

#[test]
fn the_fifth_failure_in_a_row_ejects_before_the_next_pick() {
    let stage = Stage::of(3);
    stage.fail(0, 4);
    assert_eq!(stage.availability(0), Availability::Ready);
    stage.fail(0, 1);
    assert_eq!(stage.availability(0), Availability::Ejected);
    assert!(stage.pick_of(0).is_none());
    let reason = stage.cluster.status("web-0").unwrap().reason.unwrap();
    assert_eq!(reason, "ejected for 30s after 5 failed requests in a row");
}

#[test]
fn exactly_one_request_reaches_an_endpoint_on_trial_and_decides() {
    let mut stage = Stage::of(3);
    stage.fail(0, 5);
    stage.wait(BASE - Duration::from_millis(1));
    assert!(stage.pick_of(0).is_none());
    stage.wait(Duration::from_millis(1));
    assert_eq!(stage.availability(0), Availability::Ejected);
    let mut trial = stage.pick_of(0).expect("its time is up");
    assert!(stage.pick_of(0).is_none(), "one at a time");
    trial.report(Outcome::Answered, stage.now);
    assert_eq!(stage.availability(0), Availability::Ready);
    assert!(stage.pick_of(0).is_some());

    stage.fail(0, 5);
    stage.wait(BASE * 2);
    let mut trial = stage.pick_of(0).expect("its time is up");
    trial.report(Outcome::Failed, stage.now);
    assert!(stage.pick_of(0).is_none());
    stage.wait(BASE * 2);
    assert!(stage.pick_of(0).is_none(), "three times as long by now");
    stage.wait(BASE);
    assert!(stage.pick_of(0).is_some());
}

#[test]
fn a_trial_that_is_called_off_leaves_its_place_to_the_next_request() {
    let mut stage = Stage::of(2);
    stage.fail(0, 5);
    stage.wait(BASE);
    stage.pick_of(0).expect("its time is up").withdraw();
    drop(stage.pick_of(0).expect("the place is free"));
    let mut trial = stage.pick_of(0).expect("the place is free");
    trial.report(Outcome::Answered, stage.now);
    drop(trial);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn a_trial_ends_with_the_first_outcome_while_its_request_goes_on() {
    let mut stage = Stage::of(2);
    stage.fail(0, 5);
    stage.wait(BASE);
    let mut trial = stage.pick_of(0).expect("its time is up");
    trial.report(Outcome::Answered, stage.now);
    trial.report(Outcome::Failed, stage.now);
    assert_eq!(stage.availability(0), Availability::Ready);
    assert!(stage.pick_of(0).is_some(), "while the answer is read");
}

#[test]
fn the_failures_before_an_ejection_keep_nobody_from_its_trial() {
    let by_latency = Policy {
        balance: Balance {
            algorithm: Algorithm::PeakEwma,
            ..Balance::default()
        },
        ..policy(Outlier::default())
    };
    let mut stage = Stage::new(2, &by_latency);
    let picks: Vec<Pick> = (0..200).map(|_| stage.pick().ok().unwrap()).collect();
    for mut pick in picks {
        let is_first = pick.endpoint().instance.id.as_str() == name(0);
        let outcome = if is_first { FAULT } else { Outcome::Answered };
        pick.report(outcome, stage.now);
    }
    assert_eq!(stage.availability(0), Availability::Ejected);
    stage.wait(BASE);
    assert!(stage.pick_of(0).is_some());
}

#[test]
fn requests_from_before_an_ejection_have_no_say_in_it() {
    let mut stage = Stage::of(2);
    let mut before: Vec<_> = (0..9).map(|_| stage.pick_of(0).unwrap()).collect();
    stage.fail(0, 5);
    before[0].report(Outcome::Answered, stage.now);
    assert_eq!(stage.availability(0), Availability::Ejected);
    stage.wait(BASE);
    before[1].report(FAULT, stage.now);
    before[2].report(Outcome::Answered, stage.now);
    assert_eq!(stage.availability(0), Availability::Ejected);
    let mut trial = stage.pick_of(0).expect("on trial still");
    for late in &mut before[3..7] {
        late.report(FAULT, stage.now);
    }
    trial.report(Outcome::Answered, stage.now);
    before[7].report(FAULT, stage.now);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn at_most_half_are_ejected_and_the_rest_serves_whatever_it_answers() {
    let stage = Stage::of(4);
    for _ in 0..200 {
        stage.pick().ok().unwrap().report(FAULT, stage.now);
    }
    assert_eq!(stage.census(), (2, 2));
    assert!(!stage.cluster.active.load().panic, "half of them are there");
}

#[test]
fn the_only_member_is_never_ejected() {
    let stage = Stage::of(1);
    stage.fail(0, 50);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn a_place_among_the_ejected_that_becomes_free_goes_to_who_fails_next() {
    let mut stage = Stage::of(2);
    stage.fail(0, 5);
    stage.fail(1, 50);
    assert_eq!(stage.availability(1), Availability::Ready);
    stage.wait(BASE);
    let mut trial = stage.pick_of(0).expect("its time is up");
    trial.report(Outcome::Answered, stage.now);
    stage.fail(1, 1);
    assert_eq!(stage.availability(1), Availability::Ejected);
}

#[test]
fn whoever_is_ejected_beyond_the_quota_when_others_leave_comes_back() {
    let mut stage = Stage::of(4);
    stage.fail(0, 5);
    stage.wait(Duration::from_secs(1));
    stage.fail(1, 5);
    stage.leave(2);
    assert_eq!(stage.census(), (1, 1));
    assert_eq!(stage.availability(0), Availability::Ready, "due first");
    stage.amend(0, |member| member.draining = true);
    assert_eq!(stage.census(), (1, 1));
    stage.leave(3);
    assert_eq!(stage.availability(1), Availability::Ready, "the last one");
}

#[test]
fn a_drained_member_counts_again_among_the_ejected_when_it_is_resumed() {
    let mut stage = Stage::of(3);
    stage.fail(0, 5);
    stage.amend(0, |member| member.draining = true);
    assert_eq!(stage.availability(0), Availability::Draining);
    stage.fail(1, 5);
    assert_eq!(stage.availability(1), Availability::Ejected);
    stage.amend(0, |member| member.draining = false);
    assert_eq!(stage.census(), (1, 1));
}

#[test]
fn a_new_life_starts_with_a_clean_slate_and_is_not_blamed_for_the_old_one() {
    let mut stage = Stage::of(2);
    stage.fail(0, 4);
    stage.amend(0, |member| {
        Arc::make_mut(&mut member.instance).weight = 2;
    });
    stage.fail(0, 1);
    assert_eq!(
        stage.availability(0),
        Availability::Ejected,
        "the same life"
    );
    stage.wait(BASE);
    let mut late = stage.pick_of(0).expect("its time is up");
    stage.restart(0);
    assert_eq!(stage.availability(0), Availability::Ready);
    late.report(FAULT, stage.now);
    assert_eq!(stage.availability(0), Availability::Ready);

    let mut old: Vec<_> = (0..9).map(|_| stage.pick_of(0).unwrap()).collect();
    stage.restart(0);
    for late in &mut old {
        late.report(Outcome::Failed, stage.now);
    }
    stage.fail(0, 4);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn probes_and_ejection_do_not_answer_for_each_other() {
    let checked = Policy {
        check: Some(Default::default()),
        ..policy(Outlier::default())
    };
    let mut stage = Stage::new(3, &checked);
    stage.fail(0, 5);
    for _ in 0..5 {
        stage.probed(0, Ok(()));
        assert_eq!(stage.availability(0), Availability::Ejected);
    }
    for _ in 0..3 {
        stage.probed(0, Err("refused"));
    }
    assert_eq!(stage.availability(0), Availability::Unhealthy);
    stage.wait(BASE);
    assert!(stage.pick_of(0).is_none(), "no trial while its probes fail");
    for _ in 0..2 {
        stage.probed(0, Ok(()));
    }
    assert_eq!(stage.availability(0), Availability::Ejected);
    let mut trial = stage.pick_of(0).expect("on trial");
    trial.report(Outcome::Answered, stage.now);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn ejection_says_nothing_of_fitness() {
    let stage = Stage::of(2);
    stage.fail(0, 5);
    let control = stage.cluster.control();
    let slot = &control.slots[&name(0).parse::<InstanceId>().unwrap()];
    assert_eq!(slot.fitness(), Fitness::Fit);
}

#[test]
fn turning_ejection_off_lets_everybody_in_at_once() {
    let stage = Stage::of(2);
    stage.fail(0, 5);
    let off = Policy {
        outlier: None,
        ..policy(Outlier::default())
    };
    stage.cluster.configure(&off, Admission::Trust);
    assert_eq!(stage.availability(0), Availability::Ready);
    stage.fail(0, 50);
    assert_eq!(stage.availability(0), Availability::Ready);
}

#[test]
fn in_panic_the_ejected_serve_and_a_trial_is_not_alone_unless_checks_are_to_be_believed() {
    for panic in [Panic::Spread, Panic::Fail] {
        let checked = Policy {
            check: Some(Default::default()),
            panic,
            ..policy(Outlier::default())
        };
        let mut stage = Stage::new(2, &checked);
        stage.fail(0, 5);
        for _ in 0..3 {
            stage.probed(1, Err("refused"));
        }
        let spread = panic == Panic::Spread;
        assert_eq!(stage.pick_of(0).is_some(), spread);
        assert_eq!(stage.pick_of(1).is_some(), spread);
        stage.wait(BASE);
        let _trial = stage.pick_of(0).expect("on trial");
        assert_eq!(stage.pick_of(0).is_some(), spread);
    }
}

#[test]
fn a_cluster_with_nobody_ejected_waits_for_no_step() {
    let mut stage = Stage::of(2);
    stage.wait(Duration::ZERO);
    assert!(!stage.cluster.restless.load(Ordering::Relaxed));
    stage.fail(0, 5);
    assert!(stage.cluster.restless.load(Ordering::Relaxed));
    stage.wait(Duration::ZERO);
    assert!(stage.cluster.restless.load(Ordering::Relaxed));
    stage.wait(BASE);
    assert!(!stage.cluster.restless.load(Ordering::Relaxed));
}

#[derive(Clone, Debug)]
enum Step {
    Pick,
    Report(usize, Option<Failure>),
    CallOff(usize),
    Wait(u64),
    Drain(usize, bool),
    Leave(usize),
    Join(usize),
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let failure = prop_oneof![
        1 => Just(None),
        2 => Just(Some(Failure::Faulted)),
        2 => Just(Some(Failure::Unanswered)),
    ];
    let step = prop_oneof![
        12 => Just(Step::Pick),
        10 => (0usize..8, failure).prop_map(|(held, failure)| Step::Report(held, failure)),
        2 => (0usize..8).prop_map(Step::CallOff),
        4 => (0u64..60).prop_map(Step::Wait),
        1 => (0usize..5, any::<bool>()).prop_map(|(index, drain)| Step::Drain(index, drain)),
        1 => (0usize..5).prop_map(Step::Leave),
        1 => (0usize..5).prop_map(Step::Join),
        1 => (0usize..5).prop_map(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_quota_holds_trials_are_alone_and_whoever_is_well_comes_back(
        steps in steps(),
        max_ejected in 0.0..=1.0f64,
    ) {
        let settings = Outlier {
            consecutive_failures: 2,
            max_ejected,
            ..Outlier::default()
        };
        let mut stage = Stage::new(5, &policy(settings));
        let mut held: Vec<Pick> = Vec::new();
        for step in steps {
            match step {
                Step::Pick => if let Ok(pick) = stage.pick() {
                    let panic = stage.cluster.active.load().panic;
                    let on_trial = pick.endpoint().standing() == Standing::OnTrial;
                    prop_assert!(!on_trial || pick.trial.is_some() || panic);
                    held.push(pick);
                },
                Step::Report(index, failure) => if let Some(pick) = held.get_mut(index) {
                    let outcome = match failure {
                        None => Outcome::Answered,
                        Some(Failure::Faulted) => FAULT,
                        Some(Failure::Unanswered) => Outcome::Failed,
                    };
                    pick.report(outcome, stage.now);
                },
                Step::CallOff(index) => if index < held.len() {
                    drop(held.swap_remove(index));
                },
                Step::Wait(seconds) => stage.wait(Duration::from_secs(seconds)),
                Step::Drain(index, drain) => stage.amend(index, |member| member.draining = drain),
                Step::Leave(index) => stage.leave(index),
                Step::Join(index) => stage.join(index),
                Step::Restart(index) => stage.restart(index),
            }
            let (out, quota) = stage.census();
            prop_assert!(out <= quota, "{out} of at most {quota} are out");
            let mut trials = HashMap::new();
            for pick in &held {
                if pick.trial.as_ref().is_some_and(|ticket| pick.endpoint().is_held_by(ticket)) {
                    *trials.entry(pick.endpoint().key()).or_insert(0) += 1;
                }
            }
            prop_assert!(trials.values().all(|count| *count == 1), "{trials:?}");
        }
        held.clear();
        for index in 0..5 {
            stage.join(index);
        }
        stage.wait(settings.max_ejection);
        for _ in 0..50 {
            stage.pick().ok().unwrap().report(Outcome::Answered, stage.now);
        }
        for index in 0..5 {
            prop_assert_eq!(stage.availability(index), Availability::Ready);
        }
    }
}

#[test]
fn threads_that_race_for_trials_and_ejections_keep_to_the_quota() {
    let settings = Outlier {
        consecutive_failures: 2,
        base_ejection: Duration::from_millis(1),
        max_ejection: Duration::from_millis(2),
        ..Outlier::default()
    };
    let stage = Stage::new(4, &policy(settings));
    let cluster = &stage.cluster;
    let keys: Vec<u64> = (cluster.control().slots.values())
        .map(|slot| slot.endpoint.key())
        .collect();
    let trials: Vec<_> = keys.iter().map(|_| AtomicUsize::new(0)).collect();
    let held = AtomicUsize::new(0);
    let worker = |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..1_500 {
            let now = Instant::now();
            if rng.u8(..8) == 0 {
                cluster.tick(now);
                let (out, quota) = stage.census();
                assert!(out <= quota);
            }
            let Ok(mut pick) = cluster.pick(0, &Tried::default(), now) else {
                continue;
            };
            if pick.trial.is_some() {
                let index = keys.iter().position(|key| *key == pick.endpoint().key());
                let trials = &trials[index.unwrap()];
                assert_eq!(trials.fetch_add(1, Ordering::SeqCst), 0, "two trials");
                held.fetch_add(1, Ordering::Relaxed);
                std::thread::yield_now();
                trials.fetch_sub(1, Ordering::SeqCst);
            }
            match rng.u8(..4) {
                0 => pick.report(Outcome::Answered, now),
                1 => drop(pick),
                _ => pick.report(FAULT, now),
            }
        }
    };
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || worker(seed));
        }
    });
    assert!(held.load(Ordering::Relaxed) > 0, "there were trials");
    assert_eq!(cluster.in_flight(), 0);
}
