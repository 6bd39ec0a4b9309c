//! What is counted while requests are served, and read when somebody asks.
//!
//! Architecture invariant: counting takes no lock and waits for nobody. All figures are plain atomics.

pub mod histogram;
pub mod statuses;
pub mod traffic;
