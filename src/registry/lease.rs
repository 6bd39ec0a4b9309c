//! An instance's right to stay, renewed without a lock.
//!
//! Everything there is to agree on is one word, so every ordering is `Relaxed`: the modification
//! order of a single atomic is total, and nothing else is published through it. Whichever of a
//! renewal and an expiry comes first in that order decides, and the other one sees it, because both
//! are compare-and-swap:
//!
//! * renewal first: the expiry's swap fails or reads the later deadline, and lets the lease be;
//! * expiry first: the renewal reads [`ENDED`] and says so, and the instance registers again.
//!
//! A lease that has run out has not expired yet. It is *in doubt*: other evidence decides how long
//! its holder may stay, and a late heartbeat settles the matter as if it had been in time. The one
//! that does is told so, for whoever acted on the doubt.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The word of a lease that has expired.
const ENDED: u64 = u64::MAX;
/// The bit of the word that says whether the lease is in doubt; the others are the deadline.
const DOUBT: u64 = 1;

/// One lease. Heartbeats and the expiry race for it with compare-and-swap: once it has expired no
/// heartbeat can renew it, and once a heartbeat has renewed it the expiry lets it be.
#[derive(Debug)]
pub struct Lease {
    ttl: Duration,
    origin: Instant,
    /// Twice the nanoseconds from `origin` to the deadline, plus [`DOUBT`].
    word: AtomicU64,
}

/// What a heartbeat came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease runs on.
    Renewed,
    /// The lease runs on, and was in doubt before.
    Settled,
    /// It has expired: too late.
    Ended,
}

impl Lease {
    /// A lease that runs for `ttl` from `now`.
    pub fn new(ttl: Duration, now: Instant) -> Self {
        Self {
            ttl,
            origin: now,
            word: AtomicU64::new(word(ttl)),
        }
    }

    /// A lease that runs for `ttl` from `now` and is in doubt until it is renewed: its holder has
    /// not been heard of yet.
    pub fn in_doubt(ttl: Duration, now: Instant) -> Self {
        Self {
            ttl,
            origin: now,
            word: AtomicU64::new(word(ttl) | DOUBT),
        }
    }

    /// How long it runs from each renewal.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When it runs out or did, unless renewed; `None` when it has expired.
    pub fn deadline(&self) -> Option<Instant> {
        match self.word.load(Relaxed) {
            ENDED => None,
            // 2^63 ns are 292 years, well within what an `Instant` can hold.
            word => Some(self.origin + Duration::from_nanos(word / 2)),
        }
    }

    /// Whether its holder has yet to be heard of, or has missed its time.
    pub fn is_in_doubt(&self) -> bool {
        let word = self.word.load(Relaxed);
        word != ENDED && word & DOUBT != 0
    }

    /// Whether it has run out by `now` and nobody renewed it.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.deadline().is_none_or(|deadline| deadline <= now)
    }

    /// Runs for another [`Lease::ttl`] from `now`, never ending sooner than before.
    pub fn renew(&self, now: Instant) -> Renewal {
        let renewed = word(self.since_origin(now).saturating_add(self.ttl));
        let renew = |word| (word != ENDED).then(|| renewed.max(word & !DOUBT));
        match self.word.fetch_update(Relaxed, Relaxed, renew) {
            Ok(before) if before & DOUBT != 0 => Renewal::Settled,
            Ok(_) => Renewal::Renewed,
            Err(_) => Renewal::Ended,
        }
    }

    /// Puts the lease in doubt if its deadline has passed; says whether it has.
    pub fn miss(&self, now: Instant) -> bool {
        let now = word(self.since_origin(now));
        self.update(|word| (word != ENDED && word & !DOUBT <= now).then_some(word | DOUBT))
    }

    /// Ends the lease if its deadline has passed; says whether this call ended it.
    pub fn expire(&self, now: Instant) -> bool {
        let now = word(self.since_origin(now));
        self.update(|word| (word != ENDED && word & !DOUBT <= now).then_some(ENDED))
    }

    /// Puts the deadline off by `by`, for time in which nobody could have renewed. Does nothing to
    /// a lease that has expired.
    pub fn extend(&self, by: Duration) {
        let by = word(by);
        self.update(|before| {
            (before != ENDED).then(|| before.saturating_add(by).min(LATEST | before & DOUBT))
        });
    }

    /// Takes an expiry back: the lease is in doubt again, as it was. Only for whoever expired it, and
    /// only while nobody was told that the member is gone.
    pub fn revive(&self, missed_at: Instant) {
        let missed = word(self.since_origin(missed_at)) | DOUBT;
        self.update(|word| (word == ENDED).then_some(missed));
    }

    fn since_origin(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.origin)
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> bool {
        self.word.fetch_update(Relaxed, Relaxed, change).is_ok()
    }
}

