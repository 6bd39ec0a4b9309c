//! Requests that come to no end while there is a session: a client of HTTP/2 that resets a stream has
//! what serves it dropped, its session included, and a tunnel is carried when its session is gone. What
//! is told of them must have been kept before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use pingora_proxy::Session;

use crate::names::ServiceName;
use crate::proxy::asked::Asked;
use crate::proxy::connection;
use crate::proxy::connection::Passed;
use crate::proxy::context::Context;
use crate::telemetry::explain::Notes;
use crate::telemetry::record::Record;
use crate::telemetry::{Telemetry, explain, trace};

use super::Trail;

/// What is kept of a request's head; most of it is shared with it.
pub(in crate::proxy) struct CutOff {
    telemetry: Arc<Telemetry>,
    arrived: Instant,
    id: HeaderValue,
    client: IpAddr,
    peer: Option<SocketAddr>,
    secured: bool,
    method: Method,
    uri: Uri,
    host: Option<Box<str>>,
    version: Version,
    headers: Headers,
    /// What a tunnel has passed on.
    passed: Passed,
}

/// What is kept of the headers.
enum Headers {
    /// Of every request there may be one to tell of: those that are [`TOLD`].
    Told([Option<HeaderValue>; COUNT]),
    /// Of a tunnel, all of them.
    All(HeaderMap),
}

const COUNT: usize = 5;

/// The headers that are told of unless others are chosen.
static TOLD: [HeaderName; COUNT] = [
    header::USER_AGENT,
    header::REFERER,
    header::CONTENT_TYPE,
    HeaderName::from_static(trace::STATE),
    HeaderName::from_static(explain::HEADER),
];

impl CutOff {
    /// What tells of the request of `session` when its stream was reset.
    pub(in crate::proxy) fn new(
        telemetry: &Arc<Telemetry>,
        session: &Session,
        context: &Context,
    ) -> Self {
        let headers = &session.req_header().headers;
        let told = std::array::from_fn(|index| headers.get(&TOLD[index]).cloned());
        Self::keeping(Headers::Told(told), telemetry, session, context)
    }

    /// What tells of the request of `session` when the tunnel that it becomes has ended.
    pub(in crate::proxy) fn of_tunnel(
        telemetry: &Arc<Telemetry>,
        session: &Session,
        context: &Context,
    ) -> Self {
        let all = session.req_header().headers.clone();
        Self::keeping(Headers::All(all), telemetry, session, context)
    }

    fn keeping(
        headers: Headers,
        telemetry: &Arc<Telemetry>,
        session: &Session,
        context: &Context,
    ) -> Self {
        let head = session.req_header();
        let peer = session.client_addr().and_then(|address| address.as_inet());
        Self {
            telemetry: Arc::clone(telemetry),
            arrived: context.arrived(),
            id: context.request_id().clone(),
            client: context.client,
            peer: peer.copied(),
            secured: connection::is_secured(session),
            method: head.method.clone(),
            uri: head.uri.clone(),
            host: Asked::of_head(head).host().map(Box::from),
            version: head.version,
            headers,
            passed: Passed::default(),
        }
    }

    /// So many more bytes were passed on.
    pub(super) fn passed(&mut self, bytes: Passed) {
        self.passed.received += bytes.received;
        self.passed.sent += bytes.sent;
    }

    /// Explains the choices that were made for what is to be told of later.
    pub(super) fn explain(&self, trail: &Trail, notes: Option<Box<Notes>>) {
        if let Some(notes) = notes {
            self.record(trail, |record| self.telemetry.explain(record, *notes));
        }
    }

    /// Tells of a request of which `trail` is all there is.
    pub(super) fn tell(self, trail: &mut Trail) {
        let notes = (trail.detail.as_mut()).and_then(|detail| detail.notes.take());
        self.record(trail, |record| self.telemetry.finish(record, &trail.watch));
        self.explain(trail, notes);
    }

    fn record(&self, trail: &Trail, tell: impl FnOnce(&Record<'_>)) {
        let Some(detail) = &trail.detail else {
            return;
        };
        let mut told = HeaderMap::new();
        let (headers, was_reset) = match &self.headers {
            Headers::All(all) => (all, false),
            Headers::Told(values) => {
                for (name, value) in TOLD.iter().zip(values) {
                    if let Some(value) = value {
                        told.insert(name, value.clone());
                    }
                }
                (&told, true)
            }
        };
        let passed = if was_reset {
            connection::passed()
        } else {
            self.passed
        };
        let took = self.arrived.elapsed();
        tell(&Record {
            id: self.id.to_str().unwrap_or("-"),
            arrived: SystemTime::now() - took,
            took,
            head: (trail.head).map(|head| head.saturating_duration_since(self.arrived)),
            client: self.client,
            peer: self.peer,
            secured: self.secured,
            method: &self.method,
            target: (self.uri.path_and_query()).map_or("/", |target| target.as_str()),
            stripped: detail.stripped,
            host: self.host.as_deref(),
            version: self.version,
            headers,
            status: trail.status,
            answer: None,
            received: passed.received,
            sent: passed.sent,
            route: detail.route.as_deref(),
            service: detail.service.as_ref().map(ServiceName::as_str),
            failure: detail.failure(),
            code: detail.code,
            trace: trail.watch.trace.as_ref(),
            attempts: &detail.attempts,
            client_left: was_reset,
        });
    }
}
