//! Peak EWMA: of two drawn by weight, the one that would answer sooner.
//!
//! The cost of an endpoint is its estimated response time × (requests in flight + 1), Finagle's
//! `Balancers.p2cPeakEwma` and Linkerd's default; the estimate is [`ewma`]'s. Weights
//! decide who is drawn, not what it costs: a small machine's response time tells its size already.
//!
//! An endpoint without an estimate is taken to be as fast as the one it is compared with. Any
//! fixed guess would be wrong by orders of magnitude for some service, and then either starve the
//! newcomer or drown it.

use std::time::Instant;

use super::ewma;
use super::observe::Why;
use super::two_choices::{Drawn, Rated};

/// Whether `a` would answer the next request at least as soon as `b`.
pub(super) fn rate(a: Drawn<'_>, b: Drawn<'_>, now: Instant) -> Rated {
    let cost = |drawn: Drawn<'_>| {
        let micros = ewma::micros(drawn.endpoint, now)?;
        Some(micros * (f64::from(drawn.in_flight) + 1.0))
    };
    let costs = [cost(a), cost(b)];
    let (keeps_first, why) = match costs {
        [Some(a), Some(b)] => (a <= b, Why::Sooner),
        _ => (a.in_flight <= b.in_flight, Why::Unknown),
    };
    Rated {
        keeps_first,
        scores: costs.map(|cost| cost.map(|micros| micros / 1e6)),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Algorithm;
    use super::super::testing::{Draws, assert_shares, fleet};
    use super::*;
    use crate::endpoint::Endpoint;

    fn no_worse(a: &Endpoint, b: &Endpoint, now: Instant) -> bool {
        rate(Drawn::now(a, 1), Drawn::now(b, 1), now).keeps_first
    }

    #[test]
    fn endpoints_without_estimates_are_drawn_by_weight() {
        let weights = [5, 1, 1, 3];
        let mut draws = Draws::new(Algorithm::PeakEwma, &fleet(&weights), 31);
        assert_shares(&draws.counts(50_000), &weights);
    }

    #[test]
    fn the_slower_of_two_gets_traffic_once_the_faster_has_more_in_hand() {
        let endpoints = fleet(&[1, 1]);
        let now = Instant::now();
        ewma::observe(&endpoints[0], Duration::from_millis(10), now);
        ewma::observe(&endpoints[1], Duration::from_millis(35), now);
        assert!(no_worse(&endpoints[0], &endpoints[1], now));
        (0..3).for_each(|_| endpoints[0].start());
        assert!(!no_worse(&endpoints[0], &endpoints[1], now));
    }

    #[test]
    fn an_unknown_endpoint_is_compared_by_load_alone() {
        let endpoints = fleet(&[1, 1]);
        let now = Instant::now();
        ewma::observe(&endpoints[0], Duration::from_micros(50), now);
        assert!(no_worse(&endpoints[1], &endpoints[0], now));
        endpoints[1].start();
        assert!(!no_worse(&endpoints[1], &endpoints[0], now));
    }

    #[test]
    fn an_endpoint_that_fails_fast_does_not_attract_traffic() {
        let endpoints = fleet(&[1, 1, 1]);
        let mut draws = Draws::new(Algorithm::PeakEwma, &endpoints, 32);
        for endpoint in &endpoints {
            ewma::observe(endpoint, Duration::from_millis(20), draws.now);
        }
        ewma::observe_failure(&endpoints[2], None, draws.now);
        assert_eq!(draws.counts(1_000)[2], 0);
    }
}
