//! What came of a run.

use serde::Serialize;

use super::figures::Figures;

/// What came of a run. Times are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The algorithm.
    pub balance: String,
    /// How long it took in the simulation.
    pub simulated: f64,
    /// Requests that came.
    pub requests: u64,
    /// Requests that were answered without an error.
    pub answered: u64,
    /// Those that ended with an error of an instance.
    pub failed: u64,
    /// Those that took longer than `timeouts.request`.
    pub late: u64,
    /// Those that found no instance.
    pub nobody: u64,
    /// Those that a full queue, or a long wait in it, turned away.
    pub turned_away: u64,
    /// Those that waited at a limit.
    pub queued: u64,
    /// Further tries.
    pub retries: u64,
    /// How often an instance was ejected; trials that failed are not counted again.
    pub ejections: u64,
    /// From arrival to answer, of all requests.
    pub latency: Latency,
    /// The share of the instance that got most, relative to its weight, over the mean.
    pub max_over_mean: f64,
    /// The coefficient of variation of the shares, relative to the weights.
    pub variation: f64,
    /// By id.
    pub instances: Vec<InstanceReport>,
}

/// How long something took, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// On average.
    pub mean: f64,
    /// Half of them took no longer.
    pub p50: f64,
    /// Of ten, nine.
    pub p90: f64,
    /// Of a hundred, 99.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What came to one instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InstanceReport {
    /// Its id.
    pub id: String,
    /// Its weight.
    pub weight: u32,
    /// Requests it was chosen for, further tries included.
    pub requests: u64,
    /// Their share of all, 0 to 1.
    pub share: f64,
    /// What its share would be by weight alone, 0 to 1.
    pub expected: f64,
    /// Those that it failed.
    pub errors: u64,
    /// The most it had in flight.
    pub max_in_flight: u32,
    /// How often it was ejected.
    pub ejections: u64,
    /// From being chosen to the end of the try.
    pub latency: Latency,
}

impl From<&Figures> for Latency {
    fn from(figures: &Figures) -> Self {
        Self {
            mean: figures.mean(),
            p50: figures.quantile(0.5),
            p90: figures.quantile(0.9),
            p99: figures.quantile(0.99),
            max: figures.max(),
        }
    }
}

impl Report {
    /// Works out the imbalance from the instances' shares.
    pub(super) fn weighed(mut self) -> Self {
        let weighed = self.instances.iter().filter(|one| one.expected > 0.0);
        let ratios: Vec<f64> = weighed.map(|one| one.share / one.expected).collect();
        let count = ratios.len().max(1) as f64;
        let mean = ratios.iter().sum::<f64>() / count;
        if mean > 0.0 {
            let most = ratios.iter().copied().fold(0.0, f64::max);
            let variance = ratios
                .iter()
                .map(|ratio| (ratio - mean).powi(2))
                .sum::<f64>()
                / count;
            self.max_over_mean = most / mean;
            self.variation = variance.sqrt() / mean;
        }
        self
    }
}
