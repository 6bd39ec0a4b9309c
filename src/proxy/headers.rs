//! The headers callboard changes on the way: the path it strips, the forwarding headers it adds,
//! and the hop-by-hop ones it keeps to itself.
//!
//! Pingora itself removes the request's hop-by-hop headers (RFC 9110, section 7.6.1), those named in
//! `Connection` included, and sees to the framing of both messages.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::telemetry::{explain, trace};
use crate::tls::Identity;

use super::context::Context;
use super::{connection, mirror, request_id};

/// The host a request is for, without its port: from the target if that names one, else `Host`.
pub(super) fn host(request: &RequestHeader) -> Option<&str> {
    let authority = match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => request.headers.get(header::HOST)?.to_str().ok()?,
    };
    let port = authority.bytes().rev().take_while(u8::is_ascii_digit);
    let before_port = &authority[..authority.len() - port.count()];
    let host = before_port.strip_suffix(':').unwrap_or(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

/// Whether the request says which host it is for as its version demands (RFC 9112, section 3.2).
pub(super) fn names_host(request: &RequestHeader) -> bool {
    match request.headers.get(header::HOST) {
        Some(host) => host.as_bytes().iter().all(is_host_byte),
        None => request.version < Version::HTTP_11,
    }
}

/// What `uri-host [":" port]` is made of (RFC 3986, section 3.2.2).
fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

/// How long the body is, as far as the head says. The connection has made sure that all values are
/// the same.
pub(super) fn content_length(request: &RequestHeader) -> Option<u64> {
    let value = request.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}

/// Brings the target into origin form, which is what an instance expects, and takes `length` bytes
/// off its path; gives what was taken off.
pub(super) fn strip_prefix(request: &mut RequestHeader, length: usize) -> Result<Option<String>> {
    let is_absolute = !matches!(request.raw_path().first(), Some(b'/' | b'*'));
    if length == 0 && !is_absolute {
        return Ok(None);
    }
    let taken = request.uri.path().get(..length).map(str::to_owned);
    let target = if is_absolute {
        let target = request.uri.path_and_query();
        target.map_or_else(Vec::new, |target| target.as_str().into())
    } else {
        // As the client sent it, escapes and all.
        request.raw_path().to_vec()
    };
    let rest = target.get(length..).unwrap_or_default();
    let mut stripped = Vec::with_capacity(rest.len() + 1);
    if rest.first() != Some(&b'/') {
        stripped.push(b'/');
    }
    stripped.extend_from_slice(rest);
    request.set_raw_path(&stripped)?;
    Ok(taken.filter(|prefix| !prefix.is_empty()))
}

/// Adds the request's id and who it is forwarded for. What the peer claimed of others is passed on
/// only when the peer is trusted.
pub(super) fn forward(
    request: &mut RequestHeader,
    session: &Session,
    context: &Context,
    stripped: Option<String>,
) -> Result<()> {
    request.insert_header(request_id::HEADER, context.request_id().clone())?;
    request.remove_header(&explain::NAME);
    forward_trace(request, context)?;
    if !context.peer_is_trusted {
        // Whoever is told that a request is a copy may well leave out what it is to bring about.
        request.remove_header(mirror::HEADER);
    }
    if request.version == Version::HTTP_2 && takes_trailers(session.req_header()) {
        // The one field of a connection that HTTP/2 has (RFC 9113, section 8.2.2), and gRPC asks for;
        // Pingora removes it with the others.
        request.insert_header(header::TE, "trailers")?;
    }
    if let Some(length) = repeated_length(&request.headers) {
        request.insert_header(header::CONTENT_LENGTH, length)?;
    }
    if let Some(pick) = &context.pick
        && !request.headers.contains_key(header::HOST)
    {
        // HTTP/1.0 may leave it out, but the instance is spoken to in HTTP/1.1.
        request.insert_header(header::HOST, pick.address().authority())?;
    }
    let peer = session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(|address| address.ip().to_canonical());
    let host = session
        .req_header()
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let scheme = if connection::is_secured(session) {
        "https"
    } else {
        "http"
    };
    // RFC 9110, section 7.6.3: a gateway names itself to whoever is behind it.
    let via = match session.req_header().version {
        Version::HTTP_2 => "2.0 callboard",
        _ => "1.1 callboard",
    };
    add_to_list(request, "Via", via.to_owned(), true)?;
    let keep = context.peer_is_trusted;
    match peer {
        Some(peer) => add_to_list(request, "X-Forwarded-For", peer.to_string(), keep)?,
        // It came over a Unix socket, and is named only by whoever it says it was sent for.
        None if keep => {}
        None => {
            request.remove_header("X-Forwarded-For");
        }
    }
    let element = forwarded_element(peer, host, scheme);
    add_to_list(request, "Forwarded", element, keep)?;
    let identity = connection::identity(session);
    forward_client_certificate(request, identity, keep)?;
    set_unless_kept(request, "X-Forwarded-Proto", Some(scheme), keep)?;
    set_unless_kept(request, "X-Forwarded-Host", host, keep)?;
    set_unless_kept(request, "X-Forwarded-Prefix", stripped.as_deref(), keep)
}

/// Says where the try stands in the request's trace, if there are traces.
fn forward_trace(request: &mut RequestHeader, context: &Context) -> Result<()> {
    let trail = &context.trail;
    let (Some(trace), Some(parent)) = (&trail.watch.trace, trail.parent()) else {
        return Ok(());
    };
    if !trace.has_state {
        // It belongs to another trace, or to none.
        request.remove_header(&trace::STATE_NAME);
    }
    request.insert_header(trace::PARENT, parent)
}

/// Whether a client of HTTP/2 says that it takes trailers.
fn takes_trailers(request: &RequestHeader) -> bool {
    let te = request.headers.get(header::TE);
    request.version == Version::HTTP_2 && te.is_some_and(|te| te == "trailers")
}

/// The length to write in place of several. They are equal, or Pingora would have refused the
/// message, but only one may be passed on (RFC 9112, section 6.3).
fn repeated_length(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let line = lines.next()?.as_bytes();
    let first = line.split(|&byte| byte == b',').next()?;
    if first.len() == line.len() && lines.next().is_none() {
        return None;
    }
    HeaderValue::from_bytes(first.trim_ascii()).ok()
}

/// Removes what was meant for callboard alone. `Connection` and the framing are Pingora's to write
/// anew; an upgrade's handshake passes whole.
pub(super) fn clean_response(response: &mut ResponseHeader) -> Result<()> {
    if response.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    if response.status == http::StatusCode::NO_CONTENT {
        // It has no body, and says nothing of one (RFC 9110, section 8.6).
        response.remove_header(&header::CONTENT_LENGTH);
    } else if let Some(length) = repeated_length(&response.headers) {
        response.insert_header(header::CONTENT_LENGTH, length)?;
    }
    let nominated: Vec<String> = response
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            let kept = ["", "close", "content-length", "transfer-encoding"];
            !kept.contains(&name.as_str())
        })
        .collect();
    for name in &nominated {
        response.remove_header(name.as_str());
    }
    for name in ["connection", "keep-alive", "proxy-connection", "upgrade"] {
        response.remove_header(name);
    }
    Ok(())
}

