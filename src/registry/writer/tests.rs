//! The real thread, with real time. Nothing sleeps to let something happen: each test waits for the
//! condition itself.

mod admission;
mod changes;
mod failures;
mod leases;
mod model;
mod standing_aside;
mod suspects;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use super::*;
use crate::registry::event::Change;
use crate::registry::fixtures::{TTL, instance, recovered, rules};
use crate::registry::journal::Journal;
use crate::registry::lease::{Lease, Renewal};
use crate::registry::snapshot::{Fitness, Revision, Snapshot};
use crate::registry::store::Recovered;
use crate::registry::store::memory::MemoryStore;
use crate::registry::{Registry, Rules};

const PEER: Actor = Actor::Peer {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    token: None,
    admin: true,
};

/// A store whose events a test can see and which refuses on demand.
#[derive(Clone, Default)]
struct Shelf(Arc<ShelfState>);

#[derive(Default)]
struct ShelfState {
    events: Mutex<Vec<Event>>,
    notes: Mutex<Vec<(ServiceName, InstanceId, Fitness)>>,
    appends: AtomicU64,
    reserved: AtomicU64,
    refuses: AtomicBool,
    panics: AtomicBool,
}

impl Shelf {
    fn refuse(&self, refuses: bool) {
        self.0.refuses.store(refuses, SeqCst);
    }

    fn events(&self) -> Vec<Event> {
        self.0.events.lock().unwrap().clone()
    }
}

impl Store for Shelf {
    fn append(&mut self, events: &[Event], _before: &Snapshot) -> Result<(), StoreError> {
        assert!(!self.0.panics.load(SeqCst), "as the test asked");
        self.0.appends.fetch_add(1, SeqCst);
        if self.0.refuses.load(SeqCst) {
            return Err(StoreError::Failed("the shelf broke".to_owned()));
        }
        self.0.events.lock().unwrap().extend_from_slice(events);
        Ok(())
    }

    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let mut recovered = recovered(&self.events());
        recovered.last = recovered.last.max(Revision(self.0.reserved.load(SeqCst)));
        Ok(recovered)
    }

    fn reserve(&mut self, first: Revision) -> Result<(), StoreError> {
        self.0.reserved.store(first.0, SeqCst);
        Ok(())
    }

    fn note(&mut self, found: &[(ServiceName, InstanceId, Fitness)]) {
        self.0.notes.lock().unwrap().extend_from_slice(found);
    }

    fn tidy(&mut self, _now: Instant) -> Option<Duration> {
        None
    }

    fn journal(&self) -> Arc<dyn Journal> {
        MemoryStore::default().journal()
    }
}

/// Remembers the last snapshot it was shown, and panics on demand.
#[derive(Default)]
struct Witness {
    snapshot: Mutex<Snapshot>,
    changed: Mutex<Vec<Vec<String>>>,
    panics: AtomicBool,
    /// Where to say at once that whoever misses its time does not answer.
    accuses_to: Mutex<Option<Registry>>,
    leases: Mutex<Vec<Key>>,
}

impl Observer for Witness {
    fn published(&self, snapshot: &Snapshot, changed: &[ServiceName]) {
        assert!(!self.panics.load(SeqCst), "as the test asked");
        *self.snapshot.lock().unwrap() = snapshot.clone();
        let changed = changed.iter().map(ToString::to_string).collect();
        self.changed.lock().unwrap().push(changed);
    }

    fn leases_changed(&self, members: &[Key], _now: Instant) {
        self.leases.lock().unwrap().extend_from_slice(members);
        if let Some(registry) = &*self.accuses_to.lock().unwrap() {
            for (service, id) in members {
                registry.testify(service, id, Testimony::Fails("refused".to_owned()));
            }
        }
    }
}

impl Witness {
    fn sees(&self, service: &str, id: &str) -> bool {
        let snapshot = self.snapshot.lock().unwrap();
        snapshot.member(service, id).is_some()
    }
}

fn start(store: impl Store) -> (Registry, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let registry = Registry::start(Box::new(store), rules(), witness.clone()).unwrap();
    (registry, witness)
}

/// A registry whose observer finds nobody who misses its time.
fn start_among_the_dead(store: impl Store) -> Registry {
    let (registry, witness) = start(store);
    *witness.accuses_to.lock().unwrap() = Some(registry.clone());
    registry
}

fn register(service: &str, id: &str) -> Command {
    Command::Register(instance(service, id))
}

fn deregister(service: &str, id: &str) -> Command {
    Command::Deregister {
        service: service.parse().unwrap(),
        id: id.parse().unwrap(),
        generation: None,
    }
}
