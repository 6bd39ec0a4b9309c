//! Worlds to measure the registry in.

#![allow(dead_code, reason = "each bench needs another part of it")]
#![expect(clippy::expect_used, reason = "a bench that cannot start may stop")]

pub(crate) mod lanes;
pub(crate) mod listener;
pub(crate) mod process;
pub(crate) mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::cluster::clusters::Clusters;
use callboard::cluster::policy::{Admission, Policies, Policy};
use callboard::health::probe::Prober;
use callboard::instance::check::CheckOverride;
use callboard::instance::{Instance, Scheme};
use callboard::names::{InstanceId, ServiceName};
use callboard::registry::command::Command;
use callboard::registry::event::Actor;
use callboard::registry::snapshot::Snapshot;
use callboard::registry::store::Store;
use callboard::registry::store::memory::MemoryStore;
use callboard::registry::{Limits, Observer, Registry, Rules};

/// How many instances clients register with one call at most.
const BATCH: usize = 500;

struct Nobody;

impl Observer for Nobody {
    fn published(&self, _snapshot: &Snapshot, _changed: &[ServiceName]) {}

    fn leases_changed(&self, _members: &[(ServiceName, InstanceId)], _now: Instant) {}
}

/// The rules of a default configuration.
pub(crate) fn rules() -> Rules {
    Rules {
        ttl: Duration::from_secs(15),
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(3_600),
        allow: vec![
            "0.0.0.0/0".parse().expect("a network"),
            "::/0".parse().expect("a network"),
        ],
        allow_paths: Vec::new(),
        own: Vec::new(),
        own_paths: Vec::new(),
        limits: Limits::default(),
    }
}

/// An instance as a small deployment registers it, with a lease that outlasts the measurement.
pub(crate) fn instance(service: usize, id: usize) -> Instance {
    Instance {
        service: format!("service-{service}").parse().expect("a name"),
        id: format!("service-{service}-{id}").parse().expect("an id"),
        address: SocketAddr::from((
            Ipv4Addr::from_bits(0x7f01_0000 + (id & 0xffff) as u32),
            8080,
        ))
        .into(),
        scheme: Scheme::Http,
        weight: 1,
        zone: Some("a".to_owned()),
        tags: ["v2".to_owned()].into(),
        metadata: [("build".to_owned(), "7".to_owned())].into(),
        ttl: Some(Duration::from_secs(3_600)),
        check: CheckOverride::default(),
        generation: Some(1_795_360_215_363),
    }
}

/// A runtime to wait for answers on.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

/// The registrations of `services` × `each` instances, as batches.
pub(crate) fn batches(services: usize, each: usize) -> Vec<Vec<Command>> {
    let instances = (0..services).flat_map(|service| (0..each).map(move |id| (service, id)));
    let commands: Vec<_> = instances
        .map(|(service, id)| Command::Register(instance(service, id)))
        .collect();
    commands.chunks(BATCH).map(<[_]>::to_vec).collect()
}

/// A registry nobody is in, and that forgets on restart.
pub(crate) fn empty() -> Registry {
    observed_by(Arc::new(Nobody))
}

/// The same, with the data plane behind it.
pub(crate) fn with_clusters(policy: Policy) -> (Registry, Clusters) {
    let (prober, probes) = Prober::new(256);
    // Nobody listens where these instances claim to be, on this machine itself.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(probes);
    });
    let policies = Policies {
        default: policy,
        admission: Admission::Trust,
        ..Policies::default()
    };
    let clusters = Clusters::new(policies, prober, ());
    (observed_by(Arc::new(clusters.clone())), clusters)
}

/// A registry that nobody observes, over a store.
pub(crate) fn over(store: Box<dyn Store>) -> Registry {
    Registry::start(store, rules(), Arc::new(Nobody)).expect("a registry")
}

fn observed_by(observer: Arc<dyn Observer>) -> Registry {
    Registry::start(Box::new(MemoryStore::default()), rules(), observer).expect("a registry")
}

/// Registers all `batches`, one after the other.
pub(crate) fn fill(registry: &Registry, batches: Vec<Vec<Command>>) {
    let runtime = runtime();
    for batch in batches {
        let results = runtime.block_on(registry.submit_all(batch, Actor::Callboard));
        assert!(results.iter().all(Result::is_ok));
    }
}
