//! How often a client may do what costs callboard more than the client: an account that fills up again
//! with time.
//!
//! A client that opens streams and resets them at once has many more requests worked on than it may have
//! open ("rapid reset", CVE-2023-44487). Clients also do so rightly, when a user leaves a page or a
//! deadline passes; nghttp2's account, which tells the two apart by number alone, has stood the test.

use std::time::{Duration, Instant};

/// The account.
#[derive(Debug)]
pub(super) struct Budget {
    /// The most there may be on it.
    most: u32,
    /// How long it takes to earn one.
    each: Duration,
    /// When it would be full again.
    full_at: Instant,
}

impl Budget {
    /// A full account of `most`, which earns `per_second`.
    pub(super) fn new(most: u32, per_second: u32, now: Instant) -> Self {
        Self {
            most,
            each: Duration::from_secs(1) / per_second.max(1),
            full_at: now,
        }
    }

    /// Spends one; says whether it was there.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.each;
        let is_there = full_at <= now + self.each * self.most;
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_spent_at_once_or_as_fast_as_it_is_earned() {
        let start = Instant::now();
        let mut budget = Budget::new(100, 10, start);
        assert!((0..100).all(|_| budget.spend(start)));
        assert!(!budget.spend(start));
        let later = |tenths: u64| start + Duration::from_millis(100 * tenths);
        for tenths in 1..1_000 {
            assert!(budget.spend(later(tenths)));
            assert!(!budget.spend(later(tenths)));
        }
        assert!((0..100).all(|_| budget.spend(later(10_000))));
        assert!(!budget.spend(later(10_000)));
    }
}
