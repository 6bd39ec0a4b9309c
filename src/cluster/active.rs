//! What requests see of a cluster: an immutable picker over the endpoints that may be picked.

use std::sync::Arc;
use std::time::Instant;

use crate::balance::{Algorithm, Candidates, Picker, ewma};
use crate::endpoint::{Endpoint, Standing};

use super::explain::Known;
use super::policy::{Panic, Policy};
use super::shares;
use super::slot::Slot;
use super::zone::Local;

/// One published state of a cluster.
pub(super) struct Active {
    pub(super) policy: Arc<Policy>,
    pub(super) picker: Picker,
    /// Whether last resorts serve.
    pub(super) panic: bool,
    /// Who comes before everybody else; nobody if all are alike.
    pub(super) local: Option<Local>,
    /// Everybody, for explanations.
    pub(super) known: Box<[Known]>,
}

impl Active {
    pub(super) fn empty(policy: Arc<Policy>) -> Self {
        let nobody = Candidates {
            members: &[],
            eligible: &[],
            weights: &[],
        };
        Self {
            picker: Picker::build(&policy.balance, nobody, None),
            panic: false,
            policy,
            local: None,
            known: Box::default(),
        }
    }

    /// The endpoints that have a weight.
    pub(super) fn members<'a>(slots: impl Iterator<Item = &'a Slot>) -> Vec<Arc<Endpoint>> {
        slots
            .filter(|slot| slot.endpoint.weight > 0)
            .map(|slot| Arc::clone(&slot.endpoint))
            .collect()
    }

    /// Panic (Envoy's term): when the usable share of all members that could serve falls below the
    /// threshold, the checks themselves are the likelier fault, or the few survivors would be
    /// crushed; traffic is then spread over all of them, unless the policy says to believe the
    /// checks even so. Members that are ejected or on trial are not usable; those that are starting,
    /// draining or gone are no part of either count. Nobody is spared in panic, or preferred.
    pub(super) fn build<'a>(
        policy: &Arc<Policy>,
        slots: impl Iterator<Item = &'a Slot>,
        zone: Option<&str>,
        previous: &Self,
        now: Instant,
    ) -> Self {
        let all: Vec<&Slot> = slots.collect();
        let slots: Vec<&Slot> = (all.iter().copied())
            .filter(|slot| slot.endpoint.weight > 0)
            .collect();
        let members = Self::members(slots.iter().copied());
        if policy.balance.algorithm == Algorithm::PeakEwma {
            // A newcomer at 0 would draw all the traffic.
            ewma::seed_all(&members, now);
        }
        let count = |standing| members.iter().filter(|e| e.standing() == standing).count();
        let usable = count(Standing::Usable);
        let present = usable + count(Standing::LastResort) + count(Standing::OnTrial);
        let panic = policy.panic == Panic::Spread
            && (usable as f64) < policy.panic_threshold * present as f64;
        let admitted = || {
            let slots = slots.iter().copied();
            slots.filter(|slot| admits(slot.endpoint.standing(), panic))
        };
        let eligible: Vec<_> = Self::members(admitted());
        let weights = shares::effective(admitted().map(|slot| {
            let factor = if panic { 1.0 } else { slot.share.factor() };
            (slot.endpoint.weight, factor)
        }));
        let candidates = Candidates {
            members: &members,
            eligible: &eligible,
            weights: &weights,
        };
        let zone = zone.filter(|_| policy.prefer_zone && !panic);
        let local = zone.and_then(|zone| {
            let previous = previous.local.as_ref();
            Local::build(&policy.balance, zone, &slots, &eligible, &weights, previous)
        });
        Self {
            picker: Picker::build(&policy.balance, candidates, Some(&previous.picker)),
            panic,
            policy: Arc::clone(policy),
            local,
            known: (all.iter())
                .map(|slot| Known::of(slot, admits(slot.endpoint.standing(), panic)))
                .collect(),
        }
    }
}

/// Whether an endpoint of this standing may be picked.
fn admits(standing: Standing, panic: bool) -> bool {
    match standing {
        Standing::Usable | Standing::OnTrial => true,
        Standing::LastResort => panic,
        Standing::Barred => false,
    }
}
