//! Draws by weight in constant time.
//!
//! Equal weights, the common case, need one multiplication. Others use the alias method in Vose's
//! linear-time form (M. D. Vose, "A Linear Algorithm for Generating Random Numbers with a Given
//! Distribution", IEEE Transactions on Software Engineering 17, 1991): every index gets one column
//! of equal width, and what its weight leaves free of the column is lent to one heavier index, its
//! alias. A draw picks a column, then a side of it. The table is filled in integers, so that no
//! rounding piles up however many weights there are.

use fastrand::Rng;

use super::hash::below;

/// How often the second of a pair is drawn again when it equals the first.
const REDRAWS: usize = 4;

/// A fixed distribution over `0..n`.
#[derive(Debug)]
pub(super) enum Draw {
    Uniform { count: usize },
    Weighted { columns: Box<[Column]> },
}

/// The index keeps `keep / 2³²` of its column and lends the rest to `alias`.
#[derive(Clone, Debug)]
pub(super) struct Column {
    keep: u32,
    alias: u32,
}

impl Draw {
    /// Draws index `i` with a chance of `weights[i]` in their sum.
    pub(super) fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::Uniform {
                count: weights.len(),
            };
        }
        Self::Weighted {
            columns: columns(weights),
        }
    }

    /// One index; 0 when there is none to draw.
    pub(super) fn one(&self, rng: &mut Rng) -> usize {
        match self {
            Self::Uniform { count } => below(rng.u64(..), *count),
            Self::Weighted { columns } => {
                let random = rng.u64(..);
                let index = (((random >> 32) * columns.len() as u64) >> 32) as usize;
                let column = &columns[index];
                if (random as u32) < column.keep {
                    index
                } else {
                    column.alias as usize
                }
            }
        }
    }

    /// Two indices, distinct unless there is only one or the first has nearly all the weight.
    pub(super) fn two(&self, rng: &mut Rng) -> (usize, usize) {
        let first = self.one(rng);
        let second = match self {
            Self::Uniform { count: 0 | 1 } => first,
            Self::Uniform { count } => {
                let other = below(rng.u64(..), count - 1);
                other + usize::from(other >= first)
            }
            Self::Weighted { .. } => (0..REDRAWS)
                .map(|_| self.one(rng))
                .find(|second| *second != first)
                .unwrap_or(first),
        };
        (first, second)
    }
}

/// Fills the columns. Everything is scaled so that the average weight is `total`, one column's width.
fn columns(weights: &[u32]) -> Box<[Column]> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut left: Vec<u64> = weights
        .iter()
        .map(|weight| u64::from(*weight) * weights.len() as u64)
        .collect();
    let mut columns: Box<[Column]> = (0..weights.len())
        .map(|index| Column {
            keep: u32::MAX,
            alias: index as u32,
        })
        .collect();
    let (mut light, mut heavy): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|index| left[*index] < total);
    while let Some(lender) = light.pop() {
        let Some(&borrower) = heavy.last() else { break };
        columns[lender] = Column {
            keep: ((u128::from(left[lender]) << 32) / u128::from(total)) as u32,
            alias: borrower as u32,
        };
        left[borrower] -= total - left[lender];
        if left[borrower] < total {
            heavy.pop();
            light.push(borrower);
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{assert_shares, config};
    use super::*;

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn every_index_is_drawn_by_its_weight(
            weights in prop::collection::vec(1u32..=1_000, 1..20),
            seed: u64,
        ) {
            let draw = Draw::new(&weights);
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut counts = vec![0u64; weights.len()];
            for _ in 0..20_000 {
                counts[draw.one(&mut rng)] += 1;
            }
            assert_shares(&counts, &weights);
        }

        #[test]
        fn the_table_holds_exactly_the_weights(weights in prop::collection::vec(1u32..=65_535, 2..200)) {
            let mut mass = vec![0u64; weights.len()];
            for (index, column) in columns(&weights).iter().enumerate() {
                mass[index] += u64::from(column.keep);
                mass[column.alias as usize] += u64::from(u32::MAX - column.keep);
            }
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            for (mass, weight) in mass.iter().zip(&weights) {
                let share = *mass as f64 / weights.len() as f64 / f64::from(u32::MAX);
                let expected = f64::from(*weight) / total as f64;
                prop_assert!((share - expected).abs() < 1e-8, "{share} {expected}");
            }
        }

        #[test]
        fn the_two_of_an_equal_pair_always_differ(count in 2usize..50, seed: u64) {
            let draw = Draw::new(&vec![3; count]);
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..200 {
                let (first, second) = draw.two(&mut rng);
                prop_assert!(first != second && first < count && second < count);
            }
        }
    }

    #[test]
    fn drawing_from_nothing_or_one_is_index_zero() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(Draw::new(&[]).two(&mut rng), (0, 0));
        assert_eq!(Draw::new(&[9]).two(&mut rng), (0, 0));
    }
}
