//! The power of two choices: draw two by weight, keep the better one.
//!
//! Two random looks take the longest queue of n from Θ(log n / log log n) above the average down to
//! Θ(log log n) (M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE
//! TPDS 12, 2001), cost the same however many endpoints there are, and spread the errors of a
//! stale load figure. Always taking the least loaded of all does neither: many proxies then rush
//! to the same endpoint, and one that fails at once looks idle and attracts everything.
//!
//! What "better" means is the caller's: [`least_request`](super::least_request),
//! [`peak_ewma`](super::peak_ewma).

use std::sync::Arc;

use super::Choice;
use super::draw::Draw;
use super::scan::{TRIES, first_admitted};
use crate::endpoint::Endpoint;

#[derive(Debug)]
pub(super) struct TwoChoices {
    endpoints: Box<[Arc<Endpoint>]>,
    draw: Draw,
}

impl TwoChoices {
    pub(super) fn new(eligible: &[Arc<Endpoint>]) -> Self {
        let weights: Vec<u32> = eligible.iter().map(|endpoint| endpoint.weight).collect();
        Self {
            endpoints: eligible.into(),
            draw: Draw::new(&weights),
        }
    }

    /// Keeps the first drawn if it is `no_worse` than the second, so that ties follow the weights.
    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        no_worse: impl Fn(&Endpoint, &Endpoint) -> bool,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let mut start = 0;
        for _ in 0..TRIES {
            let (first, second) = self.draw.two(choice.rng);
            start = first;
            let (first, second) = (self.endpoints.get(first)?, self.endpoints.get(second)?);
            let (better, other) = if no_worse(first, second) {
                (first, second)
            } else {
                (second, first)
            };
            if (choice.admits)(better) {
                return Some(better);
            }
            if (choice.admits)(other) {
                return Some(other);
            }
        }
        first_admitted(&self.endpoints, start, choice.admits)
    }
}
