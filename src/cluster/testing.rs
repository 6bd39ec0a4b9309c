//! What tests of clusters start from.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use super::policy::{Admission, Policy};
use super::{Cluster, Surroundings};
use crate::address::Address;
use crate::health::probe::Prober;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::registry::snapshot::{Member, Revision};

/// A cluster without members, whose proxy runs in this zone. It takes members at their word.
pub(super) fn cluster(policy: &Policy, zone: Option<&str>) -> Arc<Cluster> {
    let surroundings = Surroundings {
        prober: Prober::new(1).0,
        witness: Box::new(()),
        zone: zone.map(str::to_owned),
        revision: Default::default(),
    };
    Arc::new(Cluster::new(
        "web".parse().unwrap(),
        Arc::new(policy.clone()),
        Admission::Trust,
        Arc::default(),
        Arc::new(surroundings),
    ))
}

/// A static member of weight 1 that has just registered.
pub(super) fn member(id: &str) -> Member {
    let instance = Instance {
        service: "web".parse().unwrap(),
        id: id.parse().unwrap(),
        address: address(8_080),
        scheme: Scheme::Http,
        weight: 1,
        zone: None,
        tags: Default::default(),
        metadata: Default::default(),
        ttl: None,
        check: CheckOverride::default(),
        generation: None,
    };
    Member {
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

/// A place on this machine.
pub(super) fn address(port: u16) -> Address {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}
