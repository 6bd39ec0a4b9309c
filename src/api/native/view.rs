//! What replies show of an instance and of a service, rebuilt from our own types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Api;
use crate::cluster::clusters::Clusters;
use crate::cluster::policy::Policies;
use crate::cluster::status::Status;
use crate::health::availability::Availability;
use crate::instance::Scheme;
use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::{Member, Members, Revision};
use crate::units::DurationText;

use super::wire::{Address, Generation};
use super::wire_check::CheckJson;

/// Everything a reply is made from besides the membership, taken once per reply.
pub(super) struct Views<'a> {
    clusters: &'a Clusters,
    policies: Arc<Policies>,
    now: Instant,
}

/// One instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Instance)]
pub(super) struct InstanceView<'a> {
    service: &'a ServiceName,
    id: &'a InstanceId,
    /// Where it listens.
    #[schema(value_type = Address)]
    address: String,
    /// `null` beside the path of a Unix socket.
    #[schema(minimum = 1, required)]
    port: Option<u16>,
    scheme: Scheme,
    weight: u32,
    #[schema(required)]
    zone: Option<&'a str>,
    tags: &'a BTreeSet<String>,
    metadata: &'a BTreeMap<String, String>,
    #[schema(value_type = Option<Generation>, inline, required)]
    generation: Option<u64>,
    check: CheckJson,
    availability: Availability,
    /// Why it is not `ready`.
    #[schema(required)]
    reason: Option<String>,
    /// Requests it has in hand now.
    in_flight: u32,
    /// Requests it has finished since it registered.
    served: u64,
    /// What its weight counts for now, given slow start and reported load.
    #[schema(minimum = 0)]
    effective_weight: f64,
    /// What it reported of its load last; `null` without a report in the last three minutes, and on a
    /// mirror, which none reach.
    #[schema(required)]
    load: Option<LoadView>,
    /// Whether it was asked to finish what it has and take nothing new.
    draining: bool,
    /// RFC 3339.
    #[schema(format = DateTime)]
    registered_at: String,
    /// The index at which its registration last changed.
    index: Revision,
    /// `null` if it is a static member.
    #[schema(required)]
    lease: Option<LeaseView>,
}

/// What an instance says of its load.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Load)]
struct LoadView {
    #[schema(required)]
    utilization: Option<f64>,
    #[schema(required)]
    qps: Option<f64>,
    #[schema(required)]
    errors: Option<f64>,
    #[schema(required)]
    capacity: Option<f64>,
}

/// A lease.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lease)]
struct LeaseView {
    ttl: DurationText,
    /// When to send the next heartbeat, jittered; in answers to registrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_after: Option<DurationText>,
    expires_in: DurationText,
}

/// One service and how its instances are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Service)]
pub(super) struct ServiceView<'a> {
    service: &'a ServiceName,
    /// The index at which anything about its instances last changed.
    index: Revision,
    /// How many it has.
    instances: usize,
    /// How many of them are what.
    #[schema(value_type = BTreeMap<String, usize>)]
    availability: BTreeMap<&'static str, usize>,
}

impl<'a> Views<'a> {
    /// The state of things now.
    pub(super) fn new(api: &'a Api) -> Self {
        Self::at(api, Instant::now())
    }

    /// The state of things, taken for that of `now`.
    pub(super) fn at(api: &'a Api, now: Instant) -> Self {
        Self {
            clusters: &api.clusters,
            policies: api.clusters.policies(),
            now,
        }
    }

    /// When the state was taken.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// The policies it was taken by.
    pub(super) fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// What the data plane thinks of `member` now.
    pub(super) fn status(&self, member: &Member) -> Status {
        let instance = &member.instance;
        self.clusters
            .status(instance.service.as_str(), instance.id.as_str())
            .unwrap_or_else(|| joining(instance.weight))
    }

