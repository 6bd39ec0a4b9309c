//! What was no request, or none that could be understood, as the access log has it.

use std::net::SocketAddr;
use std::time::SystemTime;

use pingora::protocols::{Digest, GetSocketDigest, SocketDigest};

use crate::proxy::failure::Failure;
use crate::telemetry::access_log::Refused;

use super::Connections;
use super::client::Client;

impl Connections {
    /// Logs that `failure` is answered, in `sent` bytes, to what `client` has said in HTTP/1.
    pub(super) fn log_refused(&self, client: &Client, failure: &Failure, id: &str, sent: usize) {
        if !self.telemetry.access_log().is_on() {
            return;
        }
        let [method, target, protocol] = request_line(&client.buffer);
        self.telemetry.access_log().refused(&Refused {
            id: Some(id),
            peer: client.get_socket_digest().and_then(|digest| peer(&digest)),
            secured: client.is_secured(),
            method,
            target,
            protocol,
            sent: sent as u64,
            ..of_failure(failure)
        });
    }
}

/// What is known of what `failure` is answered to.
pub(super) fn of_failure(failure: &Failure) -> Refused<'_> {
    Refused {
        at: SystemTime::now(),
        status: failure.status().as_u16(),
        error: failure.error_type(),
        detail: failure.detail(),
        ..Refused::default()
    }
}

/// Where a connection is from.
pub(super) fn peer_of(connection: &Digest) -> Option<SocketAddr> {
    peer(connection.socket_digest.as_ref()?)
}

fn peer(socket: &SocketDigest) -> Option<SocketAddr> {
    socket.peer_addr()?.as_inet().copied()
}

/// The method, the target and the version in what `head` begins with. What is no such line is all
/// target.
fn request_line(head: &[u8]) -> [Option<&[u8]>; 3] {
    let line = match memchr::memchr(b'\n', head) {
        Some(end) => &head[..end],
        None => head,
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return [None; 3];
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let found = [parts.next(), parts.next(), parts.next()];
    match found {
        [Some(method), Some(_), _]
            if parts.next().is_none() && method.iter().all(u8::is_ascii_alphabetic) =>
        {
            found
        }
        _ => [None, Some(line), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_taken_apart_and_anything_else_left_whole() {
        let parts = |head: &'static str| {
            request_line(head.as_bytes())
                .map(|part| part.map(|part| std::str::from_utf8(part).unwrap()))
        };
        let all = [Some("GET"), Some("/a"), Some("HTTP/1.1")];
        assert_eq!(parts("GET /a HTTP/1.1\r\nHost: a\r\n"), all);
        assert_eq!(parts("GET /a"), [Some("GET"), Some("/a"), None]);
        assert_eq!(parts("GET /a b c\r\n"), [None, Some("GET /a b c"), None]);
        assert_eq!(parts("\x16\x03 \x01"), [None, Some("\x16\x03 \x01"), None]);
        assert_eq!(parts("NONSENSE"), [None, Some("NONSENSE"), None]);
        assert_eq!(parts(""), [None; 3]);
    }
}
