//! What both hash algorithms share: a table that outlives its picker, and the walk along a key's
//! choices.
//!
//! The table is made of every registered member, whatever its standing, and depends on ids and
//! weights alone. So every proxy makes the same one, an endpoint that fails and recovers finds its
//! old keys again, and a change of standing costs no new table. Who may be picked is a second,
//! small array; a key whose endpoint may not is passed along the key's own further choices, which
//! spreads an absent endpoint's keys over all others and sends each of them to the same one again.
//!
//! A table of thousands of members takes a tenth of a second to make. Rather than hold up the change
//! that asks for it, a large one is [provisional](Hashed::is_provisional) at first: the old table over
//! those of its members that are left. Newcomers then wait for their keys until somebody who has the
//! time has made the whole table.

use std::fmt;
use std::sync::Arc;

use super::bounded_load::BoundedLoad;
use super::hash::below;
use super::observe::{Observer, Obstacle, Why};
use super::{Candidates, Choice};
use crate::endpoint::Endpoint;
use crate::names::InstanceId;

/// How many of a key's choices are tried before looking at everybody in turn. With one member in
/// twenty to be had, one key in 700 gets that far.
const WALK: usize = 128;

/// The most members whose table is made on the spot: about a millisecond's work.
const PROMPT: usize = 128;

/// Whether a large table is worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// The old table will do for now.
    Prompt,
    /// The table must be whole.
    Whole,
}

/// A lookup table of member indices.
pub(super) trait Table: fmt::Debug {
    /// The table of these members, each with a weight above 0, sorted by id.
    fn build(members: &[Member]) -> Self;

    /// A key's choices, best first. Repeats members; need not end.
    fn choices(&self, hash: u64) -> impl Iterator<Item = usize>;
}

/// What a table may depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) id: InstanceId,
    pub(super) weight: u32,
}

#[derive(Debug)]
pub(super) struct Hashed<T> {
    plan: Arc<Plan<T>>,
    /// The endpoint of each of the plan's members that may be picked, then those of newcomers that
    /// the plan does not know.
    slots: Box<[Option<Arc<Endpoint>>]>,
    bound: Option<BoundedLoad>,
    provisional: bool,
}

#[derive(Debug)]
struct Plan<T> {
    members: Box<[Member]>,
    table: T,
}

impl<T: Table> Hashed<T> {
    pub(super) fn new(
        candidates: Candidates<'_>,
        bounded_load: Option<f64>,
        previous: Option<&Self>,
        haste: Haste,
    ) -> Self {
        let Candidates {
            members, eligible, ..
        } = candidates;
        let previous = previous.map(|previous| &previous.plan);
        let fitting = previous.filter(|plan| plan.fits(members));
        let stopgap = previous.filter(|plan| {
            haste == Haste::Prompt && members.len() > PROMPT && !plan.members.is_empty()
        });
        let plan = match fitting.or(stopgap) {
            Some(plan) => Arc::clone(plan),
            None => Arc::new(Plan::new(members)),
        };
        let provisional = fitting.is_none() && stopgap.is_some();
        let total_weight = eligible.iter().map(|e| u64::from(e.weight)).sum();
        Self {
            slots: if provisional {
                plan.slots_by_id(eligible)
            } else {
                slots_in_order(members, eligible)
            },
            plan,
            bound: bounded_load.map(|factor| BoundedLoad::new(factor, total_weight)),
            provisional,
        }
    }

    /// Whether the table is that of an earlier membership.
    pub(super) fn is_provisional(&self) -> bool {
        self.provisional
    }

    /// The first of the key's choices that is admitted and has room, or else is admitted.
    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        observer: &mut impl Observer,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let count = self.slots.len();
        let start = below(choice.hash, count);
        let walk = self.plan.table.choices(choice.hash).take(WALK);
        let everybody = (start..count).chain(0..start);
        let mut full = None;
        let mut skipped = 0;
        for index in walk.chain(everybody) {
            let Some(Some(endpoint)) = self.slots.get(index) else {
                skipped += 1;
                continue;
            };
            observer.drew(endpoint);
            if !(choice.admits)(endpoint) {
                observer.passed(endpoint, Obstacle::NotAdmitted);
                skipped += 1;
                continue;
            }
            match self.bound {
                Some(bound) if !bound.has_room(endpoint, choice.in_flight) => {
                    observer.passed(endpoint, Obstacle::Bounded);
                    skipped += 1;
                    full.get_or_insert(endpoint);
                }
                _ => {
                    observer.chose(Why::Key(skipped));
                    return Some(endpoint);
                }
            }
        }
        observer.chose(Why::NoRoom);
        full
    }

    #[cfg(test)]
    pub(super) fn shares_table_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.plan, &other.plan)
    }
}

