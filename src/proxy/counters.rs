//! The figures that one request counts in.
//!
//! Each request is counted exactly once, whichever way it ends: when it is over, or, if it is dropped
//! because its connection or the process ends, right then.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::cluster::Cluster;
use crate::cluster::pick::Nobody;
use crate::cluster::queue::Refusal;
use crate::figures::traffic::{Refused, Requests, Traffic};
use crate::grpc::Code;

/// What is counted of one request.
pub(super) struct Counters {
    traffic: Arc<Traffic>,
    requests: Arc<Requests>,
    /// Of a service that only requests know, where it counts unless somebody registers meanwhile.
    stranger: Option<(Arc<Cluster>, Arc<Requests>)>,
    arrived: Instant,
    /// What the client was told.
    status: Option<StatusCode>,
    /// What callboard added until then.
    added: Option<Duration>,
    /// How long the try that is under way took to the head of its answer.
    upstream: Option<Duration>,
    call: Call,
    is_counted: bool,
}

/// What is known of a call of gRPC.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// The request is none.
    No,
    /// It has not ended.
    Open,
    Ended(Code),
}

impl Counters {
    /// For a request that came at `arrived` by the route of this name to a service with this `traffic`.
    pub(super) fn new(traffic: Arc<Traffic>, route: &Arc<str>, arrived: Instant) -> Self {
        Self {
            requests: traffic.requests(route),
            traffic,
            stranger: None,
            arrived,
            status: None,
            added: None,
            upstream: None,
            call: Call::No,
            is_counted: false,
        }
    }

    /// As [`Counters::new`]. If only requests know the service, it is counted with those `unrouted`,
    /// unless somebody registers meanwhile.
    pub(super) fn of(
        cluster: &Arc<Cluster>,
        route: &Arc<str>,
        unrouted: &Arc<Requests>,
        arrived: Instant,
    ) -> Self {
        let mut counters = Self::new(Arc::clone(cluster.traffic()), route, arrived);
        if cluster.is_stranger() {
            counters.stranger = Some((Arc::clone(cluster), Arc::clone(unrouted)));
        }
        counters
    }

    /// It is a call of gRPC.
    pub(super) fn call(&mut self) {
        self.call = Call::Open;
    }

    /// Nobody will know what the call ended with.
    pub(super) fn no_call(&mut self) {
        self.call = Call::No;
    }

    /// A call has ended with `code`.
    pub(super) fn ended(&mut self, code: Code) {
        if self.call != Call::No {
            self.call = Call::Ended(code);
        }
    }

