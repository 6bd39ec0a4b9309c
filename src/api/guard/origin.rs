//! Keeps web pages from changing the registry through the browser of somebody who can reach it.
//!
//! The control plane listens on loopback by default, and every page open in a browser on the same
//! machine can send requests there. Two ways of doing so matter for calls that change something:
//!
//! - *Cross-site requests.* A browser says which origin sent a request that is not a plain GET
//!   ([Fetch, `Origin`](https://fetch.spec.whatwg.org/#origin-header)). One that is not the host the
//!   request is addressed to is refused, `null` included.
//! - *DNS rebinding.* A page of `evil.example` may have its name point to 127.0.0.1 a moment later;
//!   then origin and host agree. On a connection from the machine itself a browser must therefore
//!   address callboard by a name that no outsider can publish: an IP address, `localhost`, or a name
//!   without a dot.
//!
//! Reads are guarded against the latter as well: a browser says no origin with them, but always which
//! languages it prefers, and no page can keep it from that. Whoever shows a token may read in any case,
//! as a page of another origin has none.
//!
//! Programs send neither and are not affected.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, header, uri::Authority};

use crate::api::problem::{Kind, Problem};

/// Whether no page of another origin sent a request that changes something.
///
/// # Errors
/// [`Kind::CrossOrigin`].
pub(super) fn same_origin(request: &Request, peer: IpAddr) -> Result<(), Problem> {
    let uri_host = request.uri().authority().map(Authority::as_str);
    judge(request.headers(), uri_host, peer)
}

fn judge(headers: &HeaderMap, uri_host: Option<&str>, peer: IpAddr) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = host_of(headers, uri_host);
    let refused = |what: &str| {
        let detail = format!(
            "origin {:?} {what} {:?} (expected no Origin header, or one that equals the Host)",
            String::from_utf8_lossy(origin.as_bytes()),
            host.unwrap_or_default(),
        );
        Err(Problem::new(Kind::CrossOrigin, detail))
    };
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    match (origin, host) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => {
            if peer.is_loopback() && !is_private_name(host) {
                return refused("is a public name for this machine's own");
            }
            Ok(())
        }
        _ => refused("is not"),
    }
}

/// Whether no page reads on a name that it could have borrowed.
///
/// # Errors
/// [`Kind::CrossOrigin`].
pub(super) fn not_rebound(request: &Request, peer: IpAddr) -> Result<(), Problem> {
    let headers = request.headers();
    if !peer.is_loopback() || !headers.contains_key(header::ACCEPT_LANGUAGE) {
        return Ok(());
    }
    let host = host_of(headers, request.uri().authority().map(Authority::as_str));
    match host {
        Some(host) if !is_private_name(host) => {
            let detail = format!(
                "a browser asks {host:?}, a public name for this machine's own (expected a bearer \
                 token, or an address, localhost or a name without a dot)"
            );
            Err(Problem::new(Kind::CrossOrigin, detail))
        }
        _ => Ok(()),
    }
}

fn host_of<'a>(headers: &'a HeaderMap, uri_host: Option<&'a str>) -> Option<&'a str> {
    uri_host.or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// Whether no public DNS record can stand for `authority`, a host with an optional port.
fn is_private_name(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let unbracketed = host.trim_start_matches('[').trim_end_matches(']');
    unbracketed.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || host.to_ascii_lowercase().ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_our_own_origin_pass() {
        let cases = [
            (None, "127.0.0.1:8500", true),
            (Some("http://127.0.0.1:8500"), "127.0.0.1:8500", true),
            (Some("http://[::1]:8500"), "[::1]:8500", true),
            (Some("http://LOCALHOST:8500"), "localhost:8500", true),
            (
                Some("http://board.localhost:8500"),
                "board.localhost:8500",
                true,
            ),
            (Some("http://callboard:8500"), "callboard:8500", true),
            (Some("http://127.0.0.1:3000"), "127.0.0.1:8500", false),
            (Some("https://evil.example"), "127.0.0.1:8500", false),
            (Some("http://evil.example:8500"), "evil.example:8500", false),
            (Some("null"), "127.0.0.1:8500", false),
            (Some(""), "127.0.0.1:8500", false),
        ];
        for (origin, host, passes) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            let loopback = "127.0.0.1".parse().unwrap();
            assert_eq!(
                judge(&headers, None, loopback).is_ok(),
                passes,
                "{origin:?} to {host}"
            );
        }
    }

    #[test]
    fn browsers_on_this_machine_read_at_names_that_are_no_outsiders() {
        for (host, languages, peer, passes) in [
            ("evil.example:8500", Some("en"), "127.0.0.1", false),
            ("evil.example:8500", Some(""), "::1", false),
            ("evil.example:8500", None, "127.0.0.1", true),
            ("evil.example:8500", Some("en"), "10.0.0.5", true),
            ("localhost:8500", Some("en"), "127.0.0.1", true),
            ("127.0.0.1:8500", Some("en"), "127.0.0.1", true),
        ] {
            let mut request = Request::builder()
                .uri("/api/v1/journal")
                .header(header::HOST, host);
            if let Some(languages) = languages {
                request = request.header(header::ACCEPT_LANGUAGE, languages);
            }
            let request = request.body(axum::body::Body::empty()).unwrap();
            let judged = not_rebound(&request, peer.parse().unwrap());
            assert_eq!(judged.is_ok(), passes, "{host} {languages:?} {peer}");
        }
    }

    #[test]
    fn a_public_name_is_fine_for_callers_from_elsewhere() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "board.example.com".parse().unwrap());
        headers.insert(header::ORIGIN, "https://board.example.com".parse().unwrap());
        assert!(judge(&headers, None, "10.0.0.5".parse().unwrap()).is_ok());
    }
}
