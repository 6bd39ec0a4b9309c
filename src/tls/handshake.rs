//! The handshakes themselves.

use std::io;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{ACME_TLS_1, Server};

/// How long a client may take over the handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

impl Server {
    /// Agrees on keys with the client at the other end of `stream`.
    ///
    /// # Errors
    /// When the two do not agree within [`HANDSHAKE`], or the client is an ACME server that has seen what
    /// it wanted to.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let finished = timeout(HANDSHAKE, self.shake_hands(stream)).await;
        finished.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = self.config_for(&start.client_hello());
        let mut stream = start.into_stream(config).await?;
        if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS_1) {
            stream.shutdown().await?;
            return Err(io::Error::other("an ACME server saw who has a name"));
        }
        Ok(stream)
    }
}
