//! Maglev hashing (D. Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
//! NSDI 2016, section 3.4).
//!
//! A key's hash is an index into a table of prime size. Every member has its own permutation of the
//! table's positions, derived from its id; members take turns, each taking the first position of
//! its permutation that is still free. Shares are therefore exact to an entry, a pick is one memory
//! access, and when a member leaves most positions keep their owner; a few of the others' move too.
//!
//! Weights follow Envoy: in each round the heaviest takes a turn, the others whenever their weight has
//! added up to the heaviest's; everybody takes one in the first round, so nobody is left out. Members
//! of one weight always take their turns together, so rounds go by weight, not by member: a few
//! heavy members among thousands of light ones don't cost a look at each light one in every round.
//!
//! The table has 65537 entries as in the paper, and at least 100 per member. Sizes double: a size
//! that followed the number of members would reshuffle all keys with every newcomer.

use std::collections::BTreeMap;

use super::hash::{below, of_member};
use super::hashed::{Member, Table};

/// The least primes above 2¹⁶, 2¹⁷, … 2²³; the last serves any larger number of members.
const SIZES: [u32; 8] = [
    65_537, 131_101, 262_147, 524_309, 1_048_583, 2_097_169, 4_194_319, 8_388_617,
];
/// Entries per member that the size allows for.
const ENTRIES_PER_MEMBER: usize = 100;

/// A position nobody has taken yet.
const FREE: u32 = u32::MAX;

/// The owner of each position.
#[derive(Debug, PartialEq)]
pub(super) struct Maglev {
    owners: Box<[u32]>,
}

impl Table for Maglev {
    fn build(members: &[Member]) -> Self {
        let size = size_for(members.len());
        let mut owners = vec![FREE; size as usize];
        let mut free = owners.len();
        let mut ranks = ranks(members, size);
        while free > 0 && !ranks.is_empty() {
            for rank in &mut ranks {
                if !rank.takes_turn() {
                    continue;
                }
                for turns in rank.members.iter_mut().take(free) {
                    let position = turns.find(|position| owners[position as usize] == FREE);
                    owners[position as usize] = turns.owner;
                    free -= 1;
                }
            }
        }
        Self {
            owners: owners.into(),
        }
    }

    /// The paper's lookup, then double hashing: a prime size lets any stride visit every position.
    fn choices(&self, hash: u64) -> impl Iterator<Item = usize> {
        let size = self.owners.len();
        let stride = 1 + hash as u32 as usize % (size - 1);
        let mut position = below(hash, size);
        std::iter::repeat_with(move || {
            let owner = self.owners[position] as usize;
            position = (position + stride) % size;
            owner
        })
    }
}

/// The members of one weight, who take their turns together.
struct Rank {
    weight: u64,
    heaviest: u64,
    /// Weight added up since the last turn.
    credit: u64,
    members: Vec<Permutation>,
}

impl Rank {
    fn takes_turn(&mut self) -> bool {
        self.credit += self.weight;
        let takes = self.credit >= self.heaviest;
        if takes {
            self.credit -= self.heaviest;
        }
        takes
    }
}

fn ranks(members: &[Member], size: u32) -> Vec<Rank> {
    let mut by_weight: BTreeMap<u32, Vec<Permutation>> = BTreeMap::new();
    for (owner, member) in members.iter().enumerate() {
        by_weight
            .entry(member.weight)
            .or_default()
            .push(Permutation::new(member, owner as u32, size));
    }
    let heaviest = by_weight.last_key_value().map_or(0, |(weight, _)| *weight);
    by_weight
        .into_iter()
        .rev()
        .map(|(weight, members)| Rank {
            weight: weight.into(),
            heaviest: heaviest.into(),
            // Enough for a turn in the first round, whatever the weight.
            credit: u64::from(heaviest - weight),
            members,
        })
        .collect()
}

/// A member's way through the positions: the paper's `(offset + j × skip) mod size`.
struct Permutation {
    owner: u32,
    size: u32,
    next: u32,
    skip: u32,
}

