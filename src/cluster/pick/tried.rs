//! What a request brings from one pick to the next.

use crate::cluster::explain::Eye;
use crate::endpoint::Endpoint;

/// The endpoints one request has tried: not picked again for it, unless they came back since.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Each with the number of its comeback at the time.
    keys: Vec<(u64, u32)>,
    answered: bool,
    /// Where picks for it leave what they see.
    pub(super) eye: Option<Eye>,
}

impl Tried {
    /// Has every pick for the request leave what it sees in [`Tried::eye`] from now on.
    pub fn explain(&mut self) {
        self.eye.get_or_insert_default();
    }

    /// Where picks leave what they see, if that was asked for.
    pub fn eye(&self) -> Option<&Eye> {
        self.eye.as_ref()
    }

    /// Remembers an endpoint.
    pub fn add(&mut self, endpoint: &Endpoint) {
        self.keys.push((endpoint.key(), endpoint.comebacks()));
    }

    /// Remembers that one of them answered, if only with an error: there is something to tell the
    /// client, and no reason to hold its request until an instance comes back.
    pub fn mark_answer(&mut self) {
        self.answered = true;
    }

    /// Whether one of them answered.
    pub fn has_answer(&self) -> bool {
        self.answered
    }

    /// Whether `endpoint` has been tried, and has not come back since.
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        !self.keys.is_empty() && self.keys.contains(&(endpoint.key(), endpoint.comebacks()))
    }

    /// Forgets that this endpoint was tried.
    pub fn forgive(&mut self, key: u64) {
        self.keys.retain(|&(tried, _)| tried != key);
    }

    /// How many have been tried.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none has been tried.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
