//! What is counted of one service's requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::StatusCode;

use super::histogram::Histogram;

/// The figures of one service. They outlive its instances.
#[derive(Debug, Default)]
pub struct Traffic {
    /// By route, few and seldom more.
    routes: ArcSwap<Vec<(Arc<str>, Arc<Requests>)>>,
    adding: Mutex<()>,
    /// From a request's arrival to the end of its answer.
    pub durations: Histogram,
    /// From the beginning of a try to the head of its answer.
    pub upstream: Histogram,
    /// What callboard added: from a request's arrival to the head of its answer, less the try that won.
    pub added: Histogram,
    /// Further tries of requests that a try has failed.
    pub retries: AtomicU64,
    /// Further tries that were not made because the budget was used up.
    pub retries_denied: AtomicU64,
    /// Second instances that were asked because the first took long.
    pub hedges: AtomicU64,
    /// Instances that were ejected.
    pub ejections: AtomicU64,
    /// Requests that got no instance, in the order of [`Refused::ALL`].
    refused: [AtomicU64; Refused::ALL.len()],
    /// Calls of gRPC by the number of the status they ended with.
    calls: [AtomicU64; CODES],
}

/// The statuses of gRPC.
const CODES: usize = 17;

/// The most routes with counters of their own; a service has more only if its routes are renamed by one
/// reload after the other.
const MOST_ROUTES: usize = 256;

/// What the routes beyond those are called.
const OTHER: &str = "other";

/// Why a request got no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A limit is reached, and as many wait as may.
    QueueFull,
    /// It waited at a limit for as long as it may.
    QueueTimeout,
    /// No instance is available, and as many are held as may be.
    HoldFull,
    /// It was held for as long as it may be.
    HoldTimeout,
    /// No instance is available.
    Unavailable,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::QueueFull,
        Self::QueueTimeout,
        Self::HoldFull,
        Self::HoldTimeout,
        Self::Unavailable,
    ];

    /// The word for it in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::HoldFull => "hold_full",
            Self::HoldTimeout => "hold_timeout",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What became of requests, by the class of the status. Has cache lines of its own: every request
/// writes there.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Requests {
    /// 1xx to 5xx, then those whose client was told nothing.
    classes: [AtomicU64; CLASSES.len()],
}

/// The classes of statuses as labels have them. `none` is for requests whose client left first.
pub const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

impl Traffic {
    /// The counters of requests that came by this route.
    pub fn requests(&self, route: &Arc<str>) -> Arc<Requests> {
        let find = |routes: &[(Arc<str>, Arc<Requests>)]| {
            let found = routes.iter().find(|(name, _)| name == route)?;
            Some(Arc::clone(&found.1))
        };
        if let Some(found) = find(&self.routes.load()) {
            return found;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = self.routes.load();
        if let Some(found) = find(&routes) {
            return found;
        }
        let full = routes.len() >= MOST_ROUTES;
        let other = routes.iter().find(|(name, _)| full && **name == *OTHER);
        if let Some((_, other)) = other {
            return Arc::clone(other);
        }
        let added = Arc::<Requests>::default();
        let name = if full {
            Arc::from(OTHER)
        } else {
            Arc::clone(route)
        };
        let mut routes = Vec::clone(&routes);
        routes.push((name, Arc::clone(&added)));
        self.routes.store(Arc::new(routes));
        added
    }

    /// Counts a request that got no instance.
    pub fn refuse(&self, why: Refused) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests got no instance for this reason.
    pub fn refused(&self, why: Refused) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// Counts a call of gRPC that ended with the status of this number.
    pub fn call(&self, code: usize) {
        if let Some(count) = self.calls.get(code) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls of gRPC ended with each status, by its number.
    pub fn calls(&self) -> [u64; CODES] {
        std::array::from_fn(|code| self.calls[code].load(Ordering::Relaxed))
    }

    /// Every route that requests came by, with its counters.
    pub fn routes(&self) -> Arc<Vec<(Arc<str>, Arc<Requests>)>> {
        self.routes.load_full()
    }
}

impl Requests {
    /// Counts one that was answered with `status`; `None` if its client was told nothing.
    pub fn count(&self, status: Option<StatusCode>) {
        let class = match status.map(|status| usize::from(status.as_u16() / 100)) {
            Some(class @ 1..=5) => class - 1,
            _ => CLASSES.len() - 1,
        };
        self.classes[class].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were, in the order of [`CLASSES`].
    pub fn read(&self) -> [u64; CLASSES.len()] {
        std::array::from_fn(|class| self.classes[class].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_beyond_the_most_are_counted_together() {
        let traffic = Traffic::default();
        for route in 0..2 * MOST_ROUTES {
            let route = Arc::from(format!("route-{route}"));
            traffic.requests(&route).count(Some(StatusCode::OK));
        }
        let routes = traffic.routes();
        assert_eq!(routes.len(), MOST_ROUTES + 1);
        let (name, counts) = &routes[MOST_ROUTES];
        assert_eq!((&**name, counts.read()[1]), (OTHER, MOST_ROUTES as u64));
    }

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let traffic = Traffic::default();
        let (shop, other) = (Arc::from("shop"), Arc::from("other"));
        traffic.requests(&shop).count(Some(StatusCode::OK));
        traffic.requests(&shop).count(Some(StatusCode::NOT_FOUND));
        traffic.requests(&other).count(None);
        let routes = traffic.routes();
        let read: Vec<_> = routes
            .iter()
            .map(|(name, counts)| (&**name, counts.read()))
            .collect();
        assert_eq!(
            read,
            [("shop", [0, 1, 0, 1, 0, 0]), ("other", [0, 0, 0, 0, 0, 1])]
        );
    }
}
