//! An instance's right to stay, renewed without a lock.
//!
//! Everything there is to agree on is one word, so every ordering is `Relaxed`: the modification
//! order of a single atomic is total, and nothing else is published through it. Whichever of a
//! renewal and an expiry comes first in that order decides, and the other one sees it, because both
//! are compare-and-swap:
//!
//! * renewal first: the expiry's swap fails or reads the later deadline, and lets the lease be;
//! * expiry first: the renewal reads [`ENDED`] and says so, and the instance registers again.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The deadline of a lease that has expired.
const ENDED: u64 = u64::MAX;

/// One lease. Heartbeats and the expiry race for it with compare-and-swap: once it has expired no
/// heartbeat can renew it, and once a heartbeat has renewed it the expiry lets it be.
#[derive(Debug)]
pub struct Lease {
    ttl: Duration,
    origin: Instant,
    /// Nanoseconds from `origin`; the highest value means expired.
    deadline: AtomicU64,
}

impl Lease {
    /// A lease that runs for `ttl` from `now`.
    pub fn new(ttl: Duration, now: Instant) -> Self {
        Self {
            ttl,
            origin: now,
            deadline: AtomicU64::new(nanos(ttl)),
        }
    }

    /// How long it runs from each renewal.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When it runs out, unless renewed; `None` when it already has.
    pub fn deadline(&self) -> Option<Instant> {
        match self.deadline.load(Relaxed) {
            ENDED => None,
            // 2^64 ns are 585 years, well within what an `Instant` can hold.
            deadline => Some(self.origin + Duration::from_nanos(deadline)),
        }
    }

    /// Runs for another [`Lease::ttl`] from `now`, never ending sooner than before. `false` when
    /// it has already expired.
    pub fn renew(&self, now: Instant) -> bool {
        let renewed = nanos(self.since_origin(now).saturating_add(self.ttl));
        self.update(|deadline| (deadline != ENDED).then(|| deadline.max(renewed)))
    }

    /// Ends the lease if its deadline has passed; says whether this call ended it.
    pub fn expire(&self, now: Instant) -> bool {
        let now = nanos(self.since_origin(now));
        self.update(|deadline| (deadline <= now).then_some(ENDED))
    }

    /// Puts the deadline off by `by`, for time in which nobody could have renewed. Does nothing to
    /// a lease that has expired.
    pub fn extend(&self, by: Duration) {
        let by = nanos(by);
        self.update(|deadline| {
            (deadline != ENDED).then(|| deadline.saturating_add(by).min(ENDED - 1))
        });
    }

    /// Takes an expiry back: an expired lease runs again, until `until`. Only for whoever expired
    /// it, and only while nobody was told that the member is gone.
    pub fn revive(&self, until: Instant) {
        let until = nanos(self.since_origin(until));
        self.update(|deadline| (deadline == ENDED).then_some(until));
    }

    fn since_origin(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.deadline.fetch_update(Relaxed, Relaxed, change).is_ok()
    }
}

/// A deadline from a time since the origin: never [`ENDED`], however far away.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).map_or(ENDED - 1, |nanos| nanos.min(ENDED - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn a_lease_runs_for_its_ttl_from_each_renewal() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        assert_eq!(lease.deadline(), Some(start + TTL));
        assert!(lease.renew(start + TTL / 2));
        assert_eq!(lease.deadline(), Some(start + TTL / 2 + TTL));
        assert!(!lease.expire(start + TTL), "renewed in time");
        assert!(lease.expire(start + 2 * TTL));
    }

    #[test]
    fn a_late_arriving_renewal_never_shortens_a_lease() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        lease.renew(start + TTL / 2);
        assert!(lease.renew(start));
        assert_eq!(lease.deadline(), Some(start + TTL / 2 + TTL));
    }

    #[test]
    fn an_expired_lease_can_be_neither_renewed_nor_extended_nor_expired_again() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        assert!(lease.expire(start + TTL));
        assert!(!lease.renew(start));
        lease.extend(TTL);
        assert_eq!(lease.deadline(), None);
        assert!(!lease.expire(start + TTL * 2));
    }

    #[test]
    fn a_revived_lease_runs_until_the_time_given() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        lease.revive(start + TTL * 5);
        assert_eq!(lease.deadline(), Some(start + TTL), "it had not expired");
        assert!(lease.expire(start + TTL));
        lease.revive(start + TTL * 2);
        assert_eq!(lease.deadline(), Some(start + TTL * 2));
        assert!(lease.renew(start + TTL * 2));
    }

    #[test]
    fn extending_puts_the_deadline_off() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        lease.extend(TTL);
        assert!(!lease.expire(start + TTL));
        assert!(lease.expire(start + 2 * TTL));
    }

    #[test]
    fn an_endless_ttl_is_a_lease_that_has_not_expired() {
        let start = Instant::now();
        let lease = Lease::new(Duration::MAX, start);
        assert!(lease.renew(start + TTL));
        assert!(lease.deadline().is_some());
        assert!(!lease.expire(start + TTL));
    }

    /// Everybody acts at the very deadline, where a renewal and an expiry are equally right: the
    /// lease must end up renewed (and then nobody expired it) or expired (by exactly one).
    #[test]
    fn of_renewals_and_expiries_at_the_deadline_the_first_one_decides() {
        for _ in 0..500 {
            let start = Instant::now();
            let lease = Lease::new(TTL, start);
            let (renewed, expired) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let barrier = Barrier::new(4);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        barrier.wait();
                        renewed.fetch_add(usize::from(lease.renew(start + TTL)), Relaxed);
                    });
                    scope.spawn(|| {
                        barrier.wait();
                        expired.fetch_add(usize::from(lease.expire(start + TTL)), Relaxed);
                    });
                }
            });
            match (renewed.into_inner(), expired.into_inner()) {
                (0, 1) => assert_eq!(lease.deadline(), None),
                (2, 0) => assert_eq!(lease.deadline(), Some(start + 2 * TTL)),
                other => panic!("(renewed, expired) = {other:?}"),
            }
        }
    }
}
