//! The membership being built by the writer: applies commands, pure of clock and socket.
//!
//! A command is first *decided* against the membership (refused, already so, or a [`Change`]), and
//! the resulting event then *evolves* it. A restart evolves the same events again, so what was
//! acknowledged and what is rebuilt cannot drift apart: there is one place that changes a member.
//!
//! A [`State`] is made of persistent maps: a clone costs nothing to speak of and is the working copy
//! of a batch, thrown away if the batch cannot be stored. What reaches beyond the copy, renewing a
//! lease that the published members share, is therefore only noted, for the writer to do once the
//! batch is stored.

mod decide;
#[cfg(test)]
mod model;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use imbl::OrdMap;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::command::{Applied, Command, Refusal};
use super::event::{Actor, Change, Event};
use super::expiry::Holder;
use super::lease::Lease;
use super::rules::Rules;
use super::snapshot::{Member, Members, Revision, Snapshot};
use decide::{Decision, decide};

/// How many services without members are remembered each with its own revision. A client that waits
/// for a service to come back then wakes for that one alone.
const MAX_EMPTY: usize = 1_024;

/// How far the revision jumps ahead at a restart. [`State::touch`] moves revisions on without a
/// trace in the store, and a client must never see one go back; so a restart assumes that many
/// touches since the last event: at a thousand a second, 49 days without a single stored change.
/// JSON's 53 bits still hold two million restarts.
const RESTART_GAP: u64 = 1 << 32;

/// The circumstances a command is carried out in.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What registrations must keep to.
    pub rules: &'a Rules,
    /// Who gave the command.
    pub actor: &'a Actor,
    /// From when granted leases run.
    pub now: Instant,
    /// What the event says about when it happened.
    pub at: SystemTime,
}

/// The membership, and what changing it so far calls for.
#[derive(Clone, Debug, Default)]
pub struct State {
    snapshot: Snapshot,
    /// The services without members, by their revision.
    empty: OrdMap<Revision, ServiceName>,
    changed: BTreeSet<ServiceName>,
    granted: Vec<Holder>,
    renewed: Vec<Arc<Lease>>,
}

impl State {
    /// The membership that `events` (oldest first) add up to, with leases that start at `now`.
    ///
    /// All revisions are later than any that was ever given out, so that whoever kept one from
    /// before the restart looks again instead of waiting for a number long passed; and not earlier
    /// than `first`.
    pub fn replay(events: &[Event], now: Instant, first: Revision) -> Self {
        let mut state = Self::default();
        for event in events {
            if state.evolve(event, now).is_none() {
                log::warn!(
                    "the store's event at index {} changes {}/{}, which was not signed in then; it is skipped",
                    event.revision,
                    event.service,
                    event.id
                );
            }
        }
        let gap = if events.is_empty() { 1 } else { RESTART_GAP };
        let beyond = Revision(state.snapshot.revision.0.saturating_add(gap));
        state.leap(beyond.max(first));
        state.renewed.clear();
        state
    }

    /// The membership as it is now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Carries out one command. The event, if the command changed anything, is to be stored before
    /// anybody is told.
    ///
    /// # Errors
    /// Any [`Refusal`] but `Unavailable`; nothing has changed then.
    pub fn apply(
        &mut self,
        command: &Command,
        context: Context<'_>,
    ) -> Result<(Applied, Option<Event>), Refusal> {
        let change = match decide(&self.snapshot, command, context.rules)? {
            Decision::Already(member) => {
                if let (Command::Register(_), Some(lease)) = (command, &member.lease) {
                    self.renewed.push(lease.clone());
                }
                let applied = Applied {
                    revision: member.modified,
                    member,
                    created: false,
                };
                return Ok((applied, None));
            }
            Decision::Change(change) => change,
        };
        let (service, id) = command.about();
        let created = self
            .snapshot
            .member(service.as_str(), id.as_str())
            .is_none();
        let event = self.event(service, id, change, context.actor, context.at);
        match self.evolve(&event, context.now) {
            Some(member) => Ok((
                Applied {
                    member,
                    revision: event.revision,
                    created,
                },
                Some(event),
            )),
            None => Err(decide::not_found(service, id)),
        }
    }

    /// Takes out a member whose lease has expired; `None` if it does not hold that lease any more.
    pub fn expire(&mut self, holder: &Holder, at: SystemTime) -> Option<Event> {
        if !self.holds(holder) {
            return None;
        }
        let event = self.event(
            &holder.service,
            &holder.id,
            Change::Expired,
            &Actor::Callboard,
            at,
        );
        self.remove(&event);
        Some(event)
    }

    /// Whether the member is there and its lease is this one.
    pub fn holds(&self, holder: &Holder) -> bool {
        self.snapshot
            .member(holder.service.as_str(), holder.id.as_str())
            .and_then(|member| member.lease.as_ref())
            .is_some_and(|lease| Arc::ptr_eq(lease, &holder.lease))
    }

