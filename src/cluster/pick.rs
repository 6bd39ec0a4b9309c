//! Choosing an endpoint for one attempt, and holding it until something came of it.

mod choose;
mod tried;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::balance::ewma;
use crate::endpoint::{Endpoint, Standing, Ticket};
use crate::health::outlier::tally::Scale;

use super::Cluster;
use super::limit::Limit;

pub use choose::seed;
pub use tried::Tried;

pub(super) use choose::Entry;

/// One attempt's hold on an endpoint: counted as in flight until it is dropped. Dropping it without
/// an outcome means the attempt was cancelled, which is nobody's failure.
pub struct Pick {
    pub(super) cluster: Arc<Cluster>,
    pub(super) endpoint: Arc<Endpoint>,
    /// Whether it is in the proxy's zone.
    local: bool,
    started: Instant,
    given: bool,
    /// How its outcomes count towards an ejection; `None` if they do not.
    pub(super) scale: Option<Scale>,
    /// Held while it is the request that decides what becomes of an endpoint on trial.
    pub(super) trial: Option<Ticket>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head of a response arrived, and it is no failure of the instance.
    Answered,
    /// The head of a response arrived, with a status of 500 to 599.
    Faulted {
        /// When the instance asked to be tried again, if it did.
        retry_after: Option<Duration>,
    },
    /// No connection could be made: the instance saw nothing of the request.
    Unreachable,
    /// The request was sent, and no response came.
    Failed,
}

/// Why there is nobody to pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// No instance is available.
    Available,
    /// Every available instance has been tried by this request.
    Untried,
    /// There are available instances, and a limit is reached.
    Full(Limit),
}

impl Pick {
    /// The endpoint held.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The cluster it was picked from.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// When its attempt began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where to connect to.
    pub fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// Whether the request may still be given to the endpoint. Between the pick and the moment it is
    /// sent a connection had to be made, and whoever took the endpoint out meanwhile was told that it
    /// gets no further request.
    pub fn holds(&self) -> bool {
        self.endpoint.standing() != Standing::Barred
    }

    /// Counts the attempt's time from `now` on: it was picked some time before it could begin.
    pub fn begin(&mut self, now: Instant) {
        self.started = now;
    }

    /// Lets go of an endpoint that was given nothing.
    pub fn withdraw(mut self) {
        self.given = false;
    }

    /// Says what came of the attempt so far. The request stays in flight until the pick is dropped.
    pub fn report(&mut self, outcome: Outcome, now: Instant) {
        let took = now.duration_since(self.started);
        self.cluster.measure(outcome, took);
        match outcome {
            Outcome::Answered => {
                self.endpoint.mark_answer(now);
                ewma::observe(&self.endpoint, now.duration_since(self.started), now);
            }
            Outcome::Faulted { retry_after } => {
                self.endpoint.mark_answer(now);
                ewma::observe_failure(&self.endpoint, retry_after, now);
            }
            Outcome::Failed => ewma::observe_failure(&self.endpoint, None, now),
            Outcome::Unreachable => {
                self.given = false;
                ewma::observe_failure(&self.endpoint, None, now);
                self.cluster.doubt(&self.endpoint.instance.id);
            }
        }
        self.weigh(outcome, now);
    }

    /// As [`Pick::report`] of [`Outcome::Answered`], for an answer whose head does not tell whether it
    /// is a failure.
    pub fn report_open(&mut self, now: Instant) {
        let took = now.duration_since(self.started);
        self.cluster.measure(Outcome::Answered, took);
        self.endpoint.mark_answer(now);
        ewma::observe(&self.endpoint, took, now);
    }

    /// Says what an answer is that was [open](Pick::report_open), or has turned out to be since.
    pub fn judge(&mut self, outcome: Outcome, now: Instant) {
        self.weigh(outcome, now);
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.given {
            self.endpoint.finish();
        } else {
            self.endpoint.abandon();
        }
        if self.local {
            self.cluster.local_in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        self.call_off_trial();
        self.cluster.exit();
        self.cluster.stir_if_idle(&self.endpoint);
        self.cluster.serve();
    }
}
