//! Smooth weighted round robin: a rotation every thread can advance with one atomic addition.
//!
//! The weights, divided by their common divisor, add up to one round of `W` turns. Turn `k` belongs
//! to a position `k mod W` of a fixed order in which every endpoint holds exactly its weight in
//! positions, so any `W` consecutive turns serve everybody by weight. The order has to be smooth:
//! {5, 1, 1} must not send five requests in a row to the first. Two orders are used:
//!
//! - nginx's ("Upstream: smooth weighted round-robin balancing", nginx 1.3.1):
//!   every turn each endpoint gains its weight, the richest is chosen and pays `W`. Writing it down
//!   costs `n × W` steps.
//! - Where that is too much to redo at every change, golden-section steps: the endpoints lie on a
//!   circle of `W` positions, each on an arc as long as its weight, and turn `k` falls on
//!   `k × step mod W` with a step coprime to `W` near `W / φ`. Being coprime visits each position
//!   once a round; the golden ratio spreads the visits to any arc about as evenly as a rotation can
//!   (the three-gap theorem). It needs no table beyond the arcs, only a binary search.
//!
//! Equal weights come out as the plain rotation in either.
//!
//! Architecture invariant: the turns are counted across rebuilds. A picker that began a new round
//! whenever some endpoint's health changed would keep sending the first requests to the same few.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::observe::{Observer, Why};
use super::scan::try_in_turn;
use super::{Candidates, Choice};
use crate::endpoint::Endpoint;

/// The most steps nginx's order may cost to write down: a fraction of a millisecond.
const MAX_WRITTEN_STEPS: u64 = 1 << 18;
/// How many steps to either side of `W / φ` are looked at; among any 66 neighbours one is coprime to
/// `W` as long as that has no more than twelve prime factors, as all numbers below 2⁴⁸ (Jacobsthal's
/// function, OEIS A048670).
const STEPS_TRIED: u64 = 64;
/// 1 / φ.
const GOLDEN_SECTION: f64 = 0.618_033_988_749_895;

#[derive(Debug)]
pub(super) struct RoundRobin {
    endpoints: Box<[Arc<Endpoint>]>,
    order: Order,
    turns: Arc<Turns>,
}

/// How many turns were given out, on cache lines of its own (x86 fetches them in pairs): it is the
/// one thing all threads write, and must not slow down reading the rest.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turns(AtomicU64);

impl RoundRobin {
    pub(super) fn new(candidates: Candidates<'_>, previous: Option<&Self>) -> Self {
        Self {
            endpoints: candidates.eligible.into(),
            order: Order::new(candidates.weights),
            turns: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.turns)),
        }
    }

    /// An endpoint that isn't admitted forfeits its turn: the next turn is taken as well, not
    /// merely looked at, so that its share falls to all others and not to its successor.
    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        observer: &mut impl Observer,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let turn = |_: &mut _| self.order.at(self.turns.0.fetch_add(1, Ordering::Relaxed));
        try_in_turn(&self.endpoints, choice, turn, Why::Turn, observer)
    }
}

/// Whose turn it is.
#[derive(Debug)]
enum Order {
    /// One round, written down.
    Written(Box<[u32]>),
    /// Golden-section steps over arcs that end at `ends`.
    Golden { ends: Box<[u64]>, step: u64 },
}

impl Order {
    fn new(weights: &[u32]) -> Self {
        let common = weights
            .iter()
            .fold(0, |common, weight| gcd(common, u64::from(*weight)));
        let weights: Vec<u64> = weights
            .iter()
            .map(|weight| u64::from(*weight) / common.max(1))
            .collect();
        let total: u64 = weights.iter().sum();
        if total.saturating_mul(weights.len() as u64) <= MAX_WRITTEN_STEPS {
            return Self::Written(smooth(&weights, total));
        }
        let ends = weights.iter().scan(0, |end, weight| {
            *end += weight;
            Some(*end)
        });
        let equal = total == weights.len() as u64;
        Self::Golden {
            ends: ends.collect(),
            step: if equal { 1 } else { golden_step(total) },
        }
    }

    /// The index whose turn `turn` is; any number if there are no endpoints.
    fn at(&self, turn: u64) -> usize {
        match self {
            Self::Written(round) => match turn.checked_rem(round.len() as u64) {
                Some(position) => round[position as usize] as usize,
                None => 0,
            },
            Self::Golden { ends, step } => {
                let total = ends.last().map_or(1, |end| *end);
                let position = u128::from(turn % total) * u128::from(*step) % u128::from(total);
                ends.partition_point(|end| u128::from(*end) <= position)
            }
        }
    }
}

/// One round in nginx's order.
fn smooth(weights: &[u64], total: u64) -> Box<[u32]> {
    let total = total as i64;
    let mut credit = vec![0i64; weights.len()];
    (0..total)
        .map(|_| {
            let mut richest = 0;
            for (index, weight) in weights.iter().enumerate() {
                credit[index] += *weight as i64;
                if credit[index] > credit[richest] {
                    richest = index;
                }
            }
            credit[richest] -= total;
            richest as u32
        })
        .collect()
}

/// The step near `total / φ` that spreads visits best: coprime to `total`, and of those the one
/// whose continued fraction has the smallest largest quotient, on which the unevenness of a rotation
/// depends (L. Kuipers, H. Niederreiter, "Uniform Distribution of Sequences", 1974, chapter 2.3).
fn golden_step(total: u64) -> u64 {
    let ideal = (total as f64 * GOLDEN_SECTION) as u64;
    (ideal.saturating_sub(STEPS_TRIED)..=ideal + STEPS_TRIED)
        .filter(|step| gcd(*step, total) == 1)
        .min_by_key(|step| largest_quotient(total, *step))
        .unwrap_or(1)
}