    /// Moves on the revision of these members (those that are there) and of their services, all to
    /// the same one.
    pub fn touch<'a>(&mut self, members: impl IntoIterator<Item = &'a (ServiceName, InstanceId)>) {
        let revision = self.snapshot.revision.next();
        for (service, id) in members {
            let Some(member) = self.snapshot.member(service.as_str(), id.as_str()) else {
                continue;
            };
            let touched = Member {
                observed: revision,
                ..Member::clone(member)
            };
            self.put(service, id, Some(Arc::new(touched)), revision);
        }
    }

    /// The services that differ from what they were at the last call.
    pub fn take_changed(&mut self) -> BTreeSet<ServiceName> {
        std::mem::take(&mut self.changed)
    }

    /// The leases granted since the last call.
    pub fn take_granted(&mut self) -> Vec<Holder> {
        std::mem::take(&mut self.granted)
    }

    /// The leases to renew, because their holders registered again since the last call.
    pub fn take_renewed(&mut self) -> Vec<Arc<Lease>> {
        std::mem::take(&mut self.renewed)
    }

    fn event(
        &self,
        service: &ServiceName,
        id: &InstanceId,
        change: Change,
        actor: &Actor,
        at: SystemTime,
    ) -> Event {
        Event {
            revision: self.snapshot.revision.next(),
            at,
            actor: actor.clone(),
            service: service.clone(),
            id: id.clone(),
            change,
        }
    }

    /// Makes `event` true. Gives the member as it is now, or as it was when it left; `None` if the
    /// event is about a member that is not there.
    fn evolve(&mut self, event: &Event, now: Instant) -> Option<Arc<Member>> {
        let before = self
            .snapshot
            .member(event.service.as_str(), event.id.as_str())
            .cloned();
        let member = match (&event.change, before) {
            (Change::Registered(instance), before) => {
                self.signed_in(before.as_deref(), instance, event, now)
            }
            (_, None) => return None,
            (Change::Patched(instance), Some(before)) => Member {
                instance: instance.clone(),
                ..Member::clone(&before)
            },
            (Change::Drained, Some(before)) => Member {
                draining: true,
                ..Member::clone(&before)
            },
            (Change::Undrained, Some(before)) => Member {
                draining: false,
                ..Member::clone(&before)
            },
            (Change::Deregistered | Change::Expired, Some(before)) => {
                self.remove(event);
                return Some(before);
            }
        };
        let member = Arc::new(Member {
            modified: event.revision,
            observed: event.revision,
            ..member
        });
        self.put(
            &event.service,
            &event.id,
            Some(member.clone()),
            event.revision,
        );
        Some(member)
    }

    /// A registration keeps what tells how long the member has been here, and its lease if that is
    /// of the same length: heartbeats of this moment then still count.
    fn signed_in(
        &mut self,
        before: Option<&Member>,
        instance: &Arc<Instance>,
        event: &Event,
        now: Instant,
    ) -> Member {
        let held = before
            .and_then(|before| before.lease.as_ref())
            .filter(|lease| Some(lease.ttl()) == instance.ttl);
        let lease = match (held, instance.ttl) {
            (Some(held), _) => {
                self.renewed.push(held.clone());
                Some(held.clone())
            }
            (None, Some(ttl)) => {
                let lease = Arc::new(Lease::new(ttl, now));
                self.granted.push(Holder {
                    service: event.service.clone(),
                    id: event.id.clone(),
                    lease: lease.clone(),
                });
                Some(lease)
            }
            (None, None) => None,
        };
        Member {
            instance: instance.clone(),
            lease,
            draining: false,
            created: before.map_or(event.revision, |before| before.created),
            modified: event.revision,
            observed: event.revision,
            registered_at: before.map_or(event.at, |before| before.registered_at),
        }
    }

    fn remove(&mut self, event: &Event) {
        self.put(&event.service, &event.id, None, event.revision);
    }

    /// The one place that changes the maps.
    fn put(
        &mut self,
        service: &ServiceName,
        id: &InstanceId,
        member: Option<Arc<Member>>,
        revision: Revision,
    ) {
        let members = self.snapshot.services.entry(service.clone()).or_default();
        let members = Arc::make_mut(members);
        if members.instances.is_empty() {
            self.empty.remove(&members.revision);
        }
        match member {
            Some(member) => members.instances.insert(id.clone(), member),
            None => members.instances.remove(id),
        };
        members.revision = revision;
        if members.instances.is_empty() {
            self.empty.insert(revision, service.clone());
        }
        self.changed.insert(service.clone());
        self.snapshot.revision = self.snapshot.revision.max(revision);
        while self.empty.len() > MAX_EMPTY {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let (Some((revision, service)), rest) = self.empty.without_min_with_key() else {
            return;
        };
        self.empty = rest;
        self.snapshot.services.remove(&service);
        self.snapshot.forgotten = self.snapshot.forgotten.max(revision);
        self.changed.insert(service);
    }

    /// Moves every revision that can be waited for to `revision`; those of registrations, which
    /// callers compare for equality, stay.
    fn leap(&mut self, revision: Revision) {
        while !self.empty.is_empty() {
            self.forget_oldest();
        }
        self.snapshot.revision = revision;
        self.snapshot.forgotten = revision;
        let observed_now = |(id, member): (InstanceId, Arc<Member>)| {
            let mut member = Arc::unwrap_or_clone(member);
            member.observed = revision;
            (id, Arc::new(member))
        };
        let moved_on = |(service, members): (ServiceName, Arc<Members>)| {
            let instances = Arc::unwrap_or_clone(members).instances;
            let members = Members {
                revision,
                instances: instances.into_iter().map(observed_now).collect(),
            };
            (service, Arc::new(members))
        };
        let services = std::mem::take(&mut self.snapshot.services);
        self.snapshot.services = services.into_iter().map(moved_on).collect();
    }
}

#[cfg(test)]
mod tests;
