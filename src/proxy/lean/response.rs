//! The head of an answer: what it says of its body, and how it is passed on.

use std::mem::MaybeUninit;

use http::{Method, StatusCode};
use httparse::{Header, Response, Status};
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};

use crate::fields::{Fields, Lines, place};
use crate::proxy::connection::Chunks;

use super::body::Body;
use super::request::put;

/// The most fields, as many as Pingora takes.
const MOST_FIELDS: usize = 256;
/// How long a head is parsed whenever something of it comes, in bytes.
const SHORT: usize = 4 << 10;
/// The longest head, in bytes, as long as Pingora takes.
const LONGEST: usize = 1_048_575;

/// A head that was found whole.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    reason: (usize, usize),
    lines: Lines,
    /// What follows it.
    pub(super) body: Body,
    /// Whether it names a transfer coding, which is chunked and makes a length void (RFC 9112, section
    /// 6.3).
    is_coded: bool,
    /// Whether the connection can be kept when the body is over.
    pub(super) keeps: bool,
    /// Bytes, the empty line included.
    pub(super) length: usize,
}

/// What the fields say of an answer.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_coded: bool,
    keeps: Option<bool>,
}

/// The head of an answer to a request with `method` that `bytes` begin with; `None` if it is not whole.
///
/// # Errors
/// When it never will be.
pub(super) fn parse(bytes: &[u8], method: &Method) -> Result<Option<Head>> {
    let mut space = [MaybeUninit::<Header<'_>>::uninit(); MOST_FIELDS];
    let mut response = Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // Who passes an answer on takes them out (RFC 9112, section 5.1).
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut space);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if bytes.len() > LONGEST => {
            return Err(invalid("its head is too long"));
        }
        Ok(Status::Partial) => return Ok(None),
        Err(error) => {
            return Err(Error::because(ErrorType::InvalidHTTPHeader, "an answer", error).into_up());
        }
    };
    let place = |part: &[u8]| place(part, bytes);
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| invalid("its status is none"))?;
    let is_http_11 = response.version == Some(1);
    let mut lines = Lines::with_capacity(response.headers.len());
    let mut said = Said::default();
    for field in response.headers.iter() {
        said.hear(field)?;
        lines.add(place(field.name.as_bytes()), place(field.value));
    }
    let body = said.body(status, method);
    Ok(Some(Head {
        status,
        reason: place(response.reason.unwrap_or_default().as_bytes()),
        lines,
        is_coded: said.is_coded,
        keeps: said.keeps.unwrap_or(is_http_11)
            && body != Body::UntilClose
            && (is_http_11 || !said.is_coded)
            && !said.is_doubtful(status),
        body,
        length,
    }))
}

/// Whether a head of which `seen` bytes were not whole can be by now: one that trickles in is not parsed
/// for every byte.
pub(super) fn may_be_whole(bytes: &[u8], seen: usize) -> bool {
    let fresh = &bytes[seen.saturating_sub(3).min(bytes.len())..];
    bytes.len() <= SHORT
        || bytes.len() > LONGEST
        // Now and then all the same: it may be seen already that it never will be.
        || bytes.len().ilog2() > seen.max(1).ilog2()
        || memchr::memmem::find(fresh, b"\n\r\n").is_some()
        || memchr::memmem::find(fresh, b"\n\n").is_some()
}

fn invalid(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, what).into_up()
}

