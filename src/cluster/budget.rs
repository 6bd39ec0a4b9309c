//! The retry budget: how many of a cluster's requests in flight may be further tries of requests
//! that were sent before. Without one, a cluster whose instances all fail gets several times its load
//! just then. A share of what is in flight adapts to the load by itself, which a rate does not, and
//! the minimum lets a quiet service retry at all (Envoy's `retry_budget`: 20%, at least 3).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Cluster;
use super::policy::Retry;

/// The further tries under way.
#[derive(Debug, Default)]
pub(super) struct Budget {
    under_way: AtomicU32,
}

/// One further try's part of the budget; given back when dropped.
pub struct RetryPermit(Arc<Cluster>);

impl Cluster {
    /// A permit for one more try of a request, to be held until that try is over; `None` when the
    /// budget is used up.
    pub fn try_retry(self: &Arc<Self>) -> Option<RetryPermit> {
        let most = allowance(&self.active.load().policy.retry, self.in_flight());
        self.budget
            .take(most)
            .then(|| RetryPermit(Arc::clone(self)))
    }

    /// How many permits may be out now; `None` if any number may.
    pub fn retries_allowed(&self) -> Option<u64> {
        let active = self.active.load();
        let retry = &active.policy.retry;
        (retry.budget).map(|_| allowance(retry, self.in_flight()))
    }

    /// How many permits are out.
    pub fn retries_under_way(&self) -> u32 {
        self.budget.under_way.load(Ordering::Relaxed)
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.budget.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    fn take(&self, most: u64) -> bool {
        self.under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (u64::from(now) < most).then_some(now + 1)
            })
            .is_ok()
    }
}

/// How many tries may be under way with this many requests in flight.
fn allowance(retry: &Retry, in_flight: u64) -> u64 {
    match retry.budget {
        Some(share) => ((in_flight as f64 * share) as u64).max(u64::from(retry.budget_min)),
        None => u64::from(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(share: Option<f64>, least: u32) -> Retry {
        Retry {
            budget: share,
            budget_min: least,
            ..Retry::default()
        }
    }

    #[test]
    fn the_budget_is_a_share_of_what_is_in_flight_and_never_less_than_the_minimum() {
        for (in_flight, expected) in [(0, 3), (14, 3), (15, 3), (20, 4), (1_000, 200)] {
            assert_eq!(allowance(&budget(Some(0.2), 3), in_flight), expected);
        }
        assert_eq!(allowance(&budget(Some(0.2), 0), 4), 0);
        assert_eq!(allowance(&budget(None, 0), 0), u64::from(u32::MAX));
    }

    proptest! {
        #[test]
        fn no_more_are_out_than_were_allowed(takes in proptest::collection::vec(any::<bool>(), 0..64)) {
            let budget = Budget::default();
            let mut out = 0;
            for take in takes {
                if take {
                    let got = budget.take(5);
                    prop_assert_eq!(got, out < 5);
                    out += u32::from(got);
                } else if out > 0 {
                    budget.under_way.fetch_sub(1, Ordering::Relaxed);
                    out -= 1;
                }
                prop_assert_eq!(budget.under_way.load(Ordering::Relaxed), out);
            }
        }
    }
}
