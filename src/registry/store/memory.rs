//! Remembers nothing beyond the process: the snapshot itself is the only copy of the membership. Of
//! the history it keeps the last events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Event;
use crate::registry::journal::{Journal, JournalError, Query};
use crate::registry::snapshot::{Fitness, Member, Revision, Snapshot};

use super::{Recovered, Remembered, Store, StoreError};

/// The most events kept.
const MAX_EVENTS: usize = 10_000;

/// The store of a registry that forgets everybody on restart.
#[derive(Debug, Default)]
pub struct MemoryStore {
    history: Arc<History>,
    /// What another process left to this one, until it is asked for.
    inherited: Recovered,
    /// How instances were last found.
    found: HashMap<(ServiceName, InstanceId), Fitness>,
}

impl MemoryStore {
    /// One that says of moments before `beginning`, when this process knew nothing, that it does not
    /// remember, rather than that nobody was there.
    pub fn since(beginning: SystemTime) -> Self {
        let kept = Kept {
            forgotten: Some(beginning),
            ..Kept::default()
        };
        Self {
            history: Arc::new(History(Mutex::new(kept))),
            ..Self::default()
        }
    }

    /// One that goes on with what another process knew at `beginning`, its history apart.
    pub fn inheriting(inherited: Recovered, beginning: SystemTime) -> Self {
        let key = |instance: &Instance| (instance.service.clone(), instance.id.clone());
        let members = inherited.members.iter();
        Self {
            found: members
                .map(|member| (key(&member.instance), member.fitness))
                .collect(),
            inherited,
            ..Self::since(beginning)
        }
    }
}

#[derive(Debug, Default)]
struct History(Mutex<Kept>);

type Membership = BTreeMap<ServiceName, BTreeMap<InstanceId, Arc<Member>>>;

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    /// Where memory begins: at the last event that had to make room, else with the process.
    forgotten: Option<SystemTime>,
    /// What the events that had to make room add up to.
    base: Membership,
}

impl Kept {
    fn make_room(&mut self) {
        while self.events.len() > MAX_EVENTS {
            let Some(event) = self.events.pop_front() else {
                return;
            };
            self.forgotten = Some(event.at);
            let service = &event.member.instance.service;
            let members = self.base.entry(service.clone()).or_default();
            evolve(members, &event);
            if members.is_empty() {
                self.base.remove(service);
            }
        }
    }
}

/// Makes `event` true of its service's members.
fn evolve(members: &mut BTreeMap<InstanceId, Arc<Member>>, event: &Event) {
    let id = &event.member.instance.id;
    if event.change.is_leaving() {
        members.remove(id);
    } else {
        members.insert(id.clone(), event.member.clone());
    }
}

impl Store for MemoryStore {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        Ok(std::mem::take(&mut self.inherited))
    }

    fn reserve(&mut self, _first: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&mut self, events: &[Event], before: &Snapshot) -> Result<(), StoreError> {
        for event in events {
            let instance = &*event.member.instance;
            let known = before.member(instance.service.as_str(), instance.id.as_str());
            let same = known.is_some_and(|known| probed(&known.instance) == probed(instance));
            if event.change.is_leaving() || !same {
                let key = (instance.service.clone(), instance.id.clone());
                self.found.remove(&key);
            }
        }
        let mut kept = self.history.kept();
        kept.events.extend(events.iter().cloned());
        kept.make_room();
        Ok(())
    }

    fn note(&mut self, found: &[(ServiceName, InstanceId, Fitness)]) {
        for (service, id, fitness) in found {
            let key = (service.clone(), id.clone());
            self.found.insert(key, *fitness);
        }
    }

    fn tidy(&mut self, _now: Instant) -> Option<Duration> {
        None
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.history.clone()
    }

    fn carried(&self, membership: &Snapshot) -> Option<Recovered> {
        let services = membership.services.values();
        let members = services.flat_map(|members| members.instances.values());
        let remembered = members.map(|member| {
            let instance = &member.instance;
            let key = (instance.service.clone(), instance.id.clone());
            Remembered {
                fitness: self.found.get(&key).copied().unwrap_or_default(),
                ..Remembered::from(&**member)
            }
        });
        Some(Recovered {
            members: remembered.collect(),
            last: membership.revision,
        })
    }
}

/// What a probe's answer is about: when it changes, the last answer says nothing any more.
fn probed(instance: &Instance) -> impl PartialEq + '_ {
    let Instance {
        check, generation, ..
    } = instance;
    (&instance.address, check, generation)
}

impl History {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing under the lock leaves the queue half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for History {
    fn events(&self, query: &Query) -> Result<Vec<Event>, JournalError> {
        let kept = self.kept();
        let newest_first = kept.events.iter().rev();
        let asked_for = newest_first.filter(|event| query.admits(event));
        Ok(asked_for.take(query.limit).cloned().collect())
    }

