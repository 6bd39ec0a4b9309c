//! callboard's own error answers: a status, a `Proxy-Status` (RFC 9209) for proxies and people who
//! debug them, and an `application/problem+json` body (RFC 9457) for programs.

mod client;
mod instance;
mod kind;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;
use serde::Serialize;

use crate::cluster::Cluster;
use crate::cluster::limit::Limit;
use crate::cluster::pick::Nobody;
use crate::cluster::queue::Refusal;
use crate::grpc::Code;
use crate::route::table::Request;
use crate::units::format_duration;

use super::grpc::{self, Ending, Flavor};
use super::request_id;
use kind::Kind;

/// When to come back to a service without an available instance, or at a limit.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Methods that are passed on; so is any other but CONNECT.
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// Why a request gets callboard's own answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    detail: String,
}

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Failure {
    pub(super) fn no_route(request: &Request<'_>) -> Self {
        let host = request.host.unwrap_or("(none)");
        Self {
            kind: Kind::NoRoute,
            detail: format!("no route matches host {host} and path {}", request.path),
        }
    }

    pub(super) fn unknown_service(service: &str) -> Self {
        Self {
            kind: Kind::UnknownService,
            detail: format!("nobody has registered for service {service}"),
        }
    }

    pub(super) fn dot_segment() -> Self {
        Self {
            kind: Kind::BadRequest,
            detail: "the path holds a . or .. segment (expected a resolved path)".to_owned(),
        }
    }

    pub(super) fn bad_host() -> Self {
        Self {
            kind: Kind::BadRequest,
            detail: "the Host header is missing or names no host (expected host or host:port)"
                .to_owned(),
        }
    }

    pub(super) fn no_tls() -> Self {
        Self {
            kind: Kind::BadRequest,
            detail: "plain HTTP at a port that speaks TLS (expected https)".to_owned(),
        }
    }

    pub(super) fn unknown_coding() -> Self {
        Self {
            kind: Kind::UnknownCoding,
            detail: "the body has a transfer coding other than chunked (expected chunked alone)"
                .to_owned(),
        }
    }

    pub(super) fn nobody_available(service: &str) -> Self {
        Self {
            kind: Kind::NobodyAvailable,
            detail: format!("no instance of service {service} is available"),
        }
    }

    /// callboard ends, and the request waits for an instance still.
    pub(super) fn leaving(service: &str) -> Self {
        let mut failure = Self::nobody_available(service);
        failure.detail += ", and this callboard is leaving";
        failure
    }

    /// An attempt got no endpoint; `last` is what the one before it came to.
    pub(super) fn of_refusal(cluster: &Cluster, refusal: Refusal, last: Option<Self>) -> Self {
        let (Refusal::Nobody(nobody) | Refusal::Crowded(nobody, _) | Refusal::Waited(nobody, _)) =
            refusal;
        let service = cluster.name().as_str();
        match (nobody, last) {
            (Nobody::Full(limit), _) => Self::over_limit(limit, refusal),
            (Nobody::Untried, Some(last)) => last,
            _ if cluster.is_stranger() => Self::unknown_service(service),
            _ => Self::nobody_to_wait_for(service, refusal),
        }
    }

    fn over_limit(limit: Limit, refusal: Refusal) -> Self {
        let waiting = match refusal {
            Refusal::Nobody(_) => String::new(),
            Refusal::Crowded(_, places) => format!(", queue of {places} full"),
            Refusal::Waited(_, time) => format!(", {} in the queue", format_duration(time)),
        };
        Self {
            kind: Kind::OverLimit,
            detail: format!("{limit} reached{waiting}"),
        }
    }

    fn nobody_to_wait_for(service: &str, refusal: Refusal) -> Self {
        let mut failure = Self::nobody_available(service);
        failure.detail += &match refusal {
            Refusal::Nobody(_) => String::new(),
            Refusal::Crowded(_, places) => format!(", hold of {places} full"),
            Refusal::Waited(_, time) => format!(", held for {}", format_duration(time)),
        };
        failure
    }

    /// What Pingora reports when no attempt left a failure behind; `None` when the client is gone.
    pub(super) fn of_pingora(error: &Error) -> Option<Self> {
        use ErrorType::{ConnectionClosed, ReadError, ReadTimedout, WriteError, WriteTimedout};
        let gone = matches!(
            error.etype(),
            ReadError | WriteError | ConnectionClosed | ReadTimedout | WriteTimedout
        );
        match error.esource() {
            ErrorSource::Downstream if gone => None,
            ErrorSource::Downstream => Some(Self {
                kind: Kind::BadRequest,
                detail: error.etype().as_str().to_owned(),
            }),
            _ => Some(Self {
                kind: Kind::Internal,
                detail: "callboard could not handle the request".to_owned(),
            }),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.kind.facts().0
    }

    /// The error type of RFC 9209.
    pub(super) fn error_type(&self) -> &'static str {
        self.kind.facts().1
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Sends the answer, unless a response has already begun.
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        request_id: &HeaderValue,
    ) -> Result<()> {
        if let Some(flavor) = flavor_of(session) {
            return grpc::refuse(session, flavor, &self.ending(), request_id).await;
        }
        let (response, body) = self.response(request_id)?;
        session.write_error_response(response, body).await
    }

    /// Sends the answer before anything was done about the request. The connection is kept for the next
    /// one, unless the client is not to be trusted with it, more of this request is still to come, or
    /// callboard leaves.
    pub(super) async fn refuse(
        &self,
        session: &mut Session,
        request_id: &HeaderValue,
        leaves: bool,
    ) -> Result<()> {
        let is_call = flavor_of(session).is_some();
        if is_call || leaves || !self.keeps_connection() || !session.is_body_empty() {
            return self.answer(session, request_id).await;
        }
        let (response, body) = self.response(request_id)?;
        let head = Box::new(response);
        session.write_response_header(head, false).await?;
        session.write_response_body(Some(body), true).await
    }

    /// Whether a client that is answered this before anything was done may go on.
    pub(super) fn keeps_connection(&self) -> bool {
        self.kind != Kind::BadRequest
    }

    /// Ends a call whose answer has begun; says whether it could.
    pub(super) async fn end(&self, session: &mut Session, call: &grpc::Call) -> Result<bool> {
        grpc::break_off(session, call, &self.ending()).await
    }

    fn ending(&self) -> Ending<'_> {
        let is_temporary = self.status() == StatusCode::SERVICE_UNAVAILABLE;
        Ending {
            code: self.code(),
            message: &self.detail,
            proxy_status: self.proxy_status(),
            retry_after: is_temporary.then_some(RETRY_AFTER.as_millis()),
        }
    }

    /// As what calls fail: after gRPC's http-grpc-status-mapping, except where that knows too little.
    pub(super) fn code(&self) -> Code {
        match self.kind {
            Kind::ConnectionTimeout => return Code::Unavailable,
            Kind::BadResponse => return Code::Internal,
            _ => {}
        }
        match self.status().as_u16() {
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 | 405 => Code::Unimplemented,
            408 | 504 => Code::DeadlineExceeded,
            413 | 429 | 431 => Code::ResourceExhausted,
            502 | 503 => Code::Unavailable,
            _ => Code::Internal,
        }
    }

    fn proxy_status(&self) -> String {
        let (_, error_type, _) = self.kind.facts();
        let details = sf_string(&self.detail);
        format!("callboard; error={error_type}; details={details}")
    }

    /// The answer's head and body.
    pub(super) fn response(&self, request_id: &HeaderValue) -> Result<(ResponseHeader, Bytes)> {
        let (status, _, title) = self.kind.facts();
        let body = Bytes::from(self.body(title, status, request_id));
        let mut response = ResponseHeader::build(status, Some(8))?;
        response.insert_header("Content-Type", "application/problem+json")?;
        response.insert_header("Content-Length", body.len())?;
        response.insert_header("Cache-Control", "no-store")?;
        response.insert_header("Proxy-Status", self.proxy_status())?;
        response.insert_header(request_id::HEADER, request_id.clone())?;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header("Retry-After", RETRY_AFTER.as_secs())?;
        }
        if self.kind == Kind::NotAllowed {
            response.insert_header("Allow", ALLOWED_METHODS)?;
        }
        Ok((response, body))
    }

    fn body(&self, title: &str, status: StatusCode, request_id: &HeaderValue) -> Vec<u8> {
        let problem = Problem {
            kind: format!(
                "urn:callboard:problem:{}",
                title.to_ascii_lowercase().replace(' ', "-")
            ),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            request_id: request_id.to_str().unwrap_or_default(),
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }
}

