//! The head of a request as an instance gets it: the client's bytes, less what was meant for callboard
//! alone, and what callboard adds.

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::Result;

use crate::fields::{Fields, Lines};
use crate::proxy::context::Context;
use crate::proxy::headers::{self, Outgoing};

use super::Came;

/// The most lines of a head.
const MOST_LINES: usize = 256;
/// How much callboard adds as a rule, in bytes.
const ADDED: usize = 512;

/// What is being written.
struct Head<'a> {
    lines: &'a Lines,
    bytes: &'a [u8],
    /// The lines that are not passed on.
    left_out: LeftOut,
    into: &'a mut Vec<u8>,
}

/// A set of lines by their place.
#[derive(Clone, Copy, Default)]
struct LeftOut([u64; MOST_LINES / 64]);

impl LeftOut {
    fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    fn holds(&self, place: usize) -> bool {
        (self.0.get(place / 64)).is_none_or(|word| word & (1 << (place % 64)) != 0)
    }
}

/// Writes the head of the request to `into`, with `strip` bytes taken off its path; it `closes` if the
/// connection is not to be kept.
///
/// # Errors
/// Never, but for a bug.
pub(super) fn write(
    into: &mut Vec<u8>,
    came: &Came<'_>,
    context: &Context,
    strip: usize,
    closes: bool,
) -> Result<()> {
    let asked = came.asked;
    into.reserve(came.bytes.len() + ADDED);
    into.extend_from_slice(asked.method.as_str().as_bytes());
    into.push(b' ');
    let rest = asked.target.get(strip..).unwrap_or_default();
    if !rest.starts_with('/') {
        into.push(b'/');
    }
    into.extend_from_slice(rest.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    let mut head = Head {
        lines: &came.plain.lines,
        bytes: came.bytes,
        left_out: LeftOut::default(),
        into,
    };
    head.begin(closes);
    if let Some(length) = asked.content_length() {
        let mut digits = itoa::Buffer::new();
        put(
            head.into,
            b"Content-Length",
            digits.format(length).as_bytes(),
        );
    }
    let prefix = asked
        .path()
        .get(..strip)
        .filter(|prefix| !prefix.is_empty());
    headers::tell_of(&mut head, asked, context, prefix)?;
    head.end();
    Ok(())
}

/// Appends a field to `into`.
pub(super) fn put(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    into.reserve(name.len() + value.len() + 4);
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

impl Head<'_> {
    /// Writes what comes first, and leaves out what is meant for one connection only (RFC 9110, section
    /// 7.6.1) and what frames the message, which is written anew. No field is named in `Connection` where
    /// this is used.
    fn begin(&mut self, closes: bool) {
        for (place, line) in self.lines.iter().enumerate() {
            let name = line.name(self.bytes);
            if name.len() == 4 && name.eq_ignore_ascii_case(b"host") {
                put(self.into, name, line.value(self.bytes));
                self.left_out.add(place);
            } else if is_of_connection(name) {
                self.left_out.add(place);
            }
        }
        if closes {
            put(self.into, b"Connection", b"close");
        }
    }

    /// Writes what is passed on as it came, as many lines at once as stand together.
    fn end(&mut self) {
        let mut run = None;
        for (place, line) in self.lines.iter().enumerate() {
            let begins = line.begins();
            if self.left_out.holds(place) {
                if let Some(from) = run.take() {
                    self.into.extend_from_slice(&self.bytes[from..begins]);
                }
            } else {
                run.get_or_insert(begins);
            }
        }
        match run {
            // The empty line is that of the client.
            Some(from) => self.into.extend_from_slice(&self.bytes[from..]),
            None => self.into.extend_from_slice(b"\r\n"),
        }
    }
}

fn is_of_connection(name: &[u8]) -> bool {
    let names: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["trailer"],
        10 => &["connection", "keep-alive"],
        14 => &["content-length", "http2-settings"],
        16 => &["proxy-connection"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => &[],
    };
    (names.iter()).any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

impl Outgoing for Head<'_> {
    fn has(&self, name: &'static str) -> bool {
        self.lines.may_have(name)
            && self
                .lines
                .iter()
                .any(|line| line.is_called(name, self.bytes))
    }

    fn remove(&mut self, name: &'static str) {
        if !self.lines.may_have(name) {
            return;
        }
        for (place, line) in self.lines.iter().enumerate() {
            if line.is_called(name, self.bytes) {
                self.left_out.add(place);
            }
        }
    }

    fn set(&mut self, name: &'static str, value: &str) -> Result<()> {
        self.remove(name);
        put(self.into, name.as_bytes(), value.as_bytes());
        Ok(())
    }

    fn add_to_list(&mut self, name: &'static str, element: &[&str], keep: bool) -> Result<()> {
        self.into.extend_from_slice(name.as_bytes());
        self.into.extend_from_slice(b": ");
        for (place, line) in self.lines.iter().enumerate() {
            if line.is_called(name, self.bytes) {
                self.left_out.add(place);
                let value = line.value(self.bytes);
                if keep && value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
                    self.into.extend_from_slice(value);
                    self.into.extend_from_slice(b", ");
                }
            }
        }
        for part in element {
            self.into.extend_from_slice(part.as_bytes());
        }
        self.into.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// The fields of lines as a map, for those who want to know of a request.
pub(super) fn to_map(fields: Fields<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Fields::Lines(lines, bytes) = fields {
        for line in lines.iter() {
            let name = HeaderName::from_bytes(line.name(bytes));
            let value = HeaderValue::from_bytes(line.value(bytes));
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use http::Method;
    use proptest::prelude::*;

    use crate::fields::place;
    use crate::proxy::connection::Plain;
    use crate::proxy::gate::Gate;
    use crate::proxy::lean::Origin;

    use super::*;

    /// What an instance gets for `head`, of a client that is trusted or not.
    fn written(head: &str, strip: usize, closes: bool, is_trusted: bool) -> String {
        let bytes = head.as_bytes();
        let mut space = [httparse::EMPTY_HEADER; MOST_LINES];
        let mut request = httparse::Request::new(&mut space);
        assert!(request.parse(bytes).unwrap().is_complete(), "{head:?}");
        let mut lines = Lines::default();
        for field in request.headers.iter() {
            lines.add(
                place(field.name.as_bytes(), bytes),
                place(field.value, bytes),
            );
        }
        let plain = Plain {
            method: Method::from_bytes(request.method.unwrap().as_bytes()).unwrap(),
            target: place(request.path.unwrap().as_bytes(), bytes),
            lines,
            keeps: true,
        };
        let origin = Origin {
            peer: Some(([192, 0, 2, 1], 80).into()),
            peer_name: Some("192.0.2.1".into()),
            secured: false,
            proxy: None,
        };
        let came = Came::new(&plain, bytes, &origin);
        let mut context = Context::new(Arc::<Gate>::default().enter(), Instant::now());
        context.peer_is_trusted = is_trusted;
        let mut into = Vec::new();
        write(&mut into, &came, &context, strip, closes).unwrap();
        String::from_utf8_lossy(&into).into_owned()
    }

    fn values<'a>(written: &'a str, name: &str) -> Vec<&'a str> {
        let lines = written.split("\r\n").skip(1);
        lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    #[test]
    fn the_prefix_is_taken_off_the_path_and_told_of() {
        for (target, strip, expected, prefix) in [
            ("/web/a%20b?x=/web", 4, "/a%20b?x=/web", &["/web"][..]),
            ("/web", 4, "/", &["/web"]),
            ("/web?x=1", 4, "/?x=1", &["/web"]),
            ("/web//a", 4, "//a", &["/web"]),
            ("/keep", 0, "/keep", &[]),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let out = written(&head, strip, false, false);
            assert!(
                out.starts_with(&format!("GET {expected} HTTP/1.1\r\n")),
                "{out}"
            );
            assert_eq!(values(&out, "x-forwarded-prefix"), prefix, "{target}");
        }
    }

    #[test]
    fn a_length_is_written_anew_and_once() {
        for (fields, expected) in [
            ("", &[][..]),
            ("Content-Length: 5\r\n", &["5"]),
            ("Content-Length:005 , 5\r\ncontent-length: 5\r\n", &["5"]),
            ("content-length: 0\r\n", &["0"]),
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}Host: a\r\n\r\n");
            assert_eq!(
                values(&written(&head, 0, false, false), "content-length"),
                expected
            );
        }
    }

    #[test]
    fn what_is_meant_for_one_connection_goes_no_further() {
        let head = "GET / HTTP/1.1\r\nConnection: keep-alive\r\nX-A: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\n\
                    Trailer: X\r\nProxy-Connection: x\r\nProxy-Authorization: x\r\nHost: a\r\n\
                    HTTP2-Settings: x\r\nX-B: 2\r\n\r\n";
        let out = written(head, 0, false, false);
        for name in [
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "proxy-connection",
            "proxy-authorization",
            "http2-settings",
        ] {
            assert!(values(&out, name).is_empty(), "{name}: {out}");
        }
        assert_eq!(
            (values(&out, "x-a"), values(&out, "x-b")),
            (vec!["1"], vec!["2"])
        );
        assert_eq!(
            values(&written(head, 0, true, false), "connection"),
            ["close"]
        );
    }

    #[test]
    fn only_a_trusted_client_may_say_whom_it_speaks_for() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nForwarded: for=x\r\n\
                    x-forwarded-for: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\r\n";
        let out = written(head, 0, false, false);
        assert_eq!(values(&out, "x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(values(&out, "x-forwarded-proto"), ["http"]);
        assert_eq!(values(&out, "x-forwarded-host"), ["a"]);
        assert_eq!(
            values(&out, "forwarded"),
            ["for=192.0.2.1;host=\"a\";proto=http"]
        );
        let out = written(head, 0, false, true);
        assert_eq!(
            values(&out, "x-forwarded-for"),
            ["1.2.3.4, 5.6.7.8, 192.0.2.1"]
        );
        assert_eq!(values(&out, "x-forwarded-proto"), ["https"]);
        assert_eq!(values(&out, "x-forwarded-host"), ["b"]);
    }

    #[test]
    fn as_many_lines_as_a_head_may_have_are_passed_on_or_left_out() {
        let most: String = (0..MOST_LINES - 2)
            .map(|n| format!("X-{n}: {n}\r\n"))
            .collect();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{most}Keep-Alive: 5\r\n\r\n");
        let out = written(&head, 0, false, false);
        assert_eq!(values(&out, "x-253"), ["253"]);
        assert!(values(&out, "keep-alive").is_empty() && out.ends_with("\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_head_with_every_field_that_came(
            fields in prop::collection::vec(
                ("(X-A|x-b|Cookie|Via|TE|Keep-Alive|Forwarded|X-Request-Id)", "[ \t]{0,2}", "([!-~][ -~]{0,9}[!-~])?", "[ \t]{0,2}"),
                0..12,
            ),
            host in 0usize..12,
            closes: bool,
        ) {
            let mut head = String::from("GET /a HTTP/1.1\r\n");
            for (place, (name, before, value, after)) in fields.iter().enumerate() {
                if place == host {
                    head += "Host: a\r\n";
                }
                head += &format!("{name}:{before}{value}{after}\r\n");
            }
            head += "\r\n";
            let out = written(&head, 0, closes, false);
            let mut space = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut space);
            let parsed = request.parse(out.as_bytes()).unwrap();
            prop_assert_eq!(parsed, httparse::Status::Complete(out.len()));
            for name in ["X-A", "x-b", "Cookie"] {
                let came: Vec<_> = (fields.iter())
                    .filter(|field| field.0 == name)
                    .map(|field| field.2.as_bytes())
                    .collect();
                let passed: Vec<_> = (request.headers.iter())
                    .filter(|field| field.name == name)
                    .map(|field| field.value)
                    .collect();
                prop_assert_eq!(passed, came);
            }
            for name in ["Via", "X-Request-Id", "Forwarded"] {
                prop_assert_eq!(values(&out, name).len(), 1);
            }
        }
    }
}
