//! Lines of JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::field::Field;
use super::line::Line;
use super::text;

/// A field, and how its name is written.
#[derive(Debug)]
pub(super) struct Column {
    field: Field,
    /// With its quotes and colon.
    key: String,
}

impl From<&Field> for Column {
    fn from(field: &Field) -> Self {
        Self {
            key: format!("\"{field}\":"),
            field: field.clone(),
        }
    }
}

/// Writes `line` as an object of those of `columns` that it has, in their order, and ends it.
pub(super) fn write(line: &Line<'_>, columns: &[Column], out: &mut Vec<u8>) {
    out.push(b'{');
    let start = out.len();
    for Column { field, key } in columns {
        let before = out.len();
        if before > start {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        let named = out.len();
        value(line, field, out);
        if out.len() == named {
            out.truncate(before);
        }
    }
    out.extend_from_slice(b"}\n");
}

/// Writes the value of `field`, or nothing if there is none.
fn value(line: &Line<'_>, field: &Field, out: &mut Vec<u8>) {
    match field {
        Field::Time => some(line.time, out, |time, out| {
            out.push(b'"');
            text::time(time, out);
            out.push(b'"');
        }),
        Field::RequestId => string(line.id.map(str::as_bytes), out),
        Field::Client => some(line.client, out, |client, out| {
            out.push(b'"');
            text::ip(client, out);
            out.push(b'"');
        }),
        Field::Peer => some(line.peer, out, |peer, out| address(&peer, out)),
        Field::Method => string(line.method, out),
        Field::Scheme => string(line.scheme.map(str::as_bytes), out),
        Field::Host => string(line.host, out),
        Field::Path => string(line.path_and_query().0, out),
        Field::Query => string(line.path_and_query().1, out),
        Field::Target => string(line.target, out),
        Field::Protocol => string(line.protocol, out),
        Field::Status => number(line.status, out),
        Field::Duration => seconds(line.took, out),
        Field::HeadDuration => seconds(line.head, out),
        Field::UpstreamDuration => seconds(line.upstream, out),
        Field::Received => number(Some(line.received), out),
        Field::Sent => number(Some(line.sent), out),
        Field::Route => string(line.route.map(str::as_bytes), out),
        Field::Service => string(line.service.map(str::as_bytes), out),
        Field::Instance => string(line.instance.map(|one| one.id.as_str().as_bytes()), out),
        Field::Address => some(line.instance, out, |instance, out| {
            match &instance.address {
                crate::address::Address::Inet(inet) => address(inet, out),
                path => string(Some(path.to_string().as_bytes()), out),
            }
        }),
        Field::Attempts => number(line.attempts, out),
        Field::Retries => number(line.attempts.map(|count| count.saturating_sub(1)), out),
        Field::Error => string(line.error.map(str::as_bytes), out),
        Field::ErrorDetail => string(line.detail.map(str::as_bytes), out),
        Field::TraceId => some(line.trace, out, |(trace, _), out| {
            let _ = write!(out, "\"{trace:032x}\"");
        }),
        Field::SpanId => some(line.trace, out, |(_, span), out| {
            let _ = write!(out, "\"{span:016x}\"");
        }),
        Field::Tls => {
            let word: &[u8] = if line.secured { b"true" } else { b"false" };
            out.extend_from_slice(word);
        }
        Field::UserAgent => string(line.header(&header::USER_AGENT), out),
        Field::Referer => string(line.header(&header::REFERER), out),
        Field::GrpcStatus => number(line.grpc_status, out),
        Field::Header(name) => header(line.headers, name, out),
        Field::Answer(name) => header(line.answer, name, out),
    }
}

fn some<T>(value: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
    if let Some(value) = value {
        write(value, out);
    }
}

fn string(value: Option<&[u8]>, out: &mut Vec<u8>) {
    some(value, out, |value, out| {
        out.push(b'"');
        text::escape_json(value, out);
        out.push(b'"');
    });
}

fn address(address: &SocketAddr, out: &mut Vec<u8>) {
    out.push(b'"');
    match address {
        SocketAddr::V4(_) => {
            text::ip(address.ip(), out);
            out.push(b':');
            text::integer(address.port(), out);
        }
        // Writing to memory cannot fail.
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
    out.push(b'"');
}

fn number(value: Option<impl itoa::Integer>, out: &mut Vec<u8>) {
    some(value, out, text::integer);
}

fn seconds(value: Option<Duration>, out: &mut Vec<u8>) {
    some(value, out, |value, out| {
        text::integer(value.as_secs(), out);
        out.push(b'.');
        text::digits(value.subsec_micros(), 6, out);
    });
}

/// All values of a header, which may be several (RFC 9110, section 5.3).
fn header(headers: Option<&HeaderMap>, name: &HeaderName, out: &mut Vec<u8>) {
    let mut values = (headers.into_iter())
        .flat_map(|headers| headers.get_all(name))
        .map(|value| value.as_bytes());
    let Some(first) = values.next() else {
        return;
    };
    match values.next() {
        None => string(Some(first), out),
        Some(second) => {
            let all: Vec<_> = [first, second].into_iter().chain(values).collect();
            string(Some(&all.join(&b", "[..])), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn written(line: &Line<'_>, fields: &[Field]) -> String {
        let mut out = Vec::new();
        let columns: Vec<_> = fields.iter().map(Column::from).collect();
        write(line, &columns, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_the_fields_that_were_chosen_in_their_order_unless_there_is_none() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", "1".parse().unwrap());
        headers.append("x-a", "2".parse().unwrap());
        let line = Line {
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_360_215_363)),
            client: Some([10, 0, 0, 1].into()),
            target: Some(b"/a?b=\"c\""),
            status: Some(200),
            took: Some(Duration::from_micros(1_000_002)),
            attempts: Some(2),
            trace: Some((0xabc, 0xdef)),
            headers: Some(&headers),
            ..Line::default()
        };
        let fields = "status,time,client,path,query,duration,retries,service,trace_id,span_id,\
                      header:x-a,answer:x-a";
        let fields: Vec<_> = fields
            .split(',')
            .map(|name| name.parse().unwrap())
            .collect();
        assert_eq!(
            written(&line, &fields),
            "{\"status\":200,\"time\":\"2026-11-22T15:10:15.363Z\",\"client\":\"10.0.0.1\",\
             \"path\":\"/a\",\"query\":\"b=\\\"c\\\"\",\"duration\":1.000002,\"retries\":1,\
             \"trace_id\":\"00000000000000000000000000000abc\",\"span_id\":\"0000000000000def\",\
             \"header:x-a\":\"1, 2\"}\n"
        );
        assert_eq!(
            written(&Line::default(), &[Field::Host, Field::Peer]),
            "{}\n"
        );
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_line_and_reads_back(
            target in proptest::collection::vec(any::<u8>(), 0..200),
            value in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(&value) {
                headers.insert("x-a", value);
            }
            let line = Line {
                target: Some(&target),
                method: Some(&value),
                host: Some(&value),
                headers: Some(&headers),
                ..Line::default()
            };
            let fields: Vec<Field> = Field::names()
                .chain(["header:x-a"])
                .map(|name| name.parse().unwrap())
                .collect();
            let text = written(&line, &fields);
            prop_assert_eq!(text.lines().count(), 1);
            let line_ends = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];
            prop_assert_eq!(text.matches(line_ends).count(), 1);
            prop_assert!(text.trim_end().chars().all(|c| !c.is_control()), "{:?}", text);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(
                read["target"].as_str().unwrap(),
                &*String::from_utf8_lossy(&target)
            );
        }
    }
}
