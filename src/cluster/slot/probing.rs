//! What probes say of a member: its own check's, and those of one whose lease is in doubt.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::cluster::Cluster;
use crate::cluster::policy::Admission;
use crate::dial::Target;
use crate::endpoint::Endpoint;
use crate::health::availability::Tenure;
use crate::health::probe::{Pace, Prober, Sink, Watch};
use crate::health::verdict::Verdict;
use crate::instance::check::Check;
use crate::names::InstanceId;
use crate::registry::snapshot::Fitness;
use crate::registry::suspects::Testimony;
use crate::tls;

use super::Slot;

/// The active check of one member.
pub(super) struct Probing {
    pub(super) target: Target,
    pub(super) check: Check,
    pub(super) verdict: Verdict,
    pub(super) watch: Watch,
}

/// What a probe's answer changed.
pub(in crate::cluster) struct Answered {
    /// Whether what APIs show is different now.
    pub(in crate::cluster) changed: bool,
    /// How soon to ask again.
    pub(in crate::cluster) pace: Pace,
    /// What it says of a member whose lease ran out.
    pub(in crate::cluster) testimony: Option<Testimony>,
}

impl Slot {
    /// Has a member asked by other means whose lease ran out and which has no check.
    pub(super) fn inquire(&mut self, cluster: &Arc<Cluster>, prober: &Prober) {
        if self.probing.is_some() || self.tenure != Tenure::Missed {
            self.inquiry = None;
        } else if self.inquiry.is_none() {
            let check = Check::default();
            let target = target(&self.endpoint, &self.tls);
            self.inquiry = Some(watch(cluster, prober, &self.endpoint, target, &check));
        }
    }

    /// Takes one probe's answer into account.
    ///
    /// One failure is enough where other evidence bears it out: a request that could not connect
    /// either, or that nothing was heard of the instance since a restart.
    pub(in crate::cluster) fn answered(
        &mut self,
        answer: Result<(), String>,
        now: Instant,
    ) -> Answered {
        let before = self.tenure;
        let testimony = self.testimony(&answer, now);
        let borne_out = std::mem::take(&mut self.refused) || before == Tenure::Recalled;
        if answer.is_ok() && self.tenure == Tenure::Recalled {
            self.tenure = Tenure::Held;
        }
        let (mut changed, mut pace) = (self.tenure != before, Pace::Steady);
        if let Some(probing) = &mut self.probing {
            changed |= match answer {
                Err(failure) if borne_out => probing.verdict.condemn(failure),
                answer => probing.verdict.record(&probing.check, answer),
            };
            if probing.verdict.is_unsettled() {
                pace = Pace::Brisk;
            }
        }
        if self.tenure == Tenure::Missed {
            pace = Pace::Brisk;
        }
        self.settle();
        Answered {
            changed,
            pace,
            testimony,
        }
    }

    /// What an answer says of a member whose lease ran out. A probe that fails while requests are
    /// answered says nothing: the instance is there.
    fn testimony(&self, answer: &Result<(), String>, now: Instant) -> Option<Testimony> {
        if self.tenure != Tenure::Missed {
            return None;
        }
        let timeout = self
            .probing
            .as_ref()
            .map_or_else(|| Check::default().timeout, |probing| probing.check.timeout);
        Some(match answer {
            Err(failure) if !self.endpoint.has_answered(timeout, now) => {
                Testimony::Fails(failure.clone())
            }
            _ => Testimony::Answers,
        })
    }
}

/// What is believed of a member before its first probe.
pub(super) fn first_verdict(recalled: Option<Fitness>, admission: Admission) -> Verdict {
    match recalled {
        Some(Fitness::Fit) => Verdict::new(true),
        Some(Fitness::Failing) => Verdict::failing("its probes failed before a restart".to_owned()),
        Some(Fitness::Unproven) | None => Verdict::new(admission == Admission::Trust),
    }
}

pub(super) fn target(endpoint: &Endpoint, tls: &Arc<tls::Client>) -> Target {
    Target {
        address: endpoint.address.clone(),
        scheme: endpoint.instance.scheme,
        service: endpoint.instance.service.to_string(),
        tls: Arc::clone(tls),
    }
}

pub(super) fn watch(
    cluster: &Arc<Cluster>,
    prober: &Prober,
    endpoint: &Endpoint,
    target: Target,
    check: &Check,
) -> Watch {
    let sink = ProbeSink {
        cluster: Arc::downgrade(cluster),
        id: endpoint.instance.id.clone(),
        key: endpoint.key(),
    };
    prober.watch(target, check.clone(), Arc::new(sink))
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
            Some(cluster) => cluster.probed(&self.id, self.key, answer, Instant::now()),
            None => Pace::Steady,
        }
    }
}
