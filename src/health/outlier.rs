//! Outlier ejection: taking instances out that fail the requests they are given.

use std::time::Duration;

/// When an instance is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlier {
    /// Failures in a row until an instance is ejected; connections that fail and answers that do are
    /// counted apart.
    pub consecutive_failures: u32,
    /// The share of failed requests within `interval`, 0 to 1, at which an instance is ejected;
    /// `None` looks at failures in a row only.
    pub failure_ratio: Option<f64>,
    /// How many requests `interval` must have seen before their share of failures counts.
    pub min_requests: u32,
    /// The window of `failure_ratio`.
    pub interval: Duration,
    /// How long the first ejection lasts; each further one lasts as long once more.
    pub base_ejection: Duration,
    /// The longest an ejection lasts.
    pub max_ejection: Duration,
    /// The share of a cluster's instances, 0 to 1, that may be ejected at a time; one always may.
    pub max_ejected: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            failure_ratio: Some(0.5),
            min_requests: 20,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
}
