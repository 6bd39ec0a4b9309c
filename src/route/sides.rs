//! The sides of a split: which of them a request falls on.
//!
//! A request's draw, mixed once more, is a point on a line as long as all weights together, on which
//! the sides lie one after the other in the order of their services' names. A request that brings the
//! same draw again therefore stays on its side, and when one of two sides grows, only requests of the
//! other one move, no more of them than it grows by: 95 to 5 becomes 90 to 10 by moving 5 in 100. In
//! what order the sides are written makes no difference. With more than two, a side that grows at the
//! cost of one that is not its neighbour moves those between them along.
//!
//! Mixed once more, because the service behind a side may hash on the same part of the request: its
//! users would otherwise all come from one end of the hashes, and fall on few of its instances. The mix
//! depends on nothing else, so that two routes with the same split agree on a user.

use super::Destination;

/// Where each side ends.
#[derive(Debug)]
pub(super) struct Sides {
    /// The end of each side with weight, and where the side stands in the settings.
    ends: Box<[(u64, usize)]>,
    total: u64,
}

impl Sides {
    pub(super) fn new(destinations: &[Destination]) -> Self {
        let mut order: Vec<usize> = (0..destinations.len()).collect();
        order.sort_by_key(|&side| &destinations[side].service);
        let mut total = 0;
        let ends = order
            .into_iter()
            .filter(|&side| destinations[side].weight > 0)
            .map(|side| {
                total += u64::from(destinations[side].weight);
                (total, side)
            })
            .collect();
        Self { ends, total }
    }

    /// The side that `draw` falls on, which is asked for only if there is a choice; `None` if no side
    /// has any weight.
    pub(super) fn side(&self, draw: impl FnOnce() -> u64) -> Option<usize> {
        match &*self.ends {
            [] => None,
            [(_, only)] => Some(*only),
            _ => self.at(mixed(draw())),
        }
    }

    fn at(&self, point: u64) -> Option<usize> {
        let place = ((u128::from(point) * u128::from(self.total)) >> 64) as u64;
        let side = self.ends.partition_point(|&(end, _)| end <= place);
        self.ends.get(side).map(|&(_, side)| side)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", OOPSLA 2014).
fn mixed(draw: u64) -> u64 {
    let draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    draw ^ (draw >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sides(weights: &[(&str, u32)]) -> Sides {
        let destinations: Vec<_> = weights
            .iter()
            .map(|(service, weight)| Destination {
                service: service.parse().unwrap(),
                weight: *weight,
            })
            .collect();
        Sides::new(&destinations)
    }

    #[test]
    fn a_split_follows_its_weights_exactly_over_the_whole_line() {
        let split = sides(&[("a", 95), ("none", 0), ("b", 5)]);
        let step = u64::MAX / 1_000;
        let at = |side| {
            let points = (0..1_000).map(|point| split.at(point * step + step / 2));
            points.filter(|found| *found == Some(side)).count()
        };
        assert_eq!([at(0), at(1), at(2)], [950, 0, 50]);
        assert_eq!(split.at(0), Some(0));
        assert_eq!(split.at(u64::MAX), Some(2));
    }

    #[test]
    fn nobody_draws_where_there_is_no_choice() {
        let unasked = || unreachable!();
        assert_eq!(sides(&[("a", 1)]).side(unasked), Some(0));
        assert_eq!(sides(&[("a", 0), ("b", 7)]).side(unasked), Some(1));
        assert_eq!(sides(&[("a", 0)]).side(unasked), None);
        assert_eq!(sides(&[]).side(unasked), None);
    }

    proptest! {
        #[test]
        fn a_side_that_grows_takes_from_the_other_and_gives_nothing(
            before in 0_u32..=100,
            growth in 0_u32..=100,
            draws in prop::collection::vec(any::<u64>(), 200),
        ) {
            let after = (before + growth).min(100);
            let (old, new) = (
                sides(&[("web", 100 - before), ("next", before)]),
                sides(&[("next", after), ("web", 100 - after)]),
            );
            for draw in draws {
                let was_next = old.side(|| draw) == Some(1);
                let is_next = new.side(|| draw) == Some(0);
                prop_assert!(is_next || !was_next);
            }
        }

        #[test]
        fn neighbouring_hashes_fall_by_weight(start: u64, weight in 5_u32..=95) {
            let split = sides(&[("a", 100 - weight), ("b", weight)]);
            let to_b = (0..2_000).filter(|n| split.side(|| start.wrapping_add(*n)) == Some(1));
            let share = to_b.count() as f64 / 20.0;
            prop_assert!((share - f64::from(weight)).abs() < 8.0, "{share}%");
        }
    }
}
