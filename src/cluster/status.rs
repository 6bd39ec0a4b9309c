//! What callboard thinks of one instance right now, for APIs and pages.

use crate::health::availability::Availability;

/// The observable state of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it may take traffic.
    pub availability: Availability,
    /// Why it is not ready, for people.
    pub reason: Option<String>,
    /// Requests it has in hand.
    pub in_flight: u32,
    /// Requests it has finished.
    pub served: u64,
}
