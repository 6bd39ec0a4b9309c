//! The writer, its leases and what becomes of whoever misses its time, under simulated time, against
//! a model too simple to be wrong: one map, searched from end to end for whatever is due.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::registry::command::Patch;

const SERVICES: [&str; 3] = ["web", "orders", "users"];
const IDS: [&str; 3] = ["a", "b", "c"];

type Name = (&'static str, &'static str);

#[derive(Clone, Debug)]
enum Step {
    Register {
        key: Name,
        weight: u32,
        ttl: Option<u64>,
        generation: Option<u64>,
    },
    Patch {
        key: Name,
        weight: u32,
        stale: bool,
    },
    Drain(Name, bool),
    Deregister(Name, Option<u64>),
    Heartbeat(Name),
    Touch(Name),
    Testify(Name, bool),
    /// The process stands still for so many seconds.
    Standstill(u64),
    Restart,
    Wait(u64),
}

fn name() -> impl Strategy<Value = Name> {
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
        4 => (name(), weight(), proptest::option::weighted(0.8, 1..4_u64), generation()).prop_map(
            |(key, weight, ttl, generation)| Step::Register { key, weight, ttl, generation }
        ),
        2 => (name(), weight(), any::<bool>())
            .prop_map(|(key, weight, stale)| Step::Patch { key, weight, stale }),
        2 => (name(), any::<bool>()).prop_map(|(key, draining)| Step::Drain(key, draining)),
        2 => (name(), generation()).prop_map(|(key, generation)| Step::Deregister(key, generation)),
        2 => name().prop_map(Step::Heartbeat),
        1 => name().prop_map(Step::Touch),
        4 => (name(), any::<bool>()).prop_map(|(key, answers)| Step::Testify(key, answers)),
        1 => (1..4_u64).prop_map(Step::Standstill),
        1 => Just(Step::Restart),
        6 => (0..3_u64).prop_map(Step::Wait),
    ]
}

/// What the model knows of a member. Times are in milliseconds since the start.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    weight: u32,
    ttl: Option<u64>,
    generation: Option<u64>,
    draining: bool,
    deadline: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    missed_at: u64,
    look_at: u64,
    fails: bool,
}

#[derive(Default)]
struct Model {
    members: BTreeMap<Name, Known>,
    suspects: BTreeMap<Name, Doubt>,
    /// Who was taken out, by service, and until when that counts.
    gone: Vec<(&'static str, u64)>,
    clock: u64,
}

impl Model {
    /// Whether the real thing should accept the step.
    fn step(&mut self, step: &Step) -> bool {
        let clock = self.clock;
        let older = |given: Option<u64>, known: &Known| matches!((given, known.generation), (Some(given), Some(current)) if given < current);
        let deadline = |ttl: Option<u64>| ttl.map(|ttl| clock + ttl * 1_000);
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
                    deadline: deadline(ttl),
                };
                self.members.insert(key, known);
                self.suspects.remove(&key);
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
                    self.suspects.remove(&key);
                }
                _ => return false,
            },
            Step::Heartbeat(key) => match self.members.get_mut(&key) {
                Some(known) => {
                    known.deadline = deadline(known.ttl);
                    self.suspects.remove(&key);
                }
                None => return false,
            },
            Step::Touch(_) => {}
            Step::Testify(key, answers) => {
                if let Some(doubt) = self.suspects.get_mut(&key) {
                    if !answers {
                        doubt.look_at = clock;
                    } else if doubt.fails {
                        let ttl = self.members[&key].ttl.unwrap();
                        doubt.look_at = clock.max(doubt.missed_at + 2 * ttl * 1_000);
                    }
                    doubt.fails = !answers;
                }
                self.take_out();
            }
            Step::Standstill(seconds) => {
                self.clock += seconds * 1_000;
                for known in self.members.values_mut() {
                    known.deadline = known.deadline.map(|at| at + seconds * 1_000);
                }
                // Nobody was asked anything meanwhile, and what went before counts no more.
                self.suspects.clear();
                self.gone.clear();
                self.take_out();
            }
            Step::Restart => {
                let clock = self.clock;
                for known in self.members.values_mut() {
                    known.deadline = known.ttl.map(|ttl| clock + ttl * 1_000);
                }
                self.suspects.clear();
                self.gone.clear();
            }
            Step::Wait(seconds) => {
                self.clock += seconds * 1_000;
                self.take_out();
            }
        }
        true
    }

    fn take_out(&mut self) {
        let clock = self.clock;
        for (key, known) in &self.members {
            if let (Some(deadline), Some(ttl)) = (known.deadline, known.ttl)
                && deadline <= clock
                && !self.suspects.contains_key(key)
            {
                let doubt = Doubt {
                    missed_at: deadline,
                    look_at: deadline + 2 * ttl * 1_000,
                    fails: false,
                };
                self.suspects.insert(*key, doubt);
            }
        }
        self.gone.retain(|(_, until)| *until > clock);
        let (before, gone, suspects) = (
            self.members.clone(),
            self.gone.clone(),
            self.suspects.clone(),
        );
        for (key, doubt) in &suspects {
            if doubt.look_at > clock {
                continue;
            }
            let lost_before = gone.iter().filter(|(service, _)| *service == key.0);
            let lost_before = lost_before.count();
            let silent = suspects.keys().filter(|name| name.0 == key.0).count();
            let members = before.keys().filter(|name| name.0 == key.0).count();
            let ttl = before[key].ttl.unwrap() * 1_000;
            if !doubt.fails && 2 * (silent + lost_before) > members + lost_before {
                self.suspects.get_mut(key).unwrap().look_at = clock + ttl / 4;
            } else {
                self.members.remove(key);
                self.suspects.remove(key);
                self.gone.push((key.0, clock + ttl));
            }
        }
    }
}

