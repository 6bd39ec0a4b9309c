//! Weighted least request: of two drawn by weight, the one with the lower `(in flight + 1) / weight`.
//!
//! In-flight counts need no clock and no history: an endpoint that slows down or stalls piles up
//! requests and is avoided before any of them has finished. Envoy turns to a load-adjusted rotation
//! once weights differ, and says itself that an endpoint then "will never truly drain"; here two
//! choices serve all weights.
//!
//! While neither of the two has a request in hand there is no load to compare, and the draw alone
//! decides. Dividing by the weight there as well would count it twice: of two idle endpoints of
//! weights 3 and 1 the second would never get anything.

use super::observe::Why;
use super::two_choices::{Drawn, Rated};

/// Whether the next request is at least as well placed on `a` as on `b`.
pub(super) fn rate(a: Drawn<'_>, b: Drawn<'_>) -> Rated {
    let crossed =
        |one: Drawn<'_>, other: Drawn<'_>| (u64::from(one.in_flight) + 1) * u64::from(other.weight);
    let score = |drawn: Drawn<'_>| (f64::from(drawn.in_flight) + 1.0) / f64::from(drawn.weight);
    let (a_load, b_load) = (crossed(a, b), crossed(b, a));
    let both_idle = a.in_flight == 0 && b.in_flight == 0;
    Rated {
        keeps_first: both_idle || a_load <= b_load,
        scores: [Some(score(a)), Some(score(b))],
        why: match () {
            () if both_idle => Why::BothIdle,
            () if a_load == b_load => Why::Even,
            () => Why::LessLoaded,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::Algorithm;
    use super::super::testing::{Draws, assert_shares, fleet};
    use super::*;

    fn no_worse(
        a: (&crate::endpoint::Endpoint, u32),
        b: (&crate::endpoint::Endpoint, u32),
    ) -> bool {
        rate(Drawn::now(a.0, a.1), Drawn::now(b.0, b.1)).keeps_first
    }

    #[test]
    fn idle_endpoints_are_drawn_by_weight() {
        let weights = [5, 1, 1, 3];
        let mut draws = Draws::new(Algorithm::LeastRequest, &fleet(&weights), 21);
        assert_shares(&draws.counts(50_000), &weights);
    }

    #[test]
    fn load_counts_in_relation_to_weight() {
        let endpoints = fleet(&[4, 1]);
        let (heavy, light) = ((&*endpoints[0], 4), (&*endpoints[1], 1));
        (0..3).for_each(|_| heavy.0.start());
        assert!(no_worse(heavy, light) && no_worse(light, heavy));
        heavy.0.start();
        assert!(!no_worse(heavy, light) && no_worse(light, heavy));
    }

    #[test]
    fn a_busy_endpoint_is_passed_over_whenever_an_idle_one_is_drawn() {
        let endpoints = fleet(&[1, 1, 1]);
        endpoints[1].start();
        let counts = Draws::new(Algorithm::LeastRequest, &endpoints, 22).counts(1_000);
        assert_eq!(counts[1], 0);
    }

    #[test]
    fn steady_load_settles_at_the_weights_and_stays_even() {
        let weights = [4, 2, 1, 1];
        let endpoints = fleet(&weights);
        let mut draws = Draws::new(Algorithm::LeastRequest, &endpoints, 23);
        let mut in_hand = VecDeque::new();
        let mut counts = [0u64; 4];
        for _ in 0..20_000 {
            let index = draws.next().unwrap();
            counts[index] += 1;
            endpoints[index].start();
            in_hand.push_back(index);
            if in_hand.len() > 160 {
                endpoints[in_hand.pop_front().unwrap()].finish();
            }
        }
        for (endpoint, weight) in endpoints.iter().zip(weights) {
            let fair = 160.0 * f64::from(weight) / 8.0;
            let load = f64::from(endpoint.in_flight());
            assert!(
                (load - fair).abs() <= 3.0,
                "{load} in flight, fair is {fair}"
            );
        }
        for (count, weight) in counts.iter().zip(weights) {
            let share = *count as f64 / 20_000.0 * 8.0 / f64::from(weight);
            assert!((0.95..1.05).contains(&share), "{counts:?}");
        }
    }
}
