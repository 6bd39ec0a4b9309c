//! Outlier ejection at work: requests report what came of them, and whoever's failure is one too many
//! ejects the instance, before the next request is picked for it.
//!
//! Counting takes no lock, see [`tally`]. The control plane's lock is taken by the request whose
//! failure trips an ejection and by the one that ends a trial; a request that finds the cluster's
//! quota of ejections used up goes by a flag and takes none, however many fail.
//!
//! An instance whose time is up is on trial: the picker offers it again, and whoever takes its one
//! place sends the request that decides. A trial that is cancelled gives the place to the next.
//!
//! In panic, who is ejected serves as well, and so does who is on trial beyond that one place: with
//! too few others, one request at a time would be a shortage of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use log::info;

use crate::endpoint::{Endpoint, Standing, Ticket};
use crate::health::availability::Availability;
use crate::health::outlier;
use crate::health::outlier::tally::{self, Failure};
use crate::names::InstanceId;
use crate::registry::snapshot::Fitness;

use super::active::Active;
use super::pick::{Outcome, Pick};
use super::slot::Slot;
use super::{Cluster, Control};

/// Somebody else's request is on trial.
pub(super) struct Taken;

impl Active {
    /// Whether requests may be sent to `endpoint` now, as far as its standing goes.
    pub(super) fn lets_in(&self, endpoint: &Endpoint) -> bool {
        match endpoint.standing() {
            Standing::Usable | Standing::LastResort => true,
            Standing::OnTrial => self.panic || !endpoint.is_taken(),
            Standing::Barred => false,
        }
    }

    /// Takes the one place at an endpoint on trial; gives nothing for one that is not, or that serves
    /// more than that because its cluster is in panic.
    pub(super) fn enter(&self, endpoint: &Endpoint) -> Result<Option<Ticket>, Taken> {
        if endpoint.standing() != Standing::OnTrial {
            return Ok(None);
        }
        let Some(ticket) = endpoint.take_place() else {
            return if self.panic { Ok(None) } else { Err(Taken) };
        };
        // The trial before may have failed between the look and the taking.
        if endpoint.standing() == Standing::OnTrial {
            return Ok(Some(ticket));
        }
        endpoint.give_back(ticket);
        Err(Taken)
    }
}

impl Pick {
    /// Counts an outcome, and draws the conclusion if it is the one that calls for it.
    pub(super) fn weigh(&mut self, outcome: Outcome, now: Instant) {
        let failure = match outcome {
            Outcome::Answered => None,
            Outcome::Faulted { .. } => Some(Failure::Faulted),
            Outcome::Failed | Outcome::Unreachable => Some(Failure::Unanswered),
        };
        if let Some(ticket) = self.trial.take() {
            return self.cluster.end_trial(&self.endpoint, ticket, failure, now);
        }
        let Some(scale) = self.scale else { return };
        match failure {
            None => tally::succeeded(&self.endpoint, scale, now),
            Some(failure) if self.endpoint.is_current() => {
                tally::failed(&self.endpoint, failure, scale, now);
                self.cluster.reconsider(&self.endpoint, now);
            }
            Some(_) => {}
        }
    }

    /// The request is over, and nothing came of it that would say how its endpoint is.
    pub(super) fn call_off_trial(&mut self) {
        if let Some(ticket) = self.trial.take() {
            self.endpoint.give_back(ticket);
            self.cluster.stirred.notify_waiters();
        }
    }
}

impl Cluster {
    /// Ejects an endpoint that has just failed once more, if that is one failure too many.
    fn reconsider(self: &Arc<Self>, endpoint: &Endpoint, now: Instant) {
        let trips = |settings| {
            endpoint.standing() == Standing::Usable
                && tally::grounds(endpoint, settings, now).is_some()
        };
        if self.may_eject.load(Ordering::Relaxed)
            && (self.active.load().policy.outlier.as_ref()).is_some_and(trips)
        {
            self.eject(endpoint, now);
        }
    }

