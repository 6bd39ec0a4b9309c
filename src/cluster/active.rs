//! What requests see of a cluster: an immutable picker over the endpoints that may be picked.

use std::sync::Arc;
use std::time::Instant;

use crate::balance::{Algorithm, Candidates, Picker, ewma};
use crate::endpoint::{Endpoint, Standing};

use super::policy::{Panic, Policy};
use super::slot::Slot;

/// One published state of a cluster.
pub(super) struct Active {
    pub(super) policy: Arc<Policy>,
    pub(super) picker: Picker,
    /// Whether last resorts serve.
    pub(super) panic: bool,
}

impl Active {
    pub(super) fn empty(policy: Arc<Policy>) -> Self {
        let nobody = Candidates {
            members: &[],
            eligible: &[],
        };
        Self {
            picker: Picker::build(&policy.balance, nobody, None),
            panic: false,
            policy,
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
    /// draining or gone are no part of either count.
    pub(super) fn build<'a>(
        policy: &Arc<Policy>,
        slots: impl Iterator<Item = &'a Slot>,
        previous: &Self,
    ) -> Self {
        let members = Self::members(slots);
        if policy.balance.algorithm == Algorithm::PeakEwma {
            // A newcomer at 0 would draw all the traffic.
            ewma::seed_all(&members, Instant::now());
        }
        let count = |standing| members.iter().filter(|e| e.standing() == standing).count();
        let usable = count(Standing::Usable);
        let present = usable + count(Standing::LastResort) + count(Standing::OnTrial);
        let panic = policy.panic == Panic::Spread
            && (usable as f64) < policy.panic_threshold * present as f64;
        let eligible: Vec<Arc<Endpoint>> = members
            .iter()
            .filter(|endpoint| admits(endpoint.standing(), panic))
            .cloned()
            .collect();
        let candidates = Candidates {
            members: &members,
            eligible: &eligible,
        };
        Self {
            picker: Picker::build(&policy.balance, candidates, Some(&previous.picker)),
            panic,
            policy: Arc::clone(policy),
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
