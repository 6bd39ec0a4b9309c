//! Where a request's head ends, and whether it is one that all who read it understand alike.
//!
//! Whatever two readers could take for two different messages is refused (RFC 9112, sections 2.2,
//! 3.2, 5.2 and 6.3; request smuggling lives on such differences): lines that end otherwise than in
//! CRLF, folded lines, blanks before a colon, more than one `Host`, lengths that differ, and a length
//! beside chunks. Bytes are looked at once as they come, and parsed once when all are there, so a
//! head that trickles in costs no more than one that comes whole.

use std::mem::MaybeUninit;

use crate::fields::{Fields, Lines};
use crate::proxy::clients::Clients;
use crate::proxy::failure::Failure;
use bytes::{Buf, BytesMut};
use http::Method;
use httparse::{Header, Request};

use super::fields::{body_of, check_authority};
use super::framing::Framing;

/// The most fields that can be counted; `max_headers` is no larger.
const MOST_FIELDS: usize = 256;

/// The longest target that the `http` crate takes, in bytes.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// A head that was found whole and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Head {
    /// Bytes, the empty line included.
    pub(super) length: usize,
    /// What follows it.
    pub(super) body: Framing,
    /// Whether the client waits for a word before it sends the body (RFC 9110, section 10.1.1).
    pub(super) expects_continue: bool,
    /// Its parts, if it is as simple as most.
    pub(super) plain: Option<Plain>,
}

/// A head of HTTP/1.1 that wants nothing but an answer, and does so in common terms. Its body, if it has
/// one, has a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Plain {
    pub(in crate::proxy) method: Method,
    /// Where the target stands, which is a path and perhaps a query.
    pub(in crate::proxy) target: (usize, usize),
    pub(in crate::proxy) lines: Lines,
    /// Whether the client wants its connection kept.
    pub(in crate::proxy) keeps: bool,
}

/// A head that is answered at once; nothing that follows it can be read.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// Whether the answer must have no body.
    pub(super) is_head: bool,
    /// The id that the client gave the request.
    pub(super) request_id: Option<Vec<u8>>,
}

/// How much of a head was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    seen: usize,
    /// Where the line that `seen` is in begins.
    line: usize,
}

impl Scan {
    /// Looks at what `buffer` holds beyond what it held before; gives the head once it is complete.
    ///
    /// # Errors
    /// When it never will be, or should not be heeded.
    pub(super) fn advance(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Clients,
    ) -> Result<Option<Head>, Box<Refused>> {
        if self.seen == 0 {
            skip_blank_lines(buffer);
        }
        if self.seen == 0
            && let Some(&first) = buffer.first()
            && !is_token(first)
        {
            return Err(refused(buffer, Failure::not_http(first)));
        }
        while let Some(found) = memchr::memchr(b'\n', &buffer[self.seen..]) {
            let end = self.seen + found;
            if end > limits.max_head {
                break;
            }
            if end == 0 || buffer[end - 1] != b'\r' {
                return Err(refused(buffer, Failure::bare_line_feed()));
            }
            let line = &buffer[self.line..end - 1];
            if self.line == 0 {
                check_request_line(line).map_err(|failure| refused(buffer, failure))?;
            } else if line.is_empty() {
                let length = end + 1;
                return if length > limits.max_head {
                    Err(self.too_large(buffer, limits))
                } else {
                    parse(&buffer[..length], limits).map(Some)
                };
            }
            self.seen = end + 1;
            self.line = self.seen;
        }
        if buffer.len() > limits.max_head {
            return Err(self.too_large(buffer, limits));
        }
        self.seen = buffer.len();
        Ok(None)
    }

    fn too_large(&self, buffer: &[u8], limits: &Clients) -> Box<Refused> {
        refused(
            buffer,
            if self.line == 0 {
                Failure::target_too_long(limits.max_head)
            } else {
                Failure::head_too_large(limits.max_head)
            },
        )
    }
}

/// RFC 9112, section 2.2: empty lines before a request are nothing.
fn skip_blank_lines(buffer: &mut BytesMut) {
    let blank = buffer.iter().take_while(|&&byte| is_line_end(byte)).count();
    buffer.advance(blank);
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `METHOD target HTTP/1.x`, with a method that is served.
fn check_request_line(line: &[u8]) -> Result<(), Failure> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), version, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Failure::bad_request_line());
    };
    if method.is_empty() || target.is_empty() {
        return Err(Failure::bad_request_line());
    }
    if target.len() > LONGEST_TARGET {
        return Err(Failure::target_too_long(LONGEST_TARGET));
    }
    match version {
        None => Err(Failure::no_version()),
        Some(b"HTTP/1.1" | b"HTTP/1.0") if method == b"CONNECT" => Err(Failure::connect()),
        Some(b"HTTP/1.1" | b"HTTP/1.0") => Ok(()),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Failure::unknown_version())
        }
        Some(_) => Err(Failure::bad_request_line()),
    }
}

/// What a complete head says of its body.
fn parse(bytes: &[u8], limits: &Clients) -> Result<Head, Box<Refused>> {
    let mut space = [MaybeUninit::<Header<'_>>::uninit(); MOST_FIELDS];
    let most = limits.max_headers.min(MOST_FIELDS);
    let mut request = Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut space[..most]);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => {
            return Err(refused(
                bytes,
                Failure::bad_head("it does not end as it should"),
            ));
        }
        Err(httparse::Error::TooManyHeaders) => {
            return Err(refused(bytes, Failure::too_many_headers(most)));
        }
        Err(error) => return Err(refused(bytes, Failure::bad_head(&error.to_string()))),
    }
    let is_http_10 = request.version == Some(0);
    let target = request.path.unwrap_or_default().as_bytes();
    check_authority(target, request.headers)
        .and_then(|()| body_of(request.headers, is_http_10))
        .map(|(body, expects_continue)| Head {
            length: bytes.len(),
            body,
            expects_continue,
            plain: Plain::of(&request, bytes).filter(|_| !expects_continue),
        })
        .map_err(|failure| {
            let mut fields = request.headers.iter();
            let id = fields.rfind(|field| field.name.eq_ignore_ascii_case("x-request-id"));
            Box::new(Refused {
                failure,
                is_head: request.method == Some("HEAD"),
                request_id: id.map(|field| field.value.to_vec()),
            })
        })
}

