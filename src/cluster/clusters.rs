//! All clusters, by service.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};

use crate::figures::traffic::Traffic;
use crate::health::probe::Prober;
use crate::names::{InstanceId, ServiceName};
use crate::registry::Observer;
use crate::registry::snapshot::Snapshot;

use super::load::Report;
use super::policy::Policies;
use super::status::Status;
use super::vacant::Vacant;
use super::{Cluster, Surroundings, Witness};

/// A persistent map: adding a service costs the same however many there are.
pub type ClusterMap = GenericHashMap<ServiceName, Arc<Cluster>, RandomState, DefaultSharedPtr>;

type TrafficMap = GenericHashMap<ServiceName, Arc<Traffic>, RandomState, DefaultSharedPtr>;

/// The handle to all clusters. Cheap to clone.
#[derive(Clone)]
pub struct Clusters {
    shared: Arc<Shared>,
}

struct Shared {
    map: ArcSwap<ClusterMap>,
    policies: ArcSwap<Policies>,
    /// Held by whoever changes `map` or `policies`; requests only load them, but for one that is about
    /// to be held for a service that has no cluster yet.
    changing: Mutex<Vacant>,
    /// What was counted of each service, whether it has a cluster or not.
    traffic: ArcSwap<TrafficMap>,
    surroundings: Arc<Surroundings>,
}

/// Services beyond which the figures of those without a cluster are forgotten.
const MOST_TRAFFIC: usize = 16_384;

impl Clusters {
    /// No clusters yet. `witness` hears what they find out. The policies' zone stays for good.
    pub fn new(policies: Policies, prober: Prober, witness: impl Witness) -> Self {
        let zone = policies.zone.clone();
        Self {
            shared: Arc::new(Shared {
                map: ArcSwap::default(),
                policies: ArcSwap::from_pointee(policies),
                changing: Mutex::default(),
                traffic: ArcSwap::default(),
                surroundings: Arc::new(Surroundings {
                    prober,
                    witness: Box::new(witness),
                    zone,
                    revision: AtomicU64::new(0),
                }),
            }),
        }
    }

    /// The cluster of a service; `None` if nobody has registered for it (lately).
    pub fn find(&self, service: &str) -> Option<Arc<Cluster>> {
        self.shared.map.load().get(service).cloned()
    }

    /// Every cluster there is now.
    pub fn all(&self) -> Arc<ClusterMap> {
        self.shared.map.load_full()
    }

