//! One member of a cluster as the control plane sees it: its endpoint, what is known of its health,
//! and the probes that keep that knowledge fresh.

mod ejection;
mod probing;

use std::sync::Arc;
use std::time::Instant;

use crate::endpoint::{Endpoint, Standing};
use crate::health::availability::{Availability, Evidence, Probes, Tenure};
use crate::health::outlier::ejection::Ejection;
use crate::health::probe::{Prober, Watch};
use crate::health::verdict::Verdict;
use crate::registry::lease::Lease;
use crate::registry::snapshot::{Fitness, Member};
use crate::registry::suspects::Testimony;
use crate::tls;

use super::Cluster;
use super::explain::shortened;
use super::policy::{Admission, Policy};
use super::shares::Share;
use super::status::Status;
use super::tempo::Beat;

use probing::{Probing, first_verdict, target, watch};

/// One member of a cluster.
pub(super) struct Slot {
    pub(super) endpoint: Arc<Endpoint>,
    draining: bool,
    lease: Option<Arc<Lease>>,
    /// How its probes speak TLS, if its scheme has it.
    tls: Arc<tls::Client>,
    tenure: Tenure,
    probing: Option<Probing>,
    /// Probes of a member without a check, for as long as its lease is in doubt.
    inquiry: Option<Watch>,
    /// Whether a request failed to connect since the last probe's answer.
    refused: bool,
    ejection: Ejection,
    /// What its share of the requests depends on besides its weight.
    pub(super) share: Share,
}

impl Slot {
    /// A slot for a member that was not there before.
    pub(super) fn new(
        cluster: &Arc<Cluster>,
        prober: &Prober,
        member: &Member,
        policy: &Policy,
        admission: Admission,
    ) -> Self {
        let endpoint = Arc::new(Endpoint::new(
            Arc::clone(&member.instance),
            Standing::Barred,
        ));
        let check = member.instance.check.over(policy.check.as_ref());
        let probing = check.map(|check| {
            let target = target(&endpoint, &policy.tls);
            Probing {
                watch: watch(cluster, prober, &endpoint, target.clone(), &check),
                verdict: first_verdict(member.recalled, admission),
                target,
                check,
            }
        });
        // Nobody who is neither probed nor has a lease to renew will be heard of.
        let doubted = (member.lease.as_ref()).is_some_and(|lease| lease.is_in_doubt());
        let tenure = match member.recalled {
            Some(_) if probing.is_some() || doubted => Tenure::Recalled,
            _ => Tenure::Held,
        };
        let mut slot = Self {
            endpoint,
            draining: member.draining,
            lease: member.lease.clone(),
            tls: Arc::clone(&policy.tls),
            tenure,
            probing,
            inquiry: None,
            refused: false,
            ejection: Ejection::default(),
            share: Share::new(),
        };
        slot.settle();
        slot.part_if_draining(policy);
        slot
    }

    /// Connections without an end of their own have as long as requests to leave one that drains.
    fn part_if_draining(&self, policy: &Policy) {
        let leaves = self.draining.then(|| Instant::now() + policy.drain);
        self.endpoint.part(leaves);
    }

    /// Brings the slot in line with its member's registration at the same address. Load figures
    /// stay; the verdict stays too, unless a new life of the process follows one that failed.
    pub(super) fn update(
        &mut self,
        cluster: &Arc<Cluster>,
        prober: &Prober,
        member: &Member,
        policy: &Policy,
        admission: Admission,
    ) {
        let new_life = member.instance.generation != self.endpoint.instance.generation;
        if !Arc::ptr_eq(&member.instance, &self.endpoint.instance) {
            self.endpoint = Arc::new(self.endpoint.updated(Arc::clone(&member.instance)));
        }
        if self.draining != member.draining {
            self.draining = member.draining;
            self.part_if_draining(policy);
        }
        if new_life {
            self.begin_life();
        }
        let lease = |lease: &Option<Arc<Lease>>| lease.as_ref().map(Arc::as_ptr);
        if new_life || lease(&self.lease) != lease(&member.lease) {
            self.endpoint.come_back();
        }
        self.lease.clone_from(&member.lease);
        // A registration renews or replaces the lease. One still in doubt says that the instance was
        // only described otherwise, drained or resumed, and has yet to be heard of.
        if member.recalled.is_none() && !self.is_in_doubt() {
            self.tenure = Tenure::Held;
            self.inquiry = None;
        }
        self.recheck(cluster, prober, policy);
        if let Some(probing) = &mut self.probing
            && new_life
        {
            if matches!(probing.verdict.probes(), Probes::Failing { .. }) {
                probing.verdict = Verdict::new(admission == Admission::Trust);
            }
            probing.watch.probe_now();
        }
        self.settle();
        if new_life && self.is_usable() {
            self.share.start_over();
        }
    }

