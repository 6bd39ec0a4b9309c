//! Selection: which endpoint gets the next request. One file per algorithm.
//!
//! A [`Picker`] is immutable and rebuilt on every change of membership or availability; picking
//! takes no lock and allocates nothing. Randomness, time and the request's hash are arguments.
//!
//! Two lists go in, because two kinds of algorithm come out. Those that draw or rotate
//! ([`round_robin`], [`random`], [`least_request`], [`peak_ewma`]) know only who may be picked now.
//! Those that hash ([`ring_hash`], [`maglev`]) map keys to everybody registered and walk past those who
//! may not be picked, so that a key comes back to its endpoint with it.
//!
//! The first kind goes by *effective* weights, which follow what an endpoint can take for now; how
//! they come about is not known here. Hash tables are made of registered weights alone: one that
//! followed an endpoint's load would move keys about with it, and no two proxies would have the same.
//!
//! Architecture invariant: a picker has no opinion on health. [`Choice::admits`] has the last word
//! on every endpoint, and as long as it admits anybody, somebody is picked.

pub mod bounded_load;
pub mod draw;
pub mod ewma;
pub mod hash;
mod hashed;
pub mod least_request;
pub mod maglev;
pub mod observe;
pub mod peak_ewma;
pub mod random;
pub mod ring_hash;
pub mod round_robin;
mod scan;
mod two_choices;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::endpoint::Endpoint;
use hashed::{Hashed, Haste};
use maglev::Maglev;
use observe::Observer;
use random::Random;
use ring_hash::Ring;
use round_robin::RoundRobin;
use two_choices::TwoChoices;

/// How a service's requests are spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What the hash algorithms hash.
    pub hash_on: HashOn,
    /// The hash algorithms' bounded-load factor, at least 1; `None` lets a key overload its endpoint.
    pub bounded_load: Option<f64>,
}

/// The selection algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Smooth weighted rotation.
    RoundRobin,
    /// Weighted chance.
    Random,
    /// The less loaded of two drawn by weight.
    LeastRequest,
    /// The one of two drawn by weight that would answer sooner.
    PeakEwma,
    /// Consistent hashing on a ketama ring.
    RingHash,
    /// Consistent hashing on a Maglev table.
    Maglev,
}

impl Algorithm {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequest,
        Self::PeakEwma,
        Self::RingHash,
        Self::Maglev,
    ];

    /// What the configuration calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::LeastRequest => "least_request",
            Self::PeakEwma => "peak_ewma",
            Self::RingHash => "ring_hash",
            Self::Maglev => "maglev",
        }
    }

    /// Whether a request's hash says where it goes.
    pub fn hashes(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

/// What part of a request the hash algorithms hash. Requests without it are spread at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// A header's value.
    Header(http::HeaderName),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's value.
    Query(String),
    /// The path, without the query.
    Path,
    /// The client's address.
    ClientIp,
}

/// As the configuration writes it.
impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
            Self::ClientIp => f.write_str("client_ip"),
        }
    }
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::LeastRequest,
            hash_on: HashOn::ClientIp,
            bounded_load: Some(1.25),
        }
    }
}

/// The endpoints a picker is built from.
#[derive(Clone, Copy, Debug)]
pub struct Candidates<'a> {
    /// Every member with a weight above 0, sorted by instance id, whatever its standing: what hash
    /// tables are made of, so that they depend on the registrations alone.
    pub members: &'a [Arc<Endpoint>],
    /// Those among them that may be picked now: usable ones or, in panic, last resorts as well.
    pub eligible: &'a [Arc<Endpoint>],
    /// The effective weight of each of the eligible, in the same order and above 0: its share of the
    /// requests. The hash algorithms go by the registered weights instead.
    pub weights: &'a [u32],
}

/// What a picker is told of a request.
pub struct Choice<'a, F> {
    /// The request's hash, see [`hash`].
    pub hash: u64,
    /// Requests in flight in the whole cluster, for bounded load.
    pub in_flight: u64,
    /// Now.
    pub now: Instant,
    /// Whether an endpoint may still be taken: its standing may have changed since the picker was
    /// built, and a retry must not return to an endpoint it tried.
    pub admits: F,
    /// The source of chance.
    pub rng: &'a mut fastrand::Rng,
}

