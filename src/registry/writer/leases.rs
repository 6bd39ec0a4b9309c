//! What the writer does about leases: puts those that ran out in doubt, takes out their holders when
//! their time is up, and tells the observer of both.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use crate::names::ServiceName;
use crate::registry::expiry::Holder;
use crate::registry::lease::Renewal;
use crate::registry::suspects::Key;

use super::{RETRY, Writer};

impl Writer {
    /// Lets all leases run longer by the time the process `stood_still`.
    pub(super) fn forgive(&mut self, stood_still: Duration) {
        if stood_still.is_zero() {
            return;
        }
        log::warn!(
            "the process stood still for {stood_still:.1?}; all leases run that much longer"
        );
        self.extend_leases(stood_still);
    }

    /// Lets all leases run longer by time in which no heartbeat could come.
    pub(super) fn extend_leases(&mut self, by: Duration) {
        let services = self.state.snapshot().services.values();
        for member in services.flat_map(|members| members.instances.values()) {
            if let Some(lease) = &member.lease {
                lease.extend(by);
            }
        }
        for holder in self.suspects.clear_all() {
            self.expiry.watch(&holder);
        }
    }

    /// Puts everyone whose lease has run out in doubt, and takes out those whose time is up.
    pub(super) fn expire_due(&mut self, now: Instant) {
        let mut missed = Vec::new();
        for holder in self.expiry.due(now) {
            if !self.state.holds(&holder) {
                continue;
            }
            match holder.lease.deadline() {
                Some(deadline) if holder.lease.miss(now) => {
                    missed.push((holder.service.clone(), holder.id.clone()));
                    self.suspects.add(holder, deadline);
                }
                _ => self.expiry.watch(&holder),
            }
        }
        self.tell_of_leases(&missed, now);
        self.take_out(now);
    }

    fn take_out(&mut self, now: Instant) {
        let snapshot = self.state.snapshot().clone();
        let members = |service: &ServiceName| {
            snapshot
                .members(service.as_str())
                .map_or(0, |members| members.instances.len())
        };
        let at = SystemTime::now();
        let mut draft = self.state.clone();
        let (mut events, mut ended) = (Vec::new(), Vec::new());
        for condemned in self.suspects.due(now, members) {
            let holder = &condemned.holder;
            if !self.state.holds(holder) {
                continue;
            }
            // From here on heartbeats are told to register again; before, they keep the lease.
            if !holder.lease.expire(now) {
                self.expiry.watch(holder);
                continue;
            }
            events.extend(draft.expire(holder, condemned.why.clone(), at));
            ended.push(condemned);
        }
        match self.keep(&events) {
            Ok(()) => {
                self.state = draft;
                self.publish(now);
            }
            Err(_) => {
                for condemned in ended {
                    condemned.holder.lease.revive(condemned.missed_at);
                    self.suspects.spare(condemned, now + RETRY);
                }
            }
        }
    }

    /// These members are heard of again: they are suspects no longer.
    pub(super) fn settle(&mut self, members: &[Key], now: Instant) {
        for key in members {
            if let Some(holder) = self.suspects.clear(key) {
                self.expiry.watch(&holder);
            }
        }
        self.tell_of_leases(members, now);
    }

    fn tell_of_leases(&self, members: &[Key], now: Instant) {
        if members.is_empty() {
            return;
        }
        // As with what is published, an observer's fault must not end the registry.
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.observer.leases_changed(members, now)
        }));
        if told.is_err() {
            log::error!(
                "an observer of the registry panicked at the leases of {} members; they are judged \
                 without what it knows",
                members.len()
            );
        }
    }

    /// Renews and grants what the commands carried out call for. Gives the members whose lease was in
    /// doubt.
    pub(super) fn settle_leases(&mut self, now: Instant) -> Vec<Key> {
        let mut settled = Vec::new();
        for Holder { service, id, lease } in self.state.take_renewed() {
            if lease.renew(now) == Renewal::Settled {
                settled.push((service, id));
            }
        }
        for holder in self.state.take_granted() {
            self.suspects
                .clear(&(holder.service.clone(), holder.id.clone()));
            if !holder.lease.is_in_doubt() {
                holder.lease.renew(now);
            }
            self.expiry.watch(&holder);
        }
        settled
    }
}
