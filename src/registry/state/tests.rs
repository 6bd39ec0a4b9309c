use std::time::Duration;

use super::*;
use crate::registry::command::Patch;
use crate::registry::fixtures::{TTL, instance, recovered, rules};
use crate::registry::snapshot::Fitness;

/// A state, and a clock to move by hand.
struct Scene {
    state: State,
    now: Instant,
    at: SystemTime,
    events: Vec<Event>,
}

impl Scene {
    fn new() -> Self {
        Self {
            state: State::restore(Recovered::default(), Instant::now(), Revision(0)),
            now: Instant::now(),
            at: SystemTime::UNIX_EPOCH,
            events: Vec::new(),
        }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.at += time;
    }

    fn apply(&mut self, command: &Command) -> Result<Applied, Refusal> {
        let context = Context {
            rules: &rules(),
            actor: &Actor::Callboard,
            now: self.now,
            at: self.at,
        };
        let (applied, event) = self.state.apply(command, context)?;
        self.events.extend(event);
        for holder in self.state.take_renewed() {
            holder.lease.renew(self.now);
        }
        Ok(applied)
    }

    fn register(&mut self, instance: Instance) -> Applied {
        self.apply(&Command::Register(instance)).unwrap()
    }

    fn deregister(&mut self, id: &str, generation: Option<u64>) -> Result<Applied, Refusal> {
        self.apply(&Command::Deregister {
            service: name("web"),
            id: id.parse().unwrap(),
            generation,
        })
    }

    fn finish_drain(&mut self, id: &str, generation: Option<u64>) -> Result<Applied, Refusal> {
        self.apply(&Command::FinishDrain {
            service: name("web"),
            id: id.parse().unwrap(),
            generation,
        })
    }

    fn drain(&mut self, draining: bool) -> Applied {
        self.apply(&Command::Drain {
            service: name("web"),
            id: "a".parse().unwrap(),
            draining,
            generation: None,
        })
        .unwrap()
    }

    fn patch(&mut self, patch: Patch, if_match: Option<Revision>) -> Result<Applied, Refusal> {
        self.apply(&Command::Patch {
            service: name("web"),
            id: "a".parse().unwrap(),
            patch,
            if_match,
        })
    }
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn deadline(applied: &Applied) -> Instant {
    applied.member.lease.as_ref().unwrap().deadline().unwrap()
}

#[test]
fn registering_the_same_again_renews_the_lease_and_changes_nothing() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a"));
    assert!(first.created);
    scene.wait(TTL / 2);
    let again = scene.register(instance("web", "a"));
    assert!(!again.created);
    assert_eq!(again.revision, first.revision);
    assert_eq!(scene.events.len(), 1);
    assert_eq!(deadline(&again), scene.now + TTL);
}

#[test]
fn replacing_a_member_keeps_its_beginning_and_its_lease() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a")).member;
    scene.wait(TTL / 2);
    let mut heavier = instance("web", "a");
    heavier.weight = 7;
    let replaced = scene.register(heavier);
    let member = &replaced.member;
    assert!(!replaced.created);
    assert!(replaced.revision > first.modified);
    assert_eq!(member.modified, replaced.revision);
    assert_eq!(
        (member.created, member.registered_at),
        (first.created, first.registered_at)
    );
    assert!(Arc::ptr_eq(
        member.lease.as_ref().unwrap(),
        first.lease.as_ref().unwrap()
    ));
    assert_eq!(deadline(&replaced), scene.now + TTL);
}

#[test]
fn another_ttl_is_another_lease_and_none_is_a_static_member() {
    let mut scene = Scene::new();
    scene.register(instance("web", "a"));
    let mut longer = instance("web", "a");
    longer.ttl = Some(TTL * 2);
    let longer = scene.register(longer);
    assert_eq!(deadline(&longer), scene.now + TTL * 2);
    let mut fixed = instance("web", "a");
    fixed.ttl = None;
    assert!(scene.register(fixed).member.lease.is_none());
}

#[test]
fn registering_ends_a_drain() {
    let mut scene = Scene::new();
    scene.register(instance("web", "a"));
    let drained = scene.drain(true);
    assert!(drained.member.draining);
    assert_eq!(scene.drain(true).revision, drained.revision);
    assert_eq!(scene.events.len(), 2, "draining twice is one event");
    let back = scene.register(instance("web", "a"));
    assert!(!back.member.draining);
    assert!(back.revision > drained.revision);
    assert_eq!(scene.drain(false).revision, back.revision);
}

