//! The gRPC probe: asks the standard health service
//! ([grpc.health.v1](https://github.com/grpc/grpc/blob/master/doc/health-checking.md)) by a single call.
//!
//! It is always HTTP/2: an instance with the scheme `http` is asked in clear text with prior knowledge,
//! one with `https` over TLS. One connection carries all probes of an instance.
//!
//! The two messages are so small that they are read here: [`request`] and [`status`].

use std::sync::OnceLock;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::v2::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::ask::Deadline;
use super::failure::Failure;
use crate::dial::Target;
use crate::grpc::{self, Code};
use crate::instance::Scheme;
use crate::instance::check::GrpcCheck;

const METHOD: &str = "/grpc.health.v1.Health/Check";
const USER_AGENT: &str = concat!("grpc-callboard-check/", env!("CARGO_PKG_VERSION"));
/// How many idle connections are kept for the next probe; each costs a file descriptor.
const KEPT_CONNECTIONS: usize = 1024;
/// How long one is kept. A check with a longer interval connects anew each time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const MOST_BODY: usize = 4 * 1024;

/// Calls on connections that all checks share.
#[derive(Default)]
pub(super) struct GrpcAsker {
    connector: OnceLock<Connector>,
}

/// What came of a call.
struct Answer {
    http: StatusCode,
    code: Option<Code>,
    message: String,
    body: BytesMut,
}

impl GrpcAsker {
    /// Asks `target` whether the check's service serves.
    pub(super) async fn check(
        &self,
        target: &Target,
        check: &GrpcCheck,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let act = format!("gRPC health check of {}", target.address);
        let mut target = target.clone();
        target.scheme = match target.scheme {
            scheme if scheme.is_tls() => Scheme::H2,
            _ => Scheme::H2c,
        };
        let peer = target.peer();
        let asking = self.ask(&peer, &target, &check.service);
        let answer = deadline.bound(&act, asking).await?;
        judge(&answer, &check.service)
            .map_err(|reason| Failure::Instance(format!("{act}: {reason}")))
    }

    /// A kept connection that turns out to be dead is replaced once.
    async fn ask(
        &self,
        peer: &HttpPeer,
        target: &Target,
        service: &str,
    ) -> pingora::Result<Answer> {
        let connector = self
            .connector
            .get_or_init(|| Connector::new(Some(ConnectorOptions::new(KEPT_CONNECTIONS))));
        let head = head(target)?;
        let body = request(service);
        if let Ok(Some(session)) = connector.reused_http_session(peer).await
            && let Ok(answer) = exchange(connector, session, peer, head.clone(), &body).await
        {
            return Ok(answer);
        }
        match connector.new_http_session::<_, ()>(peer).await? {
            HttpSession::H2(session) => exchange(connector, session, peer, head, &body).await,
            HttpSession::H1(_) | HttpSession::Custom(()) => Error::e_explain(
                ErrorType::Custom("it does not agree on HTTP/2 (expected ALPN h2)"),
                "",
            ),
        }
    }
}

fn head(target: &Target) -> pingora::Result<RequestHeader> {
    let scheme = if target.scheme.is_tls() {
        "https"
    } else {
        "http"
    };
    let invalid = |_| Error::explain(ErrorType::InvalidHTTPHeader, "the address fits no request");
    let authority = match &target.address {
        crate::address::Address::Inet(address) => address.to_string(),
        crate::address::Address::Unix(_) => "localhost".to_owned(),
    };
    let uri = http::Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(METHOD)
        .build()
        .map_err(invalid)?;
    let mut head = RequestHeader::build(Method::POST, METHOD.as_bytes(), Some(4))?;
    head.set_version(http::Version::HTTP_2);
    head.set_uri(uri);
    head.insert_header("content-type", "application/grpc")?;
    head.insert_header("te", "trailers")?;
    head.insert_header("user-agent", USER_AGENT)?;
    Ok(head)
}

async fn exchange(
    connector: &Connector,
    mut session: Http2Session,
    peer: &HttpPeer,
    head: RequestHeader,
    body: &Bytes,
) -> pingora::Result<Answer> {
    session.write_request_header(Box::new(head), false)?;
    session.write_request_body(body.clone(), true).await?;
    session.read_response_header().await?;
    let Some(head) = session.response_header() else {
        return Error::e_explain(ErrorType::H2Error, "no answer to the request");
    };
    let mut answer = Answer {
        http: head.status,
        code: None,
        message: String::new(),
        body: BytesMut::new(),
    };
    answer.end(&head.headers);
    // A status in the head means that nothing follows.
    if answer.http == StatusCode::OK && answer.code.is_none() {
        while let Some(part) = session.read_response_body().await? {
            if answer.body.len() + part.len() > MOST_BODY {
                return Error::e_explain(ErrorType::Custom("its answer is too long"), "");
            }
            answer.body.put(part);
        }
        if let Some(trailers) = session.read_trailers().await? {
            answer.end(&trailers);
        }
    }
    connector.release_http_session(session, peer, Some(IDLE_TIMEOUT));
    Ok(answer)
}

