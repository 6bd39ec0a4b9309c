//! The one thread that changes the membership.
//!
//! It blocks on its channel and takes whatever waits there as one batch (*group commit*, DeWitt et
//! al. 1984): the commands are applied in order to a working copy, their events are stored in one
//! append, and one snapshot is published for all. While the disk syncs one batch the next one
//! gathers, so the cost of a sync is shared by as many callers as are waiting for it, and a lone
//! caller never waits for company.
//!
//! If the store refuses, the working copy is dropped and with it everything the batch changed. No
//! caller was told anything yet.
//!
//! Between batches the thread sleeps until the next lease may run out or the next suspect is to be
//! looked at, and takes out all whose time is up as one batch of its own. Commands go first: a
//! registration that waits in the channel when its lease runs out is in time.
//!
//! The thread ends when the last handle is dropped. Nobody joins it: a drop may happen on an async
//! thread, which must not wait for a disk, and whatever was acknowledged is already stored.

mod leases;
mod standing_aside;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::Observer;
use super::command::{Applied, Command, Refusal};
use super::event::{Actor, Event};
use super::expiry::Expiry;
use super::journal::Journal;
use super::pulse::Pulse;
use super::rules::Rules;
use super::snapshot::{Fitness, Revision};
use super::state::{Context, State};
use super::store::{Store, StoreError};
use super::suspects::{Key, Suspects, Testimony};
use super::suspension::Suspension;
use super::watch::Published;

/// A batch takes no more than this many requests from the channel, so that under any load the
/// first of them is answered and expiry gets its turn.
const MAX_BATCH: usize = 4_096;

/// How long members that could not be taken out stay before the next try.
const RETRY: Duration = Duration::from_secs(1);

/// What callers send to the writer.
#[derive(Debug)]
pub(super) enum Request {
    Commands(Submission),
    Touch(ServiceName, InstanceId, Fitness),
    /// A lease that was in doubt was renewed.
    Settled(ServiceName, InstanceId),
    Testimony(ServiceName, InstanceId, Testimony),
    Suspend(Suspension),
}

/// Commands of one caller and where to answer them.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) commands: Vec<Command>,
    pub(super) actor: Actor,
    /// A caller that no longer waits does not take its commands back.
    pub(super) answer: oneshot::Sender<Results>,
}

/// One result for each command, in order.
pub(super) type Results = Vec<Result<Applied, Refusal>>;

pub(super) struct Writer {
    store: Box<dyn Store>,
    state: State,
    expiry: Expiry,
    suspects: Suspects,
    rules: Arc<ArcSwap<Rules>>,
    published: Arc<Published>,
    observer: Arc<dyn Observer>,
    /// What changed in publications the observer failed on; told again with the next.
    unobserved: BTreeSet<ServiceName>,
    /// When the store wants to be tidied.
    tidy_at: Option<Instant>,
}

impl Writer {
    /// Rebuilds the membership from the store and shows it to the observer.
    pub(super) fn new(
        mut store: Box<dyn Store>,
        rules: Arc<ArcSwap<Rules>>,
        observer: Arc<dyn Observer>,
        now: Instant,
        first: Revision,
    ) -> Result<Self, StoreError> {
        let state = State::restore(store.recover()?, now, first);
        // A full disk must not keep what is known from being served. The clock sees to it as well
        // that indexes do not go back, unless it is set back.
        if let Err(error) = store.reserve(state.snapshot().revision) {
            log::warn!("the index after the next restart rests on the clock alone: {error}");
        }
        let mut writer = Self {
            store,
            published: Arc::new(Published::new(state.snapshot().clone(), now)),
            state,
            expiry: Expiry::default(),
            suspects: Suspects::default(),
            rules,
            observer,
            unobserved: BTreeSet::new(),
            tidy_at: Some(now),
        };
        writer.expel_disallowed();
        writer.settle_leases(now);
        writer.publish(now);
        Ok(writer)
    }

    /// What may not be dialed any more does not come back from the store.
    fn expel_disallowed(&mut self) {
        let rules = self.rules.load();
        let reason = |instance: &Instance| Some(rules.readmit_address(instance).err()?.to_string());
        let mut allowed = self.state.clone();
        let events = allowed.expel(reason, SystemTime::now());
        for event in &events {
            let instance = &event.member.instance;
            log::warn!(
                "service {:?} instance {:?} does not come back from the store: {}",
                instance.service,
                instance.id,
                event.why.as_deref().unwrap_or_default()
            );
        }
        // Refused or not, they stay out; a store that still has them is asked again at the next start.
        let _ = self.keep(&events);
        self.state = allowed;
    }

    pub(super) fn journal(&self) -> Arc<dyn Journal> {
        self.store.journal()
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.published.clone()
    }

    /// Works until every sender of `requests` is gone, or somebody else goes on with the store and
    /// they are.
    pub(super) fn run(mut self, requests: &Receiver<Request>, pulse: &Pulse) {
        while let Ok(first) = self.next_request(requests) {
            if let Some(first) = first {
                let waiting = requests.try_iter().take(MAX_BATCH - 1);
                let batch = std::iter::once(first).chain(waiting);
                if let Some(suspension) = self.carry_out(batch, Instant::now)
                    && !self.stand_aside(suspension, requests)
                {
                    return;
                }
            }
            let now = Instant::now();
            self.forgive(pulse.stood_still(now));
            self.expire_due(now);
            self.tidy(now);
        }
    }

