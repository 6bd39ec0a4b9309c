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
use super::observe::{Observer, Obstacle, Why};
use super::scan::{TRIES, first_admitted};
use super::{Candidates, Choice};
use crate::endpoint::Endpoint;

/// An endpoint that was drawn, as it is compared with the other one.
#[derive(Clone, Copy)]
pub(super) struct Drawn<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Its effective weight.
    pub(super) weight: u32,
    pub(super) in_flight: u32,
}

impl<'a> Drawn<'a> {
    /// With what it has in flight now.
    pub(super) fn now(endpoint: &'a Endpoint, weight: u32) -> Self {
        Self {
            endpoint,
            weight,
            in_flight: endpoint.in_flight(),
        }
    }
}

/// What comparing two came to.
pub(super) struct Rated {
    /// Whether the first is no worse than the second.
    pub(super) keeps_first: bool,
    /// What they were compared by; less is better.
    pub(super) scores: [Option<f64>; 2],
    pub(super) why: Why,
}

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

    /// Keeps the first drawn if `rate` finds it no worse than the second, so that ties follow the
    /// weights.
    pub(super) fn pick<F>(
        &self,
        choice: Choice<'_, F>,
        rate: impl Fn(Drawn<'_>, Drawn<'_>) -> Rated,
        observer: &mut impl Observer,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let mut start = 0;
        for _ in 0..TRIES {
            let (first, second) = self.draw.two(choice.rng);
            start = first;
            let (a, b) = (self.endpoints.get(first)?, self.endpoints.get(second)?);
            let [drawn_a, drawn_b] = [(a, first), (b, second)]
                .map(|(endpoint, index)| Drawn::now(endpoint, self.weight(index)));
            let rated = rate(drawn_a, drawn_b);
            observer.drew(a);
            observer.rated(a, drawn_a.in_flight, rated.scores[0]);
            if second != first {
                observer.drew(b);
                observer.rated(b, drawn_b.in_flight, rated.scores[1]);
            }
            let (better, other) = if rated.keeps_first { (a, b) } else { (b, a) };
            if (choice.admits)(better) {
                observer.chose(if second == first {
                    Why::DrawnTwice
                } else {
                    rated.why
                });
                return Some(better);
            }
            observer.passed(better, Obstacle::NotAdmitted);
            if (choice.admits)(other) {
                observer.chose(Why::OtherOut);
                return Some(other);
            }
            observer.passed(other, Obstacle::NotAdmitted);
        }
        observer.chose(Why::Looked);
        first_admitted(&self.endpoints, start, choice.admits)
    }

    fn weight(&self, index: usize) -> u32 {
        self.weights.get(index).copied().unwrap_or(1)
    }
}