impl Permutation {
    fn new(member: &Member, owner: u32, size: u32) -> Self {
        let id = member.id.as_str();
        Self {
            owner,
            size,
            next: below(of_member(id, 0), size as usize) as u32,
            skip: 1 + below(of_member(id, 1), size as usize - 1) as u32,
        }
    }

    /// The next position that `wanted` accepts; there must be one.
    fn find(&mut self, wanted: impl Fn(u32) -> bool) -> u32 {
        loop {
            let position = self.next;
            self.next = (position + self.skip) % self.size;
            if wanted(position) {
                return position;
            }
        }
    }
}

fn size_for(members: usize) -> u32 {
    let wanted = members.saturating_mul(ENTRIES_PER_MEMBER);
    let [sizes @ .., largest] = SIZES;
    sizes
        .into_iter()
        .find(|size| *size as usize >= wanted)
        .unwrap_or(largest)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{members, owners};
    use super::*;

    fn entries(table: &Maglev, count: usize) -> Vec<usize> {
        let mut entries = vec![0; count];
        table
            .owners
            .iter()
            .for_each(|owner| entries[*owner as usize] += 1);
        entries
    }

    #[test]
    fn sizes_are_primes() {
        for size in SIZES {
            assert!(
                (2..).take_while(|d| d * d <= size).all(|d| size % d != 0),
                "{size}"
            );
        }
        assert_eq!(
            [size_for(0), size_for(655), size_for(656)],
            [65_537, 65_537, 131_101]
        );
        assert_eq!(size_for(usize::MAX), 8_388_617);
    }

    #[test]
    fn entries_are_shared_exactly_by_weight() {
        let equal = Maglev::build(&members(&[7; 10]));
        assert!(
            entries(&equal, 10)
                .iter()
                .all(|n| (6_553..=6_554).contains(n))
        );
        let weights = [1, 10, 50, 200];
        let table = Maglev::build(&members(&weights));
        for (got, weight) in entries(&table, 4).into_iter().zip(weights) {
            let fair = 65_537.0 * f64::from(weight) / 261.0;
            assert!((got as f64 - fair).abs() <= 2.0, "{got}, fair is {fair}");
        }
    }

    #[test]
    fn the_lightest_member_has_an_entry() {
        let mut weights = vec![65_535; 500];
        weights.push(1);
        let table = Maglev::build(&members(&weights));
        assert_eq!(entries(&table, 501)[500], 1);
    }

    #[test]
    fn when_a_member_leaves_few_keys_of_others_move() {
        for weights in [vec![1; 20], vec![4, 1, 3, 2, 2, 1, 5, 2, 1, 4, 4, 2]] {
            let all = members(&weights);
            let without: Vec<Member> = [&all[..3], &all[4..]].concat();
            let before = owners::<Maglev>(&all, 20_000);
            let after = owners::<Maglev>(&without, 20_000);
            let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count() as f64;
            let total: u32 = weights.iter().sum();
            let share = 20_000.0 * f64::from(weights[3]) / f64::from(total);
            assert!(
                moved < 2.5 * share,
                "{moved} keys moved, the share is {share}"
            );
            assert!(after.iter().all(|owner| *owner != all[3].id));
        }
    }

    #[test]
    fn a_returning_member_finds_the_same_table() {
        let all = members(&[2, 1, 5, 1]);
        assert_eq!(Maglev::build(&all), Maglev::build(&all.clone()));
    }

    #[test]
    fn many_distinct_weights_fill_the_table() {
        let weights: Vec<u32> = (1..=600).chain([65_535]).collect();
        let table = Maglev::build(&members(&weights));
        assert!(entries(&table, weights.len()).iter().all(|n| *n > 0));
    }

    #[test]
    fn a_table_of_nobody_names_nobody() {
        assert!(
            Maglev::build(&[])
                .choices(7)
                .take(9)
                .all(|owner| owner == FREE as usize)
        );
    }
}