/// The real thing, without its thread.
struct Real {
    writer: Writer,
    shelf: Shelf,
    start: Instant,
    now: Instant,
}

fn writer_over(shelf: &Shelf, now: Instant) -> Writer {
    Writer::new(
        Box::new(shelf.clone()),
        Arc::new(ArcSwap::from_pointee(rules())),
        Arc::new(Witness::default()),
        now,
        Revision(0),
    )
    .unwrap()
}

impl Real {
    fn new() -> Self {
        let start = Instant::now();
        let shelf = Shelf::default();
        Self {
            writer: writer_over(&shelf, start),
            shelf,
            start,
            now: start,
        }
    }

    fn request(&mut self, request: Request) {
        let now = self.now;
        self.writer.carry_out(std::iter::once(request), || now);
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
                generation: None,
            },
            Step::Deregister(key, generation) => Command::Deregister {
                service: key.0.parse().unwrap(),
                id: key.1.parse().unwrap(),
                generation,
            },
            Step::Heartbeat(key) => return self.heartbeat(key),
            Step::Touch(key) => {
                let (service, id) = parsed(key);
                self.request(Request::Touch(service, id, Fitness::Fit));
                return true;
            }
            Step::Testify(key, answers) => {
                let testimony = if answers {
                    Testimony::Answers
                } else {
                    Testimony::Fails("refused".to_owned())
                };
                let (service, id) = parsed(key);
                self.request(Request::Testimony(service, id, testimony));
                self.writer.expire_due(self.now);
                return true;
            }
            Step::Standstill(seconds) => {
                let time = Duration::from_secs(seconds);
                self.now += time;
                self.writer.forgive(time);
                self.writer.expire_due(self.now);
                return true;
            }
            Step::Restart => {
                self.writer = writer_over(&self.shelf, self.now);
                return true;
            }
            Step::Wait(seconds) => {
                self.now += Duration::from_secs(seconds);
                self.writer.expire_due(self.now);
                return true;
            }
        };
        let (answer, mut answered) = oneshot::channel();
        self.request(Request::Commands(Submission {
            commands: vec![command],
            actor: PEER,
            answer,
        }));
        answered.try_recv().unwrap()[0].is_ok()
    }

    fn heartbeat(&mut self, key: Name) -> bool {
        let snapshot = self.writer.state.snapshot();
        let Some(member) = snapshot.member(key.0, key.1) else {
            return false;
        };
        match member.lease.as_ref().map(|lease| lease.renew(self.now)) {
            Some(Renewal::Settled) => {
                let (service, id) = parsed(key);
                self.request(Request::Settled(service, id));
                true
            }
            renewal => renewal != Some(Renewal::Ended),
        }
    }

    fn known(&self) -> BTreeMap<Name, Known> {
        let mut known = BTreeMap::new();
        for service in SERVICES {
            for id in IDS {
                let Some(member) = self.writer.state.snapshot().member(service, id) else {
                    continue;
                };
                let instance = &member.instance;
                let deadline = member.lease.as_ref().map(|lease| {
                    let deadline = lease.deadline().expect("members hold running leases");
                    (deadline - self.start).as_millis() as u64
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

fn parsed(key: Name) -> Key {
    (key.0.parse().unwrap(), key.1.parse().unwrap())
}

proptest! {
    #[test]
    fn the_registry_agrees_with_a_naive_model(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        let mut revisions: HashMap<&str, Revision> = HashMap::new();
        for step in &steps {
            let (before, events) = (real.writer.state.snapshot().clone(), real.shelf.events().len());
            prop_assert_eq!(real.step(step), model.step(step), "{:?}", step);
            prop_assert_eq!(real.known(), model.members.clone(), "{:?}", step);

            let snapshot = real.writer.state.snapshot();
            for service in SERVICES {
                let revision = snapshot.revision_of(service);
                let last = revisions.insert(service, revision).unwrap_or_default();
                prop_assert!(revision >= last && revision <= snapshot.revision);
                // A service that did not change is shared with the last snapshot.
                if let (Some(before), Some(after)) = (before.members(service), snapshot.members(service)) {
                    prop_assert_eq!(before.revision == after.revision, Arc::ptr_eq(before, after));
                }
            }
            let events = &real.shelf.events()[events.saturating_sub(1)..];
            for pair in events.windows(2) {
                prop_assert!(pair[0].revision < pair[1].revision);
            }
        }
    }

    #[test]
    fn what_the_store_brings_back_is_what_was_there(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut real = Real::new();
        for step in &steps {
            real.step(step);
        }
        let before = real.writer.state.snapshot().clone();
        real.step(&Step::Restart);
        let after = real.writer.state.snapshot();
        prop_assert_eq!(durable(&before), durable(after));
        for members in after.services.values() {
            prop_assert!(!members.instances.is_empty());
            for member in members.instances.values() {
                if let Some(lease) = &member.lease {
                    prop_assert_eq!(lease.deadline(), Some(real.now + lease.ttl()));
                    prop_assert!(lease.is_in_doubt());
                }
            }
        }
    }
}