    fn tidy(&mut self, now: Instant) {
        if self.tidy_at.is_some_and(|due| due <= now) {
            self.tidy_at = self.store.tidy(now).map(|wait| now + wait);
        }
    }

    /// Waits for the next request; `None` when something else is due before one came.
    fn next_request(&self, requests: &Receiver<Request>) -> Result<Option<Request>, RecvError> {
        let wakes = [self.expiry.next(), self.suspects.next(), self.tidy_at];
        let Some(due) = wakes.into_iter().flatten().min() else {
            return requests.recv().map(Some);
        };
        match requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(request) => Ok(Some(request)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RecvError),
        }
    }

    /// Stores, publishes and answers one batch; gives the suspension it asks for.
    fn carry_out(
        &mut self,
        batch: impl Iterator<Item = Request>,
        clock: impl Fn() -> Instant,
    ) -> Option<Suspension> {
        let now = clock();
        let mut submissions = Vec::new();
        let mut touched = BTreeMap::new();
        let mut settled = Vec::new();
        let mut suspension = None;
        for request in batch {
            match request {
                Request::Commands(submission) => submissions.push(submission),
                Request::Touch(service, id, found) => {
                    touched.insert((service, id), found);
                }
                Request::Settled(service, id) => settled.push((service, id)),
                Request::Testimony(service, id, testimony) => {
                    self.suspects.testify(&(service, id), testimony, now);
                }
                // A second one is dropped, and so refused.
                Request::Suspend(asked) => {
                    suspension.get_or_insert(asked);
                }
            }
        }
        let results = self.commit(&submissions, &clock, &mut settled);
        self.state.touch(touched.keys());
        self.publish(now);
        self.settle(&settled, clock());
        for (submission, results) in submissions.into_iter().zip(results) {
            // An error only says that the caller no longer waits.
            let _ = submission.answer.send(results);
        }
        self.note(touched);
        suspension
    }

    /// After the answers: nobody waits for it.
    fn note(&mut self, touched: BTreeMap<(ServiceName, InstanceId), Fitness>) {
        if touched.is_empty() {
            return;
        }
        let found: Vec<_> = touched
            .into_iter()
            .map(|((service, id), fitness)| (service, id, fitness))
            .collect();
        self.store.note(&found);
    }

    fn commit(
        &mut self,
        submissions: &[Submission],
        clock: impl Fn() -> Instant,
        settled: &mut Vec<Key>,
    ) -> Vec<Results> {
        let rules = self.rules.load_full();
        let (now, at) = (clock(), SystemTime::now());
        let context = |actor| Context {
            rules: &rules,
            actor,
            now,
            at,
        };
        let mut draft = self.state.clone();
        let mut events = Vec::new();
        let results = for_each_command(submissions, |command, actor| {
            let (applied, event) = draft.apply(command, context(actor))?;
            events.extend(event);
            Ok(applied)
        });
        let results = match self.keep(&events) {
            Ok(()) => {
                self.state = draft;
                for Event { change, member, .. } in &events {
                    if change.is_leaving() || member.lease.is_none() {
                        self.suspects.clear(&key(&member.instance));
                    }
                }
                results
            }
            // What one command came to may have rested on another's change. So each is weighed
            // again on its own: what changes nothing (a registration repeated) is still right, and
            // what does is refused.
            Err(error) => for_each_command(submissions, |command, actor| {
                let mut alone = self.state.clone();
                match alone.apply(command, context(actor))? {
                    (applied, None) => {
                        self.state = alone;
                        Ok(applied)
                    }
                    (_, Some(_)) => Err(error.clone().into()),
                }
            }),
        };
        // Leases run from here, so that a slow disk takes nothing off them.
        settled.extend(self.settle_leases(clock()));
        results
    }

    fn keep(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let stored = self.store.append(events, self.state.snapshot());
        let figures = self.published.figures();
        match &stored {
            Ok(()) => figures.stored(events),
            Err(_) => figures.not_stored(events),
        }
        stored.inspect_err(|error| {
            log::error!("the store refused {} changes: {error}", events.len());
        })
    }

    fn publish(&mut self, now: Instant) {
        let changed = self.state.take_changed();
        if changed.is_empty() {
            return;
        }
        let snapshot = Arc::new(self.state.snapshot().clone());
        self.unobserved.extend(changed.iter().cloned());
        let told: Vec<ServiceName> = self.unobserved.iter().cloned().collect();
        // A registry that stopped changing because an observer has a fault would send traffic to
        // the dead, and one that took the process down would do so again at each restart, from the
        // same store. So the change stands, and the observer is shown the same services again with
        // the next one. It gets whole snapshots, so catching up is nothing special to it.
        let observed = catch_unwind(AssertUnwindSafe(|| {
            self.observer.published(&snapshot, &told);
        }));
        match observed {
            Ok(()) => self.unobserved.clear(),
            Err(_) => log::error!(
                "an observer of the registry panicked at index {}; requests go by what it knew before",
                snapshot.revision
            ),
        }
        // Only now, so that whoever reads the snapshot finds an observer that knows all of it.
        self.published.publish(snapshot, &changed, now);
    }
}

fn key(instance: &Instance) -> Key {
    (instance.service.clone(), instance.id.clone())
}

fn for_each_command<'s>(
    submissions: &'s [Submission],
    mut carry_out: impl FnMut(&'s Command, &'s Actor) -> Result<Applied, Refusal>,
) -> Vec<Results> {
    submissions
        .iter()
        .map(|submission| {
            let commands = submission.commands.iter();
            commands
                .map(|command| carry_out(command, &submission.actor))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests;
