//! The registry, the clusters that follow it, and what outlives a process of both.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use log::warn;

use crate::address::Address;
use crate::cluster::Witness;
use crate::cluster::clusters::Clusters;
use crate::config::{self, Config};
use crate::health::probe::Prober;
use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::Fitness;
use crate::registry::store::memory::MemoryStore;
use crate::registry::store::sqlite::SqliteStore;
use crate::registry::store::{Recovered, Store, StoreError};
use crate::registry::suspects::Testimony;
use crate::registry::{Registry, Rules};
use crate::route::splits::Splits;

use super::{StartError, own};

/// What registrations must keep to in a process with these listeners.
pub(super) fn rules(config: &Config, listeners: &[Address]) -> Rules {
    let inet: Vec<_> = listeners.iter().filter_map(Address::inet).collect();
    let store = match &config.registry.store {
        config::Store::Memory => None,
        config::Store::Sqlite(settings) => Some(settings.path.as_path()),
    };
    let files = (listeners.iter().filter_map(Address::path))
        .chain(config.proxy.upgrade_socket.as_deref())
        .chain(store);
    Rules {
        own: own::reached_at(&inet),
        own_paths: own::paths(files),
        ..config.registry.rules.clone()
    }
}

/// The registry and the clusters that follow it.
pub(super) fn membership(
    config: &Config,
    listeners: &[Address],
    prober: Prober,
    store: Box<dyn Store>,
) -> Result<(Clusters, Registry), StartError> {
    // Each tells the other of changes, so one of them must be told of the other afterwards.
    let told = Told::default();
    let clusters = Clusters::new(config.policies.clone(), prober, told.clone());
    let registry = Registry::start(store, rules(config, listeners), Arc::new(clusters.clone()))?;
    told.0.get_or_init(|| registry.clone());
    Ok((clusters, registry))
}

/// The store that is configured, with what a process before `carried` over if that is not in it.
pub(super) fn store(
    store: &config::Store,
    carried: Option<Recovered>,
) -> Result<Box<dyn Store>, StoreError> {
    Ok(match store {
        config::Store::Memory => {
            let carried = carried.unwrap_or_default();
            Box::new(MemoryStore::inheriting(carried, SystemTime::now()))
        }
        config::Store::Sqlite(settings) => Box::new(SqliteStore::open(settings.clone())?),
    })
}

/// The registry as clusters tell it what they find out.
#[derive(Clone, Default)]
struct Told(Arc<OnceLock<Registry>>);

impl Witness for Told {
    fn changed(&self, service: &ServiceName, id: &InstanceId, found: Fitness) {
        if let Some(registry) = self.0.get() {
            registry.touch(service, id, found);
        }
    }

    fn testify(&self, service: &ServiceName, id: &InstanceId, testimony: Testimony) {
        if let Some(registry) = self.0.get() {
            registry.testify(service, id, testimony);
        }
    }
}

/// The routes, with the splits that were set in an earlier life if registrations outlive it too. They
/// are kept beside those, or were `carried` over by a process before.
pub(super) fn splits(config: &Config, carried: Option<&str>) -> Splits {
    let routing = config.routing.clone();
    match &config.registry.store {
        config::Store::Memory => {
            let splits = Splits::new(routing);
            if let Some(Err(error)) = carried.map(|text| splits.inherit(text)) {
                warn!("routes have the splits of the configuration: {error}");
            }
            splits
        }
        config::Store::Sqlite(settings) => {
            Splits::kept_at(settings.path.with_extension("splits.json"), routing)
        }
    }
}