    /// What is counted of each service, in order of their names; of those without instances too, unless
    /// only requests know them.
    pub fn traffic_by_service(&self) -> Vec<(ServiceName, Arc<Traffic>)> {
        let traffic = self.shared.traffic.load();
        let each = traffic.iter();
        let each = each.map(|(service, traffic)| (service.clone(), Arc::clone(traffic)));
        let mut all: Vec<_> = each.collect();
        let map = self.all();
        all.retain(|(service, _)| !map.get(service).is_some_and(|it| it.is_stranger()));
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// The policies in force.
    pub fn policies(&self) -> Arc<Policies> {
        self.shared.policies.load_full()
    }

    /// Puts new policies in force. What they do not change goes on undisturbed.
    pub fn configure(&self, mut policies: Policies) {
        let mut vacant = self.changing();
        policies.keep_tls(&self.policies());
        for (service, cluster) in self.shared.map.load().iter() {
            cluster.configure(policies.of(service.as_str()), policies.admission);
        }
        for service in vacant.give_up(|service| policies.of(service.as_str()).hold.is_none()) {
            self.remove(&service);
        }
        self.shared.policies.store(Arc::new(policies));
    }

    /// A cluster to hold requests in for a service that has none, if its policy holds them. `known`
    /// says whether the service is configured; of those that are not, few are waited for at a time.
    pub fn expect(&self, service: &str, known: bool) -> Option<Arc<Cluster>> {
        self.policies().of(service).hold?;
        let service: ServiceName = service.parse().ok()?;
        let mut vacant = self.changing();
        if let Some(cluster) = self.find(service.as_str()) {
            return Some(cluster);
        }
        let room = vacant.keep(&service, !known, |name| self.find(name.as_str()));
        if let Some(evicted) = &room.evicted {
            self.remove(evicted);
        }
        if !room.granted {
            return None;
        }
        let cluster = self.find_or_add(&service);
        cluster.stranger.store(!known, Ordering::Relaxed);
        Some(cluster)
    }

    /// The state of one instance; `None` if the cluster has no such endpoint.
    pub fn status(&self, service: &str, id: &str) -> Option<Status> {
        self.find(service)?.status(id)
    }

    /// Takes what an instance reports of its load; nothing if the cluster has no such endpoint.
    pub fn report(&self, service: &str, id: &str, report: Report, now: Instant) {
        if let Some(cluster) = self.find(service) {
            cluster.report(id, report, now);
        }
    }

    /// See [`Cluster::settled`].
    pub async fn settled(&self, service: &str, id: &str, wait: Duration) -> Option<Status> {
        self.find(service)?.settled(id, wait).await
    }

    /// See [`Cluster::idle`].
    pub async fn idle(&self, service: &str, id: &str, wait: Duration) -> Option<Status> {
        self.find(service)?.idle(id, wait).await
    }

    /// Says when those who still use a connection to an instance must let go; nothing if the cluster
    /// has no such endpoint.
    pub fn part(&self, service: &str, id: &str, at: Instant) {
        if let Some(cluster) = self.find(service) {
            cluster.part(id, at.into());
        }
    }

    fn changing(&self) -> MutexGuard<'_, Vacant> {
        let lock = self.shared.changing.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// The last instance has left. The cluster goes too, unless requests are held in it.
    fn vacate(&self, service: &ServiceName, vacant: &mut Vacant) {
        let Some(cluster) = self.find(service.as_str()) else {
            return;
        };
        let holds = cluster.policy().hold.is_some();
        if !holds {
            self.remove(service);
        }
        // Whoever has found the cluster already must find nobody in it.
        cluster.reconcile(&OrdMap::new());
        if holds {
            let room = vacant.keep(service, false, |name| self.find(name.as_str()));
            if let Some(evicted) = &room.evicted {
                self.remove(evicted);
            }
        }
    }

    fn remove(&self, service: &ServiceName) {
        if self
            .find(service.as_str())
            .is_some_and(|it| it.is_stranger())
        {
            // Names that only requests know are without number.
            (self.shared.traffic).rcu(|traffic| traffic.without(service));
        }
        let map = self.shared.map.load().without(service);
        self.shared.map.store(Arc::new(map));
    }

    /// What is counted of a service's requests: the same figures as ever, unless it was long without a
    /// cluster.
    pub fn traffic(&self, service: &ServiceName) -> Arc<Traffic> {
        if let Some(found) = self.shared.traffic.load().get(service) {
            return Arc::clone(found);
        }
        self.shared.traffic.rcu(|traffic| {
            let mut traffic = TrafficMap::clone(traffic);
            if traffic.len() >= MOST_TRAFFIC {
                traffic.retain(|service, _| self.find(service.as_str()).is_some());
            }
            traffic.entry(service.clone()).or_default();
            traffic
        });
        let traffic = self.shared.traffic.load();
        traffic.get(service).map_or_else(Arc::default, Arc::clone)
    }

    fn find_or_add(&self, service: &ServiceName) -> Arc<Cluster> {
        if let Some(cluster) = self.find(service.as_str()) {
            return cluster;
        }
        let policies = self.policies();
        let cluster = Arc::new(Cluster::new(
            service.clone(),
            Arc::new(policies.of(service.as_str()).clone()),
            policies.admission,
            self.traffic(service),
            Arc::clone(&self.shared.surroundings),
        ));
        let map = self
            .shared
            .map
            .load()
            .update(service.clone(), Arc::clone(&cluster));
        self.shared.map.store(Arc::new(map));
        cluster
    }
}

impl Observer for Clusters {
    fn published(&self, snapshot: &Snapshot, changed: &[ServiceName]) {
        let mut vacant = self.changing();
        for service in changed {
            match snapshot.members(service.as_str()) {
                Some(members) => {
                    vacant.forget(service);
                    self.find_or_add(service).reconcile(&members.instances);
                }
                None => self.vacate(service, &mut vacant),
            }
        }
        let revision = &self.shared.surroundings.revision;
        revision.store(snapshot.revision.0, Ordering::Relaxed);
    }

    fn leases_changed(&self, members: &[(ServiceName, InstanceId)], now: Instant) {
        for (service, id) in members {
            if let Some(cluster) = self.find(service.as_str()) {
                cluster.lease_changed(id, now);
            }
        }
    }
}