    /// `member` with its status now.
    pub(super) fn instance<'m>(&self, member: &'m Member) -> InstanceView<'m> {
        self.instance_with(member, self.status(member))
    }

    /// `member` with a status.
    pub(super) fn instance_with<'m>(&self, member: &'m Member, status: Status) -> InstanceView<'m> {
        let instance = &*member.instance;
        let policy = self.policies.of(instance.service.as_str());
        let (address, port) = instance.address.parts();
        InstanceView {
            service: &instance.service,
            id: &instance.id,
            address,
            port,
            scheme: instance.scheme,
            weight: instance.weight,
            zone: instance.zone.as_deref(),
            tags: &instance.tags,
            metadata: &instance.metadata,
            generation: instance.generation,
            check: CheckJson::show(instance.check.over(policy.check.as_ref())),
            availability: status.availability,
            reason: status.reason,
            in_flight: status.in_flight,
            served: status.served,
            effective_weight: (status.effective_weight * 1e3).round() / 1e3,
            load: status.load.map(|load| LoadView {
                utilization: load.utilization,
                qps: load.qps,
                errors: load.errors,
                capacity: load.capacity,
            }),
            draining: member.draining,
            registered_at: humantime::format_rfc3339_millis(member.registered_at).to_string(),
            index: member.modified,
            lease: member.lease.as_ref().map(|lease| LeaseView {
                ttl: DurationText(lease.ttl()),
                renew_after: None,
                expires_in: DurationText(lease.deadline().map_or(Duration::ZERO, |deadline| {
                    deadline.saturating_duration_since(self.now)
                })),
            }),
        }
    }

    /// `members` as one service.
    pub(super) fn service<'m>(
        &self,
        service: &'m ServiceName,
        members: &'m Members,
    ) -> ServiceView<'m> {
        let mut availability = BTreeMap::new();
        for member in members.instances.values() {
            *availability
                .entry(self.status(member).availability.as_str())
                .or_default() += 1;
        }
        ServiceView {
            service,
            index: members.revision,
            instances: members.instances.len(),
            availability,
        }
    }
}

impl InstanceView<'_> {
    /// The same, for whoever holds the lease: with the time to renew it after.
    pub(super) fn for_holder(mut self) -> Self {
        if let Some(lease) = &mut self.lease {
            let renew_after = renew_after(lease.ttl.0, fastrand::f64());
            lease.renew_after = Some(DurationText(renew_after));
        }
        self
    }
}

/// The state of a member its cluster has not heard of yet.
fn joining(weight: u32) -> Status {
    Status {
        availability: Availability::Starting,
        reason: Some("joining its cluster".to_owned()),
        in_flight: 0,
        served: 0,
        effective_weight: f64::from(weight),
        load: None,
    }
}

/// When to renew a lease: after a third of it, so that two heartbeats may be lost; moved by up to a
/// tenth either way, so that instances started together do not keep calling together. `draw` is
/// uniform in 0..1.
fn renew_after(ttl: Duration, draw: f64) -> Duration {
    let after = ttl.div_f64(3.0).mul_f64(0.9 + 0.2 * draw);
    let step = if after < Duration::from_secs(1) {
        1
    } else {
        100
    };
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis((millis / step * step).max(1))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use crate::instance::Instance;
    use crate::instance::check::CheckOverride;

    use super::*;

    /// A static member whose every revision is `revision`.
    pub(in crate::api) fn member(service: &str, id: &str, revision: u64) -> Arc<Member> {
        let instance = Instance {
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
            address: "10.0.0.5:8080".parse().unwrap(),
            scheme: Scheme::Http,
            weight: 1,
            zone: None,
            tags: BTreeSet::new(),
            metadata: BTreeMap::new(),
            ttl: None,
            check: CheckOverride::off(),
            generation: None,
        };
        Arc::new(Member {
            instance: Arc::new(instance),
            lease: None,
            draining: false,
            created: Revision(revision),
            modified: Revision(revision),
            observed: Revision(revision),
            registered_at: SystemTime::UNIX_EPOCH,
            owner: None,
            recalled: None,
        })
    }

    #[test]
    fn a_lease_is_renewed_after_about_a_third_of_it() {
        let ttl = Duration::from_secs(15);
        assert_eq!(renew_after(ttl, 0.0), Duration::from_millis(4_500));
        assert_eq!(renew_after(ttl, 0.999), Duration::from_millis(5_400));
        assert_eq!(
            renew_after(Duration::from_secs(1), 0.5),
            Duration::from_millis(333)
        );
        assert_eq!(renew_after(Duration::ZERO, 0.5), Duration::from_millis(1));
    }
}