#[test]
fn calls_of_an_earlier_life_are_refused() {
    let mut scene = Scene::new();
    let mut second_life = instance("web", "a");
    second_life.generation = Some(2);
    scene.register(second_life.clone());
    let fenced = Refusal::Fenced {
        given: 1,
        current: 2,
    };
    let mut first_life = second_life;
    first_life.generation = Some(1);
    assert_eq!(
        scene.apply(&Command::Register(first_life)).unwrap_err(),
        fenced
    );
    assert_eq!(scene.deregister("a", Some(1)).unwrap_err(), fenced);
    assert!(scene.deregister("a", None).is_ok());
}

#[test]
fn a_patch_merges_and_a_stale_one_is_refused() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a"));
    let patch = Patch {
        weight: Some(3),
        zone: Some(Some("b".to_owned())),
        metadata: [
            ("build".to_owned(), None),
            ("commit".to_owned(), Some("c0ffee".to_owned())),
        ]
        .into(),
        ..Patch::default()
    };
    let patched = scene.patch(patch.clone(), Some(first.revision)).unwrap();
    let described = &patched.member.instance;
    assert_eq!(described.weight, 3);
    assert_eq!(described.zone.as_deref(), Some("b"));
    assert_eq!(described.tags, instance("web", "a").tags);
    assert_eq!(
        described.metadata,
        [("commit".to_owned(), "c0ffee".to_owned())].into()
    );
    assert_eq!(
        scene
            .patch(patch.clone(), Some(first.revision))
            .unwrap_err(),
        Refusal::Stale {
            given: first.revision,
            current: patched.revision
        }
    );
    assert_eq!(
        scene.patch(patch, None).unwrap().revision,
        patched.revision,
        "a patch that changes nothing makes no revision"
    );
    let cleared = Patch {
        clear_metadata: true,
        ..Patch::default()
    };
    let cleared = scene.patch(cleared, None).unwrap();
    assert!(cleared.member.instance.metadata.is_empty());
}

#[test]
fn a_patch_over_a_limit_is_refused_and_changes_nothing() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a"));
    let patch = Patch {
        weight: Some(70_000),
        ..Patch::default()
    };
    assert!(matches!(
        scene.patch(patch, None).unwrap_err(),
        Refusal::Invalid {
            field: "weight",
            ..
        }
    ));
    assert_eq!(scene.state.snapshot().revision, first.revision);
}

#[test]
fn a_touch_moves_on_the_member_and_its_service_but_not_its_registration() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a"));
    let other = scene.register(instance("orders", "a"));
    scene.state.touch(&[
        (name("web"), "a".parse().unwrap()),
        (name("web"), "gone".parse().unwrap()),
        (name("gone"), "a".parse().unwrap()),
    ]);
    let snapshot = scene.state.snapshot();
    let member = snapshot.member("web", "a").unwrap();
    assert_eq!(member.modified, first.revision);
    assert!(member.observed > other.revision);
    assert_eq!(snapshot.revision_of("web"), member.observed);
    assert_eq!(snapshot.revision_of("orders"), other.revision);
    assert!(snapshot.members("gone").is_none());
}

#[test]
fn the_revision_of_a_service_never_goes_back_even_when_it_is_forgotten() {
    let mut scene = Scene::new();
    let mut seen = Vec::new();
    for n in 0..3 * MAX_EMPTY {
        let service = format!("s{n}");
        scene.register(instance(&service, "a"));
        let left = scene
            .apply(&Command::Deregister {
                service: name(&service),
                id: "a".parse().unwrap(),
                generation: None,
            })
            .unwrap();
        seen.push((service, left.revision));
    }
    let snapshot = scene.state.snapshot();
    assert_eq!(snapshot.services.len(), MAX_EMPTY);
    for (service, revision) in &seen {
        assert!(snapshot.revision_of(service) >= *revision, "{service}");
    }
    assert!(snapshot.revision_of("never-seen") <= snapshot.revision);
    let back = scene.register(instance("s0", "a"));
    assert!(back.revision > scene.state.snapshot().forgotten);
}

