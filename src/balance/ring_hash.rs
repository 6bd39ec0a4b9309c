//! Ring hash: consistent hashing on a ring of points (D. Karger et al., "Consistent Hashing and
//! Random Trees", STOC 1997), with ketama's 160 points per unit of weight.
//!
//! A key belongs to the first point clockwise from its hash. When a member leaves, its points go
//! and nothing else moves: only its own keys fall to their next point, which is also where the walk
//! past an endpoint that may not be picked leads. With 160 points a member's share is typically 8%
//! (1/√160) off; Maglev's is exact and faster to pick, and moves about twice the keys.
//!
//! The ring is not `pingora_ketama::Continuum`: that one is keyed by socket address, so an instance
//! that comes back under its id on another port would lose its keys; its points and keys are 32-bit
//! CRCs, which start to collide at tens of thousands of points and are linear, not mixed; and it
//! knows nothing of ids while walking. Points here are XXH3-64 of the id.
//!
//! The number of points depends on the member's own weight and nothing else. Dividing all weights by
//! their common divisor would make smaller rings, but then one newcomer of weight 1 beside weights of
//! 100 multiplies everybody's points by 100 and moves nearly all keys. Only where the ring would grow
//! past 2²¹ points is it halved, as often as needed, so that the scale changes rarely; of each
//! member's points the first half stays.

use super::hash::{below, of_member};
use super::hashed::{Member, Table};

/// Points per unit of weight.
const POINTS_PER_WEIGHT: u64 = 160;
/// The least points a member has, however much the ring is halved.
const MIN_POINTS: u64 = 4;
/// The size a ring is halved to: 26 MiB, and all 160 points up to some 13,000 members of weight 1.
const MAX_POINTS: u64 = 1 << 21;

/// How many points a sector has on average: few enough for one cache line or two.
const POINTS_PER_SECTOR: usize = 4;

/// Points in hash order, apart from their owners to keep the search within fewer cache lines.
///
/// Hashes are spread evenly, so a key's hash tells where its point is but for a few places: the
/// ring is divided into equal sectors, and the search looks at one. Searching the whole of a large
/// ring misses the cache at every step but the last few.
#[derive(Debug, PartialEq)]
pub(super) struct Ring {
    hashes: Box<[u64]>,
    owners: Box<[u32]>,
    /// Where in `hashes` each sector begins, and at last where the last one ends.
    sectors: Box<[u32]>,
}

impl Ring {
    /// The index of the first point at or after `hash`, which may be one past the last.
    fn at(&self, hash: u64) -> usize {
        let sector = below(hash, self.sectors.len() - 1);
        let (start, end) = (self.sectors[sector], self.sectors[sector + 1]);
        let points = &self.hashes[start as usize..end as usize];
        start as usize + points.partition_point(|point| *point < hash)
    }
}

/// See [`Ring::sectors`]; `hashes` are in order.
fn sectors(hashes: &[u64]) -> Box<[u32]> {
    let count = hashes.len() / POINTS_PER_SECTOR + 1;
    let mut sectors = vec![0u32; count + 1];
    for hash in hashes {
        sectors[below(*hash, count) + 1] += 1;
    }
    for sector in 0..count {
        sectors[sector + 1] += sectors[sector];
    }
    sectors.into()
}

impl Table for Ring {
    fn build(members: &[Member]) -> Self {
        let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
        let mut halvings = 0;
        while (total * POINTS_PER_WEIGHT) >> halvings > MAX_POINTS {
            halvings += 1;
        }
        let mut points: Vec<(u64, u32)> = Vec::new();
        for (owner, member) in members.iter().enumerate() {
            let count = (u64::from(member.weight) * POINTS_PER_WEIGHT) >> halvings;
            let numbers = 0..count.max(MIN_POINTS);
            points.extend(numbers.map(|n| (of_member(member.id.as_str(), n), owner as u32)));
        }
        points.sort_unstable();
        let (hashes, owners): (Vec<u64>, Vec<u32>) = points.into_iter().unzip();
        Self {
            sectors: sectors(&hashes),
            hashes: hashes.into(),
            owners: owners.into(),
        }
    }

    fn choices(&self, hash: u64) -> impl Iterator<Item = usize> {
        let (before, after) = self.owners.split_at(self.at(hash));
        after.iter().chain(before).map(|owner| *owner as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{members, owners};
    use super::*;

    #[test]
    fn when_a_member_leaves_only_its_keys_move() {
        let weights = [1, 3, 2, 1, 2, 1, 1, 1];
        let all = members(&weights);
        let without: Vec<Member> = [&all[..2], &all[3..]].concat();
        let before = owners::<Ring>(&all, 20_000);
        let after = owners::<Ring>(&without, 20_000);
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *before == all[2].id);
            assert_ne!(*after, all[2].id);
        }
    }

    #[test]
    fn the_index_finds_what_a_full_search_finds() {
        for weights in [vec![], vec![1], vec![3, 1, 8]] {
            let ring = Ring::build(&members(&weights));
            let near = |hash: &u64| [hash.wrapping_sub(1), *hash, hash.wrapping_add(1)];
            let hashes = ring.hashes.iter().flat_map(near).chain([0, u64::MAX]);
            for hash in hashes {
                let expected = ring.hashes.partition_point(|point| *point < hash);
                assert_eq!(ring.at(hash), expected, "{hash:#x}");
            }
        }
    }

    #[test]
    fn a_returning_member_finds_the_same_ring() {
        let all = members(&[2, 1, 5, 1]);
        assert_eq!(Ring::build(&all), Ring::build(&all.clone()));
    }

    #[test]
    fn a_light_newcomer_moves_only_the_keys_it_takes() {
        let all = members(&[100, 100, 100, 1]);
        let before = owners::<Ring>(&all[..3], 20_000);
        let after = owners::<Ring>(&all, 20_000);
        let moved = before.iter().zip(&after).filter(|(b, a)| b != a).count();
        assert!(
            before
                .iter()
                .zip(&after)
                .all(|(b, a)| b == a || *a == all[3].id)
        );
        assert!(moved < 150, "{moved}");
    }

    #[test]
    fn shares_are_near_the_weights() {
        let weights = [1, 2, 4, 8];
        let all = members(&weights);
        let keys = owners::<Ring>(&all, 60_000);
        for (member, weight) in all.iter().zip(weights) {
            let got = keys.iter().filter(|owner| **owner == member.id).count() as f64;
            let fair = 60_000.0 * f64::from(weight) / 15.0;
            // Four deviations of the arcs' lengths and of the draw of keys together.
            let off = 4.0 * (fair * fair / (160.0 * f64::from(weight)) + fair).sqrt();
            assert!((got - fair).abs() < off, "{got}, fair is {fair} ± {off}");
        }
    }

    #[test]
    fn a_ring_stays_within_its_size_and_leaves_nobody_out() {
        let mut weights = vec![65_535; 1_000];
        weights.push(1);
        let ring = Ring::build(&members(&weights));
        assert!(ring.hashes.len() as u64 <= MAX_POINTS + MIN_POINTS);
        assert!(ring.hashes.len() as u64 > MAX_POINTS / 2 - 1_000);
        let lightest = ring.owners.iter().filter(|owner| **owner == 1_000).count();
        assert_eq!(lightest as u64, MIN_POINTS);
    }
}