impl Said {
    fn hear(&mut self, field: &Header<'_>) -> Result<()> {
        let (name, value) = (field.name, field.value);
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                for token in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    if token.eq_ignore_ascii_case(b"close") {
                        self.keeps = Some(false);
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        self.keeps.get_or_insert(true);
                    }
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                for part in value.split(|&byte| byte == b',') {
                    let length = number(part.trim_ascii());
                    let length = length.ok_or_else(|| invalid("its length is no number"))?;
                    if self.length.is_some_and(|known| known != length) {
                        return Err(invalid("it has two lengths"));
                    }
                    self.length = Some(length);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                // Nobody has asked for another one (RFC 9110, section 10.1.4).
                if self.is_coded || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(invalid("its transfer coding is not chunked alone"));
                }
                self.is_coded = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, section 6.3.
    fn body(&self, status: StatusCode, method: &Method) -> Body {
        let has_none =
            is_unframed(status) || status == StatusCode::NOT_MODIFIED || *method == Method::HEAD;
        match (has_none, self.is_coded, self.length) {
            (true, ..) | (false, false, Some(0)) => Body::Done,
            (false, true, _) => Body::Chunked(Chunks::default()),
            (false, false, Some(length)) => Body::Length(length),
            (false, false, None) => Body::UntilClose,
        }
    }

    /// Whether others may see the end of the answer elsewhere (RFC 9112, sections 6.1 and 6.3), perhaps
    /// the instance as well.
    fn is_doubtful(&self, status: StatusCode) -> bool {
        let is_promised = self.is_coded || self.length.is_some_and(|length| length > 0);
        (self.is_coded && self.length.is_some()) || (is_unframed(status) && is_promised)
    }
}

/// Whether an answer with this status has no body and says nothing of one (RFC 9110, section 8.6, and
/// RFC 9112, section 6.1).
fn is_unframed(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}

impl Head {
    /// Its fields, as lines of the `bytes` that it was found in.
    pub(super) fn fields<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields::Lines(&self.lines, bytes)
    }

