//! How long a client is waited for that sends a body.
//!
//! Patience is an account of time. It opens with a grace, every byte pays in what it may take at the
//! least rate, and waiting draws from it; when it is empty, the client is too slow. The balance is
//! capped, so that a client that was fast cannot stall for hours afterwards. Only time spent waiting
//! counts: while an instance does not take what is there, nobody waits for the client.
//!
//! Rate and grace are those of Kestrel (`MinRequestBodyDataRate`), whose account has no cap.

use std::time::{Duration, Instant};

/// What the account opens with.
const GRACE: Duration = Duration::from_secs(5);
/// The most there may be on it, so the longest silence.
const CAP: Duration = Duration::from_secs(30);
/// The longest silence of a client that may be as slow as it likes.
const SILENCE: Duration = Duration::from_secs(60);

/// The patience with one body.
#[derive(Debug)]
pub(super) struct Pace {
    /// The least bytes a second; `None` bounds silences alone.
    rate: Option<u64>,
    left: Duration,
    waiting: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            left: rate.map_or(SILENCE, |_| GRACE),
            waiting: None,
        }
    }

    /// Waits for the client from now on, unless it is waited for already; says until when.
    pub(super) fn wait(&mut self, now: Instant) -> Instant {
        *self.waiting.get_or_insert(now) + self.left
    }

    /// The client is not waited for any more.
    pub(super) fn rest(&mut self, now: Instant) {
        if let Some(since) = self.waiting.take() {
            let waited = now.saturating_duration_since(since);
            self.left = self.left.saturating_sub(waited);
        }
    }

    /// Whether the client is waited for.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// The client sent so many bytes.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.left = match self.rate {
            Some(rate) => {
                let micros = (bytes as u64).saturating_mul(1_000_000) / rate.max(1);
                (self.left + Duration::from_micros(micros).min(CAP)).min(CAP)
            }
            None => SILENCE,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Whether a client survives that sends `bytes` every `every`, `times` over.
    fn survives(rate: Option<u64>, bytes: usize, every: Duration, times: u32) -> bool {
        let mut pace = Pace::new(rate);
        let mut now = Instant::now();
        for _ in 0..times {
            let until = pace.wait(now);
            now += every;
            if until <= now {
                return false;
            }
            pace.rest(now);
            pace.earn(bytes);
        }
        true
    }

    #[test]
    fn a_client_is_too_slow_once_it_sends_less_than_the_rate_after_the_grace() {
        assert!(survives(Some(240), 240, SECOND, 1_000));
        assert!(survives(Some(240), 200, SECOND, 10));
        assert!(!survives(Some(240), 120, SECOND, 20));
        assert!(!survives(Some(240), 1, SECOND, 6));
    }

    #[test]
    fn a_client_that_was_fast_may_not_stall_for_long() {
        let mut pace = Pace::new(Some(240));
        let now = Instant::now();
        pace.earn(1 << 30);
        assert_eq!(pace.wait(now), now + CAP);
    }

    #[test]
    fn without_a_rate_only_silence_counts() {
        assert!(survives(None, 1, 59 * SECOND, 1_000));
        assert!(!survives(None, 1, 60 * SECOND, 1));
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let mut pace = Pace::new(Some(240));
        let now = Instant::now();
        pace.wait(now);
        pace.rest(now + SECOND);
        pace.rest(now + 100 * SECOND);
        assert_eq!(
            pace.wait(now + 200 * SECOND),
            now + 200 * SECOND + GRACE - SECOND
        );
    }
}
