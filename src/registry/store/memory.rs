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

#[derive(Debug, Default)]
struct History(Mutex<Kept>);

type Membership = BTreeMap<ServiceName, BTreeMap<InstanceId, Arc<Member>>>;

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    /// When the last event happened that had to make room.
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
