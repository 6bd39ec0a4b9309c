//! How long to wait before the next try: exponential back-off with full jitter
//! ([AWS, "Exponential Backoff And Jitter"](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)).
//!
//! All proxies lose their registry at the same moment. Were they to come back at the same moment too,
//! each for a snapshot, the registry would hardly get up again; so each draws its wait from the whole
//! of the range.

use std::time::Duration;

/// The range of the first wait.
const BASE: Duration = Duration::from_millis(100);
/// The widest range.
const CAP: Duration = Duration::from_secs(5);

/// The waits between tries that fail one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A connection that lasted this long was no failure.
    pub(super) const LASTING: Duration = CAP;

    /// How long to wait now; `draw` is uniform in 0..1.
    pub(super) fn wait(&mut self, draw: f64) -> Duration {
        let range = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        range.mul_f64(draw.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_doubles_up_to_its_cap_and_the_wait_is_anywhere_in_it() {
        let mut backoff = Backoff::default();
        for millis in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            let mut same = backoff;
            assert_eq!(same.wait(0.0), Duration::ZERO);
            assert_eq!(backoff.wait(1.0), Duration::from_millis(millis));
        }
        for _ in 0..100 {
            assert!(backoff.wait(0.5) <= CAP);
        }
    }
}