    /// A further try was made.
    pub(super) fn retried(&self) {
        self.traffic.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A further try was not made, for want of budget.
    pub(super) fn denied(&self) {
        self.traffic.retries_denied.fetch_add(1, Ordering::Relaxed);
    }

    /// A second instance was asked because the first takes long.
    pub(super) fn hedged(&self) {
        self.traffic.hedges.fetch_add(1, Ordering::Relaxed);
    }

    /// It gets no instance.
    pub(super) fn refused(&self, refusal: Refusal) {
        let why = match refusal {
            Refusal::Nobody(Nobody::Full(_)) | Refusal::Crowded(Nobody::Full(_), _) => {
                Refused::QueueFull
            }
            Refusal::Waited(Nobody::Full(_), _) => Refused::QueueTimeout,
            Refusal::Crowded(..) => Refused::HoldFull,
            Refusal::Waited(..) => Refused::HoldTimeout,
            Refusal::Nobody(_) => Refused::Unavailable,
        };
        self.traffic.refuse(why);
    }

    /// An instance took so long to the head of its answer.
    pub(super) fn heard(&mut self, took: Duration) {
        self.upstream = Some(took);
        self.traffic.upstream.record(took);
    }

    /// The head of an answer is passed on.
    pub(super) fn answered(&mut self, status: StatusCode, now: Instant) {
        self.status = Some(status);
        let upstream = self.upstream.take();
        let total = now.saturating_duration_since(self.arrived);
        self.added = upstream.map(|upstream| total.saturating_sub(upstream));
    }

    /// The request is over.
    pub(super) fn finish(&mut self, status: Option<StatusCode>, now: Instant) {
        self.is_counted = true;
        match &self.stranger {
            Some((cluster, unrouted)) if cluster.is_stranger() => return unrouted.count(status),
            _ => self.requests.count(status),
        }
        let took = now.saturating_duration_since(self.arrived);
        self.traffic.durations.record(took);
        if let Some(added) = self.added {
            self.traffic.added.record(added);
        }
        let code = match self.call {
            Call::No => return,
            Call::Ended(code) => code,
            // Its client left first, or will find out by the status of HTTP.
            Call::Open if status.is_none_or(|status| status == StatusCode::OK) => Code::Cancelled,
            Call::Open => Code::Unknown,
        };
        self.traffic.call(code as usize);
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        if !self.is_counted {
            self.finish(self.status, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::policy::Limits;

    fn counters(traffic: &Arc<Traffic>, arrived: Instant) -> Counters {
        Counters::new(Arc::clone(traffic), &Arc::from("shop"), arrived)
    }

    fn counted(traffic: &Traffic) -> [u64; 6] {
        traffic.routes()[0].1.read()
    }

    #[test]
    fn a_request_is_counted_once_whether_it_is_finished_or_dropped() {
        let (traffic, now) = (Arc::default(), Instant::now());
        let mut finished = counters(&traffic, now);
        finished.finish(Some(StatusCode::NOT_FOUND), now);
        drop(finished);
        drop(counters(&traffic, now));
        let mut begun = counters(&traffic, now);
        begun.answered(StatusCode::OK, now);
        drop(begun);
        assert_eq!(counted(&traffic), [0, 1, 0, 1, 0, 1]);
        assert_eq!(traffic.durations.read().count(), 3);
    }

    #[test]
    fn what_callboard_added_is_all_but_the_try_that_won() {
        let (traffic, arrived) = (Arc::default(), Instant::now());
        let mut counters = counters(&traffic, arrived);
        let millis = Duration::from_millis;
        counters.heard(millis(500));
        counters.heard(millis(20));
        counters.answered(StatusCode::OK, arrived + millis(530));
        counters.finish(Some(StatusCode::OK), arrived + millis(600));
        assert_eq!(traffic.added.read().sum, 510_000);
        assert_eq!(traffic.upstream.read().count(), 2);
        assert_eq!(traffic.durations.read().sum, 600_000);
    }

    #[test]
    fn an_answer_of_callboards_own_adds_nothing_to_an_instances() {
        let (traffic, now) = (Arc::default(), Instant::now());
        let mut counters = counters(&traffic, now);
        counters.answered(StatusCode::BAD_GATEWAY, now);
        counters.finish(Some(StatusCode::BAD_GATEWAY), now);
        assert_eq!(traffic.added.read().count(), 0);
    }

    #[test]
    fn a_call_counts_what_it_ended_with_and_one_that_was_left_as_cancelled() {
        let (traffic, now) = (Arc::default(), Instant::now());
        for code in [Some(Code::NotFound), None] {
            let mut counters = counters(&traffic, now);
            counters.call();
            if let Some(code) = code {
                counters.ended(code);
            }
            counters.finish(Some(StatusCode::OK), now);
        }
        let mut other = counters(&traffic, now);
        other.ended(Code::Ok);
        other.finish(Some(StatusCode::OK), now);
        let mut expected = [0; 17];
        (
            expected[Code::NotFound as usize],
            expected[Code::Cancelled as usize],
        ) = (1, 1);
        assert_eq!(traffic.calls(), expected);
    }

    #[test]
    fn whoever_gets_no_instance_is_told_apart_by_why() {
        let traffic = Arc::default();
        let counters = counters(&traffic, Instant::now());
        let full = Nobody::Full(crate::cluster::limit::Limit::InFlight(1));
        let queue = Limits::default().queue;
        for refusal in [
            Refusal::Crowded(full, queue),
            Refusal::Waited(full, Duration::ZERO),
            Refusal::Crowded(Nobody::Available, 1),
            Refusal::Waited(Nobody::Available, Duration::ZERO),
            Refusal::Nobody(Nobody::Available),
        ] {
            counters.refused(refusal);
        }
        assert_eq!(Refused::ALL.map(|why| traffic.refused(why)), [1; 5]);
    }
}
