//! The store against two that are too simple to be wrong: the fold of all events for who is in, and
//! the events in memory for who was.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::registry::journal::{JournalError, Query};
use crate::registry::store::memory::MemoryStore;

type Key = (&'static str, &'static str);

#[derive(Clone, Debug)]
enum Step {
    /// Commands that are stored together.
    Batch(Vec<Change>),
    Note(Key, Fitness),
    Restart,
    Wait(u64),
    /// Forgets what is older than so many seconds.
    Compact(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Register { key: Key, port: u16, weight: u32 },
    Patch(Key, u32),
    Drain(Key, bool),
    Deregister(Key),
}

fn key() -> impl Strategy<Value = Key> {
    (
        proptest::sample::select(&["web", "orders"][..]),
        proptest::sample::select(&["a", "b", "c"][..]),
    )
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (key(), 80..82_u16, 1..4_u32)
            .prop_map(|(key, port, weight)| Change::Register { key, port, weight }),
        1 => (key(), 1..4_u32).prop_map(|(key, weight)| Change::Patch(key, weight)),
        2 => (key(), any::<bool>()).prop_map(|(key, draining)| Change::Drain(key, draining)),
        2 => key().prop_map(Change::Deregister),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let fitness = || proptest::sample::select(&[Fitness::Fit, Fitness::Failing][..]);
    prop_oneof![
        8 => proptest::collection::vec(change(), 1..6).prop_map(Step::Batch),
        2 => (key(), fitness()).prop_map(|(key, fitness)| Step::Note(key, fitness)),
        1 => Just(Step::Restart),
        3 => (1..5_u64).prop_map(Step::Wait),
        1 => (0..10_u64).prop_map(Step::Compact),
    ]
}

fn command(change: &Change) -> Command {
    let names = |key: Key| (key.0.parse().unwrap(), key.1.parse().unwrap());
    match *change {
        Change::Register { key, port, weight } => Command::Register(Instance {
            address: SocketAddr::from(([10, 0, 0, 1], port)).into(),
            weight,
            ..instance(key.0, key.1)
        }),
        Change::Patch(key, weight) => {
            let (service, id) = names(key);
            Command::Patch {
                service,
                id,
                patch: Patch {
                    weight: Some(weight),
                    ..Patch::default()
                },
                if_match: None,
            }
        }
        Change::Drain(key, draining) => {
            let (service, id) = names(key);
            Command::Drain {
                service,
                id,
                draining,
                generation: None,
            }
        }
        Change::Deregister(key) => {
            let (service, id) = names(key);
            Command::Deregister {
                service,
                id,
                generation: None,
            }
        }
    }
}

/// How the instances were found last, with the port they were found at.
#[derive(Default)]
struct Found(BTreeMap<(String, String), (u16, Fitness)>);

impl Found {
    fn learn(&mut self, event: &Event) {
        let instance = &event.member.instance;
        let key = (instance.service.to_string(), instance.id.to_string());
        let port = instance.address.inet().unwrap().port();
        if event.change.is_leaving() {
            self.0.remove(&key);
        } else if self.0.get(&key).is_none_or(|known| known.0 != port) {
            self.0.insert(key, (port, Fitness::Unproven));
        }
    }

    fn note(&mut self, key: Key, fitness: Fitness) {
        if let Some(found) = self.0.get_mut(&(key.0.to_owned(), key.1.to_owned())) {
            found.1 = fitness;
        }
    }

    fn over(&self, members: Vec<Remembered>) -> Vec<Remembered> {
        let found = |member: Remembered| {
            let instance = &member.instance;
            let key = (instance.service.to_string(), instance.id.to_string());
            let fitness = self.0[&key].1;
            Remembered { fitness, ..member }
        };
        members.into_iter().map(found).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_file_agrees_with_the_fold_of_all_events(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut world = World::new();
        let start = world.clock;
        let mut memory = MemoryStore::default();
        let mut found = Found::default();
        let mut told = 0;
        let mut horizon = None;
        for step in &steps {
            match step {
                Step::Batch(changes) => world.submit(changes.iter().map(command)).unwrap(),
                Step::Note(key, fitness) => {
                    let (service, id) = (key.0.parse().unwrap(), key.1.parse().unwrap());
                    world.store.note(&[(service, id, *fitness)]);
                    found.note(*key, *fitness);
                }
                Step::Restart => {
                    let restored = world.restart();
                    prop_assert_eq!(&restored.members, &found.over(world.expected().members));
                    prop_assert_eq!(restored.last, world.expected().last);
                }
                Step::Wait(seconds) => world.clock += Duration::from_secs(*seconds),
                Step::Compact(seconds) => {
                    let limit = world.clock - Duration::from_secs(*seconds);
                    let history = world.settings.history;
                    while world.store.compact(limit + history).unwrap() {}
                    horizon = horizon.max(Some(limit));
                }
            }
            for event in &world.events[told..] {
                found.learn(event);
            }
            memory.append(&world.events[told..], &Snapshot::default()).unwrap();
            told = world.events.len();
        }
        let (journal, memory) = (world.store.journal(), memory.journal());
        let mut at = start;
        while at <= world.clock {
            for service in ["web", "orders"].map(|service| service.parse().unwrap()) {
                match journal.members_at(&service, at) {
                    Ok(members) => prop_assert_eq!(Ok(members), memory.members_at(&service, at)),
                    Err(JournalError::Forgotten(since)) => {
                        prop_assert!(at < since && Some(since) < horizon);
                    }
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
            at += Duration::from_millis(500);
        }
        let all = Query { limit: usize::MAX, ..Query::default() };
        let since = |event: &&Event| horizon.is_none_or(|horizon| event.at >= horizon);
        let told = |events: Vec<Event>| -> Vec<_> {
            events.iter().filter(since).map(super::history::shown).collect()
        };
        prop_assert_eq!(told(journal.events(&all).unwrap()), told(memory.events(&all).unwrap()));
    }
}
