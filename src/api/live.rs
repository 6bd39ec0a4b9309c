//! What goes on right now: the figures of all services, sampled once a second.
//!
//! Figures only ever grow; what happened within a second is the difference of two readings. One
//! [`Sampler`] takes it, whether anybody looks or not, because whoever comes to look
//! wants to see the last two minutes. What it finds is a [`Tick`], which all readers share: a
//! text is made of it once for all who know the same, and for nobody if nobody reads.
//!
//! A tick passes over what is idle: of a service without requests it reads a few counters, and its
//! instances are counted again only when the registry's index says that something about them changed.

mod history;
mod sampler;
pub(in crate::api) mod tick;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::MissedTickBehavior;

use crate::cluster::clusters::Clusters;
use crate::names::ServiceName;
use crate::registry::Registry;

use history::Point;
use sampler::{Sampler, Surroundings};
use tick::Tick;

/// The time between two ticks.
pub(in crate::api) const PERIOD: Duration = Duration::from_secs(1);

/// The most readers at a time. One that stops reading keeps the text it was being sent, which is 200
/// bytes for each service that had requests.
const READERS: usize = 1_024;

/// The handle to what goes on right now. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    clusters: Clusters,
    registry: Registry,
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    sampler: Mutex<Sampler>,
    latest: watch::Sender<Arc<Tick>>,
    readers: Arc<Semaphore>,
}

impl Live {
    /// Samples the figures of `clusters`, whose instances are in `registry`. `connections` says how
    /// many clients' connections are open.
    pub fn new(
        clusters: Clusters,
        registry: Registry,
        connections: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Self {
        let sampler = Sampler::new();
        Self(Arc::new(Shared {
            clusters,
            registry,
            connections: Box::new(connections),
            latest: watch::Sender::new(Arc::clone(sampler.tick())),
            sampler: Mutex::new(sampler),
            readers: Arc::new(Semaphore::new(READERS)),
        }))
    }

    /// Samples once a second, for good.
    pub async fn run(self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            self.sample(Instant::now(), SystemTime::now());
        }
    }

    /// Takes one sample, `now`, which people call `at`.
    pub(in crate::api) fn sample(&self, now: Instant, at: SystemTime) {
        let Shared {
            clusters, registry, ..
        } = &*self.0;
        let around = Surroundings {
            // Before the clusters: what they are found to be is then at least as new.
            snapshot: registry.snapshot(),
            clusters: clusters.all(),
            connections: (self.0.connections)(),
        };
        let tick = Arc::clone(self.sampler().sample(&around, now, at));
        self.0.latest.send_replace(tick);
    }

    /// The samples, from the newest one on.
    pub(in crate::api) fn follow(&self) -> watch::Receiver<Arc<Tick>> {
        self.0.latest.subscribe()
    }

    /// A place for one reader; `None` if all are taken.
    pub(in crate::api) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.readers).try_acquire_owned().ok()
    }

    /// The last two minutes of one service.
    pub(in crate::api) fn history(&self, service: &ServiceName) -> Vec<Point> {
        self.sampler().history(service)
    }

    fn sampler(&self) -> MutexGuard<'_, Sampler> {
        // Whatever a panic left out is in the next difference.
        self.0
            .sampler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
