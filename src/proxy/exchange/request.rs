//! A request as an instance gets it over an exchange of our own: what Pingora does to a request on
//! the ordinary path, and then what callboard does.

use http::{Version, header};
use pingora::Result;
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use crate::fields::Fields;
use crate::proxy::asked::Asked;
use crate::proxy::context::Context;
use crate::proxy::headers;

/// The headers that are meant for one connection only (RFC 9110, section 7.6.1), and those that
/// frame a message.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Whether the request is plain HTTP: it asks for no other protocol, and names no headers
/// of its own as meant for this connection only.
pub(in crate::proxy) fn can_be_copied(asked: Asked<'_>) -> bool {
    asked.version <= Version::HTTP_2
        && *asked.method != http::Method::CONNECT
        && !asked.fields.has(&header::UPGRADE)
        && has_common_connection(asked.fields)
}

/// Whether `Connection` names no fields of the client's own.
pub(in crate::proxy) fn has_common_connection(fields: Fields<'_>) -> bool {
    fields
        .all(&header::CONNECTION)
        .flat_map(|line| line.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .all(|token| {
            let common: [&[u8]; 4] = [b"", b"close", b"keep-alive", b"te"];
            common.iter().any(|word| token.eq_ignore_ascii_case(word))
        })
}

/// The head to send for the request of `session`, `strip` bytes taken off its path. Without a
/// transfer coding: whoever sends a body says how long it is.
///
/// # Errors
/// When the path without its prefix is no path, or a header cannot be written.
pub(in crate::proxy) fn head(
    session: &Session,
    context: &Context,
    strip: usize,
) -> Result<RequestHeader> {
    let mut request = session.req_header().clone();
    request.set_version(Version::HTTP_11);
    for name in HOP_BY_HOP {
        request.remove_header(*name);
    }
    let prefix = headers::strip_prefix(&mut request, strip)?;
    headers::forward(&mut request, session, context, prefix)?;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for &(name, value) in headers {
            request.append_header(name, value).unwrap();
        }
        request
    }

    #[test]
    fn only_requests_of_plain_http_are_copied() {
        for (headers, copied) in [
            (&[][..], true),
            (&[("Connection", "close, Keep-Alive,")], true),
            (&[("Connection", "TE"), ("TE", "trailers")], true),
            (&[("Connection", "X-Private")], false),
            (&[("Connection", "close"), ("Connection", "upgrade")], false),
            (&[("Upgrade", "websocket")], false),
        ] {
            assert_eq!(
                can_be_copied(Asked::of_head(&request(headers))),
                copied,
                "{headers:?}"
            );
        }
        let mut newer = request(&[]);
        newer.set_version(Version::HTTP_3);
        assert!(!can_be_copied(Asked::of_head(&newer)));
    }
}
