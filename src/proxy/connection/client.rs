//! A client's connection between callboard, which reads heads from it, and Pingora, which reads the
//! bodies that follow them.
//!
//! Pingora gets to see exactly one request: what comes after it stays here until the answer is
//! sent, and is the next one. That makes room for what Pingora has no hooks for: how long a client is
//! waited for, how long a body may be, and what becomes of the connection when Pingora lets go of it.

#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::context::Context as RequestContext;
use crate::proxy::failure::Failure;
use crate::proxy::lean::Origin;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::watchdog;

use super::alarm::Alarm;
use super::framing::{Broken, Framing};
use super::head::Head;
use super::pace::Pace;

/// How much is read at once outside of bodies, in bytes.
const PIECE: usize = 8 << 10;

/// How much of a body is read for nothing, when its answer did not wait for it, for the connection's sake.
const FORGOTTEN: u64 = 256 << 10;

/// How long a client that has closed its sending side is taken to wait for its answer to begin.
const HALF_CLOSED: Duration = Duration::from_secs(3);

/// The connection.
#[derive(Debug)]
pub(in crate::proxy) struct Client {
    /// There until this is dropped.
    stream: Option<Stream>,
    /// What was read and is not Pingora's yet.
    pub(in crate::proxy) buffer: BytesMut,
    /// The client will send no more.
    pub(super) has_ended: bool,
    /// Until when a client that will send no more is taken to wait for its answer.
    awaited_until: Option<Instant>,
    /// Something of the answer has been sent.
    is_answered: bool,
    pub(in crate::proxy) alarm: Alarm,
    body: Framing,
    pace: Pace,
    /// It sends the body once it is told to, and was not told yet.
    expects_continue: bool,
    fault: Option<Fault>,
    /// The longest body that is taken. Set through Pingora's session, which only lends this out.
    most: AtomicU64,
    /// What the connection becomes when Pingora has let go of it. As above.
    tunnel: OnceLock<Box<Tunnel>>,
    parting: Parting,
    /// See [`Client::hand_over`].
    handed: Mutex<Option<Box<RequestContext>>>,
}

/// What a client did wrong while its body came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Broken(Broken),
    TooSlow,
}

/// Where a connection is found again that Pingora let go of.
#[derive(Clone, Debug, Default)]
pub(super) struct Parting(Arc<Mutex<Option<Parted>>>);

/// A connection without requests.
#[derive(Debug)]
pub(in crate::proxy) struct Parted {
    pub(in crate::proxy) stream: Stream,
    /// The client will send no more.
    pub(in crate::proxy) has_ended: bool,
    /// What came and was not looked at.
    pub(in crate::proxy) unread: BytesMut,
    /// What the connection is from now on, if it does not end.
    pub(in crate::proxy) tunnel: Option<Box<Tunnel>>,
}

