//! Lines of JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).

use http::{HeaderMap, HeaderName, header};

use crate::address::Address;
use crate::telemetry::hex;

use super::field::Field;
use super::line::Line;
use super::text;

/// Most keys are shorter, in bytes. So much is copied of each, as a copy of a known length costs next to
/// nothing.
const USUAL_KEY: usize = 32;

/// A field, and how its name is written.
#[derive(Debug)]
pub(super) struct Column {
    field: Field,
    /// In quotes, with its colon and the quote of a value that is a string.
    key: String,
    /// As much of it as there is room for.
    usual: [u8; USUAL_KEY],
}

impl From<&Field> for Column {
    fn from(field: &Field) -> Self {
        let key = format!("\"{field}\":\"");
        let mut usual = [0; USUAL_KEY];
        for (place, byte) in usual.iter_mut().zip(key.bytes()) {
            *place = byte;
        }
        Self {
            field: field.clone(),
            key,
            usual,
        }
    }
}

/// Writes `line` as an object of those of `columns` that it has, in their order, and ends it.
pub(super) fn write(line: &Line<'_>, columns: &[Column], out: &mut Vec<u8>) {
    out.push(b'{');
    for column in columns {
        column.write(line, out);
    }
    if out.last() == Some(&b',') {
        out.pop();
    }
    out.extend_from_slice(b"}\n");
}

impl Column {
    /// Writes the field and a comma, or nothing if the line has none.
    fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        match &self.field {
            Field::Time => self.quoted(line.time, out, text::time),
            Field::RequestId => self.string(line.id.map(str::as_bytes), out),
            Field::Client => self.quoted(line.client, out, text::ip),
            Field::Peer => self.quoted(line.peer.as_ref(), out, text::socket),
            Field::Method => self.string(line.method, out),
            Field::Scheme => self.plain(line.scheme, out),
            Field::Host => self.string(line.host, out),
            Field::Path => self.string(line.path_and_query().0, out),
            Field::Query => self.string(line.path_and_query().1, out),
            Field::Target => self.string(line.target, out),
            Field::Protocol => self.string(line.protocol, out),
            Field::Status => self.number(line.status, out),
            Field::Duration => self.bare(line.took, out, text::seconds),
            Field::HeadDuration => self.bare(line.head, out, text::seconds),
            Field::UpstreamDuration => self.bare(line.upstream, out, text::seconds),
            Field::Received => self.number(Some(line.received), out),
            Field::Sent => self.number(Some(line.sent), out),
            Field::Route => self.string(line.route.map(str::as_bytes), out),
            Field::Service => self.string(line.service.map(str::as_bytes), out),
            Field::Instance => self.plain(line.instance.map(|one| one.id.as_str()), out),
            Field::Address => match line.instance.map(|instance| &instance.address) {
                Some(Address::Inet(inet)) => self.quoted(Some(inet), out, text::socket),
                Some(path) => self.string(Some(path.to_string().as_bytes()), out),
                None => {}
            },
            Field::Attempts => self.number(line.attempts, out),
            Field::Retries => self.number(line.attempts.map(|count| count.saturating_sub(1)), out),
            Field::Error => self.string(line.error.map(str::as_bytes), out),
            Field::ErrorDetail => self.string(line.detail.map(str::as_bytes), out),
            Field::TraceId => self.quoted(line.trace, out, |(trace, _), out| {
                out.extend_from_slice(&hex::long(trace));
            }),
            Field::SpanId => self.quoted(line.trace, out, |(_, span), out| {
                out.extend_from_slice(&hex::digits(span));
            }),
            Field::Tls => self.bare(Some(line.secured), out, |secured, out| {
                let word: &[u8] = if secured { b"true" } else { b"false" };
                out.extend_from_slice(word);
            }),
            Field::UserAgent => self.string(line.header(&header::USER_AGENT), out),
            Field::Referer => self.string(line.header(&header::REFERER), out),
            Field::GrpcStatus => self.number(line.grpc_status, out),
            Field::Header(name) => self.header(line.headers, name, out),
            Field::Answer(name) => self.header(line.answer, name, out),
        }
    }

    /// Writes what cannot have anything to escape.
    fn plain(&self, value: Option<&str>, out: &mut Vec<u8>) {
        self.quoted(value, out, |value, out| {
            out.extend_from_slice(value.as_bytes());
        });
    }

    /// Writes what clients say.
    fn string(&self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        self.quoted(value, out, text::escape_json);
    }

    fn number(&self, value: Option<impl TryInto<u64>>, out: &mut Vec<u8>) {
        let value = value.and_then(|value| value.try_into().ok());
        self.bare(value, out, text::integer);
    }

    /// Writes a value that `write` makes a string without anything to escape.
    fn quoted<T>(&self, value: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
        if let Some(value) = value {
            self.key(self.key.len(), out);
            write(value, out);
            out.extend_from_slice(b"\",");
        }
    }

    /// Writes a value that `write` makes anything else.
    fn bare<T>(&self, value: Option<T>, out: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
        if let Some(value) = value {
            self.key(self.key.len() - 1, out);
            write(value, out);
            out.push(b',');
        }
    }

    /// Writes the key, which is so long with or without the quote of its value.
    #[inline]
    fn key(&self, length: usize, out: &mut Vec<u8>) {
        if length <= USUAL_KEY {
            let end = out.len() + length;
            out.extend_from_slice(&self.usual);
            out.truncate(end);
        } else {
            out.extend_from_slice(&self.key.as_bytes()[..length]);
        }
    }

    /// Writes all values of a header, which may be several (RFC 9110, section 5.3).
    fn header(&self, headers: Option<&HeaderMap>, name: &HeaderName, out: &mut Vec<u8>) {
        let mut values = (headers.into_iter())
            .flat_map(|headers| headers.get_all(name))
            .map(|value| value.as_bytes());
        let Some(first) = values.next() else {
            return;
        };
        match values.next() {
            None => self.string(Some(first), out),
            Some(second) => {
                let all: Vec<_> = [first, second].into_iter().chain(values).collect();
                self.string(Some(&all.join(&b", "[..])), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

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
                headers.insert("x-with-a-name-that-is-longer-than-most", value.clone());
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
                .chain(["header:x-a", "header:x-with-a-name-that-is-longer-than-most"])
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
            let long = "header:x-with-a-name-that-is-longer-than-most";
            prop_assert_eq!(&read["header:x-a"], &read[long]);
        }
    }
}
