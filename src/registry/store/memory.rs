//! Remembers nothing beyond the process: the snapshot itself is the only copy of the membership. Of
//! the history it keeps the last events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
        Ok(Recovered::default())
    }

    fn reserve(&mut self, _first: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    fn append(&mut self, events: &[Event], _before: &Snapshot) -> Result<(), StoreError> {
        let mut kept = self.history.kept();
        kept.events.extend(events.iter().cloned());
        kept.make_room();
        Ok(())
    }

    fn note(&mut self, _found: &[(ServiceName, InstanceId, Fitness)]) {}

    fn tidy(&mut self, _now: Instant) -> Option<Duration> {
        None
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.history.clone()
    }
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