impl Parting {
    /// Leaves the connection here.
    pub(super) fn leave(&self, parted: Parted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parted);
    }

    /// The connection, once its [`Client`] is gone.
    pub(super) fn take(&self) -> Option<Parted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Client {
    pub(super) fn new(stream: Stream, parting: Parting) -> Self {
        Self {
            stream: Some(stream),
            buffer: BytesMut::new(),
            has_ended: false,
            awaited_until: None,
            is_answered: false,
            alarm: Alarm::default(),
            body: Framing::Done,
            pace: Pace::new(None),
            expects_continue: false,
            fault: None,
            most: AtomicU64::new(u64::MAX),
            tunnel: OnceLock::new(),
            parting,
            handed: Mutex::default(),
        }
    }

    /// Refuses bodies longer than `most` bytes from now on.
    pub(in crate::proxy) fn limit_body(&self, most: u64) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Ends HTTP on this connection, unanswered as the present request is: the rest is the tunnel's.
    pub(in crate::proxy) fn become_tunnel(&self, tunnel: Box<Tunnel>) {
        // Each request ends with this, so there is none yet.
        let _ = self.tunnel.set(tunnel);
    }

    /// What the client did wrong while its body came.
    pub(in crate::proxy) fn failure(&self) -> Option<Failure> {
        Some(match self.fault? {
            Fault::TooSlow => Failure::slow_body(),
            Fault::Broken(Broken::BadChunk) => Failure::bad_chunk(),
            Fault::Broken(Broken::TooLong) => {
                Failure::body_too_long(self.most.load(Ordering::Relaxed))
            }
        })
    }

    /// Begins the request whose `head` the buffer starts with; gives the head's bytes.
    pub(super) fn begin(&mut self, head: &Head, rate: Option<u64>) -> BytesMut {
        self.body = head.body;
        self.pace = Pace::new(rate);
        self.expects_continue = head.expects_continue;
        self.awaited_until = None;
        self.is_answered = false;
        self.most = AtomicU64::new(u64::MAX);
        if head.length == self.buffer.len() {
            // Unlike splitting, this leaves nothing behind that would have to be shared.
            return mem::take(&mut self.buffer);
        }
        self.buffer.split_to(head.length)
    }

    /// Where the connection is from.
    pub(super) fn origin(&self) -> Origin {
        let socket = self.get_socket_digest();
        let peer = socket.and_then(|socket| socket.peer_addr()?.as_inet().copied());
        Origin {
            peer,
            peer_name: peer.map(|peer| peer.ip().to_canonical().to_string().into()),
            secured: self.is_secured(),
            proxy: self.get_proxy_digest(),
        }
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_secured(&self) -> bool {
        self.get_ssl_digest().is_some()
    }

    /// Whether all of the last request was read, so that another may follow it.
    pub(in crate::proxy) fn is_between_requests(&self) -> bool {
        self.body == Framing::Done && self.tunnel.get().is_none()
    }

    /// Whether all of the present request was read.
    pub(in crate::proxy) fn is_body_done(&self) -> bool {
        self.body == Framing::Done
    }

    /// Whether so little of the present request is still to come that an answer need not wait for it to
    /// be read.
    pub(in crate::proxy) fn is_body_nearly_done(&self) -> bool {
        matches!(self.body, Framing::Done | Framing::Length(..=FORGOTTEN))
    }

    /// Leaves what was decided about the present request to Pingora's path.
    pub(super) fn hand_over(&mut self, context: Box<RequestContext>) {
        *self
            .handed
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner) = Some(context);
    }

    /// What was decided about the present request before Pingora got it.
    pub(in crate::proxy) fn take_handed(&self) -> Option<Box<RequestContext>> {
        self.handed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Reads more into the buffer. Nothing more comes once `has_ended` is set.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::<u8>::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        ready!(Pin::new(self.stream()?).poll_read(context, &mut piece))?;
        self.has_ended = piece.filled().is_empty();
        self.buffer.extend_from_slice(piece.filled());
        Poll::Ready(Ok(()))
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.stream.as_mut().ok_or_else(gone)
    }

    /// While the answer is awaited, sees whether the client leaves. What comes is the next request.
    ///
    /// An end alone does not tell a client that left from one that has only closed its sending side
    /// (RFC 9112, section 9.6). One that does so before its answer begins is given some time for that
    /// to happen; one that does so later has seen enough.
    pub(in crate::proxy) fn poll_silence(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.has_ended && self.buffer.is_empty() {
            ready!(self.poll_fill(context))?;
            if self.has_ended && self.is_answered {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        if !self.has_ended || self.is_answered {
            return Poll::Pending;
        }
        let until = *self
            .awaited_until
            .get_or_insert_with(|| Instant::now() + HALF_CLOSED);
        ready!(self.alarm.poll(until, context));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let is_buffered = !self.buffer.is_empty();
        if is_buffered {
            let length = self.buffer.len().min(into.remaining());
            into.put_slice(&self.buffer[..length]);
        } else {
            match Pin::new(self.stream()?).poll_read(context, into) {
                Poll::Ready(read) => read?,
                Poll::Pending => return self.poll_patience(context),
            }
        }
        if self.pace.waits() {
            self.pace.rest(Instant::now());
        }
        let came = &into.filled()[before..];
        if came.is_empty() {
            self.has_ended = true;
            return Poll::Ready(Ok(()));
        }
        self.expects_continue = false;
        self.pace.earn(came.len());
        let taken = match self.body.take(came, *self.most.get_mut()) {
            Ok(taken) => taken,
            Err(broken) => return Poll::Ready(Err(self.blame(Fault::Broken(broken)))),
        };
        if is_buffered {
            self.buffer.advance(taken);
        } else {
            self.buffer.extend_from_slice(&came[taken..]);
        }
        into.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.expects_continue {
            return Poll::Pending;
        }
        let until = self.pace.wait(Instant::now());
        ready!(self.alarm.poll(until, context));
        Poll::Ready(Err(self.blame(Fault::TooSlow)))
    }

    fn blame(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::ErrorKind::InvalidData.into()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.parting.leave(Parted {
                stream,
                has_ended: self.has_ended,
                unread: mem::take(&mut self.buffer),
                tunnel: self.tunnel.take(),
            });
        }
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let client = &mut *self;
        if client.fault.is_some() {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if watchdog::poll_overdue(context).is_ready() {
            // It is not the client that is late, but only who reads from it can give the try up.
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match client.body {
            Framing::Done => client.poll_silence(context),
            _ if into.remaining() == 0 => Poll::Ready(Ok(())),
            _ => client.poll_body(context, into),
        }
    }
}

impl Client {
    /// Passes on what came of sending. Who is sent something is no longer waiting for a word; and a
    /// client that does not take it is not waited for.
    fn sent<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.expects_continue = false;
        self.is_answered |= self.body == Framing::Done;
        watchdog::client_takes(outcome.is_ready());
        if outcome.is_pending() && self.pace.waits() {
            self.pace.rest(Instant::now());
        }
        outcome
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(self.stream()?).poll_write(context, data);
        self.sent(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(self.stream()?).poll_write_vectored(context, data);
        self.sent(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        (self.stream.as_ref()).is_some_and(|stream| stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(self.stream()?).poll_flush(context);
        watchdog::client_takes(outcome.is_ready());
        outcome
    }

    /// The end of HTTP is not that of the connection if a tunnel goes on with it.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.tunnel.get().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(self.stream()?).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Client {
    async fn shutdown(&mut self) {
        if let Some(stream) = &mut self.stream
            && self.tunnel.get().is_none()
        {
            stream.shutdown().await;
        }
    }
}

impl UniqueID for Client {
    fn id(&self) -> UniqueIDType {
        self.stream.as_ref().map_or(-1, |stream| stream.id())
    }
}

impl Ssl for Client {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.stream.as_ref()?.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.as_ref()?.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.as_ref()?.selected_alpn_proto()
    }
}

impl Peek for Client {}

impl GetTimingDigest for Client {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        let stream = self.stream.as_ref();
        stream.map_or_else(Vec::new, |stream| stream.get_timing_digest())
    }
}

impl GetProxyDigest for Client {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.as_ref()?.get_proxy_digest()
    }
}

impl GetSocketDigest for Client {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.as_ref()?.get_socket_digest()
    }
}
