//! A request's head as the rest of callboard knows heads, and whether it is one that all who read it
//! understand alike.
//!
//! The engine refuses what HTTP/2 itself calls malformed (RFC 9113, section 8.1.1): fields of HTTP/1
//! connections, pseudo-fields that are missing, unknown or out of place, a length that the body does not
//! have. What is left are values that an instance that speaks HTTP/1 could take for something else.

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use crate::proxy::clients::Clients;
use crate::proxy::failure::Failure;

/// Makes sure that `head` means one thing, and brings it into the form that one of HTTP/1 has: with
/// `Host`, and with all cookies in one line.
///
/// # Errors
/// When it is not to be heeded.
pub(super) fn settle(head: &mut RequestHeader, limits: &Clients) -> Result<(), Failure> {
    if head.method == Method::CONNECT {
        return Err(Failure::connect());
    }
    if head.headers.len() > limits.max_headers {
        return Err(Failure::too_many_headers(limits.max_headers));
    }
    check_target(head.raw_path())?;
    let host = host(head.uri.authority(), &head.headers)?;
    if let Some(host) = host {
        (head.insert_header(header::HOST, host)).map_err(|_| Failure::bad_host())?;
    }
    join_cookies(head)
}

/// Whether the target is one that HTTP/1 can name as well.
fn check_target(target: &[u8]) -> Result<(), Failure> {
    let is_path = matches!(target, [b'/', ..] | b"*");
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<>`".contains(byte);
    if is_path && target.iter().all(|byte| is_plain(byte) || *byte >= 0x80) {
        Ok(())
    } else {
        Err(Failure::bad_target())
    }
}

/// The host to put down, if none is.
fn host(authority: Option<&Authority>, fields: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
    let mut hosts = fields.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Failure::bad_head("it has more than one Host"));
    }
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (Some(authority), Some(host)) if host.as_bytes() != authority => {
            Err(Failure::bad_head(":authority and Host name two hosts"))
        }
        (Some(name), None) if !name.contains(&b'@') => HeaderValue::from_bytes(name)
            .map(Some)
            .map_err(|_| Failure::bad_host()),
        (_, Some(host)) if !host.as_bytes().contains(&b'@') => Ok(None),
        _ => Err(Failure::bad_host()),
    }
}

/// Undoes the splitting that helps HPACK (RFC 9113, section 8.2.3).
fn join_cookies(head: &mut RequestHeader) -> Result<(), Failure> {
    let mut crumbs = head.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else {
        return Ok(());
    };
    let mut line = first.as_bytes().to_vec();
    for crumb in [second].into_iter().chain(crumbs) {
        line.extend_from_slice(b"; ");
        line.extend_from_slice(crumb.as_bytes());
    }
    let bad = || Failure::bad_head("its cookies cannot be joined");
    let line = HeaderValue::from_bytes(&line).map_err(|_| bad())?;
    head.insert_header(header::COOKIE, line).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn settled(uri: &str, fields: &[(&str, &str)]) -> Result<RequestHeader, u16> {
        let mut request = Request::builder().uri(uri).version(http::Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = RequestHeader::from(request.body(()).unwrap().into_parts().0);
        let limits = Clients {
            max_headers: 3,
            ..Clients::default()
        };
        settle(&mut head, &limits)
            .map(|()| head)
            .map_err(|failure| failure.status().as_u16())
    }

    #[test]
    fn the_authority_becomes_the_host_that_http_1_names() {
        for (uri, fields) in [
            ("http://a:80/x", &[][..]),
            ("http://a:80/x", &[("host", "a:80")]),
            ("/x", &[("host", "a:80")]),
        ] {
            let head = settled(uri, fields).unwrap();
            assert_eq!(head.headers[header::HOST], "a:80", "{uri} {fields:?}");
            assert_eq!(head.raw_path(), b"/x");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (uri, fields) in [
            ("/x", &[][..]),
            ("http://a/x", &[("host", "b")]),
            ("http://a/x", &[("host", "a"), ("host", "a")]),
            ("/x", &[("host", "u@a")]),
            ("http://u@a/x", &[]),
            ("http://u@a/x", &[("host", "u@a")]),
        ] {
            assert_eq!(settled(uri, fields).err(), Some(400), "{uri} {fields:?}");
        }
        for target in ["x", "http://a/", "/a b", "/a\r\nb", "/\0", "/<", "", "**"] {
            assert!(check_target(target.as_bytes()).is_err(), "{target:?}");
        }
        for target in ["/", "*", "/a?b=%20&c#d", "/\u{e4}"] {
            assert!(check_target(target.as_bytes()).is_ok(), "{target:?}");
        }
    }

    #[test]
    fn fields_are_counted_and_tunnels_refused() {
        let fields = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        assert!(settled("http://a/", &fields[..3]).is_ok());
        assert_eq!(settled("http://a/", &fields).err(), Some(431));
        let mut connect = RequestHeader::build("CONNECT", b"a:1", None).unwrap();
        let failure = settle(&mut connect, &Clients::default()).unwrap_err();
        assert_eq!(failure.status().as_u16(), 405);
    }

    #[test]
    fn crumbs_become_one_cookie() {
        for (crumbs, cookie) in [
            (&["a=1"][..], "a=1"),
            (&["a=1", "b=2"], "a=1; b=2"),
            (&["a=1", "b=2", "c=3; d=4"], "a=1; b=2; c=3; d=4"),
        ] {
            let fields: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
            let head = settled("http://a/", &fields).unwrap();
            let lines: Vec<_> = head.headers.get_all("cookie").iter().collect();
            assert_eq!(lines, [cookie]);
        }
    }
}
