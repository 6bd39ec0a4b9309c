//! What holds for every algorithm.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::testing::{Draws, assert_shares, config, fleet};
use super::*;

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RoundRobin,
    Algorithm::Random,
    Algorithm::LeastRequest,
    Algorithm::PeakEwma,
    Algorithm::RingHash,
    Algorithm::Maglev,
];
const HASHING: [Algorithm; 2] = [Algorithm::RingHash, Algorithm::Maglev];

/// What a picker told.
#[derive(Default)]
struct Told {
    drawn: Vec<u64>,
    passed: Vec<(u64, observe::Obstacle)>,
    why: Option<observe::Why>,
}

impl Observer for Told {
    fn drew(&mut self, endpoint: &Arc<Endpoint>) {
        self.drawn.push(endpoint.key());
    }

    fn rated(&mut self, _: &Arc<Endpoint>, _: u32, _: Option<f64>) {}

    fn passed(&mut self, endpoint: &Arc<Endpoint>, obstacle: observe::Obstacle) {
        self.passed.push((endpoint.key(), obstacle));
    }

    fn chose(&mut self, why: observe::Why) {
        self.why = Some(why);
    }
}

fn settings(algorithm: Algorithm, bounded_load: Option<f64>) -> Balance {
    Balance {
        algorithm,
        bounded_load,
        ..Balance::default()
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn only_admitted_endpoints_are_picked_and_none_means_nobody_is(
        fleet_weights in prop::collection::vec(1u32..=9, 1..30),
        refusals in prop::collection::vec(any::<bool>(), 30),
        bound in prop::option::of(1.0f64..2.0),
        seed: u64,
    ) {
        let endpoints = fleet(&fleet_weights);
        let refused: Vec<usize> = (0..endpoints.len()).filter(|i| refusals[*i]).collect();
        for algorithm in ALGORITHMS {
            let mut draws = Draws::with(&settings(algorithm, bound), &endpoints, seed).without(&refused);
            for _ in 0..50 {
                match draws.next() {
                    Some(index) => prop_assert!(!refused.contains(&index)),
                    None => prop_assert_eq!(refused.len(), endpoints.len()),
                }
            }
        }
    }

    #[test]
    fn what_is_told_of_a_choice_is_of_the_choice_made(
        fleet_weights in prop::collection::vec(1u32..=9, 1..30),
        refusals in prop::collection::vec(any::<bool>(), 30),
        bound in prop::option::of(1.0f64..2.0),
        seed: u64,
    ) {
        let endpoints = fleet(&fleet_weights);
        let admits = |endpoint: &Endpoint| {
            let place = endpoints.iter().position(|it| it.key() == endpoint.key());
            place.is_some_and(|place| !refusals[place])
        };
        for algorithm in ALGORITHMS {
            let draws = Draws::with(&settings(algorithm, bound), &endpoints, seed);
            let mut told = Told::default();
            let mut rngs = [fastrand::Rng::with_seed(seed), fastrand::Rng::with_seed(seed)];
            let [first, second] = &mut rngs;
            let choice = |rng| Choice { hash: seed, in_flight: 0, now: draws.now, admits, rng };
            let picked = draws.picker.pick_before(choice(first), &mut told);
            if algorithm != Algorithm::RoundRobin {
                let unheard = draws.picker.pick(choice(second));
                prop_assert_eq!(picked.map(|it| it.key()), unheard.map(|it| it.key()));
            }
            let Some(picked) = picked else { continue };
            prop_assert!(told.why.is_some() && admits(picked));
            let not_admitted = (picked.key(), observe::Obstacle::NotAdmitted);
            prop_assert!(!told.passed.contains(&not_admitted));
            if told.why != Some(observe::Why::Looked) {
                prop_assert!(told.drawn.contains(&picked.key()));
            }
        }
    }

    #[test]
    fn those_that_draw_or_rotate_follow_the_effective_weights(
        pairs in prop::collection::vec((1u32..=9, 1u32..=90_000), 2..12),
        seed: u64,
    ) {
        let (registered, weights): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
        let endpoints = fleet(&registered);
        for algorithm in ALGORITHMS.into_iter().filter(|algorithm| !HASHING.contains(algorithm)) {
            let settings = settings(algorithm, None);
            let mut draws = Draws::with(&settings, &endpoints, seed);
            let candidates = Candidates {
                members: &endpoints,
                eligible: &endpoints,
                weights: &weights,
            };
            draws.picker = Picker::build(&settings, candidates, None);
            assert_shares(&draws.counts(5_000), &weights);
        }
    }

    #[test]
    fn no_endpoint_is_above_its_capacity_while_another_has_room(
        weights in prop::collection::vec(1u32..=9, 2..12),
        factor in 1.0f64..2.0,
        // Few keys, so that most of them find their endpoint full.
        keys in prop::collection::vec(0u64..3, 1..150),
    ) {
        let total: u32 = weights.iter().sum();
        for algorithm in HASHING {
            let endpoints = fleet(&weights);
            let mut draws = Draws::with(&settings(algorithm, Some(factor)), &endpoints, 1);
            for (in_flight, key) in keys.iter().enumerate() {
                let index = draws.next_for(hash::of(&key.to_le_bytes())).unwrap();
                endpoints[index].start();
                let fair = (in_flight + 1) as f64 * f64::from(weights[index]) / f64::from(total);
                let load = f64::from(endpoints[index].in_flight());
                prop_assert!(load <= (factor * fair + 1e-6).ceil(), "{load} in flight, fair is {fair}");
            }
        }
    }
}

#[test]
fn the_only_admitted_of_many_is_always_found() {
    let mut weights = vec![3; 400];
    weights[217] = 1;
    let endpoints = fleet(&weights);
    let others: Vec<usize> = (0..400).filter(|index| *index != 217).collect();
    for algorithm in ALGORITHMS {
        let mut draws = Draws::new(algorithm, &endpoints, 2).without(&others);
        for _ in 0..20 {
            assert_eq!(draws.next(), Some(217), "{algorithm:?}");
        }
    }
}

#[test]
fn an_empty_cluster_has_nobody_to_pick() {
    for algorithm in ALGORITHMS {
        assert_eq!(Draws::new(algorithm, &[], 3).next(), None, "{algorithm:?}");
    }
}

#[test]
fn with_all_at_capacity_a_key_stays_with_its_first_choice() {
    for algorithm in HASHING {
        let endpoints = fleet(&[1, 1, 1]);
        let first = Draws::new(algorithm, &endpoints, 4).next_for(99);
        let mut draws = Draws::with(&settings(algorithm, Some(1.0)), &endpoints, 4);
        let picker = &draws.picker;
        endpoints.iter().for_each(|endpoint| endpoint.start());
        let picked = picker.pick(Choice {
            hash: 99,
            // The sum lags behind the endpoints' own counts: everybody looks full.
            in_flight: 0,
            now: Instant::now(),
            admits: |_: &Endpoint| true,
            rng: &mut fastrand::Rng::with_seed(4),
        });
        assert_eq!(picked.map(|e| e.key()), first.map(|i| endpoints[i].key()));
        assert!(draws.next_for(99).is_some());
    }
}

#[test]
fn a_change_of_standing_keeps_the_table_and_everybody_elses_keys() {
    let endpoints = fleet(&[1, 2, 1, 3, 1, 1]);
    let eligible: Vec<Arc<Endpoint>> = endpoints[1..].to_vec();
    for algorithm in HASHING {
        let settings = settings(algorithm, None);
        let mut draws = Draws::with(&settings, &endpoints, 5);
        let keys = || (0..5_000u64).map(|key| hash::of(&key.to_le_bytes()));
        let before: Vec<_> = keys().map(|hash| draws.next_for(hash)).collect();
        let candidates = Candidates {
            members: &endpoints,
            eligible: &eligible,
            weights: &[2, 1, 3, 1, 1],
        };
        let rebuilt = Picker::build(&settings, candidates, Some(&draws.picker));
        assert!(shares_table(&rebuilt, &draws.picker));
        draws.picker = rebuilt;
        for (hash, before) in keys().zip(before) {
            let after = draws.next_for(hash);
            assert_ne!(after, Some(0));
            assert!(after == before || before == Some(0));
            assert_eq!(after, draws.next_for(hash));
        }
    }
}

#[test]
fn a_changed_weight_makes_a_new_table_and_a_new_description_does_not() {
    let endpoints = fleet(&[1, 2, 1]);
    let replaced = |change: fn(&mut crate::instance::Instance)| {
        let mut instance = (*endpoints[1].instance).clone();
        change(&mut instance);
        let mut all = endpoints.clone();
        all[1] = Arc::new(endpoints[1].updated(Arc::new(instance)));
        all
    };
    let heavier = replaced(|instance| instance.weight = 9);
    let tagged = replaced(|instance| instance.zone = Some("b".into()));
    for algorithm in HASHING {
        let settings = settings(algorithm, None);
        let first = Draws::with(&settings, &endpoints, 6).picker;
        for (members, same) in [(&heavier, false), (&tagged, true)] {
            let candidates = Candidates {
                members,
                eligible: members,
                weights: &[1, 2, 1],
            };
            let rebuilt = Picker::build(&settings, candidates, Some(&first));
            assert_eq!(shares_table(&rebuilt, &first), same);
        }
    }
}

fn shares_table(a: &Picker, b: &Picker) -> bool {
    match (&a.chooser, &b.chooser) {
        (Chooser::RingHash(a), Chooser::RingHash(b)) => a.shares_table_with(b),
        (Chooser::Maglev(a), Chooser::Maglev(b)) => a.shares_table_with(b),
        _ => false,
    }
}
