//! What the request path takes down of a request that is explained, beside its record.

use std::sync::Arc;
use std::time::Duration;

use crate::balance::Algorithm;
use crate::cluster::explain::Sight;
use crate::route::explain::Explained;

/// What is noted of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// How it came by its route; `None` if it never got to the routes.
    pub routed: Option<Routed>,
    /// By what rules it was spread; `None` if it led to no service.
    pub policy: Option<Policy>,
    /// What is known of each of the record's attempts, in the same order.
    pub tried: Vec<Tried>,
    /// Why the last attempt did not come about, if it got no instance.
    pub refused: Option<Refused>,
    /// The service that it was to be copied to.
    pub copied_to: Option<Arc<str>>,
}

/// How a request came by its route.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// Why it took it.
    pub why: Explained,
    /// What decided its side of a split: `chance`, or the part of the request.
    pub by: Arc<str>,
}

/// By what rules a request was spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// What the hash algorithms hash.
    pub hash_on: Arc<str>,
    /// The request's hash, if the algorithm goes by it.
    pub hash: Option<u64>,
    /// Whether the request has the part that is hashed; without it the hash is chance.
    pub has_part: bool,
}

/// What is known of one attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tried {
    /// What its pick saw.
    pub sight: Option<Sight>,
    /// What it waited for first, if it did.
    pub waited: Option<Waited>,
    /// Whether it was made beside another one that was taking long.
    pub is_hedge: bool,
    /// What followed from its outcome, in words.
    pub next: Option<String>,
}

/// A wait for an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Waited {
    /// How long.
    pub time: Duration,
    /// For what, in words.
    pub behind: String,
}

/// An attempt that got no instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// When, from the request's arrival on.
    pub at: Duration,
    /// What there was to pick from.
    pub sight: Option<Sight>,
    /// What it waited for in vain, if it did.
    pub waited: Option<Waited>,
    /// Why it got none, in words.
    pub because: String,
}
