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

use super::draw::Draw;
use super::scan::{TRIES, first_admitted};
use super::{Candidates, Choice};
use crate::endpoint::Endpoint;

/// An endpoint with its effective weight.
pub(super) type Weighted<'a> = (&'a Endpoint, u32);

#[derive(Debug)]
pub(super) struct TwoChoices {
    endpoints: Box<[Arc<Endpoint>]>,
    weights: Box<[u32]>,
    draw: Draw,
}

impl TwoChoices {
    pub(super) fn new(candidates: Candidates<'_>) -> Self {
        Self {
            endpoints: candidates.eligible.into(),
            weights: candidates.weights.into(),
            draw: Draw::new(candidates.weights),
        }
    }

    /// Keeps the first drawn if it is `no_worse` than the second, so that ties follow the weights. It
    /// is told each one's effective weight as well.
    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        no_worse: impl Fn(Weighted<'_>, Weighted<'_>) -> bool,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let mut start = 0;
        for _ in 0..TRIES {
            let (first, second) = self.draw.two(choice.rng);
            start = first;
            let (a, b) = (self.endpoints.get(first)?, self.endpoints.get(second)?);
            let (better, other) = if no_worse((a, self.weight(first)), (b, self.weight(second))) {
                (a, b)
            } else {
                (b, a)
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

    fn weight(&self, index: usize) -> u32 {
        self.weights.get(index).copied().unwrap_or(1)
    }
}
