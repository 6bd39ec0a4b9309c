//! An instance and what came to it.

use crate::simulate::figures::Figures;
use crate::simulate::report::InstanceReport;
use crate::simulate::scenario::Member;
use crate::simulate::world::{End, Time, Worker};

pub(super) struct Host {
    worker: Worker,
    pub(super) requests: u64,
    errors: u64,
    in_flight: u32,
    max_in_flight: u32,
    pub(super) ejections: u64,
    is_out: bool,
    latency: Figures,
}

impl Host {
    pub(super) fn new(member: &Member) -> Self {
        Self {
            worker: Worker::new(member),
            requests: 0,
            errors: 0,
            in_flight: 0,
            max_in_flight: 0,
            ejections: 0,
            is_out: false,
            latency: Figures::default(),
        }
    }

    pub(super) fn is_down(&self, now: Time) -> bool {
        self.worker.is_down(now)
    }

    /// It is given a request: when it is done, and how.
    pub(super) fn begin(&mut self, now: Time, chances: &mut fastrand::Rng) -> (Time, End) {
        self.requests += 1;
        self.in_flight += 1;
        self.max_in_flight = self.max_in_flight.max(self.in_flight);
        self.worker.serve(now, chances)
    }

    /// A request that it was given at `since` is over.
    pub(super) fn end(&mut self, since: Time, now: Time, end: End) {
        self.in_flight -= 1;
        self.latency.record((now - since) as f64 / 1e9);
        self.errors += u64::from(end != End::Answered);
    }

    /// Whether a request that ends so may have changed whether it is ejected.
    pub(super) fn may_turn(&self, end: End) -> bool {
        end != End::Answered || self.is_out
    }

    /// Whether it is ejected now.
    pub(super) fn turn(&mut self, is_out: bool) {
        self.ejections += u64::from(is_out && !self.is_out);
        self.is_out = is_out;
    }

    /// What came to it, of so many requests, and with so much weight beside its own.
    pub(super) fn report(&self, member: &Member, requests: u64, weights: u64) -> InstanceReport {
        InstanceReport {
            id: member.id.to_string(),
            weight: member.weight,
            requests: self.requests,
            share: self.requests as f64 / requests.max(1) as f64,
            expected: f64::from(member.weight) / weights.max(1) as f64,
            errors: self.errors,
            max_in_flight: self.max_in_flight,
            ejections: self.ejections,
            latency: (&self.latency).into(),
        }
    }
}
