//! What is noted of a request on its way, to be told when it is over.
//!
//! Figures need a few moments and one pointer. Anything more is noted only for requests that somebody
//! wants to know of, which is drawn when the head has come.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use pingora_proxy::Session;

use crate::cluster::Cluster;
use crate::cluster::pick::Pick;
use crate::figures::traffic::{Requests, Traffic};
use crate::route::table::Found;
use crate::telemetry::record::{self, Attempt, Outcome, Record};
use crate::telemetry::{Telemetry, Watch};

use super::context::Context;
use super::failure::Failure;
use super::{connection, headers};

/// What is noted of one request.
#[derive(Default)]
pub(super) struct Trail {
    pub(super) watch: Watch,
    /// The figures it counts in; `None` before it has a service, and when it is not counted.
    counters: Option<Counters>,
    /// When the head of its answer was passed on.
    head: Option<Instant>,
    /// How long the try that won took to the head of its answer.
    upstream: Option<Duration>,
    /// What a [`Record`] is made of, if anybody wants one.
    detail: Option<Box<Detail>>,
}

struct Counters {
    traffic: Arc<Traffic>,
    requests: Arc<Requests>,
    counted: AtomicBool,
}

/// What nobody needs for figures.
#[derive(Default)]
pub(super) struct Detail {
    route: Option<Arc<str>>,
    attempts: Vec<Attempt>,
    failure: Option<Failure>,
}

impl Trail {
    /// The request is known; `watch` says who wants to know of it.
    pub(super) fn begin(&mut self, watch: Watch) {
        self.detail = watch.wants_record().then(Box::default);
        self.watch = watch;
    }

    /// It has a service.
    pub(super) fn aimed(&mut self, cluster: &Cluster, found: &Found<'_>) {
        if self.watch.counted {
            self.counters = Some(Counters {
                traffic: Arc::clone(cluster.traffic()),
                requests: cluster.traffic().requests(found.label),
                counted: AtomicBool::new(false),
            });
        }
        if let Some(detail) = &mut self.detail {
            detail.route = Some(Arc::clone(found.label));
        }
    }

    /// An instance was picked for a try; `arrived` is when the request came.
    pub(super) fn picked(&mut self, pick: &Pick, arrived: Instant) {
        if let Some(detail) = &mut self.detail {
            detail.attempts.push(Attempt {
                instance: Arc::clone(&pick.endpoint().instance),
                began: pick.started().saturating_duration_since(arrived),
                connected: None,
                ended: None,
                outcome: Outcome::default(),
                span: fastrand::u64(1..),
            });
        }
    }

    /// The try has its connection, `reused` or made for it.
    pub(super) fn connected(&mut self, reused: bool, since: Duration) {
        if let Some(attempt) = self.current() {
            attempt.connected = Some((since, reused));
        }
    }

    /// The try has ended, `since` the request came.
    pub(super) fn ended(&mut self, outcome: impl FnOnce() -> Outcome, since: Duration) {
        if let Some(attempt) = self.current() {
            attempt.ended = Some(since);
            attempt.outcome = outcome();
        }
    }

    /// The try has come to nothing, for the `failure` noted last, unless it was given up.
    pub(super) fn lost(&mut self, failure: Option<&Failure>, since: Duration) {
        if let Some(attempt) = self.current()
            && attempt.outcome == Outcome::Cancelled
            && let Some(failure) = failure
        {
            attempt.ended = Some(since);
            attempt.outcome = Outcome::Failed {
                kind: failure.error_type(),
                detail: failure.detail().to_owned(),
            };
        }
    }

    fn current(&mut self) -> Option<&mut Attempt> {
        self.detail.as_mut()?.attempts.last_mut()
    }

    /// A try has won after `took`.
    pub(super) fn won(&mut self, took: Duration) {
        self.upstream = Some(took);
    }

    /// The head of the answer is passed on.
    pub(super) fn answered(&mut self, now: Instant) {
        self.head = Some(now);
    }

    /// callboard answers the request itself, or breaks its answer off.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if let Some(detail) = &mut self.detail {
            detail.failure = Some(failure.clone());
        }
    }

    fn count(&self, status: Option<http::StatusCode>, arrived: Instant, now: Instant) {
        let Some(counters) = &self.counters else {
            return;
        };
        counters.counted.store(true, Ordering::Relaxed);
        counters.requests.count(status);
        let took = now.saturating_duration_since(arrived);
        counters.traffic.durations.record(took);
        if let (Some(head), Some(upstream)) = (self.head, self.upstream) {
            let added = head.saturating_duration_since(arrived + upstream);
            counters.traffic.added.record(added);
        }
    }
}

/// A request that came to no end, as the process or its connection did, is counted all the same.
impl Drop for Counters {
    fn drop(&mut self) {
        if !self.counted.load(Ordering::Relaxed) {
            self.requests.count(None);
        }
    }
}

/// The request of `session` is over.
pub(super) fn finish(telemetry: &Telemetry, session: &Session, context: &mut Context) {
    let trail = mem::take(&mut context.trail);
    let (arrived, now) = (context.arrived(), Instant::now());
    let answer = session.response_written();
    let status = answer.map(|answer| answer.status);
    trail.count(status, arrived, now);
    if trail.watch.counted && trail.counters.is_none() {
        telemetry.unrouted().count(status);
    }
    let Some(detail) = &trail.detail else {
        return;
    };
    let request = session.req_header();
    let took = now.saturating_duration_since(arrived);
    let peer = session.client_addr().and_then(|address| address.as_inet());
    let record = Record {
        id: context.name(),
        arrived: SystemTime::now() - took,
        took,
        head: (trail.head).map(|head| head.saturating_duration_since(arrived)),
        client: context.client,
        peer: peer.copied(),
        secured: connection::is_secured(session),
        method: &request.method,
        target: (request.uri.path_and_query()).map_or("/", |target| target.as_str()),
        host: headers::host(request),
        version: request.version,
        headers: &request.headers,
        status,
        answer: answer.map(|answer| &answer.headers),
        received: session.body_bytes_read() as u64,
        sent: session.body_bytes_sent() as u64,
        route: detail.route.as_deref(),
        service: (context.target.as_ref()).map(|target| target.cluster.name().as_str()),
        failure: detail.failure.as_ref().map(|failure| record::Failure {
            kind: failure.error_type(),
            detail: failure.detail(),
        }),
        attempts: &detail.attempts,
    };
    telemetry.finish(&record, &trail.watch);
}
