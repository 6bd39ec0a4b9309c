//! The membership being built by the writer: applies commands, pure of clock and socket.
//!
//! A command is first *decided* against the membership (refused, already so, or a step), and the step
//! then makes the member that the resulting [`Event`] carries. The store keeps that member as it is,
//! so what was acknowledged and what a restart brings back cannot drift apart: there is one place that
//! changes a member.
//!
//! A [`State`] is made of persistent maps: a clone costs nothing to speak of and is the working copy
//! of a batch, thrown away if the batch cannot be stored. What reaches beyond the copy, renewing a
//! lease that the published members share, is therefore only noted, for the writer to do once the
//! batch is stored.

mod decide;
mod why;

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
use super::limits::Counts;
use super::rules::Rules;
use super::snapshot::{Member, Revision, Snapshot};
use super::store::{Recovered, Remembered};
use decide::{Decision, Step, decide};

/// How many services without members are remembered each with its own revision. A client that waits
/// for a service to come back then wakes for that one alone.
const MAX_EMPTY: usize = 1_024;

/// How far the revision jumps ahead at a restart. [`State::touch`] moves revisions on without a
/// trace in the store, and a client must never see one go back; so a restart assumes that many
/// touches since the last event or restart: at a thousand a second, 49 days without a stored change.
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
    /// How many members there are.
    instances: usize,
    changed: BTreeSet<ServiceName>,
    granted: Vec<Holder>,
    renewed: Vec<Holder>,
}

impl State {
    /// The membership that a store brought back, with leases that start at `now`: whoever could not
    /// renew while callboard was away has a whole ttl to do so, and is in doubt until it does.
    ///
    /// All revisions are later than any that was ever given out, so that whoever kept one from
    /// before the restart looks again instead of waiting for a number long passed; and not earlier
    /// than `first`.
    pub fn restore(recovered: Recovered, now: Instant, first: Revision) -> Self {
        let mut state = Self::default();
        let Recovered { members, last } = recovered;
        let gap = if last == Revision::default() {
            1
        } else {
            RESTART_GAP
        };
        let revision = first.max(Revision(last.0.saturating_add(gap)));
        for member in members {
            state.recall(member, now, revision);
        }
        state.snapshot.revision = revision;
        state.snapshot.forgotten = revision;
        state
    }

    /// The membership that a store brought back after others may have changed it: as after a restart,
    /// and later than anything given out from this one. Whoever is gone counts as changed.
    pub fn restored_over(&self, recovered: Recovered, now: Instant) -> Self {
        let mut state = Self::restore(recovered, now, self.snapshot.revision.next());
        let known = self.snapshot.services.keys();
        state.changed.extend(known.cloned());
        state
    }

    /// Whether `recovered` is this membership: the same members, each as it is here.
    pub fn is(&self, recovered: &Recovered) -> bool {
        let same = |remembered: &Remembered| {
            let instance = &remembered.instance;
            self.snapshot
                .member(instance.service.as_str(), instance.id.as_str())
                .is_some_and(|member| member.modified == remembered.modified)
        };
        recovered.members.len() == self.instances && recovered.members.iter().all(same)
    }

    /// Gives out revisions later than `last` only.
    pub fn skip(&mut self, last: Revision) {
        self.snapshot.revision = self.snapshot.revision.max(last);
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
        let (service, id) = command.about();
        let step = match decide(&self.snapshot, |of| self.counts(of), command, context)? {
            Decision::Already(member) => {
                let signs_in = matches!(command, Command::Register(_) | Command::Mirror { .. });
                if let (true, Some(lease)) = (signs_in, &member.lease) {
                    self.renewed.push(Holder {
                        service: service.clone(),
                        id: id.clone(),
                        lease: lease.clone(),
                    });
                }
                let applied = Applied {
                    revision: member.modified,
                    member,
                    created: false,
                };
                return Ok((applied, None));
            }
            Decision::Step(step) => step,
        };
        let before = self.snapshot.member(service.as_str(), id.as_str()).cloned();
        let created = before.is_none();
        let revision = self.snapshot.revision.next();
        let change = step.change();
        let why = step.why(before.as_deref(), context.actor);
        let member = match (step, before) {
            (Step::Register(instance), before) => {
                self.signed_in(before.as_deref(), instance, revision, context)
            }
            (
                Step::Mirror {
                    instance,
                    draining,
                    fitness,
                },
                before,
            ) => Member {
                draining,
                recalled: Some(fitness),
                ..self.signed_in(before.as_deref(), instance, revision, context)
            },
            (_, None) => return Err(decide::not_found(service, id)),
            (Step::SignOut { .. }, Some(before)) => Member::clone(&before),
            (Step::Patch(instance), Some(before)) => Member {
                instance,
                modified: revision,
                observed: revision,
                ..Member::clone(&before)
            },
            (Step::Drain(draining), Some(before)) => Member {
                draining,
                modified: revision,
                observed: revision,
                ..Member::clone(&before)
            },
        };
        let event = Event {
            revision,
            at: context.at,
            actor: context.actor.clone(),
            change,
            why,
            member: Arc::new(member),
        };
        self.make_true(&event);
        let applied = Applied {
            member: event.member.clone(),
            revision,
            created,
        };
        Ok((applied, Some(event)))
    }