/// The largest quotient in the continued fraction of `a / b`.
fn largest_quotient(a: u64, b: u64) -> u64 {
    match a.checked_div(b) {
        Some(quotient) => quotient.max(largest_quotient(b, a % b)),
        None => 0,
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Draws, config, fleet};
    use super::super::{Algorithm, Balance, Picker};
    use super::*;

    fn golden(weights: &[u32]) -> Order {
        let mut end = 0;
        let ends: Box<[u64]> = weights
            .iter()
            .map(|weight| {
                end += u64::from(*weight);
                end
            })
            .collect();
        Order::Golden {
            ends,
            step: golden_step(end),
        }
    }

    fn text(order: &Order, turns: std::ops::Range<u64>) -> String {
        turns
            .map(|k| char::from(b'a' + order.at(k) as u8))
            .collect()
    }

    #[test]
    fn small_weights_interleave_as_in_nginx() {
        assert_eq!(text(&Order::new(&[5, 1, 1]), 0..14), "aabacaaaabacaa");
        assert_eq!(text(&Order::new(&[30, 20, 10]), 0..6), "abacba");
        assert_eq!(text(&golden(&[5, 1, 1]), 0..7), "abaacaa");
    }

    #[test]
    fn equal_weights_rotate_in_order() {
        assert_eq!(text(&Order::new(&[7, 7, 7]), 4..10), "bcabca");
        let many = Order::new(&vec![2; 1_000]);
        assert!(matches!(many, Order::Golden { step: 1, .. }));
        assert!((0..3_000).all(|k| many.at(k) == k as usize % 1_000));
    }

    #[test]
    fn the_largest_round_does_not_overflow() {
        let order = Order::new(&[[65_535, 65_534]; 50_000].concat());
        assert!((0..1_000).all(|k| order.at(u64::MAX - k) < 100_000));
    }

    #[test]
    fn a_rebuild_goes_on_with_the_next_turn() {
        let endpoints = fleet(&[1, 1, 1, 1]);
        let mut draws = Draws::new(Algorithm::RoundRobin, &endpoints, 41);
        assert_eq!([draws.next(), draws.next()], [Some(0), Some(1)]);
        let candidates = Candidates {
            members: &endpoints,
            eligible: &endpoints,
            weights: &[1; 4],
        };
        let settings = Balance {
            algorithm: Algorithm::RoundRobin,
            ..Balance::default()
        };
        draws.picker = Picker::build(&settings, candidates, Some(&draws.picker));
        assert_eq!([draws.next(), draws.next()], [Some(2), Some(3)]);
    }

    #[test]
    fn the_turns_of_an_endpoint_that_is_not_admitted_are_shared_by_all_others() {
        let mut draws = Draws::new(Algorithm::RoundRobin, &fleet(&[2, 1, 1]), 42).without(&[0]);
        assert_eq!(draws.counts(1_000), [0, 500, 500]);
        let mut draws = Draws::new(Algorithm::RoundRobin, &fleet(&[1; 5]), 43).without(&[2]);
        assert_eq!(draws.counts(400), [100, 100, 0, 100, 100]);
    }

    #[test]
    fn threads_share_one_rotation() {
        let endpoints = fleet(&[5, 1, 1]);
        let candidates = Candidates {
            members: &endpoints,
            eligible: &endpoints,
            weights: &[5, 1, 1],
        };
        let rotation = RoundRobin::new(candidates, None);
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let rotation = &rotation;
                scope.spawn(move || {
                    for _ in 0..700 {
                        let picked = rotation.pick(
                            Choice {
                                hash: 0,
                                in_flight: 0,
                                now: std::time::Instant::now(),
                                admits: |_: &Endpoint| true,
                                rng: &mut fastrand::Rng::with_seed(seed),
                            },
                            &mut (),
                        );
                        picked.unwrap().start();
                    }
                });
            }
        });
        let counts: Vec<u32> = endpoints.iter().map(|e| e.in_flight()).collect();
        assert_eq!(counts, [2_000, 400, 400]);
    }

    proptest! {
        #![proptest_config(config(128))]

        #[test]
        fn any_round_serves_everybody_exactly_by_weight(
            weights in prop::collection::vec(1u32..=40, 1..30),
            first in 0u64..1_000_000,
        ) {
            let common = weights.iter().fold(0, |common, weight| gcd(common, u64::from(*weight)));
            for order in [Order::new(&weights), golden(&weights)] {
                let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
                let mut counts = vec![0; weights.len()];
                (first..first + total).for_each(|turn| counts[order.at(turn)] += 1);
                prop_assert_eq!(&counts, &weights);
                if let Order::Written(round) = order {
                    prop_assert_eq!(round.len() as u64, total / common);
                }
            }
        }

        #[test]
        fn nobody_runs_far_ahead_of_its_share_within_a_round(
            weights in prop::collection::vec(1u32..=5_000, 30..200),
        ) {
            let order = Order::new(&weights);
            let golden = matches!(order, Order::Golden { .. });
            prop_assert!(golden);
            let total: u32 = weights.iter().sum();
            let mut counts = vec![0u32; weights.len()];
            for turn in 0..20_000 {
                let index = order.at(turn);
                counts[index] += 1;
                let due = f64::from(weights[index]) * (turn + 1) as f64 / f64::from(total);
                prop_assert!((f64::from(counts[index]) - due).abs() < 4.0, "{} of {due}", counts[index]);
            }
        }
    }
}
