//! Choosing an endpoint for one attempt, and holding it until something came of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::balance::{Choice, Picker, ewma};
use crate::endpoint::{Endpoint, Standing, Ticket};
use crate::health::outlier::tally::Scale;

use super::Cluster;
use super::active::Active;
use super::zone;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

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
}

/// The endpoints one request has tried: never picked again for it.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    keys: Vec<u64>,
}

impl Tried {
    /// Remembers an endpoint.
    pub fn add(&mut self, endpoint: &Endpoint) {
        self.keys.push(endpoint.key());
    }

    /// Whether `endpoint` has been tried.
    pub fn contains(&self, endpoint: &Endpoint) -> bool {
        self.keys.contains(&endpoint.key())
    }

    /// Forgets that this endpoint was tried.
    pub fn forgive(&mut self, key: u64) {
        self.keys.retain(|&tried| tried != key);
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

impl Cluster {
    /// Chooses an endpoint for a request with this `hash`, other than those `tried`.
    ///
    /// # Errors
    /// When there is nobody to choose.
    pub fn pick(self: &Arc<Self>, hash: u64, tried: &Tried, now: Instant) -> Result<Pick, Nobody> {
        for _ in 0..MAX_LOST_RACES {
            let active = self.active.load();
            let Some(endpoint) = self.choose(&active, hash, tried, now) else {
                // Whoever was there may have left for others, published meanwhile.
                if Arc::ptr_eq(&active, &self.active.load()) {
                    break;
                }
                continue;
            };
            // A second look after counting the request in: whoever bars the endpoint looks at the
            // count afterwards, so one of the two sees the other, and an acknowledged drain gets no
            // request.
            endpoint.start();
            if endpoint.standing() == Standing::Barred {
                endpoint.abandon();
                self.stir_if_idle(endpoint);
                continue;
            }
            let Ok(trial) = active.enter(endpoint) else {
                endpoint.abandon();
                continue;
            };
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let local = self.zone().is_some_and(|zone| zone::is_in(zone, endpoint));
            if local {
                self.local_in_flight.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(Pick {
                cluster: Arc::clone(self),
                endpoint: Arc::clone(endpoint),
                local,
                started: now,
                given: true,
                scale: active.policy.outlier.as_ref().map(Scale::of),
                trial,
            });
        }
        Err(if tried.is_empty() {
            Nobody::Available
        } else {
            Nobody::Untried
        })
    }

    /// Whether somebody could be picked now for a request with this `hash` that tried these.
    pub fn has_other(&self, hash: u64, tried: &Tried, now: Instant) -> bool {
        self.choose(&self.active.load(), hash, tried, now).is_some()
    }

    fn choose<'a>(
        &self,
        active: &'a Active,
        hash: u64,
        tried: &Tried,
        now: Instant,
    ) -> Option<&'a Arc<Endpoint>> {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let admits = |endpoint: &Endpoint| {
            // Whoever fell to a last resort since `active` was published stays in it: leaving out the
            // last one to fall would empty the cluster until panic is published too.
            active.lets_in(endpoint) && !tried.contains(endpoint)
        };
        RNG.with_borrow_mut(|rng| {
            let from = |picker: &'a Picker, rng: &mut fastrand::Rng| {
                picker.pick(Choice {
                    hash,
                    in_flight,
                    now,
                    admits,
                    rng,
                })
            };
            let local_in_flight = self.local_in_flight.load(Ordering::Relaxed);
            if let Some(local) = &active.local
                && local.takes(local_in_flight, in_flight, rng)
                && let Some(endpoint) = from(&local.picker, rng)
            {
                return Some(endpoint);
            }
            from(&active.picker, rng)
        })
    }

    fn stir_if_idle(&self, endpoint: &Endpoint) {
        if endpoint.standing() == Standing::Barred && endpoint.in_flight() == 0 {
            self.stirred.notify_waiters();
        }
    }
}

/// Each lost race means that the cluster changed between choosing an endpoint and holding it.
const MAX_LOST_RACES: usize = 16;

impl Pick {
    /// The endpoint held.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Whether the request may still be given to the endpoint. Between the pick and the moment it is
    /// sent a connection had to be made, and whoever took the endpoint out meanwhile was told that it
    /// gets no further request.
    pub fn holds(&self) -> bool {
        self.endpoint.standing() != Standing::Barred
    }

    /// Lets go of an endpoint that was given nothing.
    pub fn withdraw(mut self) {
        self.given = false;
    }

    /// Says what came of the attempt so far. The request stays in flight until the pick is dropped.
    pub fn report(&mut self, outcome: Outcome, now: Instant) {
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
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.given {
            self.endpoint.finish();
        } else {
            self.endpoint.abandon();
        }
        self.cluster.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.local {
            self.cluster.local_in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        self.call_off_trial();
        self.cluster.stir_if_idle(&self.endpoint);
    }
}
