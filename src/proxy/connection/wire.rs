//! A connection, encrypted or not, as Pingora's sessions know streams.
//!
//! Pingora's own stream reads ahead into 64 KiB, which every idle connection would hold; here heads
//! are read as they come, and bodies into the session's buffer.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::BytesMut;
use log::debug;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::dial;

use super::secured;
use super::socket::Socket;

/// What is held back until it is flushed or more, in bytes: a head and a small body leave in one
/// packet. As much as Pingora holds back.
const WRITE_BUFFER: usize = 1_460;

/// The connection.
pub(in crate::proxy) struct Wire<S> {
    stream: BufWriter<S>,
    file: RawFd,
    since: SystemTime,
    socket: Arc<SocketDigest>,
    ssl: Option<Arc<SslDigest>>,
    /// Who the client is, see [`secured::identity`].
    identity: Option<Arc<ProxyDigest>>,
}

impl Wire<Socket> {
    /// A connection in clear text that was just accepted from `peer`.
    ///
    /// # Errors
    /// When it is gone already.
    pub(super) fn plain(socket: Socket, peer: Option<SocketAddr>) -> io::Result<Self> {
        socket.send_at_once()?;
        let file = socket.as_raw_fd();
        Ok(Self::new(socket, file, peer, None))
    }

    /// Has `bytes`, which were read already, read again before all else.
    pub(super) fn unread(&mut self, mut bytes: BytesMut) {
        let unread = &mut self.stream.get_mut().unread;
        bytes.extend_from_slice(unread);
        *unread = bytes;
    }
}

impl Wire<TlsStream<Socket>> {
    /// A connection after its handshake.
    ///
    /// # Errors
    /// When it is gone already.
    pub(super) fn secured(stream: TlsStream<Socket>, peer: Option<SocketAddr>) -> io::Result<Self> {
        let (socket, session) = stream.get_ref();
        socket.send_at_once()?;
        let (file, ssl) = (socket.as_raw_fd(), secured::digest(session));
        let identity = secured::identity(session);
        Ok(Self {
            identity,
            ..Self::new(stream, file, peer, Some(Arc::new(ssl)))
        })
    }
}

impl Wire<dial::Stream> {
    /// A connection to an instance.
    pub(in crate::proxy) fn to_instance(stream: dial::Stream) -> Self {
        let file = stream.as_fd().as_raw_fd();
        Self::new(stream, file, None, None)
    }
}

/// The same connection without room for what is held back: for one that is kept for long, and on
/// which all is flushed at once anyway. Nothing may be held back.
///
/// # Errors
/// Never for a [`Wire`].
pub(in crate::proxy) fn unbuffered(stream: Stream) -> io::Result<Stream> {
    let any = match stream.into_any().downcast::<Wire<Socket>>() {
        Ok(wire) => return Ok(Box::new(wire.unbuffered())),
        Err(any) => any,
    };
    match any.downcast::<Wire<TlsStream<Socket>>>() {
        Ok(wire) => Ok(Box::new(wire.unbuffered())),
        Err(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Whether a client's connection is broken, which the system tells once.
pub(in crate::proxy) fn is_broken(stream: &Stream) -> bool {
    let any = stream.as_any();
    if let Some(wire) = any.downcast_ref::<Wire<Socket>>() {
        has_error(wire.stream.get_ref())
    } else if let Some(wire) = any.downcast_ref::<Wire<TlsStream<Socket>>>() {
        has_error(wire.stream.get_ref().get_ref().0)
    } else {
        false
    }
}

/// Whether the system has an error for a connection that nobody was told yet.
pub(in crate::proxy) fn has_error(stream: &impl AsFd) -> bool {
    !matches!(SockRef::from(stream).take_error(), Ok(None))
}

impl<S: AsyncWrite> Wire<S> {
    /// What is below, once all was flushed.
    pub(in crate::proxy) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    fn unbuffered(self) -> Self {
        Self {
            stream: BufWriter::with_capacity(0, self.stream.into_inner()),
            ..self
        }
    }

    fn new(stream: S, file: RawFd, peer: Option<SocketAddr>, ssl: Option<Arc<SslDigest>>) -> Self {
        let socket = SocketDigest::from_raw_fd(file);
        // Nobody else has it yet, so nobody has set it.
        let _ = socket.peer_addr.set(peer.map(Into::into));
        Self {
            stream: BufWriter::with_capacity(WRITE_BUFFER, stream),
            file,
            since: SystemTime::now(),
            socket: Arc::new(socket),
            ssl,
            identity: None,
        }
    }
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("file", &self.file).finish()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl<S: AsyncWrite + Unpin + Send> Shutdown for Wire<S> {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            debug!("a client's connection is closed already: {error}");
        }
    }
}

impl<S> UniqueID for Wire<S> {
    fn id(&self) -> UniqueIDType {
        self.file
    }
}

impl<S> Ssl for Wire<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.ssl.clone()
    }
}

impl<S> Peek for Wire<S> {}

impl<S> GetTimingDigest for Wire<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        vec![Some(TimingDigest {
            established_ts: self.since,
            ..TimingDigest::default()
        })]
    }
}

impl<S> GetProxyDigest for Wire<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.identity.clone()
    }
}

impl<S> GetSocketDigest for Wire<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.socket))
    }
}