    /// Takes note that its lease ran out or was renewed. One that ran out is looked into at once: by
    /// its check, or for want of one by connecting to its port. Gives what is known already.
    pub(super) fn lease_changed(
        &mut self,
        cluster: &Arc<Cluster>,
        prober: &Prober,
        now: Instant,
    ) -> Option<Testimony> {
        let missed = self.lease.as_ref().filter(|lease| lease.is_overdue(now));
        let Some(ttl) = missed.map(|lease| lease.ttl()) else {
            self.tenure = Tenure::Held;
            self.inquiry = None;
            return None;
        };
        self.tenure = Tenure::Missed;
        self.probe_now();
        self.inquire(cluster, prober);
        self.endpoint
            .has_answered(ttl, now)
            .then_some(Testimony::Answers)
    }

    /// Probes by the check that `policy` asks for now. A changed check, or another way to connect,
    /// starts its probes afresh while the last verdict holds.
    pub(super) fn recheck(&mut self, cluster: &Arc<Cluster>, prober: &Prober, policy: &Policy) {
        let check = self.endpoint.instance.check.over(policy.check.as_ref());
        self.tls = Arc::clone(&policy.tls);
        let target = target(&self.endpoint, &self.tls);
        let is_same =
            |old: &Probing| target == old.target && Arc::ptr_eq(&target.tls, &old.target.tls);
        match (&check, &self.probing) {
            (None, None) => return,
            (Some(check), Some(old)) if *check == old.check && is_same(old) => return,
            _ => {}
        }
        let verdict = self.probing.take().map(|probing| probing.verdict);
        self.probing = check.map(|check| Probing {
            watch: watch(cluster, prober, &self.endpoint, target.clone(), &check),
            target,
            check,
            verdict: verdict.unwrap_or_else(|| Verdict::new(true)),
        });
        if self.tenure == Tenure::Recalled && self.probing.is_none() && !self.is_in_doubt() {
            // It will not be heard of.
            self.tenure = Tenure::Held;
        }
        self.inquire(cluster, prober);
        self.settle();
    }

    fn is_in_doubt(&self) -> bool {
        (self.lease.as_ref()).is_some_and(|lease| lease.is_in_doubt())
    }

    /// What time brings about: one step of [`tempo`](super::tempo).
    pub(super) fn tick(&mut self, _policy: &Policy, now: Instant) -> Beat {
        self.tick_ejection(now)
    }

    /// A request could not connect: asks the instance at once, and lets that probe decide.
    pub(super) fn doubt(&mut self) {
        self.refused = true;
        self.probe_now();
    }

    /// Asks the instance again at once.
    pub(super) fn probe_now(&self) {
        if let Some(probing) = &self.probing {
            probing.watch.probe_now();
        }
    }

    /// The endpoint leaves the cluster: nobody picks it any more, whoever still holds it.
    pub(super) fn retire(self) {
        self.endpoint.set_standing(Availability::Down.standing());
        if self.draining {
            self.endpoint.part(Some(Instant::now()));
        }
    }

    /// Whether nobody asks the instance anything.
    #[cfg(test)]
    pub(super) fn is_unprobed(&self) -> bool {
        self.probing.is_none() && self.inquiry.is_none()
    }

    pub(super) fn status(&self) -> Status {
        let evidence = self.evidence();
        Status {
            availability: evidence.availability(),
            reason: evidence.reason().map(str::to_owned),
            in_flight: self.endpoint.in_flight(),
            served: self.endpoint.served(),
            effective_weight: f64::from(self.endpoint.weight) * self.share.factor(),
            load: self.share.report(),
        }
    }

    /// What to remember of it over a restart.
    pub(super) fn fitness(&self) -> Fitness {
        match self.evidence().probes {
            Probes::Off | Probes::Passing | Probes::Wavering { .. } => Fitness::Fit,
            Probes::Unproven { .. } => Fitness::Unproven,
            Probes::Failing { .. } => Fitness::Failing,
        }
    }

    fn evidence(&self) -> Evidence {
        Evidence {
            draining: self.draining,
            lease: self.tenure,
            probes: self
                .probing
                .as_ref()
                .map_or(Probes::Off, |probing| probing.verdict.probes().clone()),
            ejected: self.ejection.evidence(),
        }
    }

    pub(super) fn availability(&self) -> Availability {
        self.evidence().availability()
    }

    /// Its availability, and why it is not ready.
    pub(super) fn explained(&self) -> (Availability, Option<Arc<str>>) {
        let evidence = self.evidence();
        (evidence.availability(), evidence.reason().map(shortened))
    }

    /// Whether requests may go to it.
    pub(super) fn is_usable(&self) -> bool {
        self.endpoint.standing() == Standing::Usable
    }

    fn settle(&mut self) {
        let was_usable = self.is_usable();
        let standing = self.evidence().standing();
        self.endpoint.set_standing(standing);
        if self.is_usable() && !was_usable {
            self.share.start_over();
        }
    }
}
