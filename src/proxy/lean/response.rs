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
mod tests;
