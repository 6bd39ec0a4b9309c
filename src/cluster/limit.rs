//! How many requests may be in flight, and counting them in.
//!
//! Two counters are involved, the cluster's and the endpoint's, and no lock: each is raised by
//! compare-and-swap only while it is below its limit, so no number of racing threads exceeds either.
//! Where no limit is set nothing is compared.

use std::fmt;
use std::sync::atomic::Ordering;

use super::Cluster;
use super::policy::Limits;

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `limits.in_flight`: requests in flight at all instances together.
    InFlight(u32),
    /// `limits.adaptive`: what the first limit has come to by the response times.
    Adaptive(u32),
    /// `limits.in_flight_per_instance`: at every instance that might take the request.
    PerInstance(u32),
}

impl Limit {
    /// Whether it holds for all instances together: whom it stops, it stops whatever was tried.
    pub(super) fn is_shared(self) -> bool {
        !matches!(self, Self::PerInstance(_))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight(limit) => write!(f, "limits.in_flight of {limit}"),
            Self::Adaptive(limit) => write!(f, "limits.adaptive, now {limit},"),
            Self::PerInstance(limit) => write!(f, "limits.in_flight_per_instance of {limit}"),
        }
    }
}

impl Cluster {
    /// Counts a request in at all endpoints together.
    ///
    /// # Errors
    /// When the limit is reached.
    pub(super) fn enter(&self, limits: &Limits) -> Result<(), Limit> {
        let Some((limit, most)) = self.ceiling(limits) else {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        };
        let raised = self
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                (count < u64::from(most)).then_some(count + 1)
            });
        raised.map(drop).map_err(|_| limit)
    }

    /// Counts a request in a second time, whatever the limit: it is about to [`exit`](Self::exit) once.
    pub(super) fn enter_twice(&self) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes back an [`enter`](Self::enter). Somebody may have been refused because of it: whoever
    /// calls this sees to it that the line is served.
    pub(super) fn exit(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// The limit of all endpoints together that is reached, if one is.
    pub(super) fn shared_limit(&self, limits: &Limits) -> Option<Limit> {
        let (limit, most) = self.ceiling(limits)?;
        (self.in_flight.load(Ordering::SeqCst) >= u64::from(most)).then_some(limit)
    }

    fn ceiling(&self, limits: &Limits) -> Option<(Limit, u32)> {
        let fixed = limits.in_flight;
        if limits.adaptive {
            let found = self.adaptive.limit();
            let most = fixed.map_or(found, |fixed| found.min(fixed));
            return Some((Limit::Adaptive(most), most));
        }
        fixed.map(|most| (Limit::InFlight(most), most))
    }
}
