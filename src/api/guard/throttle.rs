//! How often one peer, and the bearer of one token, may call.
//!
//! The limiters are GCRA (ITU-T I.371; the `governor` crate): a caller may spend its whole rate at
//! once and then gets it back evenly. They remember each caller until it has its whole rate again.
//! Callers that do are swept out now and then, so that memory follows the number of those who called
//! within the last unit of the rate, and the work of sweeping stays in proportion to the calls.
//!
//! IPv6 peers are counted by their /64: that is what one subscriber has (RFC 6177), and it holds more
//! addresses than could ever be counted apart.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::api::problem::{Kind, Problem};

/// The fewest calls between two sweeps.
const SWEEP_AFTER: usize = 1_024;

/// So many requests in a second or a minute, all at once or spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// In a second: `500/s`.
    PerSecond(NonZeroU32),
    /// In a minute: `30/m`.
    PerMinute(NonZeroU32),
}

impl Rate {
    fn quota(self) -> Quota {
        match self {
            Self::PerSecond(requests) => Quota::per_second(requests),
            Self::PerMinute(requests) => Quota::per_minute(requests),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(requests) => write!(f, "{requests}/s"),
            Self::PerMinute(requests) => write!(f, "{requests}/m"),
        }
    }
}

/// The rates of callers; `None` is as often as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of each address.
    pub per_peer: Option<Rate>,
    /// Of each token.
    pub per_token: Option<Rate>,
}

/// Counts callers and refuses those that call too often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    rates: Rates,
    peers: Option<Limiter<IpAddr>>,
    tokens: Option<Limiter<Arc<str>>>,
}

impl Throttle {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            rates,
            peers: (rates.per_peer).map(|rate| Limiter::new(rate, DefaultClock::default())),
            tokens: (rates.per_token).map(|rate| Limiter::new(rate, DefaultClock::default())),
        }
    }

    pub(super) fn rates(&self) -> Rates {
        self.rates
    }

    /// # Errors
    /// [`Kind::RateLimited`] when the peer has called too often.
    pub(super) fn admit_peer(&self, peer: IpAddr) -> Result<(), Problem> {
        match &self.peers {
            Some(limiter) => (limiter.admit(&network(peer)))
                .map_err(|wait| limiter.refusal("per_peer", &peer, wait)),
            None => Ok(()),
        }
    }

    /// # Errors
    /// [`Kind::RateLimited`] when the token's bearers have called too often.
    pub(super) fn admit_token(&self, name: &Arc<str>) -> Result<(), Problem> {
        match &self.tokens {
            Some(limiter) => (limiter.admit(name)).map_err(|wait| {
                limiter.refusal("per_token", &format_args!("token {name:?}"), wait)
            }),
            None => Ok(()),
        }
    }
}

/// What a peer is counted by.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

struct Limiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    rate: Rate,
    cells: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    /// Calls since the last sweep.
    calls: AtomicUsize,
    /// Callers left by the last sweep.
    left: AtomicUsize,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limiter<K, C> {
    fn new(rate: Rate, clock: C) -> Self {
        Self {
            rate,
            cells: RateLimiter::dashmap_with_clock(rate.quota(), clock.clone()),
            clock,
            calls: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        }
    }

    /// Counts a call of `caller`; the error is how long it has to wait.
    fn admit(&self, caller: &K) -> Result<(), Duration> {
        self.sweep_if_due();
        let checked = self.cells.check_key(caller);
        checked.map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    fn sweep_if_due(&self) {
        let due = SWEEP_AFTER.max(self.left.load(Ordering::Relaxed));
        // Whoever brings the count to exactly this is the only one to sweep.
        if self.calls.fetch_add(1, Ordering::Relaxed) + 1 != due {
            return;
        }
        self.cells.retain_recent();
        self.cells.shrink_to_fit();
        self.left.store(self.cells.len(), Ordering::Relaxed);
        self.calls.store(0, Ordering::Relaxed);
    }

    fn refusal(&self, limit: &str, caller: &dyn fmt::Display, wait: Duration) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        let detail = format!(
            "{caller} calls more often than registry.limits.{limit} allows (expected {}; try again \
             in {seconds}s)",
            self.rate
        );
        Problem::new(Kind::RateLimited, detail).retry_after(seconds)
    }
}

impl<K: Hash + Eq + Clone, C: Clock> fmt::Debug for Limiter<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter({}, {} callers)", self.rate, self.cells.len())
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(requests: u32) -> Rate {
        Rate::PerSecond(NonZeroU32::new(requests).unwrap())
    }

    #[test]
    fn a_caller_may_spend_its_rate_at_once_and_gets_it_back_evenly() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new(rate(10), clock.clone());
        for _ in 0..10 {
            assert_eq!(limiter.admit(&1), Ok(()));
        }
        assert_eq!(limiter.admit(&1), Err(Duration::from_millis(100)));
        assert_eq!(limiter.admit(&2), Ok(()), "others are not affected");
        clock.advance(Duration::from_millis(100));
        assert_eq!(limiter.admit(&1), Ok(()));
        assert!(limiter.admit(&1).is_err());
    }

    #[test]
    fn callers_that_stopped_calling_are_forgotten() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::new(rate(10), clock.clone());
        for caller in 0..100_000 {
            limiter.admit(&caller).unwrap();
        }
        clock.advance(Duration::from_secs(10));
        for _ in 0..200_000 {
            let _ = limiter.admit(&0);
        }
        assert_eq!(limiter.cells.len(), 1);
    }

    #[test]
    fn ipv6_peers_are_counted_by_their_network_and_ipv4_peers_by_address() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("10.0.0.9"), "10.0.0.9");
        assert_eq!(network("::ffff:10.0.0.9"), "10.0.0.9");
    }

    #[test]
    fn a_refusal_names_the_limit_and_when_to_come_back() {
        let throttle = Throttle::new(Rates {
            per_peer: Some(Rate::PerMinute(NonZeroU32::MIN)),
            per_token: None,
        });
        let peer = "10.0.0.9".parse().unwrap();
        assert_eq!(throttle.admit_peer(peer), Ok(()));
        let problem = throttle.admit_peer(peer).unwrap_err();
        assert_eq!(problem.status(), 429);
        let shown = serde_json::to_string(&problem).unwrap();
        assert!(shown.contains("10.0.0.9 calls more often than registry.limits.per_peer"));
        assert!(shown.contains("expected 1/m; try again in 60s"), "{shown}");
        let token = "ci".into();
        assert_eq!(throttle.admit_token(&token), Ok(()));
        assert_eq!(throttle.admit_token(&token), Ok(()));
    }
}
