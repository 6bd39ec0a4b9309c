//! Who is signed in, and how they are, at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::clusters::Clusters;
use crate::health::availability::Availability;
use crate::instance::Instance;
use crate::names::ServiceName;
use crate::registry::snapshot::Snapshot;
use crate::route::Destination;
use crate::route::splits::Live;

/// What a plan knows beyond the configurations; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Present {
    /// The instances of each service that has any, sorted by id.
    pub services: BTreeMap<ServiceName, Vec<Candidate>>,
    /// The splits that were set through the control plane, by the names of their routes.
    pub splits: BTreeMap<String, Vec<Destination>>,
}

/// One instance.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What registered.
    pub instance: Arc<Instance>,
    /// How it is.
    pub availability: Availability,
}

impl Present {
    /// Whoever is there now.
    pub fn new(snapshot: &Snapshot, clusters: &Clusters, live: &Live) -> Self {
        let of = |service: &ServiceName, id: &str| {
            clusters
                .status(service.as_str(), id)
                .map(|status| status.availability)
        };
        let services = snapshot.services.iter().filter_map(|(service, members)| {
            let members = members.instances.iter();
            let there: Vec<_> = members
                .map(|(id, member)| Candidate {
                    instance: Arc::clone(&member.instance),
                    availability: of(service, id.as_str()).unwrap_or(Availability::Down),
                })
                .collect();
            (!there.is_empty()).then(|| (service.clone(), there))
        });
        let overridden = live.shown().filter(|shown| shown.overridden);
        let splits = overridden.filter_map(|shown| {
            let name = shown.route.name.clone()?;
            Some((name, shown.route.destinations.clone()))
        });
        Self {
            services: services.collect(),
            splits: splits.collect(),
        }
    }

    /// The instances of a service.
    pub fn of(&self, service: &ServiceName) -> &[Candidate] {
        self.services.get(service).map_or(&[], Vec::as_slice)
    }
}