    /// Ready => ejected, if it still is so under the lock.
    fn eject(self: &Arc<Self>, endpoint: &Endpoint, now: Instant) {
        let mut guard = self.control();
        let control = &mut *guard;
        let Some(settings) = control.policy.outlier else {
            return;
        };
        let Some(grounds) = tally::grounds(endpoint, &settings, now) else {
            return;
        };
        let Census { out, present, .. } = Census::of(control);
        if out >= outlier::quota(&settings, present) {
            return self.may_eject.store(false, Ordering::Relaxed);
        }
        let id = &endpoint.instance.id;
        let Some(slot) = (control.slots.get_mut(id))
            .filter(|slot| slot.endpoint.key() == endpoint.key())
            .filter(|slot| slot.endpoint.standing() == Standing::Usable)
        else {
            return;
        };
        let before = slot.status();
        slot.eject(grounds, &settings, now);
        self.traffic.ejections.fetch_add(1, Ordering::Relaxed);
        let (after, found) = (slot.status(), slot.fitness());
        self.republish_at(control, now);
        self.unrest();
        drop(guard);
        self.tell(id, &before, &after, found, "");
    }

    /// On trial => in, or ejected once more.
    fn end_trial(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        ticket: Ticket,
        failure: Option<Failure>,
        now: Instant,
    ) {
        let mut guard = self.control();
        let control = &mut *guard;
        let id = &endpoint.instance.id;
        let slot = (control.slots.get_mut(id)).filter(|s| s.endpoint.key() == endpoint.key());
        let (Some(slot), Some(settings)) = (slot, control.policy.outlier) else {
            return endpoint.give_back(ticket);
        };
        if !endpoint.is_held_by(&ticket) {
            // It was let in otherwise meanwhile, or is another life of the process by now.
            return;
        }
        let before = slot.status();
        slot.end_trial(failure, &settings, now);
        let (after, found) = (slot.status(), slot.fitness());
        // Only now that its standing is another one: whoever takes the place looks at that again.
        endpoint.give_back(ticket);
        self.republish_at(control, now);
        self.unrest();
        drop(guard);
        if before.availability == Availability::Ejected
            && after.availability == Availability::Ejected
            && let Some(why) = &after.reason
        {
            self.traffic.ejections.fetch_add(1, Ordering::Relaxed);
            info!(
                "{}/{id}: on trial => {} ({why})",
                self.name, after.availability
            );
        }
        self.tell(id, &before, &after, found, "its request on trial succeeded");
    }

    /// Lets in whoever is ejected beyond the quota because others left, those first whose time would
    /// have been up first. Gives what is to be told of them.
    pub(super) fn pardon_surplus(
        &self,
        control: &mut Control,
        now: Instant,
    ) -> Vec<(InstanceId, Fitness)> {
        let Some(settings) = control.policy.outlier.filter(|_| control.out > 0) else {
            return Vec::new();
        };
        let Census { out, present, .. } = Census::of(control);
        let surplus = out.saturating_sub(outlier::quota(&settings, present));
        if surplus == 0 {
            return Vec::new();
        }
        let mut by_time: Vec<_> = (control.slots.iter_mut())
            .filter(|(_, slot)| slot.is_present() && slot.is_out())
            .collect();
        by_time.sort_by_key(|(_, slot)| slot.ejected_until());
        let pardon = |(id, slot): (&InstanceId, &mut Slot)| {
            slot.pardon("too few are left without it", now);
            (id.clone(), slot.fitness())
        };
        by_time.into_iter().take(surplus).map(pardon).collect()
    }

    /// Takes down whether one more may be ejected.
    pub(super) fn note_quota(&self, control: &mut Control) {
        let Census { out, present, all } = Census::of(control);
        control.out = all;
        let quota =
            (control.policy.outlier).map_or(0, |settings| outlier::quota(&settings, present));
        self.may_eject.store(out < quota, Ordering::Relaxed);
    }
}

/// Who is ejected or on trial.
struct Census {
    /// How many of those that could serve otherwise.
    out: usize,
    /// How many could.
    present: usize,
    /// How many at all.
    all: usize,
}

impl Census {
    fn of(control: &Control) -> Self {
        let nobody = Self {
            out: 0,
            present: 0,
            all: 0,
        };
        control.slots.values().fold(nobody, |census, slot| {
            let (is_out, is_present) = (slot.is_out(), slot.is_present());
            Self {
                out: census.out + usize::from(is_out && is_present),
                present: census.present + usize::from(is_present),
                all: census.all + usize::from(is_out),
            }
        })
    }
}

#[cfg(test)]
mod tests;
