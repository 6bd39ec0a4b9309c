//! Handshakes of TLS with clients.

use std::io;
use std::sync::Arc;

use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use rustls::ServerConnection;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::tls::{HANDSHAKE, Identity, Server};

use super::socket::Socket;

/// The first byte of what a client that speaks TLS sends (RFC 8446, section 5.1: handshake).
const HELLO: u8 = 22;
/// How much is read to see whether it does, in bytes: most hellos fit.
const FIRST: usize = 2_048;

/// Agrees on keys with the client.
///
/// # Errors
/// As [`Server::accept`].
pub(in crate::proxy) async fn accept(
    tls: &Server,
    socket: Socket,
) -> io::Result<TlsStream<Socket>> {
    tls.accept(socket).await
}

/// Whether the client speaks HTTP where it should speak TLS, by the first it sends.
///
/// # Errors
/// When it sends nothing in time.
pub(super) async fn is_missing(socket: &mut Socket) -> io::Result<bool> {
    if socket.unread.is_empty() {
        let mut first = [0; FIRST];
        let length = timeout(HANDSHAKE, socket.read(&mut first)).await??;
        socket.unread.extend_from_slice(&first[..length]);
    }
    match socket.unread.first() {
        Some(&first) => Ok(first != HELLO && first.is_ascii_uppercase()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// What is known of a connection after its handshake.
pub(super) fn digest(session: &ServerConnection) -> SslDigest {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let suite = session.negotiated_cipher_suite();
    let cipher = suite
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or_default();
    SslDigest::new(cipher, version, None, None, Vec::new())
}

/// Who the client is, if it has shown a certificate. Only Pingora itself can add something to its digest
/// of TLS, so this goes where others keep what a proxy in front has said.
pub(super) fn identity(session: &ServerConnection) -> Option<Arc<ProxyDigest>> {
    let identity = Identity::of(session.peer_certificates()?.first()?)?;
    let response = ResponseHeader::build(200, Some(0)).ok()?;
    Some(Arc::new(ProxyDigest::new(
        Box::new(response),
        Some(Box::new(identity)),
    )))
}
