//! One service as a balancing target: the only place that knows both the registry and the data
//! plane.
//!
//! A [`Cluster`] has two faces. Requests see [`Active`]: an immutable picker behind
//! one atomic pointer. The control plane sees the slots, one per member, behind a mutex:
//! reconciliation and probe answers change a slot and then publish a new `Active`. Requests take the
//! mutex in two rare moments only: when one ejects an instance, and when one ends an instance's
//! trial.
//!
//! Architecture invariant: a member's change touches its own slot only. Its siblings keep their
//! endpoint, load, verdict and probes; but one of them that is ejected may come back because too few
//! are left.

mod active;
mod adaptive;
pub mod budget;
mod build;
pub mod clusters;
mod eject;
pub mod explain;
mod gradient;
pub mod latency;
pub mod limit;
mod line;
pub mod load;
pub mod pick;
pub mod policy;
pub mod queue;
mod ramp;
pub mod reading;
mod reconcile;
mod shares;
mod slot;
pub mod status;
#[cfg(test)]
mod stress;
mod tempo;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod vacant;
mod wait;
mod zone;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use imbl::OrdMap;
use tokio::sync::Notify;

use crate::figures::traffic::Traffic;
use crate::health::probe::Prober;
use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::{Fitness, Member};
use crate::registry::suspects::Testimony;

use active::Active;
use adaptive::Adaptive;
use budget::Budget;
use latency::Latencies;
use line::Line;
use policy::{Admission, Policy};
use slot::Slot;
use status::Status;

/// One service as a balancing target.
pub struct Cluster {
    name: ServiceName,
    active: ArcSwap<Active>,
    control: Mutex<Control>,
    /// What is counted of its requests.
    traffic: Arc<Traffic>,
    /// Requests in flight over all endpoints, those that left included.
    in_flight: AtomicU64,
    budget: Budget,
    /// Those of them in the proxy's zone.
    local_in_flight: AtomicU64,
    /// Requests that wait for an endpoint.
    line: Line,
    /// What the response times say of how many may be in flight.
    adaptive: Adaptive,
    /// Whether the service is known by a request for it only.
    stranger: AtomicBool,
    /// Kept of requests that may be hedged; there only once it is asked for.
    latencies: OnceLock<Latencies>,
    /// Whether anything waits for a step of [`tempo`].
    restless: AtomicBool,
    /// Whether one more member may be ejected.
    may_eject: AtomicBool,
    /// Rings when a member's availability changes or a barred endpoint becomes idle.
    stirred: Notify,
    surroundings: Arc<Surroundings>,
}

/// Hears what clusters find out about instances. Called with no lock held; must not wait.
pub trait Witness: Send + Sync + 'static {
    /// The availability of this instance changed, and this is how its probes find it now.
    fn changed(&self, service: &ServiceName, id: &InstanceId, found: Fitness);

    /// This instance, whose lease ran out, still answers or does not.
    fn testify(&self, service: &ServiceName, id: &InstanceId, testimony: Testimony);
}

/// Nobody hears.
impl Witness for () {
    fn changed(&self, _: &ServiceName, _: &InstanceId, _: Fitness) {}

    fn testify(&self, _: &ServiceName, _: &InstanceId, _: Testimony) {}
}

/// What all clusters share.
struct Surroundings {
    prober: Prober,
    witness: Box<dyn Witness>,
    /// Where this proxy runs.
    zone: Option<String>,
    /// The registry's revision that all clusters have come to.
    revision: AtomicU64,
}

/// The control plane's face of a cluster.
struct Control {
    policy: Arc<Policy>,
    admission: Admission,
    /// The membership reconciled last, to tell what the next one changes.
    members: OrdMap<InstanceId, Arc<Member>>,
    slots: BTreeMap<InstanceId, Slot>,
    /// Whether somebody is making a large hash table.
    building: bool,
    /// How many slots were ejected or on trial when the last picker was published, drained ones
    /// included.
    out: usize,
    /// When to look at the members' shares again; `None` while nothing moves them.
    shares_due: Option<Instant>,
}

impl Cluster {
    fn new(
        name: ServiceName,
        policy: Arc<Policy>,
        admission: Admission,
        traffic: Arc<Traffic>,
        surroundings: Arc<Surroundings>,
    ) -> Self {
        Self {
            name,
            traffic,
            line: Line::default(),
            adaptive: Adaptive::new(&policy.limits),
            stranger: AtomicBool::new(false),
            active: ArcSwap::from_pointee(Active::empty(Arc::clone(&policy))),
            control: Mutex::new(Control {
                policy,
                admission,
                members: OrdMap::new(),
                slots: BTreeMap::new(),
                building: false,
                out: 0,
                shares_due: None,
            }),
            in_flight: AtomicU64::new(0),
            budget: Budget::default(),
            local_in_flight: AtomicU64::new(0),
            latencies: OnceLock::new(),
            restless: AtomicBool::new(false),
            may_eject: AtomicBool::new(false),
            stirred: Notify::new(),
            surroundings,
        }
    }

    /// The service.
    pub fn name(&self) -> &ServiceName {
        &self.name
    }

    /// What is counted of its requests.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The settings in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.active.load().policy)
    }

    /// How long its requests took lately; empty when asked for the first time.
    pub fn latencies(&self, now: Instant) -> &Latencies {
        self.latencies.get_or_init(|| Latencies::new(now))
    }

    /// Requests in flight over all endpoints.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether the service is known by a request for it only: nothing configures it, and nobody has
    /// registered for it lately.
    pub fn is_stranger(&self) -> bool {
        self.stranger.load(Ordering::Relaxed)
    }

    /// The state of one member.
    pub fn status(&self, id: &str) -> Option<Status> {
        self.control().slots.get(id).map(Slot::status)
    }

    fn zone(&self) -> Option<&str> {
        self.surroundings.zone.as_deref()
    }

    /// A panic while the lock was held can only come from a bug in a slot's own bookkeeping; the
    /// slots stay coherent one by one, so serving on beats failing every later change.
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what the slots say now.
    fn republish(self: &Arc<Self>, control: &mut Control) {
        self.republish_at(control, Instant::now());
    }

    /// [`Cluster::republish`], with shares as they are at `now`.
    fn republish_at(self: &Arc<Self>, control: &mut Control, now: Instant) {
        shares::refresh(control, now);
        if control.shares_due.is_some() {
            self.unrest();
        }
        let previous = self.active.load();
        let next = Active::build(
            &control.policy,
            control.slots.values(),
            self.zone(),
            &previous,
            now,
        );
        let provisional = next.picker.is_provisional();
        self.active.store(Arc::new(next));
        self.note_quota(control);
        self.serve();
        if provisional && !control.building {
            control.building = self.spawn_build();
        }
    }
}