impl Answer {
    fn end(&mut self, fields: &HeaderMap) {
        self.code = Code::of(fields);
        if let Some(message) = fields.get(grpc::MESSAGE) {
            self.message = grpc::decode_message(message.as_bytes());
        }
    }
}

/// Whether the answer says that `service` serves; why not, if it does not.
fn judge(answer: &Answer, service: &str) -> Result<(), String> {
    if answer.http != StatusCode::OK {
        let status = answer.http.as_u16();
        return Err(format!("status {status} (expected a gRPC server)"));
    }
    match answer.code {
        None => return Err("it broke off without a grpc-status".to_owned()),
        Some(Code::Ok) => {}
        Some(code) => {
            let mut reason = code.as_str().to_owned();
            // What the server says is for people, within reason.
            let message: String = answer.message.chars().take(200).collect();
            if !message.is_empty() {
                reason += &format!(" ({message})");
            }
            if code == Code::Unimplemented {
                reason += ", expected a server with grpc.health.v1";
            }
            return Err(reason);
        }
    }
    let found = match status(&answer.body) {
        Some(1) => return Ok(()),
        Some(0) => "UNKNOWN",
        Some(2) => "NOT_SERVING",
        Some(3) => "SERVICE_UNKNOWN",
        _ => "an answer that is none",
    };
    Err(if service.is_empty() {
        format!("{found} (expected SERVING)")
    } else {
        format!("{found} for {service} (expected SERVING)")
    })
}

/// A `HealthCheckRequest` for `service` in its frame: the one field is a string with the number 1.
fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | LENGTH);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(FRAME + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put(message);
    framed.freeze()
}

/// How long the head of a frame is: whether it is compressed, and its length.
const FRAME: usize = 5;
/// The kinds of fields in Protocol Buffers.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED_32: u8 = 5;

fn put_varint(into: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        into.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    into.put_u8(value as u8);
}

/// The status in the one frame of `body`, a `HealthCheckResponse` whose field 1 is an enum; `None` if it
/// is none.
fn status(body: &[u8]) -> Option<u64> {
    let (frame, mut message) = body.split_at_checked(FRAME)?;
    let length = u32::from_be_bytes(frame[1..].try_into().ok()?);
    if frame[0] != 0 || length as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let kind = (tag & 7) as u8;
        let skipped = match kind {
            VARINT => {
                let value = take_varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            FIXED_64 => 8,
            LENGTH => usize::try_from(take_varint(&mut message)?).ok()?,
            FIXED_32 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct HealthCheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
        /// What a later version may add.
        #[prost(string, tag = "2")]
        words: String,
        #[prost(fixed64, tag = "3")]
        number: u64,
        #[prost(fixed32, tag = "4")]
        digits: u32,
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    }

    fn answered(http: u16, code: Option<Code>, message: &str, body: &[u8]) -> Answer {
        Answer {
            http: StatusCode::from_u16(http).unwrap(),
            code,
            message: message.to_owned(),
            body: body.into(),
        }
    }

    #[test]
    fn only_serving_passes_and_everything_else_says_why() {
        let ok = Some(Code::Ok);
        for (answer, service, expected) in [
            (answered(200, ok, "", b"\0\0\0\0\x02\x08\x01"), "", None),
            (
                answered(200, ok, "", b"\0\0\0\0\x02\x08\x02"),
                "",
                Some("NOT_SERVING (expected SERVING)"),
            ),
            (
                answered(200, ok, "", b"\0\0\0\0\x02\x08\x03"),
                "a.B",
                Some("SERVICE_UNKNOWN for a.B (expected SERVING)"),
            ),
            (
                answered(200, ok, "", b"\0\0\0\0\0"),
                "",
                Some("UNKNOWN (expected SERVING)"),
            ),
            (
                answered(200, ok, "", b"hello"),
                "",
                Some("an answer that is none (expected SERVING)"),
            ),
            (
                answered(200, Some(Code::Unimplemented), "no such method", b""),
                "",
                Some("UNIMPLEMENTED (no such method), expected a server with grpc.health.v1"),
            ),
            (
                answered(200, Some(Code::NotFound), "", b""),
                "a.B",
                Some("NOT_FOUND"),
            ),
            (
                answered(200, None, "", b"\0\0\0\0\x02\x08\x01"),
                "",
                Some("it broke off without a grpc-status"),
            ),
            (
                answered(404, None, "", b""),
                "",
                Some("status 404 (expected a gRPC server)"),
            ),
        ] {
            let judged = judge(&answer, service).err();
            assert_eq!(judged.as_deref(), expected);
        }
    }

    proptest! {
        #[test]
        fn protobuf_reads_the_request(service: String) {
            let body = request(&service);
            let message = HealthCheckRequest { service };
            prop_assert_eq!(&body[..], framed(&prost::Message::encode_to_vec(&message)));
        }

        #[test]
        fn what_protobuf_writes_is_read(status_code in 0..i32::MAX, words: String, number: u64, digits: u32) {
            let message = HealthCheckResponse { status: status_code, words, number, digits };
            let body = framed(&prost::Message::encode_to_vec(&message));
            prop_assert_eq!(status(&body), Some(u64::try_from(status_code).unwrap()));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            status(&body);
            status(&framed(&body));
        }
    }
}
