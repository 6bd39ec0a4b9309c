//! The state, its leases and the expiry under simulated time, against a model too simple to be
//! wrong: one map, searched from end to end for whatever is due.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::registry::command::Patch;
use crate::registry::expiry::Expiry;
use crate::registry::fixtures::{instance, recovered, rules};

const SERVICES: [&str; 3] = ["web", "orders", "users"];
const IDS: [&str; 3] = ["a", "b", "c"];

type Key = (&'static str, &'static str);

#[derive(Clone, Debug)]
enum Step {
    Register {
        key: Key,
        weight: u32,
        ttl: Option<u64>,
        generation: Option<u64>,
    },
    Patch {
        key: Key,
        weight: u32,
        stale: bool,
    },
    Drain(Key, bool),
    Deregister(Key, Option<u64>),
    Heartbeat(Key),
    Touch(Key),
    Wait(u64),
}

fn key() -> impl Strategy<Value = Key> {
    (
        proptest::sample::select(&SERVICES[..]),
        proptest::sample::select(&IDS[..]),
    )
}

fn step() -> impl Strategy<Value = Step> {
    let generation = || proptest::option::of(1..4_u64);
    // One weight in five is over the limit.
    let weight = || prop_oneof![4 => 1..4_u32, 1 => Just(70_000)];
    prop_oneof![
        4 => (key(), weight(), proptest::option::weighted(0.8, 1..4_u64), generation()).prop_map(
            |(key, weight, ttl, generation)| Step::Register { key, weight, ttl, generation }
        ),
        2 => (key(), weight(), any::<bool>())
            .prop_map(|(key, weight, stale)| Step::Patch { key, weight, stale }),
        2 => (key(), any::<bool>()).prop_map(|(key, draining)| Step::Drain(key, draining)),
        2 => (key(), generation()).prop_map(|(key, generation)| Step::Deregister(key, generation)),
        2 => key().prop_map(Step::Heartbeat),
        1 => key().prop_map(Step::Touch),
        3 => (0..3_u64).prop_map(Step::Wait),
    ]
}

/// What the model knows of a member.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    weight: u32,
    ttl: Option<u64>,
    generation: Option<u64>,
    draining: bool,
    /// In seconds since the start.
    deadline: Option<u64>,
}

#[derive(Default)]
struct Model {
    members: BTreeMap<Key, Known>,
    clock: u64,
}

impl Model {
    /// Whether the real thing should accept the step.
    fn step(&mut self, step: &Step) -> bool {
        let clock = self.clock;
        let older = |given: Option<u64>, known: &Known| matches!((given, known.generation), (Some(given), Some(current)) if given < current);
        match *step {
            Step::Register {
                key,
                weight,
                ttl,
                generation,
            } => {
                let fenced = self
                    .members
                    .get(&key)
                    .is_some_and(|known| older(generation, known));
                if weight > 65_535 || fenced {
                    return false;
                }
                let known = Known {
                    weight,
                    ttl,
                    generation,
                    draining: false,
                    deadline: ttl.map(|ttl| clock + ttl),
                };
                self.members.insert(key, known);
            }
            Step::Patch { key, weight, stale } => match self.members.get_mut(&key) {
                Some(known) if weight <= 65_535 && !stale => known.weight = weight,
                _ => return false,
            },
            Step::Drain(key, draining) => match self.members.get_mut(&key) {
                Some(known) => known.draining = draining,
                None => return false,
            },
            Step::Deregister(key, generation) => match self.members.get(&key) {
                Some(known) if !older(generation, known) => {
                    self.members.remove(&key);
                }
                _ => return false,
            },
            Step::Heartbeat(key) => match self.members.get_mut(&key) {
                Some(known) => known.deadline = known.ttl.map(|ttl| clock + ttl),
                None => return false,
            },
            Step::Touch(_) => {}
            Step::Wait(seconds) => {
                self.clock += seconds;
                let clock = self.clock;
                self.members
                    .retain(|_, known| known.deadline.is_none_or(|deadline| deadline > clock));
            }
        }
        true
    }
}

/// The real thing, driven the way the writer drives it.
struct Real {
    state: State,
    expiry: Expiry,
    start: Instant,
    now: Instant,
    events: Vec<Event>,
}

