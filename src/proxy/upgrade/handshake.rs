//! What is said before a connection switches protocols: the wish, and the answer.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::proxy::attempt::MAX_INTERIM;
use crate::proxy::context::Context;
use crate::proxy::exchange;

/// Whether the head asks for a protocol that may be granted. It must name `Upgrade` in `Connection`,
/// or the wish was not meant for callboard (RFC 9110, section 7.8); and an answer to HEAD or CONNECT
/// leaves no room for one.
pub(super) fn is_one(head: &RequestHeader) -> bool {
    head.version == Version::HTTP_11
        && !matches!(head.method, Method::HEAD | Method::CONNECT)
        && members(&head.headers, &CONNECTION).any(|option| is(option, b"upgrade"))
        && members(&head.headers, &UPGRADE).next().is_some()
        && !members(&head.headers, &UPGRADE).any(|protocol| is(protocol, b"h2c"))
}

/// The head to send to an instance for the request of `session`.
///
/// # Errors
/// When the path without its prefix is no path, or a header cannot be written.
pub(super) fn request(session: &Session, context: &Context) -> Result<RequestHeader> {
    let asked = session.req_header();
    let mut request = exchange::head(session, context, context.target()?.strip)?;
    for option in members(&asked.headers, &CONNECTION) {
        // What concerns one connection stays on it (RFC 9110, section 7.6.1).
        if let Ok(name) = HeaderName::from_bytes(option)
            && name != http::header::HOST
        {
            request.remove_header(&name);
        }
    }
    for protocol in asked.headers.get_all(UPGRADE) {
        request.append_header(UPGRADE, protocol.clone())?;
    }
    request.insert_header(CONNECTION, "Upgrade")?;
    Ok(request)
}

/// Sends `request` and gives the head of the final answer to it.
///
/// # Errors
/// When the connection breaks, or what comes is no answer.
pub(super) async fn exchange(
    instance: &mut HttpSession,
    request: RequestHeader,
) -> Result<Box<ResponseHeader>> {
    instance.write_request_header(Box::new(request)).await?;
    for _ in 0..MAX_INTERIM {
        instance.read_response().await?;
        if let Some(head) = instance.resp_header()
            && (!head.status.is_informational()
                || head.status == http::StatusCode::SWITCHING_PROTOCOLS)
        {
            return Ok(Box::new(head.clone()));
        }
    }
    Err(Error::new(ErrorType::Custom("interim answers without end")))
}

/// Whether `answer` switches to a protocol that `asked` names.
pub(super) fn is_agreed(asked: &RequestHeader, answer: &ResponseHeader) -> bool {
    let mut chosen = members(&answer.headers, &UPGRADE).peekable();
    answer.version == Version::HTTP_11
        && chosen.peek().is_some()
        && chosen.all(|protocol| {
            members(&asked.headers, &UPGRADE).any(|one| one.eq_ignore_ascii_case(protocol))
        })
}

/// Whether `answer` switches to WebSocket (RFC 6455, section 4.2.2).
pub(super) fn is_websocket(answer: &ResponseHeader) -> bool {
    let mut chosen = members(&answer.headers, &UPGRADE);
    chosen.any(|protocol| is(protocol, b"websocket"))
}

/// The head as the client gets it. No message follows it that could have a length.
pub(super) fn to_wire(answer: &mut ResponseHeader) -> BytesMut {
    answer.remove_header(&CONTENT_LENGTH);
    answer.remove_header(&TRANSFER_ENCODING);
    let mut wire = BytesMut::from(&b"HTTP/1.1 101 Switching Protocols\r\n"[..]);
    answer.header_to_h1_wire(&mut wire);
    wire.extend_from_slice(b"\r\n");
    wire
}

/// The members of a list that a header holds.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn is(member: &[u8], word: &[u8]) -> bool {
    member.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for &(name, value) in headers {
            request.append_header(name, value).unwrap();
        }
        request
    }

    fn switching(upgrade: &[&str]) -> ResponseHeader {
        let mut answer = ResponseHeader::build(101, None).unwrap();
        for &protocol in upgrade {
            answer.append_header("Upgrade", protocol).unwrap();
        }
        answer
    }

    #[test]
    fn a_wish_is_one_that_both_headers_name_and_that_may_be_granted() {
        for (headers, expected) in [
            (
                &[("Connection", "upgrade"), ("Upgrade", "websocket")][..],
                true,
            ),
            (
                &[("Connection", "keep-alive, Upgrade"), ("Upgrade", "tcp")],
                true,
            ),
            (&[("Upgrade", "websocket")], false),
            (&[("Connection", "upgrade")], false),
            (&[("Connection", "close"), ("Upgrade", "websocket")], false),
            (&[("Connection", "upgrade"), ("Upgrade", "H2C")], false),
            (&[("Connection", "upgrade"), ("Upgrade", ", ,")], false),
        ] {
            assert_eq!(is_one(&asking(headers)), expected, "{headers:?}");
        }
        let mut old = asking(&[("Connection", "upgrade"), ("Upgrade", "websocket")]);
        old.set_version(Version::HTTP_10);
        assert!(!is_one(&old));
        old.set_version(Version::HTTP_11);
        old.set_method(Method::HEAD);
        assert!(!is_one(&old));
    }

    #[test]
    fn an_answer_agrees_to_what_was_asked_for_and_to_nothing_else() {
        let asked = asking(&[("Upgrade", "websocket, irc/6.9"), ("Upgrade", "tcp")]);
        for (upgrade, expected) in [
            (&["WebSocket"][..], true),
            (&["tcp"], true),
            (&["irc/6.9"], true),
            (&["irc"], false),
            (&["websocket", "h2c"], false),
            (&[], false),
        ] {
            assert_eq!(
                is_agreed(&asked, &switching(upgrade)),
                expected,
                "{upgrade:?}"
            );
        }
    }

    #[test]
    fn the_head_of_a_tunnel_has_no_length() {
        let mut answer = switching(&["websocket"]);
        answer.append_header("Content-Length", "5").unwrap();
        answer.append_header("Sec-WebSocket-Accept", "x=").unwrap();
        assert!(is_websocket(&answer));
        assert_eq!(
            to_wire(&mut answer),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x=\r\n\r\n"
        );
    }
}
