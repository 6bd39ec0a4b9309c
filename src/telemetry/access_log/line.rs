//! What there is to say in a line, whatever it is about and however it is written.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Version, header};

use crate::instance::Instance;
use crate::telemetry::record::{Attempt, Outcome, Record};

use super::event::{Connection, Refused};

/// The status that stands for a client that left before it was answered, as nginx has it.
pub(super) const CLIENT_GONE: u16 = 499;
/// The error of such a request.
const GONE: &str = "client_gone";

/// One line. What it does not have is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line<'a> {
    pub(super) time: Option<SystemTime>,
    pub(super) id: Option<&'a str>,
    pub(super) client: Option<IpAddr>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) method: Option<&'a [u8]>,
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) protocol: Option<&'a [u8]>,
    pub(super) status: Option<u16>,
    pub(super) took: Option<Duration>,
    pub(super) head: Option<Duration>,
    pub(super) upstream: Option<Duration>,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) route: Option<&'a str>,
    pub(super) service: Option<&'a str>,
    pub(super) instance: Option<&'a Instance>,
    pub(super) attempts: Option<usize>,
    pub(super) error: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    /// The trace, and the span in it.
    pub(super) trace: Option<(u128, u64)>,
    pub(super) secured: bool,
    pub(super) grpc_status: Option<u16>,
    pub(super) headers: Option<&'a HeaderMap>,
    pub(super) answer: Option<&'a HeaderMap>,
}

impl<'a> Line<'a> {
    pub(super) fn of_request(record: &Record<'a>) -> Self {
        let attempt = told_of(record);
        let gone = record.client_left || record.status.is_none();
        let (error, detail) = match record.failure {
            Some(failure) => (Some(failure.kind), Some(failure.detail)),
            None => (gone.then_some(GONE), None),
        };
        Self {
            time: Some(record.arrived),
            id: Some(record.id),
            client: Some(record.client),
            peer: record.peer,
            method: Some(record.method.as_str().as_bytes()),
            scheme: Some(if record.secured { "https" } else { "http" }),
            host: record.host.map(str::as_bytes),
            target: Some(record.target.as_bytes()),
            protocol: Some(name(record.version)),
            status: Some(record.status.map_or(CLIENT_GONE, |status| status.as_u16())),
            took: Some(record.took),
            head: record.head,
            upstream: (attempt)
                .and_then(|attempt| Some(attempt.ended?.saturating_sub(attempt.began))),
            received: record.received,
            sent: record.sent,
            route: record.route,
            service: record.service,
            instance: attempt.map(|attempt| &*attempt.instance),
            attempts: Some(record.attempts.len()),
            error,
            detail,
            trace: record.trace.map(|context| (context.trace, context.span)),
            secured: record.secured,
            grpc_status: record.code.map(|code| code as u16),
            headers: Some(record.headers),
            answer: record.answer,
        }
    }

    pub(super) fn of_refused(refused: &Refused<'a>) -> Self {
        Self {
            time: Some(refused.at),
            id: refused.id,
            client: refused.peer.map(|peer| peer.ip().to_canonical()),
            peer: refused.peer,
            method: refused.method,
            scheme: Some(if refused.secured { "https" } else { "http" }),
            host: refused.host,
            target: refused.target,
            protocol: refused.protocol,
            status: Some(refused.status),
            sent: refused.sent,
            error: Some(refused.error),
            detail: Some(refused.detail),
            secured: refused.secured,
            headers: refused.headers,
            ..Self::default()
        }
    }

    pub(super) fn of_connection(connection: &Connection<'a>) -> Self {
        Self {
            time: Some(connection.accepted),
            client: (connection.client).map(|client| client.ip().to_canonical()),
            peer: connection.client,
            scheme: Some(if connection.secured { "tls" } else { "tcp" }),
            protocol: Some(b"tcp"),
            took: Some(connection.took),
            upstream: connection.connecting,
            received: connection.received,
            sent: connection.sent,
            service: connection.service,
            instance: connection.instance,
            error: connection.error,
            detail: connection.detail,
            secured: connection.secured,
            ..Self::default()
        }
    }

    /// The first value of a header of the request.
    pub(super) fn header(&self, name: &header::HeaderName) -> Option<&'a [u8]> {
        self.headers?.get(name).map(|value| value.as_bytes())
    }

    /// The target before its query, and the query.
    pub(super) fn path_and_query(&self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        let Some(target) = self.target else {
            return (None, None);
        };
        match memchr::memchr(b'?', target) {
            Some(at) => (Some(&target[..at]), Some(&target[at + 1..])),
            None => (Some(target), None),
        }
    }
}

/// The try that the answer came from, or the last one.
fn told_of<'a>(record: &Record<'a>) -> Option<&'a Attempt> {
    let answered = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Answered(_));
    let won = match record.failure {
        None => record.attempts.iter().rfind(answered),
        Some(_) => None,
    };
    won.or_else(|| record.attempts.last())
}

/// As nginx writes it.
fn name(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_09 => b"HTTP/0.9",
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        Version::HTTP_3 => b"HTTP/3.0",
        _ => b"HTTP/1.1",
    }
}
