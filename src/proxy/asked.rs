//! What a client asks for, as decisions see it, whoever reads its connection.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use http::{Method, Version, header};
use pingora::http::RequestHeader;
use pingora_proxy::Session;

use crate::fields::Fields;
use crate::tls::Identity;

use super::connection;

/// One request's head and where it is from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    /// The host and port that the target names, if it does.
    pub(super) authority: Option<&'a str>,
    /// The path and the query, as they came.
    pub(super) target: &'a str,
    pub(super) version: Version,
    pub(super) fields: Fields<'a>,
    /// What `Host` says, if somebody has looked.
    named: Option<Named<'a>>,
    /// Where its connection is from; `None` over a Unix socket.
    pub(super) peer: Option<SocketAddr>,
    /// Its address in words, if somebody has put it into words already.
    pub(super) peer_name: Option<&'a str>,
    pub(super) secured: bool,
    /// Who sent it by the certificate shown on its connection.
    pub(super) identity: Option<&'a Identity>,
}

/// What a request's field `Host` says.
#[derive(Clone, Copy, Debug)]
enum Named<'a> {
    Nothing,
    /// What names no host.
    Nonsense,
    Host(&'a str),
}

impl<'a> Named<'a> {
    fn by(fields: Fields<'a>) -> Self {
        match fields.first(&header::HOST) {
            None => Self::Nothing,
            Some(host) if host.iter().all(is_host_byte) => {
                str::from_utf8(host).map_or(Self::Nonsense, Self::Host)
            }
            Some(_) => Self::Nonsense,
        }
    }
}

/// Where a connection is from, for all requests on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct From<'a> {
    pub(super) peer: Option<SocketAddr>,
    /// Its address in words.
    pub(super) peer_name: Option<&'a str>,
    pub(super) secured: bool,
    pub(super) identity: Option<&'a Identity>,
}

impl<'a> Asked<'a> {
    /// What a client of HTTP/1.1 asks for.
    pub(super) fn plainly(
        method: &'a Method,
        target: &'a str,
        fields: Fields<'a>,
        from: From<'a>,
    ) -> Self {
        Self {
            method,
            authority: None,
            target,
            version: Version::HTTP_11,
            fields,
            named: Some(Named::by(fields)),
            peer: from.peer,
            peer_name: from.peer_name,
            secured: from.secured,
            identity: from.identity,
        }
    }

    /// What the client of `session` asks for.
    pub(super) fn of(session: &'a Session) -> Self {
        let peer = session.client_addr().and_then(|address| address.as_inet());
        Self {
            peer: peer.copied(),
            secured: connection::is_secured(session),
            identity: connection::identity(session),
            ..Self::of_head(session.req_header())
        }
    }

    /// What `head` asks for, on nobody's connection.
    pub(super) fn of_head(head: &'a RequestHeader) -> Self {
        Self {
            method: &head.method,
            authority: head.uri.authority().map(|authority| authority.as_str()),
            target: (head.uri.path_and_query()).map_or("/", |target| target.as_str()),
            version: head.version,
            fields: (&head.headers).into(),
            named: None,
            peer: None,
            peer_name: None,
            secured: false,
            identity: None,
        }
    }

    /// The path without the query.
    pub(super) fn path(self) -> &'a str {
        match memchr::memchr(b'?', self.target.as_bytes()) {
            Some(end) => &self.target[..end],
            None => self.target,
        }
    }

    /// The query.
    pub(super) fn query(self) -> Option<&'a str> {
        let begins = memchr::memchr(b'?', self.target.as_bytes())?;
        Some(&self.target[begins + 1..])
    }

    /// Where its connection is from, as addresses are compared.
    pub(super) fn peer_ip(self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// The same in words.
    pub(super) fn peer_name(self) -> Option<Cow<'a, str>> {
        match self.peer_name {
            Some(name) => Some(name.into()),
            None => self.peer_ip().map(|peer| peer.to_string().into()),
        }
    }

    /// The host it is for, without its port: from the target if that names one, else `Host`.
    pub(super) fn host(self) -> Option<&'a str> {
        let authority = self.authority.or(self.host_field())?;
        let port = authority.bytes().rev().take_while(u8::is_ascii_digit);
        let before_port = &authority[..authority.len() - port.count()];
        let host = before_port.strip_suffix(':').unwrap_or(authority);
        let host = host.strip_suffix('.').unwrap_or(host);
        (!host.is_empty()).then_some(host)
    }

    /// Whether it says which host it is for as its version demands (RFC 9112, section 3.2).
    pub(super) fn names_host(self) -> bool {
        match self.named() {
            Named::Host(_) => true,
            Named::Nonsense => false,
            Named::Nothing => self.version < Version::HTTP_11,
        }
    }

    /// What its field `Host` says, if that names a host.
    pub(super) fn host_field(self) -> Option<&'a str> {
        match self.named() {
            Named::Host(host) => Some(host),
            Named::Nothing | Named::Nonsense => None,
        }
    }

    fn named(self) -> Named<'a> {
        self.named.unwrap_or_else(|| Named::by(self.fields))
    }

    /// How long the body is, as far as the head says. The connection has made sure that all values
    /// are the same.
    pub(super) fn content_length(self) -> Option<u64> {
        let value = self.fields.text(&header::CONTENT_LENGTH)?;
        value.split(',').next()?.trim().parse().ok()
    }
}

/// What `uri-host [":" port]` is made of (RFC 3986, section 3.2.2).
fn is_host_byte(byte: &u8) -> bool {
    HOST_BYTES[usize::from(*byte)]
}

static HOST_BYTES: [bool; 256] = {
    let (mut bytes, others) = ([false; 256], b"-._~%!$&'()*+,;=:[]");
    let mut byte = 0;
    while byte < bytes.len() {
        bytes[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut place = 0;
    while place < others.len() {
        bytes[others[place] as usize] = true;
        place += 1;
    }
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> RequestHeader {
        RequestHeader::build("GET", target.as_bytes(), None).unwrap()
    }

    #[test]
    fn a_target_is_a_path_and_a_query() {
        for (target, path, query) in [
            ("/a/b", "/a/b", None),
            ("/a?x=1?y", "/a", Some("x=1?y")),
            ("/?", "/", Some("")),
            ("http://host/a?b", "/a", Some("b")),
            ("http://host", "/", None),
            ("*", "*", None),
        ] {
            let head = request(target);
            let asked = Asked::of_head(&head);
            assert_eq!((asked.path(), asked.query()), (path, query), "{target}");
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
            assert_eq!(Asked::of_head(&request).host(), expected, "{host_header}");
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
            assert_eq!(
                Asked::of_head(&request).names_host(),
                expected,
                "{host_header}"
            );
        }
        let mut request = request("/");
        assert!(!Asked::of_head(&request).names_host());
        request.set_version(Version::HTTP_10);
        assert!(Asked::of_head(&request).names_host());
    }
}