    /// Writes it for the client to `into`, as the answer to the request called `id`; `keeps` says whether
    /// the client's connection is kept.
    pub(super) fn write(&self, into: &mut Vec<u8>, bytes: &[u8], id: &str, keeps: bool) {
        into.extend_from_slice(b"HTTP/1.1 ");
        into.extend_from_slice(self.status.as_str().as_bytes());
        into.push(b' ');
        into.extend_from_slice(&bytes[self.reason.0..self.reason.1]);
        into.extend_from_slice(b"\r\n");
        let is_interim = self.status.is_informational();
        let nominated = self.nominates(bytes);
        let (mut has_date, mut has_length) = (false, false);
        for line in self.lines.iter() {
            let (name, value) = (line.name(bytes), line.value(bytes));
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"date") => {
                    has_date = !nominated || !self.is_nominated(name, bytes);
                }
                7 if name.eq_ignore_ascii_case(b"upgrade") => continue,
                10 if name.eq_ignore_ascii_case(b"connection") => continue,
                10 if name.eq_ignore_ascii_case(b"keep-alive") => continue,
                12 if name.eq_ignore_ascii_case(b"x-request-id") => continue,
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    // All of them are equal.
                    let is_needed = !has_length && !self.is_coded && !is_unframed(self.status);
                    if is_needed {
                        has_length = true;
                        let first = value.split(|&byte| byte == b',').next();
                        put(into, name, first.unwrap_or_default().trim_ascii());
                    }
                    continue;
                }
                16 if name.eq_ignore_ascii_case(b"proxy-connection") => continue,
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => continue,
                _ => {}
            }
            if nominated && self.is_nominated(name, bytes) {
                continue;
            }
            match line.as_common(bytes) {
                Some(line) => into.extend_from_slice(line),
                None => put(into, name, value),
            }
        }
        put(into, b"X-Request-Id", id.as_bytes());
        // Without a body as well, where the answer to a GET would have it.
        let is_coded = self.is_coded && !is_unframed(self.status);
        if is_coded || self.body == Body::UntilClose {
            put(into, b"Transfer-Encoding", b"chunked");
        }
        if !is_interim {
            if !has_date {
                put(into, b"Date", get_cached_date().as_bytes());
            }
            let connection: &[u8] = if keeps { b"keep-alive" } else { b"close" };
            put(into, b"Connection", connection);
        }
        into.extend_from_slice(b"\r\n");
    }

    /// Whether `Connection` may name fields that are meant for this connection only.
    fn nominates(&self, bytes: &[u8]) -> bool {
        let values = self.fields(bytes).all(&http::header::CONNECTION);
        let mut tokens = values.flat_map(|value| value.split(|&byte| byte == b','));
        tokens.any(|token| {
            let token = token.trim_ascii();
            !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive")
        })
    }

    fn is_nominated(&self, name: &[u8], bytes: &[u8]) -> bool {
        let values = self.fields(bytes).all(&http::header::CONNECTION);
        let mut tokens = values.flat_map(|value| value.split(|&byte| byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(bytes: &str) -> Option<Head> {
        parse(bytes.as_bytes(), &Method::GET).unwrap()
    }

    /// The lines of an answer's head as the client gets them, but for callboard's own.
    fn written(bytes: &str, method: &Method) -> Vec<String> {
        let head = parse(bytes.as_bytes(), method).unwrap().unwrap();
        let mut into = Vec::new();
        head.write(&mut into, bytes.as_bytes(), "id", true);
        let text = String::from_utf8(into).unwrap();
        let own = ["X-Request-Id: ", "Date: ", "Connection: "];
        text.strip_suffix("\r\n\r\n")
            .unwrap()
            .split("\r\n")
            .filter(|line| !own.iter().any(|own| line.starts_with(own)))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn a_body_is_framed_as_status_and_fields_say() {
        let chunked = Body::Chunked(Chunks::default());
        for (start, expected) in [
            ("200 OK\r\n", Body::UntilClose),
            ("200 OK\r\nContent-Length: 0\r\n", Body::Done),
            (
                "200 OK\r\ncontent-length: 5, 5\r\nContent-Length:05\r\n",
                Body::Length(5),
            ),
            ("200 OK\r\nTransfer-Encoding: Chunked\r\n", chunked),
            ("200 OK\r\nTransfer-Encoding : chunked\r\n", chunked),
            (
                "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                chunked,
            ),
            ("204 No Content\r\nContent-Length: 5\r\n", Body::Done),
            (
                "304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
                Body::Done,
            ),
            ("103 Early Hints\r\nContent-Length: 5\r\n", Body::Done),
        ] {
            let bytes = format!("HTTP/1.1 {start}\r\n");
            assert_eq!(head(&bytes).unwrap().body, expected, "{start:?}");
            let answer = parse(bytes.as_bytes(), &Method::HEAD).unwrap().unwrap();
            assert_eq!(answer.body, Body::Done, "{start:?}");
        }
    }

    #[test]
    fn an_answer_that_could_be_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "X-Folded: a\r\n b\r\n",
            "X-Bad: a\0b\r\n",
            "X-Bad: a\rb\r\n",
            ": nameless\r\n",
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            assert!(parse(bytes.as_bytes(), &Method::GET).is_err(), "{fields:?}");
        }
        for start in [
            "HTTP/2.0 200 OK",
            "HTTP/1.1 099 No",
            "HTTP/1.1 20 No",
            "ICY 200 OK",
        ] {
            let bytes = format!("{start}\r\n\r\n");
            assert!(parse(bytes.as_bytes(), &Method::GET).is_err(), "{start:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_when_both_ends_surely_agree_where_the_answer_ended() {
        for (start, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5", true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true),
            ("HTTP/1.1 204 No Content", true),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0", true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", true),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive",
                true,
            ),
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5", false),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, close",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 5",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
                false,
            ),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 5", false),
            (
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked",
                false,
            ),
        ] {
            let bytes = format!("{start}\r\n\r\n");
            assert_eq!(head(&bytes).unwrap().keeps, keeps, "{start:?}");
        }
    }

    #[test]
    fn a_reason_may_be_missing_or_anything() {
        for (line, expected) in [
            ("HTTP/1.1 200", "HTTP/1.1 200 "),
            ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
            (
                "HTTP/1.1 200 Quite  all right",
                "HTTP/1.1 200 Quite  all right",
            ),
            ("HTTP/1.1 200 Tr\u{e8}s bien", "HTTP/1.1 200 "),
        ] {
            let bytes = format!("{line}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(written(&bytes, &Method::GET)[0], expected, "{line:?}");
        }
    }

    #[test]
    fn an_answer_is_framed_anew_and_once() {
        let get = |fields: &str| {
            let lines = written(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET);
            lines[1..].join("|")
        };
        assert_eq!(get(""), "Transfer-Encoding: chunked");
        assert_eq!(
            get("Content-Length: 5 , 5\r\ncontent-length: 5\r\n"),
            "Content-Length: 5"
        );
        let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(get(both), "Transfer-Encoding: chunked");
        let named = "Connection: content-length, transfer-encoding, close\r\n";
        assert_eq!(get(&format!("{named}{both}")), "Transfer-Encoding: chunked");
        assert_eq!(
            get(&format!("{named}Content-Length: 5\r\n")),
            "Content-Length: 5"
        );
        for start in ["204 No Content", "103 Early Hints"] {
            let bytes = format!("HTTP/1.1 {start}\r\n{both}\r\n");
            assert_eq!(written(&bytes, &Method::GET).len(), 1, "{start}");
        }
        let bytes = format!("HTTP/1.1 200 OK\r\n{both}\r\n");
        assert_eq!(
            written(&bytes, &Method::HEAD)[1..],
            ["Transfer-Encoding: chunked"]
        );
    }

    #[test]
    fn what_is_meant_for_one_connection_goes_no_further() {
        let bytes = "HTTP/1.1 200 OK\r\nConnection: X-Private, date\r\nKeep-Alive: timeout=5\r\n\
                     x-private: 1\r\nDate: today\r\nUpgrade: x\r\nProxy-Connection: x\r\n\
                     X-Public: 1\r\nContent-Length: 0\r\n\r\n";
        let lines = written(bytes, &Method::GET);
        assert_eq!(lines[1..], ["X-Public: 1", "Content-Length: 0"]);
        let mut into = Vec::new();
        let found = head(bytes).unwrap();
        found.write(&mut into, bytes.as_bytes(), "id", false);
        let text = String::from_utf8(into).unwrap();
        assert!(
            text.contains("\r\nDate: ") && !text.contains("today"),
            "{text}"
        );
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }

    #[test]
    fn a_head_that_trickles_in_is_not_parsed_for_every_byte() {
        let line = b"X-More: and more\r\n";
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        let (mut seen, mut looks) = (0, 0);
        while bytes.len() < 10 * SHORT {
            for byte in line {
                bytes.push(*byte);
                looks += usize::from(may_be_whole(&bytes, seen));
                seen = bytes.len();
            }
        }
        assert!(looks <= SHORT, "{looks}");
        assert!(may_be_whole(&[&bytes[..], b"\r\n"].concat(), seen));
        assert!(may_be_whole(&[&bytes[..], b"\n"].concat(), seen));
    }

    proptest! {
        #[test]
        fn any_answer_is_refused_or_written_as_one_whole_head(
            start in "(HTTP/1\\.[01] (200|204|304|103|999)( OK)?\r\n)?",
            fields in prop::collection::vec(
                "(Content-Length|Transfer-Encoding|Connection|X-A|Date): ?(5|0|5, 5|chunked|close|X-A|)",
                0..5,
            ),
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            let bytes = [start.as_bytes(), fields.as_bytes(), &rest, b"\r\n\r\n"].concat();
            for method in [Method::GET, Method::HEAD] {
                let Ok(Some(head)) = parse(&bytes, &method) else { continue };
                prop_assert!(head.length <= bytes.len());
                let mut into = Vec::new();
                head.write(&mut into, &bytes[..head.length], "id", true);
                let again = parse(&into, &method).unwrap().unwrap();
                prop_assert_eq!(again.length, into.len());
                prop_assert_eq!(again.status, head.status);
                // What had no end has chunks now.
                let is_same = again.body == head.body
                    || (head.body == Body::UntilClose && matches!(again.body, Body::Chunked(_)));
                prop_assert!(is_same, "{:?} became {:?}", head.body, again.body);
            }
        }

        #[test]
        fn the_beginning_of_a_head_is_no_whole_one(end in 0usize..70) {
            let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nX-B: c\r\nX-C:\r\n\r\n";
            let end = end.min(bytes.len() - 1);
            prop_assert!(parse(&bytes[..end], &Method::GET).unwrap().is_none());
        }
    }
}
