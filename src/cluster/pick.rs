//! Choosing an endpoint for one attempt, and holding it until something came of it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::balance::observe::Observer;
use crate::balance::{Choice, Picker, ewma};
use crate::endpoint::{Endpoint, Standing, Ticket};
use crate::health::outlier::tally::Scale;

use super::Cluster;
use super::active::Active;
use super::explain::Eye;
use super::limit::Limit;
use super::zone;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// Has the picks that this thread makes from now on draw the same again for the same `seed`.
pub fn seed(seed: u64) {
    RNG.with(|rng| rng.borrow_mut().seed(seed));
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

/// How an attempt comes into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It has to be let in.
    New,
    /// Its request is inside, and leaves the place it holds for this one.
    Counted,
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

/// The endpoints one request has tried: not picked again for it, unless they came back since.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    /// Each with the number of its comeback at the time.
    keys: Vec<(u64, u32)>,
    answered: bool,
    /// Where picks for it leave what they see.
    eye: Option<Eye>,
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

impl Cluster {
    /// Chooses an endpoint for a request with this `hash`, other than those `tried`. Waits for
    /// nothing, and passes by those who do: see [`Cluster::acquire`].
    ///
    /// # Errors
    /// When there is nobody to choose, or a limit is reached.
    pub fn pick(self: &Arc<Self>, hash: u64, tried: &Tried, now: Instant) -> Result<Pick, Nobody> {
        self.take_and_serve(hash, tried, now, Entry::New)
    }

    /// As [`Cluster::pick`], for a request that still holds a pick of this cluster and drops it for
    /// this one. It is in flight already, so a limit of all endpoints together does not stop it; until
    /// the first pick is dropped, it counts twice.
    ///
    /// # Errors
    /// When there is nobody to choose, or all others are at their limit.
    pub fn pick_instead(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        now: Instant,
    ) -> Result<Pick, Nobody> {
        self.take_and_serve(hash, tried, now, Entry::Counted)
    }

    fn take_and_serve(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        now: Instant,
        entry: Entry,
    ) -> Result<Pick, Nobody> {
        let (taken, hindered) = self.take(hash, tried, now, entry);
        if hindered {
            self.serve();
        }
        taken
    }

    /// As [`Cluster::pick`], and says whether the attempt held something for a moment that may have
    /// kept others from it.
    pub(super) fn take(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        now: Instant,
        entry: Entry,
    ) -> (Result<Pick, Nobody>, bool) {
        let mut hindered = false;
        let mut lost = None;
        for _ in 0..MAX_LOST_RACES {
            let active = self.active.load();
            let limits = &active.policy.limits;
            let chosen = match &tried.eye {
                None => self.choose(&active, hash, tried, now),
                Some(eye) => self.choose_seen(&active, (hash, tried, now), eye),
            };
            let endpoint = match chosen {
                Ok(endpoint) => endpoint,
                // Whoever was there may have left for others, published meanwhile.
                Err(_) if !Arc::ptr_eq(&active, &self.active.load()) => continue,
                Err(nobody) => return (Err(nobody), hindered),
            };
            let entered = match entry {
                Entry::New => self.enter(limits),
                Entry::Counted => {
                    self.enter_twice();
                    Ok(())
                }
            };
            if let Err(limit) = entered {
                return (Err(Nobody::Full(limit)), hindered);
            }
            if !endpoint.start_below(limits.in_flight_per_instance) {
                self.exit();
                hindered = true;
                lost = limits.in_flight_per_instance.map(Limit::PerInstance);
                continue;
            }
            // A second look after counting the request in: whoever bars the endpoint looks at the
            // count afterwards, so one of the two sees the other, and an acknowledged drain gets no
            // request.
            if endpoint.standing() == Standing::Barred {
                endpoint.abandon();
                self.exit();
                hindered = true;
                self.stir_if_idle(endpoint);
                continue;
            }
            let Ok(trial) = active.enter(endpoint) else {
                endpoint.abandon();
                self.exit();
                hindered = true;
                continue;
            };
            let local = self.zone().is_some_and(|zone| zone::is_in(zone, endpoint));
            if local {
                self.local_in_flight.fetch_add(1, Ordering::Relaxed);
            }
            let pick = Pick {
                cluster: Arc::clone(self),
                endpoint: Arc::clone(endpoint),
                local,
                started: now,
                given: true,
                scale: active.policy.outlier.as_ref().map(Scale::of),
                trial,
            };
            return (Ok(pick), hindered);
        }
        (Err(lost.map_or(nobody(tried), Nobody::Full)), hindered)
    }

    /// What stands in the way of an attempt, if anything does.
    pub(super) fn look(&self, hash: u64, tried: &Tried, now: Instant) -> Option<Nobody> {
        let active = self.active.load();
        match self.choose(&active, hash, tried, now) {
            Ok(_) => self.shared_limit(&active.policy.limits).map(Nobody::Full),
            Err(nobody) => Some(nobody),
        }
    }

    fn choose<'a>(
        &self,
        active: &'a Active,
        hash: u64,
        tried: &Tried,
        now: Instant,
    ) -> Result<&'a Arc<Endpoint>, Nobody> {
        let chosen = self.choose_before(active, hash, tried, now, &mut ());
        chosen.map(|(endpoint, _)| endpoint)
    }

    /// Chooses while `observer` hears how, and says whether the request stays in the proxy's zone.
    pub(super) fn choose_before<'a>(
        &self,
        active: &'a Active,
        hash: u64,
        tried: &Tried,
        now: Instant,
        observer: &mut impl Observer,
    ) -> Result<(&'a Arc<Endpoint>, bool), Nobody> {
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let most = active.policy.limits.in_flight_per_instance;
        let full = Cell::new(None);
        let admits = |endpoint: &Endpoint| {
            // Whoever fell to a last resort since `active` was published stays in it: leaving out the
            // last one to fall would empty the cluster until panic is published too.
            active.lets_in(endpoint) && !tried.contains(endpoint) && has_room(endpoint, most, &full)
        };
        let chosen = RNG.with_borrow_mut(|rng| {
            let mut from = |picker: &'a Picker, rng: &mut fastrand::Rng| {
                let choice = Choice {
                    hash,
                    in_flight,
                    now,
                    admits,
                    rng,
                };
                picker.pick_before(choice, observer)
            };
            if let Some(local) = &active.local
                && local.takes(self.local_in_flight.load(Ordering::Relaxed), in_flight, rng)
                && let Some(endpoint) = from(&local.picker, rng)
            {
                return Some((endpoint, true));
            }
            from(&active.picker, rng).map(|endpoint| (endpoint, false))
        });
        chosen.ok_or_else(|| full.get().map_or(nobody(tried), Nobody::Full))
    }

    fn stir_if_idle(&self, endpoint: &Endpoint) {
        if endpoint.standing() == Standing::Barred && endpoint.in_flight() == 0 {
            self.stirred.notify_waiters();
        }
    }
}

/// Whether an endpoint that might be picked is below its limit; leaves a note in `full` if not.
fn has_room(endpoint: &Endpoint, most: Option<u32>, full: &Cell<Option<Limit>>) -> bool {
    match most {
        Some(most) if endpoint.in_flight() >= most => {
            full.set(Some(Limit::PerInstance(most)));
            false
        }
        _ => true,
    }
}

fn nobody(tried: &Tried) -> Nobody {
    if tried.is_empty() {
        Nobody::Available
    } else {
        Nobody::Untried
    }
}

/// Each lost race means that the cluster changed between choosing an endpoint and holding it.
const MAX_LOST_RACES: usize = 16;

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
