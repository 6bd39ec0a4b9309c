//! A member's way out of traffic and back, as far as its slot is concerned. Each step leaves the
//! endpoint's standing behind; whoever takes it publishes.

use std::time::Instant;

use log::info;

use crate::balance::ewma;
use crate::cluster::tempo::Beat;
use crate::endpoint::Standing;
use crate::health::availability::Probes;
use crate::health::outlier::Outlier;
use crate::health::outlier::tally::{self, Failure, Grounds};

use super::Slot;

impl Slot {
    /// Whether it is ejected or on trial.
    pub(in crate::cluster) fn is_out(&self) -> bool {
        self.ejection.is_out()
    }

    /// Whether it is one of the members whose share may be ejected: those that could serve.
    pub(in crate::cluster) fn is_present(&self) -> bool {
        let unproven = (self.probing.as_ref())
            .is_some_and(|probing| matches!(probing.verdict.probes(), Probes::Unproven { .. }));
        self.endpoint.weight > 0 && !self.draining && !unproven
    }

    /// When its trial begins; `None` if it is on trial or not out.
    pub(in crate::cluster) fn ejected_until(&self) -> Option<Instant> {
        self.ejection.until()
    }

    /// It failed its requests.
    pub(in crate::cluster) fn eject(&mut self, grounds: Grounds, settings: &Outlier, now: Instant) {
        self.ejection.eject(grounds, settings, now);
        tally::forget(&self.endpoint);
        self.settle();
    }

    /// The request on trial was answered, or failed.
    pub(in crate::cluster) fn end_trial(
        &mut self,
        failure: Option<Failure>,
        settings: &Outlier,
        now: Instant,
    ) {
        match failure {
            None => self.ejection.pass_trial(now),
            Some(failure) => self.ejection.fail_trial(failure, settings, now),
        }
        // What was counted while it was out says nothing of how it is now.
        tally::forget(&self.endpoint);
        self.settle();
    }

    /// Back in without a trial; why, for the log.
    pub(in crate::cluster) fn pardon(&mut self, why: &str, now: Instant) {
        let before = self.evidence().availability();
        self.ejection.pardon(now);
        self.start_over();
        let after = self.evidence().availability();
        if after != before {
            let instance = &self.endpoint.instance;
            let name = format_args!("{}/{}", instance.service, instance.id);
            info!("{name}: {before} => {after} ({why})");
        }
    }

    /// What became of requests to its earlier life says nothing of the present one.
    pub(super) fn begin_life(&mut self) {
        self.ejection = Default::default();
        self.start_over();
    }

    fn start_over(&mut self) {
        tally::forget(&self.endpoint);
        self.settle();
        self.endpoint.free_place();
    }

    /// Other settings hold for its ejection, or none.
    pub(in crate::cluster) fn reconsider(&mut self, settings: Option<&Outlier>, now: Instant) {
        if settings.is_none() && self.is_out() {
            self.pardon("ejection was turned off", now);
        }
        // Counted by other measures.
        tally::forget(&self.endpoint);
    }

    /// Ejected => on trial, when its time is up.
    pub(super) fn tick_ejection(&mut self, now: Instant) -> Beat {
        let is_due = self.ejection.come_due(now);
        let told = is_due && self.evidence().standing() == Standing::OnTrial;
        if told {
            let instance = &self.endpoint.instance;
            info!("{}/{}: ejected => on trial", instance.service, instance.id);
        }
        if is_due {
            // By the failures that it was ejected for, it would not be picked for its trial.
            ewma::forget(&self.endpoint);
            self.settle();
        }
        Beat {
            changed: told,
            restless: self.ejection.until().is_some(),
            told,
        }
    }
}
