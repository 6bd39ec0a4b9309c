//! Weighted chance: no state, no feedback, nothing shared between threads or proxies.
//!
//! The busiest of n endpoints gets noticeably more than the average (balls into bins); it is the
//! baseline the others improve on, and the right choice where requests cost about the same and
//! nothing may correlate the choices of many proxies.

use std::sync::Arc;

use super::draw::Draw;
use super::observe::{Observer, Why};
use super::scan::try_in_turn;
use super::{Candidates, Choice};
use crate::endpoint::Endpoint;

#[derive(Debug)]
pub(super) struct Random {
    endpoints: Box<[Arc<Endpoint>]>,
    draw: Draw,
}

impl Random {
    pub(super) fn new(candidates: Candidates<'_>) -> Self {
        Self {
            endpoints: candidates.eligible.into(),
            draw: Draw::new(candidates.weights),
        }
    }

    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        observer: &mut impl Observer,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let draw = |rng: &mut fastrand::Rng| self.draw.one(rng);
        try_in_turn(&self.endpoints, choice, draw, Why::Drawn, observer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Draws, assert_shares};
    use super::super::{Algorithm, testing::fleet};

    #[test]
    fn chance_follows_the_weights() {
        let weights = [5, 1, 1, 3];
        let mut draws = Draws::new(Algorithm::Random, &fleet(&weights), 11);
        assert_shares(&draws.counts(50_000), &weights);
    }

    #[test]
    fn the_share_of_an_endpoint_that_is_not_admitted_goes_to_the_others_by_weight() {
        let mut draws = Draws::new(Algorithm::Random, &fleet(&[4, 1, 1, 2]), 12).without(&[0]);
        assert_shares(&draws.counts(50_000)[1..], &[1, 1, 2]);
    }
}
