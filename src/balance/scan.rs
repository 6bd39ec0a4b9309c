//! The last resort of the algorithms that draw or rotate: look at everybody once.
//!
//! Drawing finds an admitted endpoint in a try or two unless hardly any is admitted. Then a few
//! fruitless tries end in a scan, whose start the caller keeps moving so that its load is spread.

use std::sync::Arc;

use super::Choice;
use super::observe::{Observer, Obstacle, Why};
use crate::endpoint::Endpoint;

/// How many fruitless tries come before a scan.
pub(super) const TRIES: usize = 8;

/// The first admitted of the endpoints whose places `next` comes up with, or else of all. `why` says
/// so of the one that so many were passed by for.
pub(super) fn try_in_turn<'a, F>(
    endpoints: &'a [Arc<Endpoint>],
    choice: Choice<'_, F>,
    next: impl Fn(&mut fastrand::Rng) -> usize,
    why: impl Fn(u32) -> Why,
    observer: &mut impl Observer,
) -> Option<&'a Arc<Endpoint>>
where
    F: Fn(&Endpoint) -> bool,
{
    let mut index = 0;
    for passed in 0..TRIES {
        index = next(choice.rng);
        let endpoint = endpoints.get(index)?;
        observer.drew(endpoint);
        if (choice.admits)(endpoint) {
            observer.chose(why(passed as u32));
            return Some(endpoint);
        }
        observer.passed(endpoint, Obstacle::NotAdmitted);
    }
    observer.chose(Why::Looked);
    first_admitted(endpoints, index, choice.admits)
}

/// The first admitted endpoint at or after `start`, going once round.
pub(super) fn first_admitted<F>(
    endpoints: &[Arc<Endpoint>],
    start: usize,
    admits: F,
) -> Option<&Arc<Endpoint>>
where
    F: Fn(&Endpoint) -> bool,
{
    let (before, after) = endpoints.split_at(start.min(endpoints.len()));
    after.iter().chain(before).find(|endpoint| admits(endpoint))
}

#[cfg(test)]
mod tests {
    use super::super::testing::fleet;
    use super::*;

    #[test]
    fn a_scan_goes_once_round_from_its_start() {
        let endpoints = fleet(&[1, 1, 1, 1]);
        let found = |start, wanted: &[u64]| {
            let keys: Vec<u64> = wanted
                .iter()
                .map(|i| endpoints[*i as usize].key())
                .collect();
            first_admitted(&endpoints, start, |e| keys.contains(&e.key())).map(|e| e.key())
        };
        assert_eq!(found(2, &[0, 3]), Some(endpoints[3].key()));
        assert_eq!(found(2, &[1]), Some(endpoints[1].key()));
        assert_eq!(found(9, &[1]), Some(endpoints[1].key()));
        assert_eq!(found(0, &[]), None);
    }
}
