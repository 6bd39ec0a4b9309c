//! How an endpoint is found and entered.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::balance::observe::Observer;
use crate::balance::{Choice, Picker};
use crate::cluster::active::Active;
use crate::cluster::limit::Limit;
use crate::cluster::{Cluster, zone};
use crate::endpoint::{Endpoint, Standing};
use crate::health::outlier::tally::Scale;

use super::{Nobody, Pick, Tried};

/// Each lost race means that the cluster changed between choosing an endpoint and holding it.
const MAX_LOST_RACES: usize = 16;

thread_local! {
    static RNG: RefCell<fastrand::Rng> = RefCell::new(fastrand::Rng::new());
}

/// Has the picks that this thread makes from now on draw the same again for the same `seed`.
pub fn seed(seed: u64) {
    RNG.with(|rng| rng.borrow_mut().seed(seed));
}

/// How an attempt comes into a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Entry {
    /// It has to be let in.
    New,
    /// Its request is inside, and leaves the place it holds for this one.
    Counted,
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
    pub(in crate::cluster) fn take(
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
    pub(in crate::cluster) fn look(
        &self,
        hash: u64,
        tried: &Tried,
        now: Instant,
    ) -> Option<Nobody> {
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
    pub(in crate::cluster) fn choose_before<'a>(
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

    pub(super) fn stir_if_idle(&self, endpoint: &Endpoint) {
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
