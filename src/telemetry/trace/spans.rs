//! The spans of a request, by OpenTelemetry's
//! [conventions for HTTP](https://opentelemetry.io/docs/specs/semconv/http/http-spans/) and, for calls of
//! gRPC, [for RPC](https://opentelemetry.io/docs/specs/semconv/rpc/grpc/): one of kind SERVER, and below it
//! one of kind CLIENT for each try. Queries are left out, as they hold what is nobody's business.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, Version, header};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::address::Address;
use crate::grpc::Code;
use crate::instance::Scheme;
use crate::telemetry::record::{Attempt, Outcome, Record};

use super::{Context, STATE_NAME};

/// The most bytes of what clients write that an attribute holds.
const MAX_TEXT: usize = 1_024;

/// The spans of the request of `record`, its own first.
pub(super) fn of(record: &Record<'_>, context: &Context) -> Vec<SpanData> {
    let state = state(record.headers, context);
    let request = server(record, context, state.clone());
    let tries = (record.attempts.iter().enumerate())
        .map(|(number, attempt)| client(record, context, state.clone(), number, attempt));
    let mut spans = Vec::with_capacity(1 + record.attempts.len());
    spans.push(request);
    spans.extend(tries);
    spans
}

fn server(record: &Record<'_>, context: &Context, state: TraceState) -> SpanData {
    let mut attributes = Vec::with_capacity(20);
    let mut add = |key, value: Value| attributes.push(KeyValue::new(key, value));
    let name = method(record.method, &mut add);
    let path = path(record);
    add("url.path", text(path));
    add(
        "url.scheme",
        if record.secured { "https" } else { "http" }.into(),
    );
    if let Some(host) = record.host {
        add("server.address", text(host));
    }
    add("client.address", record.client.to_string().into());
    if let Some(peer) = record.peer {
        add("network.peer.address", peer.ip().to_string().into());
        add("network.peer.port", i64::from(peer.port()).into());
    }
    add("network.protocol.version", version(record.version).into());
    if let Some(agent) = record.headers.get(header::USER_AGENT) {
        add(
            "user_agent.original",
            text(&String::from_utf8_lossy(agent.as_bytes())),
        );
    }
    add("callboard.request_id", text(record.id));
    if let Some(route) = record.route {
        add("callboard.route", route.to_owned().into());
    }
    if let Some(service) = record.service {
        add("callboard.service", service.to_owned().into());
    }
    if let Some(status) = record.status {
        add(
            "http.response.status_code",
            i64::from(status.as_u16()).into(),
        );
    }
    let code = call(record, path, &mut add);
    // What was begun as a good answer and is in trouble nevertheless broke off.
    let broke_off = record.status.is_some_and(|status| status.as_u16() < 400);
    let fault = record
        .failure
        .filter(|_| broke_off || is_fault(record.status));
    if let Some(failure) = record.failure {
        add("callboard.failure", text(failure.detail));
    }
    let (status, kind) = match (fault, record.status, code.filter(|code| code.is_fault())) {
        (Some(failure), ..) => (error(failure.detail), Some(failure.kind.to_owned().into())),
        (None, Some(status), _) if status.is_server_error() => {
            (error(""), Some(status.as_u16().to_string().into()))
        }
        (None, _, Some(code)) => (error(""), Some(code.as_str().into())),
        _ => (Status::Unset, None),
    };
    if let Some(kind) = kind {
        add("error.type", kind);
    }
    SpanData {
        span_context: span(context, context.span, state),
        parent_span_id: context.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: context.parent.is_some(),
        span_kind: SpanKind::Server,
        name: match record.route {
            Some(route) => format!("{name} {route}").into(),
            None => name.into(),
        },
        ..data(
            attributes,
            status,
            record.arrived,
            Duration::ZERO,
            record.took,
        )
    }
}