    fn members_at(
        &self,
        service: &ServiceName,
        at: SystemTime,
    ) -> Result<Vec<Remembered>, JournalError> {
        let kept = self.kept();
        if let Some(forgotten) = kept.forgotten
            && at < forgotten
        {
            return Err(JournalError::Forgotten(forgotten));
        }
        let mut members = kept.base.get(service).cloned().unwrap_or_default();
        let events = kept.events.iter().filter(|event| event.at <= at);
        for event in events.filter(|event| event.member.instance.service == *service) {
            evolve(&mut members, event);
        }
        Ok(members.values().map(|member| (&**member).into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::command::Command;
    use crate::registry::event::Actor;
    use crate::registry::fixtures::{instance, rules};
    use crate::registry::snapshot::Revision;
    use crate::registry::state::{Context, State};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// A store that began at 100 s, and in which `count` instances of web registered, one each
    /// second from the next on.
    fn filled(count: u64) -> MemoryStore {
        let mut store = MemoryStore::since(at(100));
        let mut state = State::restore(Recovered::default(), Instant::now(), Revision(0));
        let events: Vec<_> = (1..=count)
            .map(|n| {
                let context = Context {
                    rules: &rules(),
                    actor: &Actor::Callboard,
                    now: Instant::now(),
                    at: at(100 + n),
                };
                let command = Command::Register(instance("web", &format!("i{n}")));
                state.apply(&command, context).unwrap().1.unwrap()
            })
            .collect();
        store.append(&events, &Snapshot::default()).unwrap();
        store
    }

    #[test]
    fn events_come_newest_first_as_far_as_they_are_asked_for() {
        let journal = filled(5).journal();
        let query = Query {
            since: Some(at(102)),
            until: Some(at(104)),
            limit: 2,
            ..Query::default()
        };
        let events = journal.events(&query).unwrap();
        let times: Vec<_> = events.iter().map(|event| event.at).collect();
        assert_eq!(times, [at(104), at(103)]);
        let earlier = Query {
            before: Some(events[1].revision),
            ..query
        };
        let earlier = journal.events(&earlier).unwrap();
        assert_eq!(earlier.len(), 1);
        assert_eq!(earlier[0].at, at(102));
    }

    #[test]
    fn another_process_goes_on_with_the_members_and_how_they_were_found() {
        let mut store = MemoryStore::since(at(0));
        let mut state = State::restore(Recovered::default(), Instant::now(), Revision(7));
        let mut change = |store: &mut MemoryStore, command| {
            let context = Context {
                rules: &rules(),
                actor: &Actor::Callboard,
                now: Instant::now(),
                at: at(1),
            };
            let before = state.snapshot().clone();
            let event = state.apply(&command, context).unwrap().1;
            store.append(event.as_slice(), &before).unwrap();
            state.snapshot().clone()
        };
        for id in ["kept", "moved", "left"] {
            change(&mut store, Command::Register(instance("web", id)));
            let found = ("web".parse().unwrap(), id.parse().unwrap(), Fitness::Fit);
            store.note(&[found]);
        }
        let mut moved = instance("web", "moved");
        moved.generation = Some(2);
        change(&mut store, Command::Register(moved));
        let left = Command::Deregister {
            service: "web".parse().unwrap(),
            id: "left".parse().unwrap(),
            generation: None,
        };
        let membership = change(&mut store, left);
        assert_eq!(store.found.len(), 1);

        let carried = store.carried(&membership).unwrap();
        assert_eq!(carried.last, membership.revision);
        let mut next = MemoryStore::inheriting(carried.clone(), at(2));
        assert_eq!(next.recover().unwrap(), carried);
        let found: Vec<_> = carried
            .members
            .iter()
            .map(|member| (member.instance.id.as_str(), member.fitness))
            .collect();
        assert_eq!(
            found,
            [("kept", Fitness::Fit), ("moved", Fitness::Unproven)]
        );
        assert_eq!(next.found.len(), 2, "it can be carried on from there");
    }

    #[test]
    fn moments_before_the_process_are_not_remembered() {
        let journal = filled(2).journal();
        let members = |seconds| journal.members_at(&"web".parse().unwrap(), at(seconds));
        assert_eq!(members(99), Err(JournalError::Forgotten(at(100))));
        assert_eq!(members(100).map(|members| members.len()), Ok(0));
        assert_eq!(members(101).map(|members| members.len()), Ok(1));
        assert_eq!(members(500).map(|members| members.len()), Ok(2));
    }

    #[test]
    fn what_made_room_still_counts_for_who_was_there_later() {
        let over = 7;
        let journal = filled(MAX_EVENTS as u64 + over).journal();
        let members = |seconds| journal.members_at(&"web".parse().unwrap(), at(seconds));
        let reaches = 100 + over;
        assert_eq!(
            members(reaches - 1),
            Err(JournalError::Forgotten(at(reaches)))
        );
        assert_eq!(
            members(reaches).map(|members| members.len() as u64),
            Ok(over)
        );
    }
}