impl Real {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            state: State::restore(Recovered::default(), start, Revision(0)),
            expiry: Expiry::default(),
            start,
            now: start,
            events: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) -> bool {
        let command = match *step {
            Step::Register {
                key,
                weight,
                ttl,
                generation,
            } => Command::Register(Instance {
                weight,
                ttl: ttl.map(Duration::from_secs),
                generation,
                ..instance(key.0, key.1)
            }),
            Step::Patch { key, weight, stale } => Command::Patch {
                service: key.0.parse().unwrap(),
                id: key.1.parse().unwrap(),
                patch: Patch {
                    weight: Some(weight),
                    ..Patch::default()
                },
                if_match: stale.then_some(Revision(0)),
            },
            Step::Drain(key, draining) => Command::Drain {
                service: key.0.parse().unwrap(),
                id: key.1.parse().unwrap(),
                draining,
            },
            Step::Deregister(key, generation) => Command::Deregister {
                service: key.0.parse().unwrap(),
                id: key.1.parse().unwrap(),
                generation,
            },
            Step::Heartbeat(key) => {
                return self
                    .state
                    .snapshot()
                    .member(key.0, key.1)
                    .is_some_and(|member| {
                        let lease = member.lease.as_ref();
                        lease.is_none_or(|lease| lease.renew(self.now))
                    });
            }
            Step::Touch(key) => {
                self.state
                    .touch(&[(key.0.parse().unwrap(), key.1.parse().unwrap())]);
                return true;
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.expire();
                return true;
            }
        };
        let context = Context {
            rules: &rules(),
            actor: &Actor::Callboard,
            now: self.now,
            at: SystemTime::UNIX_EPOCH + (self.now - self.start),
        };
        let applied = self.state.apply(&command, context);
        for lease in self.state.take_renewed() {
            assert!(lease.renew(self.now), "no ended lease is left in the state");
        }
        for holder in self.state.take_granted() {
            self.expiry.watch(&holder);
        }
        match applied {
            Ok((applied, event)) => {
                if let Some(event) = &event {
                    assert_eq!(event.revision, applied.revision);
                }
                self.events.extend(event);
                true
            }
            Err(_) => false,
        }
    }

    fn expire(&mut self) {
        for holder in self.expiry.due(self.now) {
            if self.state.holds(&holder) && holder.lease.expire(self.now) {
                self.events.extend(self.state.expire(
                    &holder,
                    String::new(),
                    SystemTime::UNIX_EPOCH,
                ));
            }
        }
        assert!(self.expiry.next().is_none_or(|next| next > self.now));
    }

    fn known(&self) -> BTreeMap<Key, Known> {
        let mut known = BTreeMap::new();
        for service in SERVICES {
            for id in IDS {
                let Some(member) = self.state.snapshot().member(service, id) else {
                    continue;
                };
                let instance = &member.instance;
                let deadline = member.lease.as_ref().map(|lease| {
                    let deadline = lease.deadline().expect("members hold running leases");
                    (deadline - self.start).as_secs()
                });
                known.insert(
                    (service, id),
                    Known {
                        weight: instance.weight,
                        ttl: instance.ttl.map(|ttl| ttl.as_secs()),
                        generation: instance.generation,
                        draining: member.draining,
                        deadline,
                    },
                );
            }
        }
        known
    }
}

/// All that a restart has to bring back.
fn durable(snapshot: &Snapshot) -> Vec<impl PartialEq + std::fmt::Debug> {
    let services = snapshot.services.values();
    services
        .flat_map(|members| members.instances.values())
        .map(|member| {
            (
                member.instance.clone(),
                member.draining,
                member.created,
                member.modified,
                member.registered_at,
            )
        })
        .collect()
}

proptest! {
    #[test]
    fn the_state_agrees_with_a_naive_model(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        let mut revisions: HashMap<&str, Revision> = HashMap::new();
        for step in &steps {
            let (before, events) = (real.state.snapshot().clone(), real.events.len());
            prop_assert_eq!(real.step(step), model.step(step), "{:?}", step);
            prop_assert_eq!(real.known(), model.members.clone(), "{:?}", step);

            let snapshot = real.state.snapshot();
            let changed = real.state.clone().take_changed();
            for service in SERVICES {
                let revision = snapshot.revision_of(service);
                let last = revisions.insert(service, revision).unwrap_or_default();
                prop_assert!(revision >= last && revision <= snapshot.revision);
                // A service that is not among the changed ones is shared with the last snapshot.
                let shared = match (before.members(service), snapshot.members(service)) {
                    (Some(before), Some(after)) => Arc::ptr_eq(before, after),
                    (None, None) => true,
                    _ => false,
                };
                let named = changed.iter().any(|changed| changed.as_str() == service);
                prop_assert_eq!(named, !shared, "{} after {:?}", service, step);
            }
            for pair in real.events[events.saturating_sub(1)..].windows(2) {
                prop_assert!(pair[0].revision < pair[1].revision);
            }
            real.state.take_changed();
        }
    }

    #[test]
    fn restoring_what_the_events_left_brings_back_the_membership(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut real = Real::new();
        for step in &steps {
            real.step(step);
        }
        let mut restored = State::restore(recovered(&real.events), real.now, Revision(0));
        prop_assert_eq!(durable(restored.snapshot()), durable(real.state.snapshot()));
        let mut leases = 0;
        for members in restored.snapshot().services.values() {
            prop_assert!(!members.instances.is_empty());
            for member in members.instances.values() {
                if let Some(lease) = &member.lease {
                    prop_assert_eq!(lease.deadline(), Some(real.now + lease.ttl()));
                    leases += 1;
                }
            }
        }
        let granted = restored.take_granted();
        let held = granted.iter().filter(|holder| restored.holds(holder)).count();
        prop_assert_eq!(held, leases, "every lease is granted, and so watched, exactly once");
    }
}
