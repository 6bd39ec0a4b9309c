//! Handshakes of TLS with clients.

use std::io;
use std::time::Duration;

use pingora::protocols::tls::SslDigest;
use rustls::ServerConnection;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::Server;

use super::socket::Socket;

/// How long a client may take over the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Agrees on keys with the client.
///
/// # Errors
/// When the two do not agree in time.
pub(in crate::proxy) async fn accept(
    tls: &Server,
    socket: Socket,
) -> io::Result<TlsStream<Socket>> {
    let handshake = TlsAcceptor::from(tls.config()).accept(socket);
    let finished = timeout(HANDSHAKE, handshake).await;
    finished.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
