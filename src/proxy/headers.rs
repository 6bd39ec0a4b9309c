//! The headers callboard changes on the way: the path it strips, the forwarding headers it adds,
//! and the hop-by-hop ones it keeps to itself.
//!
//! Pingora itself removes the request's hop-by-hop headers (RFC 9110, section 7.6.1), those named in
//! `Connection` included, and sees to the framing of both messages.

use http::{HeaderMap, HeaderValue, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::telemetry::{explain, trace};
use crate::tls::Identity;

use super::asked::Asked;
use super::context::Context;
use super::{mirror, request_id};

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

/// The head of a request on its way to an instance, in whichever form it is written.
pub(super) trait Outgoing {
    /// Whether it has a field `name`.
    fn has(&self, name: &'static str) -> bool;

    /// Leaves the field `name` out.
    fn remove(&mut self, name: &'static str);

    /// Says `value` in the field `name`, and nothing else.
    fn set(&mut self, name: &'static str, value: &str) -> Result<()>;

    /// Appends to what the field `name` says if that is to be kept, else replaces it.
    /// The element is what the parts are together.
    fn add_to_list(&mut self, name: &'static str, element: &[&str], keep: bool) -> Result<()>;
}

impl Outgoing for RequestHeader {
    fn has(&self, name: &'static str) -> bool {
        self.headers.contains_key(name)
    }

    fn remove(&mut self, name: &'static str) {
        self.remove_header(name);
    }

    fn set(&mut self, name: &'static str, value: &str) -> Result<()> {
        self.insert_header(name, value).map_err(|error| {
            Error::because(ErrorType::InternalError, format!("setting {name}"), error)
        })
    }

    fn add_to_list(&mut self, name: &'static str, element: &[&str], keep: bool) -> Result<()> {
        let mut list = String::new();
        if keep {
            for line in self.headers.get_all(name) {
                if let Ok(line) = line.to_str() {
                    list.push_str(line);
                    list.push_str(", ");
                }
            }
        }
        list.extend(element.iter().copied());
        self.insert_header(name, list)
    }
}

/// As [`tell_of`], and what only some versions of HTTP need.
pub(super) fn forward(
    request: &mut RequestHeader,
    session: &Session,
    context: &Context,
    stripped: Option<String>,
) -> Result<()> {
    let asked = Asked::of(session);
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
    tell_of(request, asked, context, stripped.as_deref())
}

/// Adds the request's id and who it is forwarded for. What the peer claimed of others is passed on
/// only when the peer is trusted.
pub(super) fn tell_of(
    request: &mut impl Outgoing,
    asked: Asked<'_>,
    context: &Context,
    stripped: Option<&str>,
) -> Result<()> {
    request.set(request_id::HEADER, context.name())?;
    request.remove(explain::HEADER);
    tell_of_trace(request, context)?;
    let keep = context.peer_is_trusted;
    if !keep {
        // Whoever is told that a request is a copy may well leave out what it is to bring about.
        request.remove(mirror::HEADER);
    }
    let host = asked.host_field();
    let scheme = if asked.secured { "https" } else { "http" };
    // RFC 9110, section 7.6.3: a gateway names itself to whoever is behind it.
    let via = match asked.version {
        Version::HTTP_2 => "2.0 callboard",
        _ => "1.1 callboard",
    };
    request.add_to_list("Via", &[via], true)?;
    let peer = asked.peer_name();
    match &peer {
        Some(peer) => request.add_to_list("X-Forwarded-For", &[peer], keep)?,
        // It came over a Unix socket, and is named only by whoever it says it was sent for.
        None if keep => {}
        None => request.remove("X-Forwarded-For"),
    }
    let element = forwarded_element(peer.as_deref(), host, scheme);
    request.add_to_list("Forwarded", &element, keep)?;
    tell_of_certificate(request, asked.identity, keep)?;
    set_unless_kept(request, "X-Forwarded-Proto", Some(scheme), keep)?;
    set_unless_kept(request, "X-Forwarded-Host", host, keep)?;
    set_unless_kept(request, "X-Forwarded-Prefix", stripped, keep)
}

/// Says where the try stands in the request's trace, if there are traces.
fn tell_of_trace(request: &mut impl Outgoing, context: &Context) -> Result<()> {
    let trail = &context.trail;
    let (Some(trace), Some(parent)) = (&trail.watch.trace, trail.parent()) else {
        return Ok(());
    };
    if !trace.has_state {
        // It belongs to another trace, or to none.
        request.remove(trace::STATE);
    }
    request.set(trace::PARENT, parent.to_str().unwrap_or_default())
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
    if response.status.is_informational() || response.status == http::StatusCode::NO_CONTENT {
        // It has no body, and says nothing of one (RFC 9110, section 8.6, and RFC 9112, section 6.1).
        response.remove_header(&header::CONTENT_LENGTH);
        response.remove_header(&header::TRANSFER_ENCODING);
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

/// One hop in RFC 7239's form, in parts.
fn forwarded_element<'a>(
    peer: Option<&'a str>,
    host: Option<&'a str>,
    scheme: &'a str,
) -> [&'a str; 7] {
    let (before, peer, after) = match peer {
        Some(peer) if peer.contains(':') => ("for=\"[", peer, "]\""),
        Some(peer) => ("for=", peer, ""),
        None => ("for=", "unknown", ""),
    };
    let is_quotable = |host: &&str| memchr::memchr2(b'"', b'\\', host.as_bytes()).is_none();
    match host.filter(is_quotable) {
        Some(host) => [before, peer, after, ";host=\"", host, "\";proto=", scheme],
        None => [before, peer, after, ";proto=", scheme, "", ""],
    }
}

/// Says who the client is by its certificate. What it says itself is believed from a trusted proxy only,
/// and only of somebody else.
fn tell_of_certificate(
    request: &mut impl Outgoing,
    identity: Option<&Identity>,
    keep: bool,
) -> Result<()> {
    const NAME: &str = "X-Forwarded-Client-Cert";
    match identity {
        Some(identity) => request.set(NAME, identity.header().to_str().unwrap_or_default())?,
        None if keep => {}
        None => request.remove(NAME),
    }
    Ok(())
}

fn set_unless_kept(
    request: &mut impl Outgoing,
    name: &'static str,
    value: Option<&str>,
    keep: bool,
) -> Result<()> {
    if keep && request.has(name) {
        return Ok(());
    }
    match value {
        Some(value) => request.set(name, value),
        None => {
            request.remove(name);
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
    fn forwarded_quotes_what_its_grammar_asks_for() {
        assert_eq!(
            forwarded_element(Some("::1"), Some("a:80"), "https").concat(),
            "for=\"[::1]\";host=\"a:80\";proto=https"
        );
        assert_eq!(
            forwarded_element(None, None, "http").concat(),
            "for=unknown;proto=http"
        );
    }
}
