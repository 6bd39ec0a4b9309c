//! The last resort of the algorithms that draw or rotate: look at everybody once.
//!
//! Drawing finds an admitted endpoint in a try or two unless hardly any is admitted. Then a few
//! fruitless tries end in a scan, whose start the caller keeps moving so that its load is spread.

use std::sync::Arc;

use crate::endpoint::Endpoint;

/// How many fruitless tries come before a scan.
pub(super) const TRIES: usize = 8;

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
