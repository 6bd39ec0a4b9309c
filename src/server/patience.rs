//! How long the control plane puts up with a client that is gone or takes nothing.
//!
//! Streams may be open for days, so there is no limit to how long a reply may take. But somebody
//! must be reading it. A client whose machine is gone sends no FIN: the system finds out by asking
//! (*keepalive*) while there is nothing to send, and by what stays unacknowledged otherwise. A client
//! that is there and does not read acknowledges everything until its buffers are full; it is cut off
//! when it has taken nothing for a while.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use log::debug;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing while there is something to send to it.
pub(super) const STALLED: Duration = Duration::from_secs(60);
/// How long a connection is silent before the system asks whether the client is still there, how
/// long it waits for each answer, and how often it asks.
const SILENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const QUESTIONS: u32 = 4;
/// What the system buffers for one client, in bytes. Left to itself it takes megabytes for each that
/// does not read. Linux gives twice as much as it is asked for.
const SEND_BUFFER: usize = 128 * 1_024;

/// Sets up an accepted connection. What a system does not know of, it does without.
pub(super) fn set_up(stream: &impl AsFd) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(INTERVAL)
        .with_retries(QUESTIONS);
    let outcomes = [
        // Small answers to waiting clients gain nothing from being held back.
        socket.set_tcp_nodelay(true),
        socket.set_tcp_keepalive(&keepalive),
        socket.set_send_buffer_size(SEND_BUFFER),
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(SILENCE + INTERVAL * QUESTIONS)),
    ];
    for error in outcomes.into_iter().filter_map(Result::err) {
        debug!("a connection of the control plane is not set up in full: {error}");
    }
}

/// A connection that fails when the other side takes nothing for too long.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Runs while there is something to send and the other side takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self {
            stream,
            limit,
            stalled: None,
        }
    }

    /// Passes on the outcome of an attempt to send, unless the limit is reached.
    fn judge<T>(
        &mut self,
        attempt: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            self.stalled = None;
            return attempt;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(context).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client took nothing for {limit:?}"),
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write(context, data);
        self.judge(attempt, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write_vectored(context, data);
        self.judge(attempt, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Holds nothing of its own to send, and says nothing of what the other side takes.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let (ours, _theirs) = duplex(16);
        let mut ours = Patient::new(ours, Duration::from_millis(20));
        let error = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_is_not() {
        let (ours, mut theirs) = duplex(1);
        let limit = Duration::from_secs(3_600);
        let mut ours = Patient::new(ours, limit);
        let sending = async {
            ours.write_all(&[7; 64]).await.unwrap();
            assert!(
                ours.stalled.is_none(),
                "its patience is new after each byte"
            );
            drop(ours);
        };
        let reading = async {
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, [7; 64]);
        };
        tokio::join!(sending, reading);
    }

    #[tokio::test]
    async fn a_connection_is_set_up_to_notice_that_the_client_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap());
        let stream = stream.await.unwrap();
        set_up(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.send_buffer_size().unwrap() <= 2 * SEND_BUFFER);
    }
}