/// An immutable chooser over one cluster's endpoints.
#[derive(Debug)]
pub struct Picker {
    chooser: Chooser,
}

#[derive(Debug)]
enum Chooser {
    RoundRobin(RoundRobin),
    Random(Random),
    LeastRequest(TwoChoices),
    PeakEwma(TwoChoices),
    RingHash(Hashed<Ring>),
    Maglev(Hashed<Maglev>),
}

impl Picker {
    /// Builds the picker for `candidates`. `previous` is the one it replaces: rotation goes on where
    /// it was, and hash tables are kept when ids and weights are the same. A large hash table that
    /// is not is left [provisional](Self::is_provisional).
    pub fn build(settings: &Balance, candidates: Candidates<'_>, previous: Option<&Self>) -> Self {
        Self::with_haste(settings, candidates, previous, Haste::Prompt)
    }

    /// As [`Picker::build`], but takes the time that a large hash table needs.
    pub fn build_whole(settings: &Balance, candidates: Candidates<'_>) -> Self {
        Self::with_haste(settings, candidates, None, Haste::Whole)
    }

    /// Whether newcomers wait for a new hash table: whoever has the time should make one with
    /// [`Picker::build_whole`] and pass it to [`Picker::build`] as the previous picker.
    pub fn is_provisional(&self) -> bool {
        match &self.chooser {
            Chooser::RingHash(chooser) => chooser.is_provisional(),
            Chooser::Maglev(chooser) => chooser.is_provisional(),
            _ => false,
        }
    }

    fn with_haste(
        settings: &Balance,
        candidates: Candidates<'_>,
        previous: Option<&Self>,
        haste: Haste,
    ) -> Self {
        let bound = settings.bounded_load;
        let previous = previous.map(|previous| &previous.chooser);
        let chooser = match settings.algorithm {
            Algorithm::RoundRobin => {
                let previous = match previous {
                    Some(Chooser::RoundRobin(previous)) => Some(previous),
                    _ => None,
                };
                Chooser::RoundRobin(RoundRobin::new(candidates, previous))
            }
            Algorithm::Random => Chooser::Random(Random::new(candidates)),
            Algorithm::LeastRequest => Chooser::LeastRequest(TwoChoices::new(candidates)),
            Algorithm::PeakEwma => Chooser::PeakEwma(TwoChoices::new(candidates)),
            Algorithm::RingHash => {
                let previous = match previous {
                    Some(Chooser::RingHash(previous)) => Some(previous),
                    _ => None,
                };
                Chooser::RingHash(Hashed::new(candidates, bound, previous, haste))
            }
            Algorithm::Maglev => {
                let previous = match previous {
                    Some(Chooser::Maglev(previous)) => Some(previous),
                    _ => None,
                };
                Chooser::Maglev(Hashed::new(candidates, bound, previous, haste))
            }
        };
        Self { chooser }
    }

    /// Chooses an endpoint that `choice.admits`; `None` only if there is none.
    pub fn pick<F>(&self, choice: Choice<'_, F>) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        self.pick_before(choice, &mut ())
    }

    /// As [`Picker::pick`], while `observer` hears how it comes about.
    pub fn pick_before<F>(
        &self,
        choice: Choice<'_, F>,
        observer: &mut impl Observer,
    ) -> Option<&Arc<Endpoint>>
    where
        F: Fn(&Endpoint) -> bool,
    {
        let now = choice.now;
        match &self.chooser {
            Chooser::RoundRobin(chooser) => chooser.pick(choice, observer),
            Chooser::Random(chooser) => chooser.pick(choice, observer),
            Chooser::LeastRequest(chooser) => chooser.pick(choice, least_request::rate, observer),
            Chooser::PeakEwma(chooser) => {
                chooser.pick(choice, |a, b| peak_ewma::rate(a, b, now), observer)
            }
            Chooser::RingHash(chooser) => chooser.pick(choice, observer),
            Chooser::Maglev(chooser) => chooser.pick(choice, observer),
        }
    }
}
