//! What goes on while no registry can be reached.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};

use super::*;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Event;
use crate::registry::journal::Journal;
use crate::registry::snapshot::{Fitness, Revision, Snapshot};
use crate::registry::store::memory::MemoryStore;
use crate::registry::store::{Recovered, Remembered, Store, StoreError};
use crate::registry::{Limits, Observer, Rules};

const TTL: Duration = Duration::from_millis(60);

/// A store that remembers one member.
struct Remembers(MemoryStore);

impl Store for Remembers {
    fn reserve(&mut self, _first: Revision) -> Result<(), StoreError> {
        Ok(())
    }

    fn recover(&mut self) -> Result<Recovered, StoreError> {
        let instance = Instance {
            service: "web".parse().unwrap(),
            id: "a".parse().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            scheme: Scheme::Http,
            weight: 1,
            zone: None,
            tags: Default::default(),
            metadata: BTreeMap::new(),
            ttl: Some(TTL),
            check: CheckOverride::off(),
            generation: None,
        };
        let member = Remembered {
            instance,
            draining: false,
            created: Revision(1),
            modified: Revision(1),
            registered_at: SystemTime::UNIX_EPOCH,
            owner: None,
            fitness: Fitness::Fit,
        };
        Ok(Recovered {
            members: vec![member],
            last: Revision(1),
        })
    }

    fn append(&mut self, events: &[Event], before: &Snapshot) -> Result<(), StoreError> {
        self.0.append(events, before)
    }

    fn note(&mut self, found: &[(ServiceName, InstanceId, Fitness)]) {
        self.0.note(found);
    }

    fn tidy(&mut self, now: Instant) -> Option<Duration> {
        self.0.tidy(now)
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.0.journal()
    }
}

struct Nobody;

impl Observer for Nobody {
    fn leases_changed(&self, _members: &[(ServiceName, InstanceId)], _now: Instant) {}

    fn published(&self, _: &Snapshot, _: &[ServiceName]) {}
}

#[tokio::test]
async fn what_was_recovered_stays_while_no_registry_can_be_reached() {
    let rules = Rules {
        ttl: TTL,
        min_ttl: TTL,
        max_ttl: TTL,
        allow: vec!["0.0.0.0/0".parse().unwrap()],
        allow_paths: Vec::new(),
        own: Vec::new(),
        own_paths: Vec::new(),
        limits: Limits::default(),
    };
    let store = Box::new(Remembers(MemoryStore::default()));
    let registry = Registry::start(store, rules, Arc::new(Nobody)).unwrap();
    let nobody_listens = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = Settings {
        from: vec![format!("http://{nobody_listens}").parse().unwrap()],
        token: None,
        ca: Vec::new(),
    };
    let puller = Puller::new(settings, registry.clone()).unwrap();
    let status = puller.status();
    let long_enough = async {
        let started = Instant::now();
        while started.elapsed() < TTL * 5 || status.report(started).last_error.is_none() {
            tokio::time::sleep(TTL / 5).await;
        }
    };
    tokio::select! {
        () = puller.run() => panic!("following has ended"),
        () = long_enough => {}
    }
    assert!(registry.snapshot().member("web", "a").is_some());
    let report = status.report(Instant::now());
    assert!(!report.connected && report.usable);
    assert!(
        report
            .last_error
            .unwrap()
            .starts_with("cannot be reached: ")
    );
}
