//! Requests that come to no end: a client of HTTP/2 that resets a stream has what serves it dropped, its
//! session included, and what is told of it must have been kept before.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use pingora_proxy::Session;

use crate::names::ServiceName;
use crate::proxy::context::Context;
use crate::proxy::{connection, headers};
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
    headers: [Option<HeaderValue>; COUNT],
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
    pub(in crate::proxy) fn new(
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
            host: headers::host(head).map(Box::from),
            version: head.version,
            headers: std::array::from_fn(|index| head.headers.get(&TOLD[index]).cloned()),
        }
    }

    /// Tells of a request whose client has left, and of which `trail` is all there is.
    pub(super) fn tell(self, trail: &mut Trail) {
        let notes = (trail.detail.as_mut()).and_then(|detail| detail.notes.take());
        let Some(detail) = &trail.detail else {
            return;
        };
        let took = self.arrived.elapsed();
        let mut headers = HeaderMap::new();
        for (name, value) in TOLD.iter().zip(self.headers) {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        let record = Record {
            id: self.id.to_str().unwrap_or("-"),
            arrived: SystemTime::now() - took,
            took,
            head: (trail.head).map(|head| head.saturating_duration_since(self.arrived)),
            client: self.client,
            peer: self.peer,
            secured: self.secured,
            method: &self.method,
            target: (self.uri.path_and_query()).map_or("/", |target| target.as_str()),
            host: self.host.as_deref(),
            version: self.version,
            headers: &headers,
            status: trail.status,
            answer: None,
            received: 0,
            sent: 0,
            route: detail.route.as_deref(),
            service: detail.service.as_ref().map(ServiceName::as_str),
            failure: detail.failure(),
            code: detail.code,
            trace: trail.watch.trace.as_ref(),
            attempts: &detail.attempts,
            client_left: true,
        };
        self.telemetry.finish(&record, &trail.watch);
        if let Some(notes) = notes {
            self.telemetry.explain(&record, *notes);
        }
    }
}
