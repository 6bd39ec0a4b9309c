//! What the fields of a head say of where the request goes and where its body ends (RFC 9112,
//! sections 3.2 and 6.3), as long as they say one thing.

use http::Uri;
use http::uri::Authority;
use httparse::Header;
use pingora::protocols::http::authority::{RawTargetAuthority, raw_target_authority};

use crate::proxy::failure::Failure;

use super::framing::{Chunks, Framing};

/// Whether target and `Host` name one place. Pingora refuses the same, with an answer of its own.
pub(super) fn check_authority(target: &[u8], fields: &[Header<'_>]) -> Result<(), Failure> {
    let mut hosts = fields
        .iter()
        .filter(|field| field.name.len() == 4 && field.name.eq_ignore_ascii_case("host"))
        .map(|field| field.value);
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Failure::bad_head("it has more than one Host"));
    }
    if host.is_some_and(|host| host.contains(&b'@')) {
        return Err(Failure::bad_host());
    }
    if memchr::memchr3(b'<', b'>', b'`', target).is_some() {
        return Err(Failure::bad_target());
    }
    match raw_target_authority(target) {
        RawTargetAuthority::None if matches!(target, [b'/', ..] | b"*") => Ok(()),
        RawTargetAuthority::Absolute { authority, .. }
            if Uri::try_from(target).is_ok()
                && Authority::try_from(authority).is_ok()
                && !authority.contains(&b'@') =>
        {
            if host.is_none_or(|host| host == authority) {
                Ok(())
            } else {
                Err(Failure::bad_head("target and Host name two hosts"))
            }
        }
        _ => Err(Failure::bad_target()),
    }
}

/// How the body is framed, and whether the client waits before it sends it.
pub(super) fn body_of(fields: &[Header<'_>], is_http_10: bool) -> Result<(Framing, bool), Failure> {
    let (mut length, mut coding, mut expects) = (None, None, false);
    for field in fields {
        let name = field.name;
        match name.len() {
            6 if name.eq_ignore_ascii_case("expect") => {
                expects |= field.value.eq_ignore_ascii_case(b"100-continue");
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                for value in field.value.split(|&byte| byte == b',') {
                    let value = parse_length(value.trim_ascii())?;
                    if length.is_some_and(|known| known != value) {
                        return Err(Failure::bad_length());
                    }
                    length = Some(value);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                let known = coding.replace(field.value);
                if known.is_some() {
                    return Err(Failure::bad_coding("it is there twice"));
                }
            }
            _ => {}
        }
    }
    let body = match (coding, length) {
        (None, None | Some(0)) => Framing::Done,
        (None, Some(length)) => Framing::Length(length),
        (Some(_), Some(_)) => return Err(Failure::bad_coding("there is a Content-Length too")),
        (Some(_), None) if is_http_10 => {
            return Err(Failure::bad_coding("HTTP/1.0 has none"));
        }
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            Framing::Chunked(Chunks::default())
        }
        (Some(_), None) => return Err(Failure::unknown_coding()),
    };
    Ok((body, expects && !is_http_10 && body != Framing::Done))
}

fn parse_length(digits: &[u8]) -> Result<u64, Failure> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|digits| digits.parse().ok())
        // What Pingora counts in.
        .filter(|&length| usize::try_from(length).is_ok())
        .ok_or_else(Failure::bad_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body's framing, of fields given as they stand in a head.
    fn body(fields: &str) -> Result<Framing, u16> {
        let mut space = [httparse::EMPTY_HEADER; 8];
        let lines = format!("{fields}\r\n");
        let parsed = httparse::parse_headers(lines.as_bytes(), &mut space).unwrap();
        let (_, fields) = parsed.unwrap();
        body_of(fields, false)
            .map(|(body, _)| body)
            .map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn the_body_is_framed_as_the_fields_say() {
        let chunked = Framing::Chunked(Chunks::default());
        for (fields, expected) in [
            ("", Ok(Framing::Done)),
            ("Content-Length: 0\r\n", Ok(Framing::Done)),
            ("Content-Length: 5\r\n", Ok(Framing::Length(5))),
            (
                "Content-Length: 5 , 5\r\ncontent-length: 5\r\n",
                Ok(Framing::Length(5)),
            ),
            ("transfer-encoding: Chunked\r\n", Ok(chunked)),
            ("Content-Length: 5, 6\r\n", Err(400)),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(400)),
            ("Content-Length: +5\r\n", Err(400)),
            ("Content-Length:\r\n", Err(400)),
            ("Content-Length: 99999999999999999999\r\n", Err(400)),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Err(400),
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(400),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", Err(501)),
            ("Transfer-Encoding: xchunked\r\n", Err(501)),
        ] {
            assert_eq!(body(fields), expected, "{fields:?}");
        }
    }
}
