//! Connections for bytes that Pingora does not look into.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pingora::ErrorType;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::tls::Client;

/// A connection to an instance.
#[derive(Debug)]
pub enum Stream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
    /// TLS over one of the two.
    Tls(Box<TlsStream<Stream>>),
}

/// What a connection's handshake is about.
#[derive(Clone, Copy, Debug)]
pub struct Handshake<'a> {
    /// Whom to believe, and what callboard shows.
    pub client: &'a Client,
    /// The service whose instance it is.
    pub service: &'a str,
    /// ALPN's names of the protocols to choose among, the best first; empty leaves it unsaid.
    pub protocols: &'a [&'a [u8]],
}

/// Connects to `address`, with TLS if `handshake` says how, within `within` for all of it.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it takes longer, and [`io::ErrorKind::InvalidData`] around a
/// [`rustls::Error`] when the two cannot agree.
pub async fn open(
    address: &Address,
    handshake: Option<Handshake<'_>>,
    within: Duration,
) -> io::Result<Stream> {
    let opening = async {
        let plain = match address {
            Address::Inet(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
        };
        match handshake {
            Some(handshake) => handshake.shake(plain).await,
            None => Ok(plain),
        }
    };
    let opened = timeout(within, opening).await;
    opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What kind of fault of Pingora's an `error` of [`open`] is.
pub fn fault_kind(error: &io::Error) -> ErrorType {
    use io::ErrorKind::{
        ConnectionRefused, HostUnreachable, InvalidData, NetworkUnreachable, TimedOut,
    };
    match error.kind() {
        ConnectionRefused => ErrorType::ConnectRefused,
        TimedOut => ErrorType::ConnectTimedout,
        HostUnreachable | NetworkUnreachable => ErrorType::ConnectNoRoute,
        InvalidData => ErrorType::TLSHandshakeFailure,
        _ => ErrorType::ConnectError,
    }
}

impl Handshake<'_> {
    /// Agrees on keys over a connection that was opened without.
    ///
    /// # Errors
    /// When the two cannot agree; see [`open`].
    pub async fn shake(self, plain: Stream) -> io::Result<Stream> {
        let name = self.client.server_name(self.service).into_owned();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let mut config = self.client.config();
        if !self.protocols.is_empty() {
            let mut with_protocols = (*config).clone();
            with_protocols.alpn_protocols = self.protocols.iter().map(|p| p.to_vec()).collect();
            config = with_protocols.into();
        }
        let secured = TlsConnector::from(config).connect(name, plain).await?;
        Ok(Stream::Tls(Box::new(secured)))
    }
}

impl Stream {
    /// The protocol that was agreed upon, by its name in ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}