/// One hop in RFC 7239's form.
fn forwarded_element(peer: Option<IpAddr>, host: Option<&str>, scheme: &str) -> String {
    let peer = match peer {
        Some(IpAddr::V4(peer)) => peer.to_string(),
        Some(IpAddr::V6(peer)) => format!("\"[{peer}]\""),
        None => "unknown".to_owned(),
    };
    match host {
        Some(host) if host.bytes().all(|byte| byte != b'"' && byte != b'\\') => {
            format!("for={peer};host=\"{host}\";proto={scheme}")
        }
        _ => format!("for={peer};proto={scheme}"),
    }
}

/// Says who the client is by its certificate. What it says itself is believed from a trusted proxy only,
/// and only of somebody else.
fn forward_client_certificate(
    request: &mut RequestHeader,
    identity: Option<&Identity>,
    keep: bool,
) -> Result<()> {
    const NAME: &str = "X-Forwarded-Client-Cert";
    match identity {
        Some(identity) => request.insert_header(NAME, identity.header().clone())?,
        None if keep => {}
        None => {
            request.remove_header(NAME);
        }
    }
    Ok(())
}

/// Appends to what is there if it is to be kept, else replaces it.
fn add_to_list(
    request: &mut RequestHeader,
    name: &'static str,
    element: String,
    keep: bool,
) -> Result<()> {
    let mut list = String::new();
    if keep {
        for line in request.headers.get_all(name) {
            if let Ok(line) = line.to_str() {
                list.push_str(line);
                list.push_str(", ");
            }
        }
    }
    list.push_str(&element);
    request.insert_header(name, list)
}