fn client(
    record: &Record<'_>,
    context: &Context,
    state: TraceState,
    number: usize,
    attempt: &Attempt,
) -> SpanData {
    let mut attributes = Vec::with_capacity(12);
    let mut add = |key, value: Value| attributes.push(KeyValue::new(key, value));
    let name = method(record.method, &mut add);
    let instance = &attempt.instance;
    match &instance.address {
        Address::Inet(address) => {
            add("server.address", address.ip().to_string().into());
            add("server.port", i64::from(address.port()).into());
        }
        Address::Unix(path) => {
            add("server.address", path.display().to_string().into());
            add("network.transport", "unix".into());
        }
    }
    let version = if instance.scheme.is_http2() {
        "2"
    } else {
        "1.1"
    };
    add("network.protocol.version", version.into());
    let secured = matches!(instance.scheme, Scheme::Https | Scheme::H2);
    let scheme = if secured { "https" } else { "http" };
    add("url.scheme", scheme.into());
    let url = url(
        scheme,
        &instance.address.authority(),
        path(record),
        record.stripped,
    );
    add("url.full", text(&url));
    add(
        "callboard.service",
        instance.service.as_str().to_owned().into(),
    );
    add("callboard.instance", instance.id.as_str().to_owned().into());
    if number > 0 {
        add("http.request.resend_count", (number as i64).into());
    }
    if let Some((_, reused)) = attempt.connected {
        add("callboard.connection.reused", reused.into());
    }
    // An answer that another try follows was not the one that ended the call.
    let is_last = number + 1 == record.attempts.len();
    let code = record.code.filter(|code| is_last && *code != Code::Ok);
    let (outcome, status) = match &attempt.outcome {
        Outcome::Cancelled => ("cancelled", Status::Unset),
        Outcome::Withdrawn => ("withdrawn", Status::Unset),
        Outcome::Answered(status) => {
            add(
                "http.response.status_code",
                i64::from(status.as_u16()).into(),
            );
            if status.as_u16() >= 400 {
                add("error.type", status.as_u16().to_string().into());
                ("answered", error(""))
            } else if let Some(code) = code {
                add("error.type", code.as_str().into());
                ("answered", error(""))
            } else {
                ("answered", Status::Unset)
            }
        }
        Outcome::Failed { kind, detail } => {
            add("error.type", (*kind).into());
            ("failed", error(detail))
        }
    };
    add("callboard.outcome", outcome.into());
    let ended = match attempt.outcome {
        // The rest of its answer is the try's as well.
        Outcome::Answered(_) if is_last => record.took,
        _ => attempt.ended.unwrap_or(record.took),
    };
    SpanData {
        span_context: span(context, attempt.span, state),
        parent_span_id: context.span.into(),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: name.into(),
        ..data(attributes, status, record.arrived, attempt.began, ended)
    }
}

/// Where a try goes: the path as the instance sees it. It is `path` without so many bytes `stripped`.
fn url(scheme: &str, authority: &str, path: &str, stripped: usize) -> String {
    let rest = path.get(stripped..).unwrap_or_default();
    let slash = if rest.starts_with('/') { "" } else { "/" };
    // That of OPTIONS for the whole server is no path (RFC 9112, section 3.2.4).
    let rest = if rest == "*" { "" } else { rest };
    format!("{scheme}://{authority}{slash}{rest}")
}

/// The path that the request came for, without its query.
fn path<'a>(record: &Record<'a>) -> &'a str {
    record.target.split('?').next().unwrap_or_default()
}

/// What all spans have, with what only one has left at its default.
fn data(
    attributes: Vec<KeyValue>,
    status: Status,
    arrived: SystemTime,
    began: Duration,
    ended: Duration,
) -> SpanData {
    SpanData {
        span_context: SpanContext::NONE,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "".into(),
        start_time: arrived + began,
        end_time: arrived + ended.max(began),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("callboard")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn span(context: &Context, span: u64, state: TraceState) -> SpanContext {
    let flags = TraceFlags::SAMPLED | TraceFlags::new(u8::from(context.random) << 1);
    SpanContext::new(
        TraceId::from(context.trace),
        span.into(),
        flags,
        false,
        state,
    )
}

/// What other vendors keep of the trace; nothing if it is not well-formed.
fn state(headers: &HeaderMap, context: &Context) -> TraceState {
    if !context.has_state {
        return TraceState::default();
    }
    let lines = headers.get_all(&STATE_NAME).iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    TraceState::from_str(&lines.join(",")).unwrap_or_default()
}

/// Names the method, of which there are few: what is none of those is told apart from them.
fn method(method: &Method, add: &mut impl FnMut(&'static str, Value)) -> &'static str {
    const KNOWN: [&str; 10] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
    ];
    if let Some(known) = KNOWN.into_iter().find(|known| *known == method.as_str()) {
        add("http.request.method", known.into());
        return known;
    }
    add("http.request.method", "_OTHER".into());
    add("http.request.method_original", text(method.as_str()));
    "HTTP"
}

/// What a request is besides if it is a call of gRPC; gives what it ended with.
fn call(
    record: &Record<'_>,
    path: &str,
    add: &mut impl FnMut(&'static str, Value),
) -> Option<Code> {
    let kind = record.headers.get(header::CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"application/grpc") {
        return None;
    }
    add("rpc.system.name", "grpc".into());
    if let Some(method) = path.strip_prefix('/') {
        add("rpc.method", text(method));
    }
    let code = record.code?;
    add("rpc.response.status_code", code.as_str().into());
    Some(code)
}

fn is_fault(status: Option<StatusCode>) -> bool {
    status.is_some_and(|status| status.is_server_error())
}

fn error(description: &str) -> Status {
    Status::error(beginning(description).to_owned())
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// As much of `text` as an attribute holds.
fn text(text: &str) -> Value {
    beginning(text).to_owned().into()
}

fn beginning(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_goes_where_its_instance_sees_it_go() {
        for (path, stripped, expected) in [
            ("/web/a/b", 4, "http://10.0.0.1:80/a/b"),
            ("/web", 4, "http://10.0.0.1:80/"),
            ("/web", 9, "http://10.0.0.1:80/"),
            ("/keep", 0, "http://10.0.0.1:80/keep"),
            ("*", 0, "http://10.0.0.1:80/"),
        ] {
            assert_eq!(url("http", "10.0.0.1:80", path, stripped), expected);
        }
    }
}
