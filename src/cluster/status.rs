//! What callboard thinks of one instance right now, for APIs and pages.

use crate::health::availability::Availability;

use super::Cluster;
use super::load::Report;

/// The observable state of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Whether it may take traffic.
    pub availability: Availability,
    /// Why it is not ready, for people.
    pub reason: Option<String>,
    /// Requests it has in hand.
    pub in_flight: u32,
    /// Requests it has finished.
    pub served: u64,
    /// What its weight counts for now, given slow start and reported load.
    pub effective_weight: f64,
    /// What it reported last of its load, if that is not too long ago.
    pub load: Option<Report>,
}

impl Cluster {
    /// Whether last resorts serve, because so many members are out.
    pub fn is_panicking(&self) -> bool {
        self.active.load().panic
    }
}