    /// Takes out a member whose lease has expired, for the reason given; `None` if it does not hold
    /// that lease any more.
    pub fn expire(&mut self, holder: &Holder, why: String, at: SystemTime) -> Option<Event> {
        if !self.holds(holder) {
            return None;
        }
        let (service, id) = (holder.service.as_str(), holder.id.as_str());
        let member = self.snapshot.member(service, id)?.clone();
        Some(self.put_out(member, Change::Expired, why, at))
    }

    /// Signs out the members that must not be here any more: `reason` gives the reason to say.
    pub fn expel(
        &mut self,
        reason: impl Fn(&Instance) -> Option<String>,
        at: SystemTime,
    ) -> Vec<Event> {
        let services = self.snapshot.services.values();
        let expelled: Vec<_> = services
            .flat_map(|members| members.instances.values())
            .filter_map(|member| Some((member.clone(), reason(&member.instance)?)))
            .collect();
        expelled
            .into_iter()
            .map(|(member, why)| self.put_out(member, Change::Deregistered, why, at))
            .collect()
    }

    /// Takes a member out by callboard's own decision.
    fn put_out(
        &mut self,
        member: Arc<Member>,
        change: Change,
        why: String,
        at: SystemTime,
    ) -> Event {
        let event = Event {
            revision: self.snapshot.revision.next(),
            at,
            actor: Actor::Callboard,
            change,
            why: Some(why),
            member,
        };
        self.make_true(&event);
        event
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
    pub fn take_renewed(&mut self) -> Vec<Holder> {
        std::mem::take(&mut self.renewed)
    }

    fn make_true(&mut self, event: &Event) {
        let instance = &event.member.instance;
        let member = (!event.change.is_leaving()).then(|| event.member.clone());
        self.put(&instance.service, &instance.id, member, event.revision);
    }

    /// What a newcomer to `service` is weighed against.
    fn counts(&self, service: &ServiceName) -> Counts {
        let members = self.snapshot.members(service.as_str());
        Counts {
            services: self.snapshot.services.len() - self.empty.len(),
            instances: self.instances,
            of_service: members.map_or(0, |members| members.instances.len()),
        }
    }

    /// Brings one member back as it was, with a new lease.
    fn recall(&mut self, remembered: Remembered, now: Instant, revision: Revision) {
        let instance = Arc::new(remembered.instance);
        let (service, id) = (instance.service.clone(), instance.id.clone());
        let lease = instance.ttl.map(|ttl| {
            let lease = Arc::new(Lease::in_doubt(ttl, now));
            self.grant(&service, &id, lease)
        });
        let member = Member {
            instance,
            lease,
            draining: remembered.draining,
            created: remembered.created,
            modified: remembered.modified,
            observed: revision,
            registered_at: remembered.registered_at,
            owner: remembered.owner,
            recalled: Some(remembered.fitness),
        };
        self.put(&service, &id, Some(Arc::new(member)), revision);
    }

    fn grant(&mut self, service: &ServiceName, id: &InstanceId, lease: Arc<Lease>) -> Arc<Lease> {
        self.granted.push(Holder {
            service: service.clone(),
            id: id.clone(),
            lease: lease.clone(),
        });
        lease
    }

    /// A registration keeps what tells how long the member has been here, and its lease if that is
    /// of the same length: heartbeats of this moment then still count.
    fn signed_in(
        &mut self,
        before: Option<&Member>,
        instance: Arc<Instance>,
        revision: Revision,
        context: Context<'_>,
    ) -> Member {
        let held = before
            .and_then(|before| before.lease.as_ref())
            .filter(|lease| Some(lease.ttl()) == instance.ttl);
        let lease = match (held, instance.ttl) {
            (Some(held), _) => {
                self.renewed.push(Holder {
                    service: instance.service.clone(),
                    id: instance.id.clone(),
                    lease: held.clone(),
                });
                Some(held.clone())
            }
            (None, Some(ttl)) => {
                let lease = Arc::new(Lease::new(ttl, context.now));
                Some(self.grant(&instance.service, &instance.id, lease))
            }
            (None, None) => None,
        };
        let owner = before.and_then(|before| before.owner.clone());
        Member {
            instance,
            lease,
            draining: false,
            created: before.map_or(revision, |before| before.created),
            modified: revision,
            observed: revision,
            registered_at: before.map_or(context.at, |before| before.registered_at),
            owner: owner.or_else(|| context.actor.token().cloned()),
            recalled: None,
        }
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
        let (arrives, before) = match member {
            Some(member) => (true, members.instances.insert(id.clone(), member)),
            None => (false, members.instances.remove(id)),
        };
        match (before.is_some(), arrives) {
            (false, true) => self.instances += 1,
            (true, false) => self.instances -= 1,
            _ => {}
        }
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
}

#[cfg(test)]
mod tests;