#[test]
fn a_restart_gives_later_revisions_than_any_before_but_keeps_those_of_registrations() {
    let mut scene = Scene::new();
    let first = scene.register(instance("web", "a"));
    scene.register(instance("orders", "a"));
    for _ in 0..1_000 {
        scene.state.touch(&[(name("web"), "a".parse().unwrap())]);
    }
    let before = scene.state.snapshot();
    let after = State::restore(recovered(&scene.events), scene.now, Revision(0));
    let after = after.snapshot();
    for service in ["web", "orders", "never-seen"] {
        assert!(
            after.revision_of(service) > before.revision_of(service),
            "{service}"
        );
    }
    assert_eq!(
        after.member("web", "a").unwrap().modified,
        first.member.modified
    );
}

#[test]
fn a_drain_ends_in_a_sign_out_only_for_the_one_that_drains() {
    let mut scene = Scene::new();
    let missing = scene.finish_drain("a", None).unwrap_err();
    assert!(matches!(missing, Refusal::NotFound { .. }));
    let mut life = instance("web", "a");
    life.generation = Some(2);
    scene.register(life.clone());
    scene.drain(true);
    let fenced = scene.finish_drain("a", Some(1)).unwrap_err();
    assert!(matches!(fenced, Refusal::Fenced { .. }));

    scene.register(life);
    let back = scene.finish_drain("a", Some(2)).unwrap_err();
    assert!(matches!(back, Refusal::NotDraining { .. }));
    assert!(scene.state.snapshot().member("web", "a").is_some());

    scene.drain(true);
    scene.finish_drain("a", Some(2)).unwrap();
    assert!(scene.state.snapshot().member("web", "a").is_none());
}

#[test]
fn an_event_says_why_where_the_change_alone_does_not() {
    let mut scene = Scene::new();
    scene.register(instance("web", "a"));
    let mut heavier = instance("web", "a");
    heavier.weight = 5;
    scene.register(heavier.clone());
    scene.drain(true);
    scene.register(heavier);
    let patch = Patch {
        zone: Some(Some("b".to_owned())),
        ..Patch::default()
    };
    scene.patch(patch, None).unwrap();
    scene.drain(true);
    scene.drain(false);
    scene.drain(true);
    scene.finish_drain("a", None).unwrap();
    let whys: Vec<_> = scene.events.iter().map(|e| e.why.as_deref()).collect();
    let expected = [
        None,
        Some("weight 1 → 5"),
        None,
        Some("ended its drain"),
        Some("zone none → \"b\""),
        None,
        None,
        None,
        Some("its drain ended"),
    ];
    assert_eq!(whys, expected);
}

#[test]
fn an_event_says_whom_a_member_now_belongs_to() {
    let mut scene = Scene::new();
    scene.register(instance("web", "a"));
    let deploy = Actor::Peer {
        address: [10, 0, 0, 9].into(),
        token: Some("deploy".into()),
        admin: false,
    };
    let context = Context {
        rules: &rules(),
        actor: &deploy,
        now: scene.now,
        at: scene.at,
    };
    let again = Command::Register(instance("web", "a"));
    let (_, event) = scene.state.apply(&again, context).unwrap();
    let why = event.unwrap().why;
    assert_eq!(why.as_deref(), Some("now belongs to token \"deploy\""));
}

#[test]
fn mirroring_makes_a_member_as_it_is_shown_elsewhere_in_one_step() {
    let mut scene = Scene::new();
    let mirror = |instance: Instance, draining| Command::Mirror {
        instance: Arc::new(instance),
        draining,
        fitness: Fitness::Fit,
    };
    let life = |generation| Instance {
        generation,
        ..instance("web", "a")
    };
    let first = scene.apply(&mirror(life(Some(9)), true)).unwrap();
    assert!(first.created && first.member.draining);
    assert_eq!(first.member.recalled, Some(Fitness::Fit));

    scene.wait(TTL / 2);
    let again = scene.apply(&mirror(life(Some(9)), true)).unwrap();
    assert_eq!(again.revision, first.revision);
    assert_eq!(deadline(&again), scene.now + TTL);

    let undrained = scene.apply(&mirror(life(Some(9)), false)).unwrap();
    assert!(!undrained.member.draining);
    let earlier = scene.apply(&mirror(life(Some(3)), false)).unwrap();
    assert_eq!(earlier.member.instance.generation, Some(3));
    let changes: Vec<_> = scene.events.iter().map(|event| event.change).collect();
    let expected = [Change::Registered, Change::Undrained, Change::Registered];
    assert_eq!(changes, expected);

    let heavy = Instance {
        weight: 70_000,
        ..instance("web", "a")
    };
    assert!(matches!(
        scene.apply(&mirror(heavy, false)),
        Err(Refusal::Invalid { .. })
    ));
}