fn set_unless_kept(
    request: &mut RequestHeader,
    name: &'static str,
    value: Option<&str>,
    keep: bool,
) -> Result<()> {
    if keep && request.headers.contains_key(name) {
        return Ok(());
    }
    match value {
        Some(value) => request.insert_header(name, value).map_err(|error| {
            Error::because(ErrorType::InternalError, format!("setting {name}"), error)
        }),
        None => {
            request.remove_header(name);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> RequestHeader {
        RequestHeader::build("GET", target.as_bytes(), None).unwrap()
    }

    #[test]
    fn the_prefix_is_taken_off_the_path_and_nothing_else() {
        for (target, length, expected) in [
            ("/web/a%20b?x=/web", 4, "/a%20b?x=/web"),
            ("/web", 4, "/"),
            ("/web?x=1", 4, "/?x=1"),
            ("/web/", 4, "/"),
            ("http://host/web/a?b", 4, "/a?b"),
            ("/keep", 0, "/keep"),
            ("http://host/keep?a", 0, "/keep?a"),
            ("*", 0, "*"),
        ] {
            let mut request = request(target);
            strip_prefix(&mut request, length).unwrap();
            assert_eq!(request.raw_path(), expected.as_bytes(), "{target}");
        }
    }

    #[test]
    fn the_host_is_found_without_port_or_final_dot() {
        for (host_header, expected) in [
            ("Web.callboard:8080", Some("Web.callboard")),
            ("web.callboard.", Some("web.callboard")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("", None),
        ] {
            let mut request = request("/");
            request.insert_header("Host", host_header).unwrap();
            assert_eq!(host(&request), expected, "{host_header}");
        }
    }

    #[test]
    fn hop_by_hop_headers_of_the_response_stay_behind() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("Connection", "close, X-Private, Content-Length"),
            ("Content-Length", "5"),
            ("Keep-Alive", "timeout=5"),
            ("X-Private", "1"),
            ("X-Public", "1"),
            ("Transfer-Encoding", "chunked"),
        ] {
            response.insert_header(name, value).unwrap();
        }
        clean_response(&mut response).unwrap();
        let mut left: Vec<_> = response.headers.keys().map(|name| name.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "transfer-encoding", "x-public"]);
    }

    #[test]
    fn a_repeated_length_is_passed_on_once() {
        for (lines, expected) in [
            (&["5"][..], None),
            (&["5", "5"], Some("5")),
            (&["5 , 5"], Some("5")),
            (&[], None),
        ] {
            let mut request = request("/");
            for line in lines {
                request.append_header("Content-Length", *line).unwrap();
            }
            let length = repeated_length(&request.headers);
            assert_eq!(length, expected.map(HeaderValue::from_static), "{lines:?}");
        }
    }

    #[test]
    fn a_host_is_one_and_only_http_1_0_may_leave_it_out() {
        for (host_header, expected) in [
            ("web_1.callboard:80", true),
            ("[::1]:80", true),
            ("", true),
            ("a b", false),
            ("a/b", false),
            ("user@a", false),
            ("a\"b", false),
        ] {
            let mut request = request("/");
            request.insert_header("Host", host_header).unwrap();
            assert_eq!(names_host(&request), expected, "{host_header}");
        }
        let mut request = request("/");
        assert!(!names_host(&request));
        request.set_version(Version::HTTP_10);
        assert!(names_host(&request));
    }

    #[test]
    fn forwarded_quotes_what_its_grammar_asks_for() {
        assert_eq!(
            forwarded_element("::1".parse().ok(), Some("a:80"), "https"),
            "for=\"[::1]\";host=\"a:80\";proto=https"
        );
        assert_eq!(
            forwarded_element(None, None, "http"),
            "for=unknown;proto=http"
        );
    }
}