impl Plain {
    /// Its fields, as lines of the `bytes` of the head.
    pub(in crate::proxy) fn fields<'a>(&'a self, bytes: &'a [u8]) -> Fields<'a> {
        Fields::Lines(&self.lines, bytes)
    }

    fn of(request: &Request<'_, '_>, bytes: &[u8]) -> Option<Self> {
        let target = request.path?.as_bytes();
        let is_plain = request.version == Some(1)
            && target.first() == Some(&b'/')
            && target.iter().all(|byte| is_plain_in_target(*byte));
        if !is_plain {
            return None;
        }
        let place = |part: &[u8]| {
            let from = part.as_ptr() as usize - bytes.as_ptr() as usize;
            (from, from + part.len())
        };
        let mut lines = Lines::with_capacity(request.headers.len());
        let mut keeps = true;
        for field in request.headers.iter() {
            match field.name.len() {
                6 if field.name.eq_ignore_ascii_case("expect") => return None,
                7 if field.name.eq_ignore_ascii_case("upgrade") => return None,
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    keeps &= common_connection(field.value)?;
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => return None,
                _ => {}
            }
            lines.add(place(field.name.as_bytes()), place(field.value));
        }
        Some(Self {
            method: Method::from_bytes(request.method?.as_bytes()).ok()?,
            target: place(target),
            lines,
            keeps,
        })
    }
}

/// Whether the `http` crate takes this byte for part of a path or a query, and nobody for more.
fn is_plain_in_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'<' | b'>' | b'`')
}

/// Whether a connection with this `Connection` is kept; `None` if that says anything else.
fn common_connection(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"keep-alive") {
        return Some(true);
    }
    value.eq_ignore_ascii_case(b"close").then_some(false)
}

fn refused(bytes: &[u8], failure: Failure) -> Box<Refused> {
    Box::new(Refused {
        failure,
        is_head: bytes.starts_with(b"HEAD "),
        request_id: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(head: &[u8]) -> Result<Option<Head>, u16> {
        let mut buffer = BytesMut::from(head);
        Scan::default()
            .advance(&mut buffer, &Clients::default())
            .map_err(|refused| refused.failure.status().as_u16())
    }

    #[test]
    fn a_head_is_found_however_it_comes() {
        let head = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for step in 1..head.len() {
            let (mut scan, mut buffer) = (Scan::default(), BytesMut::new());
            let mut found = None;
            for piece in head.chunks(step) {
                buffer.extend_from_slice(piece);
                found = scan.advance(&mut buffer, &Clients::default()).unwrap();
                if found.is_some() {
                    break;
                }
            }
            assert_eq!(found.unwrap().length, 28, "in steps of {step}");
            assert!(buffer.starts_with(b"GET"));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET /\r\n", 400),
            ("NONSENSE\r\n", 400),
            ("\x16\x03\x01", 400),
            (" GET / HTTP/1.1\r\n", 400),
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
            ("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
            ("GET http:/\\a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
            ("CONNECT a:443 HTTP/1.1\r\n", 405),
            ("PRI * HTTP/2.0\r\n", 505),
            ("GET / HTTP/1.2\r\n", 505),
            ("GET / HTTP/11\r\n", 400),
        ] {
            assert_eq!(scan(head.as_bytes()), Err(status), "{head:?}");
        }
    }

    #[test]
    fn limits_hold_for_the_line_the_head_and_the_fields() {
        let limits = Clients {
            max_head: 1_024,
            max_headers: 3,
            ..Clients::default()
        };
        let status = |head: String| {
            let mut buffer = BytesMut::from(head.as_bytes());
            Scan::default()
                .advance(&mut buffer, &limits)
                .map(|found| found.is_some())
                .map_err(|refused| refused.failure.status().as_u16())
        };
        let padded = |length: usize| {
            let start = "GET / HTTP/1.1\r\nA: ";
            format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
        };
        assert_eq!(status(padded(1_024)), Ok(true));
        assert_eq!(status(padded(1_025)), Err(431));
        assert_eq!(status(format!("GET /{}", "x".repeat(1_100))), Err(414));
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(status(fields(3)), Ok(true));
        assert_eq!(status(fields(4)), Err(431));
    }

    #[test]
    fn a_client_that_expects_a_word_is_known_by_it() {
        let expects = |head: &str| scan(head.as_bytes()).unwrap().unwrap().expects_continue;
        let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        assert!(expects(post));
        assert!(!expects(&post.replace("1.1", "1.0")));
        assert!(!expects(&post.replace("Length: 5", "Length: 0")));
    }

    proptest! {
        #[test]
        fn anything_may_come(
            start in "(GET / HTTP/1.1\r\n)?",
            rest in proptest::collection::vec(any::<u8>(), 0..300),
            steps in 1usize..40,
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            let (mut scan, mut buffer) = (Scan::default(), BytesMut::new());
            for piece in bytes.chunks(steps) {
                buffer.extend_from_slice(piece);
                match scan.advance(&mut buffer, &Clients::default()) {
                    Ok(None) => {}
                    Ok(Some(head)) => {
                        prop_assert!(head.length <= buffer.len());
                        prop_assert!(buffer[..head.length].ends_with(b"\r\n\r\n"));
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}
