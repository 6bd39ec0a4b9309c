//! Who may take traffic: active probes, how their answers add up, what requests themselves show, and
//! the one function that turns every piece of evidence into an
//! [`Availability`](availability::Availability).

pub mod availability;
pub mod outlier;
pub mod probe;
pub mod verdict;