/// The latest deadline, without [`DOUBT`].
const LATEST: u64 = ENDED - 3;

/// The word of a deadline: never [`ENDED`], however far away, and not in doubt.
fn word(since_origin: Duration) -> u64 {
    u64::try_from(since_origin.as_nanos())
        .map_or(LATEST, |nanos| nanos.saturating_mul(2).min(LATEST))
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
        assert_eq!(lease.renew(start + TTL / 2), Renewal::Renewed);
        assert_eq!(lease.deadline(), Some(start + TTL / 2 + TTL));
        assert!(!lease.expire(start + TTL), "renewed in time");
        assert!(lease.expire(start + 2 * TTL));
    }

    #[test]
    fn a_late_arriving_renewal_never_shortens_a_lease() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        lease.renew(start + TTL / 2);
        assert_eq!(lease.renew(start), Renewal::Renewed);
        assert_eq!(lease.deadline(), Some(start + TTL / 2 + TTL));
    }

    #[test]
    fn an_expired_lease_can_be_neither_renewed_nor_extended_nor_expired_again() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        assert!(lease.expire(start + TTL));
        assert_eq!(lease.renew(start), Renewal::Ended);
        assert!(!lease.miss(start + TTL * 2));
        lease.extend(TTL);
        assert_eq!(lease.deadline(), None);
        assert!(!lease.expire(start + TTL * 2));
    }

    #[test]
    fn a_lease_that_ran_out_is_in_doubt_until_it_is_renewed() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        assert!(!lease.miss(start + TTL / 2));
        assert!(!lease.is_in_doubt());
        assert!(lease.miss(start + TTL));
        assert!(lease.is_in_doubt() && lease.is_overdue(start + TTL));
        assert_eq!(lease.deadline(), Some(start + TTL));
        assert_eq!(lease.renew(start + 2 * TTL), Renewal::Settled);
        assert_eq!(lease.renew(start + 2 * TTL), Renewal::Renewed);
        assert!(!lease.is_in_doubt() && !lease.is_overdue(start + 2 * TTL));
    }

    #[test]
    fn a_lease_of_somebody_not_heard_of_yet_is_in_doubt_for_as_long_as_it_runs() {
        let start = Instant::now();
        let lease = Lease::in_doubt(TTL, start);
        assert!(lease.is_in_doubt() && !lease.is_overdue(start));
        lease.extend(TTL);
        assert!(lease.is_in_doubt());
        assert!(!lease.miss(start + TTL));
        assert!(lease.miss(start + 2 * TTL));
        assert_eq!(lease.renew(start + 2 * TTL), Renewal::Settled);
    }

    #[test]
    fn a_revived_lease_is_in_doubt_as_before() {
        let start = Instant::now();
        let lease = Lease::new(TTL, start);
        lease.revive(start + TTL * 5);
        assert_eq!(lease.deadline(), Some(start + TTL), "it had not expired");
        assert!(lease.expire(start + TTL));
        assert!(!lease.is_in_doubt());
        lease.revive(start + TTL);
        assert_eq!(lease.deadline(), Some(start + TTL));
        assert_eq!(lease.renew(start + TTL * 2), Renewal::Settled);
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
        assert_eq!(lease.renew(start + TTL), Renewal::Renewed);
        lease.extend(Duration::MAX);
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
                        renewed.fetch_add(
                            usize::from(lease.renew(start + TTL) != Renewal::Ended),
                            Relaxed,
                        );
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
