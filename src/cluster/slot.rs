//! One member of a cluster as the control plane sees it: its endpoint, what is known of its health,
//! and the probes that keep that knowledge fresh.

use std::sync::{Arc, Weak};

use crate::endpoint::Endpoint;
use crate::health::availability::{Availability, Evidence, Probes};
use crate::health::probe::{Pace, Prober, Sink, Watch};
use crate::health::verdict::Verdict;
use crate::instance::check::Check;
use crate::names::InstanceId;
use crate::registry::snapshot::{Fitness, Member};

use super::Cluster;
use super::policy::{Admission, Policy};
use super::status::Status;

/// One member of a cluster.
pub(super) struct Slot {
    pub(super) endpoint: Arc<Endpoint>,
    draining: bool,
    probing: Option<Probing>,
}

/// The active check of one member.
struct Probing {
    check: Check,
    verdict: Verdict,
    watch: Watch,
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
        let instance = Arc::clone(&member.instance);
        let check = instance.check.over(policy.check.as_ref());
        let draining = member.draining;
        let verdict = Verdict::new(admission == Admission::Trust);
        let probes = check
            .as_ref()
            .map_or(Probes::Off, |_| verdict.probes().clone());
        let availability = Evidence { draining, probes }.availability();
        let endpoint = Arc::new(Endpoint::new(instance, availability.standing()));
        let probing = check.map(|check| Probing {
            watch: watch(cluster, prober, &endpoint, &check),
            check,
            verdict,
        });
        Self {
            endpoint,
            draining,
            probing,
        }
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
        self.draining = member.draining;
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
    }

    /// Probes by the check that `policy` asks for now. A changed check starts its probes afresh
    /// while the last verdict holds.
    pub(super) fn recheck(&mut self, cluster: &Arc<Cluster>, prober: &Prober, policy: &Policy) {
        let check = self.endpoint.instance.check.over(policy.check.as_ref());
        if check.as_ref() == self.probing.as_ref().map(|probing| &probing.check) {
            return;
        }
        let verdict = self.probing.take().map(|probing| probing.verdict);
        self.probing = check.map(|check| Probing {
            watch: watch(cluster, prober, &self.endpoint, &check),
            check,
            verdict: verdict.unwrap_or_else(|| Verdict::new(true)),
        });
        self.settle();
    }

    /// Takes one probe's answer into account; says whether what APIs show changed, and how soon to
    /// ask again.
    pub(super) fn answered(&mut self, answer: Result<(), String>) -> (bool, Pace) {
        let Some(probing) = &mut self.probing else {
            return (false, Pace::Steady);
        };
        let changed = probing.verdict.record(&probing.check, answer);
        let pace = if probing.verdict.is_unsettled() {
            Pace::Brisk
        } else {
            Pace::Steady
        };
        self.settle();
        (changed, pace)
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
    }

    pub(super) fn status(&self) -> Status {
        let evidence = self.evidence();
        Status {
            availability: evidence.availability(),
            reason: evidence.reason().map(str::to_owned),
            in_flight: self.endpoint.in_flight(),
            served: self.endpoint.served(),
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
            probes: self
                .probing
                .as_ref()
                .map_or(Probes::Off, |probing| probing.verdict.probes().clone()),
        }
    }

    fn settle(&self) {
        let availability = self.evidence().availability();
        self.endpoint.set_standing(availability.standing());
    }
}

fn watch(cluster: &Arc<Cluster>, prober: &Prober, endpoint: &Endpoint, check: &Check) -> Watch {
    let sink = ProbeSink {
        cluster: Arc::downgrade(cluster),
        id: endpoint.instance.id.clone(),
        key: endpoint.key(),
    };
    prober.watch(endpoint.address, check.clone(), Arc::new(sink))
}

/// Takes probe answers to their slot, if that still is the one that asked.
struct ProbeSink {
    cluster: Weak<Cluster>,
    id: InstanceId,
    key: u64,
}

impl Sink for ProbeSink {
    fn answered(&self, answer: Result<(), String>) -> Pace {
        match self.cluster.upgrade() {
            Some(cluster) => cluster.probed(&self.id, self.key, answer),
            None => Pace::Steady,
        }
    }
}
