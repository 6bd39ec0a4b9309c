//! Bytes on their way to somebody, who takes them as he can.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Instant;

use pingora::{Error, ErrorType, Result};
use tokio::io::AsyncWrite;

use crate::proxy::CLIENT_WRITE_TIMEOUT;
use crate::proxy::connection::Client;

/// Bytes on their way.
#[derive(Default)]
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    sent: usize,
    /// Whether all were sent and perhaps not flushed.
    is_flushing: bool,
}

impl Out {
    /// Whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn poll_send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent..];
            match ready!(Pin::new(&mut *stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
            self.is_flushing = true;
        }
        if self.is_flushing {
            ready!(Pin::new(&mut *stream).poll_flush(context))?;
            self.is_flushing = false;
            self.bytes.clear();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }
}

/// Sees the client take what is for it.
pub(super) fn poll_down(
    client: &mut Client,
    down: &mut Out,
    stalled: &mut Option<Instant>,
    context: &mut std::task::Context<'_>,
) -> Poll<Result<()>> {
    match down.poll_send(&mut *client, context) {
        Poll::Ready(Ok(())) => {
            *stalled = None;
            Poll::Ready(Ok(()))
        }
        Poll::Ready(Err(error)) => {
            let broken = Error::because(ErrorType::WriteError, "sending an answer", error);
            Poll::Ready(Err(broken.into_down()))
        }
        Poll::Pending => {
            let since = *stalled.get_or_insert_with(Instant::now);
            ready!(client.alarm.poll(since + CLIENT_WRITE_TIMEOUT, context));
            let slow = "the client does not take its answer";
            Poll::Ready(Err(
                Error::explain(ErrorType::WriteTimedout, slow).into_down()
            ))
        }
    }
}

/// Sends `bytes` to the client.
///
/// # Errors
/// When it does not take them.
pub(super) async fn send(client: &mut Client, bytes: &[u8]) -> Result<()> {
    let mut down = Out {
        bytes: bytes.to_vec(),
        ..Out::default()
    };
    let mut stalled = None;
    poll_fn(|context| poll_down(client, &mut down, &mut stalled, context)).await
}
