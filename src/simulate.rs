//! How requests would be spread: the real selection over instances and a load that are made up, in
//! virtual time.
//!
//! What is real: [`Cluster::pick`](crate::cluster::Cluster::pick) and everything behind it, that is the
//! pickers, weights, slow start, zones, limits in flight, the panic threshold, ejection of outliers and
//! the retry budget. They take the time as an argument, and here it is the simulation's.
//!
//! What is made up by the same rules: the queue at a limit (first come, first served), when a request is
//! tried again (each may be), the time limits `request` and `first_byte`, and checks, which fail while an
//! instance is down. What is left out: the network, connections and their reuse, hedging, `hold`, load
//! reports, leases, routes, and more than one proxy.
//!
//! A run is repeatable: the same scenario gives the same figures.

mod engine;
mod figures;
mod report;
mod scenario;
mod world;

pub use engine::{Halt, run};
pub use report::{InstanceReport, Latency, Report};
pub use scenario::{Mistake, Scenario, algorithms, named};

/// A scenario that explains itself.
pub const EXAMPLE: &str = include_str!("simulate/example.yaml");

#[cfg(test)]
mod tests;
