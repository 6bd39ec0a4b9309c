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
    /// Requests that were sent once more.
    pub retries: AtomicU64,
    /// Those that were not because the budget was used up.
    pub retries_denied: AtomicU64,
    /// Instances that were ejected.
    pub ejections: AtomicU64,
}

/// What became of requests, by the class of the status.
#[derive(Debug, Default)]
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
        let added = Arc::<Requests>::default();
        let mut routes = Vec::clone(&routes);
        routes.push((Arc::clone(route), Arc::clone(&added)));
        self.routes.store(Arc::new(routes));
        added
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
