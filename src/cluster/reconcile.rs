//! Bringing a cluster in line with the registry, its policy and its probes, one slot at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use log::info;

use crate::endpoint::Standing;
use crate::health::probe::Pace;
use crate::names::InstanceId;
use crate::registry::snapshot::{Fitness, Member};

use super::policy::{Admission, Policy};
use super::shares;
use super::slot::Slot;
use super::status::Status;
use super::{Cluster, Control};

impl Cluster {
    /// Makes `members` the cluster's membership. Only what differs from the last one is touched.
    pub(super) fn reconcile(self: &Arc<Self>, members: &OrdMap<InstanceId, Arc<Member>>) {
        let mut guard = self.control();
        let control = &mut *guard;
        let before = std::mem::replace(&mut control.members, members.clone());
        if !members.is_empty() {
            self.stranger.store(false, Ordering::Relaxed);
        }
        let mut changed = false;
        let mut retired = Vec::new();
        for difference in before.diff(members) {
            changed |= match difference {
                DiffItem::Add(_, member) => self.join(control, member),
                DiffItem::Update {
                    old: (_, old),
                    new: (_, new),
                } => self.amend(control, old, new, &mut retired),
                DiffItem::Remove(id, _) => leave(control, id, &mut retired),
            };
        }
        let pardoned = self.pardon_surplus(control, Instant::now());
        if before.is_empty() {
            shares::known_before(control);
        }
        if changed || !pardoned.is_empty() {
            self.republish(control);
        }
        // Only now: between barring those who leave and publishing those who replace them, a
        // request would find nobody.
        retired.into_iter().for_each(Slot::retire);
        drop(guard);
        if changed {
            self.stirred.notify_waiters();
        }
        for (id, found) in &pardoned {
            self.surroundings.witness.changed(&self.name, id, *found);
        }
    }

    /// Puts a new policy in force: connections, load and verdicts stay.
    pub(super) fn configure(self: &Arc<Self>, policy: &Policy, admission: Admission) {
        let mut guard = self.control();
        let control = &mut *guard;
        control.admission = admission;
        // What is equal now may still read its files at another time.
        let same_tls = Arc::ptr_eq(&control.policy.tls, &policy.tls);
        if same_tls && *control.policy == *policy {
            return;
        }
        let outlier_changed = control.policy.outlier != policy.outlier;
        control.policy = Arc::new(policy.clone());
        self.adaptive.configure(&policy.limits, self.in_flight());
        let mut changed = Vec::new();
        let now = Instant::now();
        for (id, slot) in &mut control.slots {
            let before = slot.status().availability;
            slot.recheck(self, &self.surroundings.prober, policy);
            if outlier_changed {
                slot.reconsider(policy.outlier.as_ref(), now);
            }
            if slot.status().availability != before {
                changed.push((id.clone(), slot.fitness()));
            }
        }
        changed.extend(self.pardon_surplus(control, now));
        self.republish(control);
        drop(guard);
        self.stirred.notify_waiters();
        for (id, found) in &changed {
            self.surroundings.witness.changed(&self.name, id, *found);
        }
    }

    /// Takes the answer of a probe into account that somebody else than the prober made.
    pub fn hear(self: &Arc<Self>, id: &InstanceId, answer: Result<(), String>, now: Instant) {
        let key = (self.control().slots.get(id)).map(|slot| slot.endpoint.key());
        if let Some(key) = key {
            self.probed(id, key, answer, now);
        }
    }

    /// Takes a probe's answer into account, unless it is about an endpoint that has left.
    pub(super) fn probed(
        self: &Arc<Self>,
        id: &InstanceId,
        key: u64,
        answer: Result<(), String>,
        now: Instant,
    ) -> Pace {
        let passed = answer.is_ok();
        let mut guard = self.control();
        let control = &mut *guard;
        let Some(slot) = control
            .slots
            .get_mut(id)
            .filter(|s| s.endpoint.key() == key)
        else {
            return Pace::Steady;
        };
        let before = slot.status();
        let standing = slot.endpoint.standing();
        let answered = slot.answered(answer, now);
        let (after, found) = (slot.status(), slot.fitness());
        if slot.endpoint.standing() != standing {
            self.republish_at(control, now);
        }
        drop(guard);
        if let Some(testimony) = answered.testimony {
            let witness = &self.surroundings.witness;
            witness.testify(&self.name, id, testimony);
        }
        if answered.changed {
            let why = if passed {
                "probe passed"
            } else {
                "probe failed"
            };
            self.tell(id, &before, &after, found, why);
        }
        answered.pace
    }

    /// Takes into account that a member's lease ran out or was renewed.
    pub(super) fn lease_changed(self: &Arc<Self>, id: &InstanceId, now: Instant) {
        let mut guard = self.control();
        let Some(slot) = guard.slots.get_mut(id) else {
            return;
        };
        let before = slot.status();
        let testimony = slot.lease_changed(self, &self.surroundings.prober, now);
        let (after, found) = (slot.status(), slot.fitness());
        drop(guard);
        if let Some(testimony) = testimony {
            let witness = &self.surroundings.witness;
            witness.testify(&self.name, id, testimony);
        }
        if (before.availability, &before.reason) != (after.availability, &after.reason) {
            self.tell(id, &before, &after, found, "lease renewed");
        }
    }

    /// Tells everybody that what APIs show of a member has changed.
    pub(super) fn tell(
        &self,
        id: &InstanceId,
        before: &Status,
        after: &Status,
        found: Fitness,
        else_why: &str,
    ) {
        if before.availability != after.availability {
            let why = after.reason.as_deref().unwrap_or(else_why);
            info!(
                "{}/{id}: {} => {} ({why})",
                self.name, before.availability, after.availability
            );
        }
        self.stirred.notify_waiters();
        self.surroundings.witness.changed(&self.name, id, found);
    }

    /// Asks an instance that passes for usable again at once. Does nothing while the control plane
    /// is busy with the cluster: a request does not wait for it, and the next one will ask.
    pub(super) fn doubt(&self, id: &InstanceId) {
        if let Ok(mut control) = self.control.try_lock()
            && let Some(slot) = control.slots.get_mut(id)
            && slot.endpoint.standing() == Standing::Usable
        {
            slot.doubt();
        }
    }

    /// Like the next two, says whether anything the data plane cares for changed.
    fn join(self: &Arc<Self>, control: &mut Control, member: &Member) -> bool {
        let slot = Slot::new(
            self,
            &self.surroundings.prober,
            member,
            &control.policy,
            control.admission,
        );
        control.slots.insert(member.instance.id.clone(), slot);
        true
    }

    fn amend(
        self: &Arc<Self>,
        control: &mut Control,
        old: &Member,
        new: &Member,
        retired: &mut Vec<Slot>,
    ) -> bool {
        let lease = |member: &Member| member.lease.as_ref().map(Arc::as_ptr);
        if Arc::ptr_eq(&old.instance, &new.instance)
            && old.draining == new.draining
            && old.recalled == new.recalled
            && lease(old) == lease(new)
        {
            return false;
        }
        if old.instance.address != new.instance.address
            || old.instance.scheme != new.instance.scheme
        {
            return leave(control, &new.instance.id, retired) | self.join(control, new);
        }
        if let Some(slot) = control.slots.get_mut(&new.instance.id) {
            let prober = &self.surroundings.prober;
            slot.update(self, prober, new, &control.policy, control.admission);
        }
        true
    }
}

fn leave(control: &mut Control, id: &InstanceId, retired: &mut Vec<Slot>) -> bool {
    let slot = control.slots.remove(id);
    let left = slot.is_some();
    retired.extend(slot);
    left
}
