//! The cluster that is simulated: a real one, whose instances are at nobody's address.

use std::sync::Arc;
use std::time::SystemTime;

use crate::cluster::Cluster;
use crate::cluster::clusters::Clusters;
use crate::cluster::policy::{Admission, Policies};
use crate::health::probe::Prober;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::names::{NameError, ServiceName};
use crate::registry::Observer;
use crate::registry::snapshot::{self, Members, Revision, Snapshot};
use crate::simulate::scenario::{Member, Scenario};

/// The cluster, and who keeps its time.
pub(super) fn set(scenario: &Scenario) -> Result<(Arc<Cluster>, Clusters), NameError> {
    let service: ServiceName = "simulated".parse()?;
    let policies = Policies {
        default: scenario.policy.clone(),
        admission: Admission::Trust,
        zone: scenario.zone.clone(),
        ..Policies::default()
    };
    // Nobody takes what it asks for: probes are events of the simulation.
    let (prober, _) = Prober::new(1);
    let clusters = Clusters::new(policies, prober, ());
    let members = Members {
        revision: Revision(1),
        instances: (scenario.members.iter())
            .map(|member| (member.id.clone(), Arc::new(signed_in(&service, member))))
            .collect(),
    };
    let snapshot = Snapshot {
        revision: Revision(1),
        services: [(service.clone(), Arc::new(members))].into_iter().collect(),
        forgotten: Revision(0),
    };
    let changed = [service];
    clusters.published(&snapshot, &changed);
    let [service] = changed;
    let cluster = clusters.find(service.as_str());
    Ok((cluster.ok_or(NameError::Empty)?, clusters))
}

fn signed_in(service: &ServiceName, member: &Member) -> snapshot::Member {
    let instance = Instance {
        service: service.clone(),
        id: member.id.clone(),
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 9)).into(),
        scheme: Scheme::Http,
        weight: member.weight,
        zone: member.zone.clone(),
        tags: Default::default(),
        metadata: Default::default(),
        ttl: None,
        check: CheckOverride::default(),
        generation: None,
    };
    snapshot::Member {
        instance: Arc::new(instance),
        lease: None,
        draining: false,
        created: Revision(1),
        modified: Revision(1),
        observed: Revision(1),
        registered_at: SystemTime::UNIX_EPOCH,
        owner: None,
        recalled: None,
    }
}