/// How the request is written, if it is a call.
fn flavor_of(session: &Session) -> Option<Flavor> {
    let head = session.req_header();
    Flavor::of(&head.method, (&head.headers).into())
}

/// A string of RFC 8941: printable ASCII in quotes, anything else as `?`.
fn sf_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_status_details_are_quoted_strings() {
        assert_eq!(sf_string("a \"b\" \\ ü\n"), r#""a \"b\" \\ ??""#);
    }

    #[test]
    fn a_refusal_at_a_limit_names_the_limit_and_the_queue() {
        let detail = |limit, refusal: fn(Nobody) -> Refusal| {
            Failure::over_limit(limit, refusal(Nobody::Full(limit))).detail
        };
        assert_eq!(
            detail(Limit::InFlight(10), |full| Refusal::Crowded(full, 5)),
            "limits.in_flight of 10 reached, queue of 5 full"
        );
        assert_eq!(
            detail(Limit::Adaptive(7), Refusal::Nobody),
            "limits.adaptive, now 7, reached"
        );
        assert_eq!(
            detail(Limit::PerInstance(3), |full| Refusal::Waited(
                full,
                Duration::from_millis(1_500)
            )),
            "limits.in_flight_per_instance of 3 reached, 1.5s in the queue"
        );
    }

    #[test]
    fn every_failure_has_a_status_of_grpc() {
        let code = |kind| {
            let detail = String::new();
            Failure { kind, detail }.code()
        };
        for (kind, expected) in [
            (Kind::NoRoute, Code::Unimplemented),
            (Kind::UnknownService, Code::Unimplemented),
            (Kind::BadRequest, Code::Internal),
            (Kind::BodyTooLong, Code::ResourceExhausted),
            (Kind::TooSlow, Code::DeadlineExceeded),
            (Kind::NobodyAvailable, Code::Unavailable),
            (Kind::OverLimit, Code::Unavailable),
            (Kind::ConnectionRefused, Code::Unavailable),
            (Kind::ConnectionTimeout, Code::Unavailable),
            (Kind::Unreachable, Code::Unavailable),
            (Kind::ConnectionTerminated, Code::Unavailable),
            (Kind::ResponseTimeout, Code::DeadlineExceeded),
            (Kind::BadResponse, Code::Internal),
            (Kind::Internal, Code::Internal),
        ] {
            assert_eq!(code(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn a_client_that_left_gets_no_answer() {
        let left = Error::new(ErrorType::ConnectionClosed).into_down();
        assert!(Failure::of_pingora(&left).is_none());
        let bad = Error::new(ErrorType::InvalidHTTPHeader).into_down();
        assert_eq!(Failure::of_pingora(&bad).unwrap().status(), 400);
    }
}
