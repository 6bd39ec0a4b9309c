//! Says that a collector takes nothing, but not each time.

use std::time::{Duration, Instant};

/// How long nothing is said after something was.
const PAUSE: Duration = Duration::from_secs(60);

/// What is said of failures in a row.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    said: Option<Instant>,
    /// Spans lost of which nothing was said.
    lost: usize,
    is_failing: bool,
}

impl Warnings {
    /// `spans` were lost; gives how many there are to warn of, if it is time to.
    pub(super) fn lost(&mut self, spans: usize, now: Instant) -> Option<usize> {
        self.is_failing = true;
        self.lost += spans;
        let is_due = (self.said).is_none_or(|said| now.saturating_duration_since(said) >= PAUSE);
        is_due.then(|| {
            self.said = Some(now);
            std::mem::take(&mut self.lost)
        })
    }

    /// Whether the last were lost.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    /// Spans were taken; says whether they were the first after some that were lost.
    pub(super) fn taken(&mut self) -> bool {
        std::mem::take(&mut self.is_failing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_down_is_warned_of_once_a_minute() {
        let mut warnings = Warnings::default();
        let start = Instant::now();
        let said: Vec<_> = (0..130)
            .filter_map(|second| warnings.lost(2, start + Duration::from_secs(second)))
            .collect();
        assert_eq!(said, [2, 120, 120]);
        assert!(warnings.taken());
        assert!(!warnings.taken());
        let again = warnings.lost(1, start + Duration::from_secs(131));
        assert_eq!(
            again, None,
            "one that comes and goes is no reason to say more"
        );
    }
}
