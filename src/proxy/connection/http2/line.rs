//! What the HTTP/2 engine reads from and writes to: it keeps the connection to itself and drops it, and
//! here it is found again, to be [closed](super::super::closing) so that the client reads the last of it.

use bytes::BytesMut;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::client::{Parted, Parting};

/// The connection.
pub(super) struct Line {
    /// There until this is dropped.
    stream: Option<Stream>,
    has_ended: bool,
    parting: Parting,
}

impl Line {
    /// Leaves `stream` in `parting` when it is dropped.
    pub(super) fn new(stream: Stream, parting: Parting) -> Self {
        Self {
            stream: Some(stream),
            has_ended: false,
            parting,
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.stream.as_mut().map(Pin::new).ok_or_else(gone)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.parting.leave(Parted {
                stream,
                has_ended: self.has_ended,
                unread: BytesMut::new(),
                tunnel: None,
            });
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.stream()?.poll_read(context, into))?;
        self.has_ended |= into.filled().len() == before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        (self.stream.as_ref()).is_some_and(|stream| stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