impl<T: Table> Plan<T> {
    fn new(members: &[Arc<Endpoint>]) -> Self {
        let members: Box<[Member]> = members
            .iter()
            .map(|endpoint| Member {
                id: endpoint.instance.id.clone(),
                weight: endpoint.weight,
            })
            .collect();
        let table = T::build(&members);
        Self { members, table }
    }

    /// What `eligible`, sorted by id, leaves of the plan's members, and those it does not know.
    fn slots_by_id(&self, eligible: &[Arc<Endpoint>]) -> Box<[Option<Arc<Endpoint>>]> {
        let mut newcomers = Vec::new();
        let mut eligible = eligible.iter().peekable();
        let mut slots = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let before = |e: &&Arc<Endpoint>| e.instance.id < member.id;
            while let Some(newcomer) = eligible.next_if(before) {
                newcomers.push(Some(Arc::clone(newcomer)));
            }
            slots.push(eligible.next_if(|e| e.instance.id == member.id).cloned());
        }
        slots.append(&mut newcomers);
        slots.extend(eligible.cloned().map(Some));
        slots.into()
    }

    fn fits(&self, members: &[Arc<Endpoint>]) -> bool {
        let same = |(ours, theirs): (&Member, &Arc<Endpoint>)| {
            ours.weight == theirs.weight && ours.id == theirs.instance.id
        };
        self.members.len() == members.len() && self.members.iter().zip(members).all(same)
    }
}

/// Each member's endpoint if it is in `eligible`, whose order is the same.
fn slots_in_order(
    members: &[Arc<Endpoint>],
    eligible: &[Arc<Endpoint>],
) -> Box<[Option<Arc<Endpoint>>]> {
    let mut eligible = eligible.iter().peekable();
    members
        .iter()
        .map(|member| eligible.next_if(|e| e.key() == member.key()).cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::maglev::Maglev;
    use super::super::testing::fleet;
    use super::*;

    fn picked(hashed: &Hashed<Maglev>, hash: u64) -> String {
        let choice = Choice {
            hash,
            in_flight: 0,
            now: std::time::Instant::now(),
            admits: |_: &Endpoint| true,
            rng: &mut fastrand::Rng::with_seed(1),
        };
        hashed
            .pick(choice, &mut ())
            .unwrap()
            .instance
            .id
            .to_string()
    }

    fn hashed(
        members: &[Arc<Endpoint>],
        previous: Option<&Hashed<Maglev>>,
        haste: Haste,
    ) -> Hashed<Maglev> {
        let candidates = Candidates {
            members,
            eligible: members,
            weights: &vec![1; members.len()],
        };
        Hashed::new(candidates, None, previous, haste)
    }

    #[test]
    fn a_large_table_is_provisional_until_it_is_made_whole() {
        let all = fleet(&vec![1; PROMPT + 2]);
        let first = hashed(&all[1..], None, Haste::Prompt);
        assert!(
            !first.is_provisional(),
            "there is no older table to make do with"
        );
        let grown = hashed(&all, Some(&first), Haste::Prompt);
        assert!(grown.is_provisional());
        let keys: Vec<u64> = (0..20_000)
            .map(|key| super::super::hash::of_member("k", key))
            .collect();
        for &key in &keys {
            assert_eq!(picked(&grown, key), picked(&first, key));
        }
        let whole = hashed(&all, Some(&grown), Haste::Whole);
        assert!(!whole.is_provisional());
        let newcomer = all[0].instance.id.as_str();
        assert!(keys.iter().any(|&key| picked(&whole, key) == newcomer));
        let kept = hashed(&all, Some(&whole), Haste::Prompt);
        assert!(!kept.is_provisional() && kept.shares_table_with(&whole));
    }

    #[test]
    fn a_provisional_table_knows_who_left_and_finds_newcomers_when_nobody_else_is_left() {
        let all = fleet(&vec![1; 2 * PROMPT + 4]);
        let (old, new) = all.split_at(PROMPT + 2);
        let first = hashed(old, None, Haste::Prompt);
        let shrunk = hashed(&old[1..], Some(&first), Haste::Prompt);
        assert!(shrunk.is_provisional());
        let gone = old[0].instance.id.as_str();
        assert!((0..10_000).all(|key| picked(&shrunk, key << 48) != gone));
        let replaced = hashed(new, Some(&first), Haste::Prompt);
        assert!(replaced.is_provisional());
        let ids: Vec<_> = new.iter().map(|e| e.instance.id.to_string()).collect();
        assert!((0..100).all(|key| ids.contains(&picked(&replaced, key << 56))));
    }
}
