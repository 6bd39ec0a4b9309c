//! Passing bytes on between a client and an instance, both ways, until both have said all they had to
//! say.
//!
//! Connections may be silent for days, so a silent one holds no buffer: what is read goes into one
//! that all connections of a thread share, and only what the other side does not take at once is kept,
//! at most [`CHUNK`] bytes each way. While something is kept, nothing more is read, so whoever reads
//! slowly slows the sender down and nobody else.
//!
//! When one side ends, the other is told and may go on (a half-closed connection). A side that breaks
//! ends both, but first the other gets what had come of it.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How much is read at a time, and kept for one direction at most, in bytes.
const CHUNK: usize = 32 << 10;
/// How often one direction is served before the other and other connections get their turn.
const TURN: usize = 8;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into());
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides closed it.
    Closed,
    /// This side broke it.
    Broken(Side, io::Error),
    /// Nothing had come from either side for too long.
    Silent,
}

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Who connected to callboard.
    Client,
    /// Whom callboard connected to.
    Instance,
}

/// How many bytes were passed on.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// From clients to instances.
    pub(super) from_clients: AtomicU64,
    /// From instances to clients.
    pub(super) from_instances: AtomicU64,
}

/// A connection under way.
pub(super) struct Relay<'a, C, I> {
    client: &'a mut C,
    instance: &'a mut I,
    traffic: &'a Traffic,
    up: Way,
    down: Way,
    silence: Option<Silence>,
}

impl<'a, C, I> Relay<'a, C, I>
where
    C: AsyncRead + AsyncWrite + Unpin,
    I: AsyncRead + AsyncWrite + Unpin,
{
    /// Between these two, who may both be silent for as long as `silence`; `None` is for ever.
    pub(super) fn new(
        client: &'a mut C,
        instance: &'a mut I,
        silence: Option<Duration>,
        traffic: &'a Traffic,
    ) -> Self {
        Self {
            client,
            instance,
            traffic,
            up: Way::default(),
            down: Way::default(),
            silence: silence.map(Silence::new),
        }
    }

    /// Passes on until the instance has sent something (`None`) or the connection has ended.
    pub(super) async fn answer(&mut self) -> Option<Ended> {
        poll_fn(|context| match self.poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if self.has_answer() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Passes on until the connection has ended.
    pub(super) async fn run(&mut self) -> Ended {
        poll_fn(|context| self.poll(context)).await
    }

    /// Whether the instance has sent anything.
    pub(super) fn has_answer(&self) -> bool {
        self.down.has_begun
    }

    /// Bytes from the client, and from the instance.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.up.passed, self.down.passed)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        // What an instance says last, it may say before it breaks the connection off.
        let down = self.poll_down(context);
        let up = self.poll_up(context);
        let (side, error) = match (down, up) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ended::Closed),
            (Poll::Ready(Err(Fault::Source(error))), _) => (Side::Instance, error),
            (_, Poll::Ready(Err(Fault::Source(error)))) => (Side::Client, error),
            (Poll::Ready(Err(Fault::Sink(error))), _) => {
                self.up.has_lost_source = true;
                let _ = self.poll_up(context);
                (Side::Client, error)
            }
            (_, Poll::Ready(Err(Fault::Sink(error)))) => {
                self.down.has_lost_source = true;
                let _ = self.poll_down(context);
                (Side::Instance, error)
            }
            _ => return self.poll_silence(context),
        };
        Poll::Ready(Ended::Broken(side, error))
    }

    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        let moved = self.up.take_movement() | self.down.take_movement();
        match &mut self.silence {
            Some(silence) => silence.poll(moved, context).map(|()| Ended::Silent),
            None => Poll::Pending,
        }
    }

    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let count = &self.traffic.from_instances;
        self.down
            .poll(&mut *self.instance, &mut *self.client, count, context)
    }

    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let count = &self.traffic.from_clients;
        self.up
            .poll(&mut *self.client, &mut *self.instance, count, context)
    }
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What was read and not taken yet.
    kept: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// How much was read, in bytes.
    passed: u64,
    is_flushed: bool,
    has_begun: bool,
    has_ended: bool,
    /// The source is broken: its end is none that the sink should take for one.
    has_lost_source: bool,
    is_done: bool,
    has_moved: bool,
}

/// What went wrong with one direction.
enum Fault {
    /// It could not be read.
    Source(io::Error),
    /// It could not be passed on.
    Sink(io::Error),
}

impl Way {
    fn take_movement(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Ready when the source has ended and the sink was told.
    fn poll<R, W>(
        &mut self,
        source: &mut R,
        sink: &mut W,
        count: &AtomicU64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        SHARED.with_borrow_mut(|shared| {
            for _ in 0..TURN {
                if self.poll_kept(sink, context)?.is_pending() {
                    return Poll::Pending;
                }
                if self.has_ended && self.has_lost_source {
                    return Poll::Pending;
                }
                if self.has_ended {
                    return self.poll_end(sink, context);
                }
                let mut buffer = ReadBuf::new(shared);
                match Pin::new(&mut *source).poll_read(context, &mut buffer) {
                    Poll::Ready(Ok(())) => {}
                    // TLS that ends without saying so. Many do, as the protocols within know
                    // their ends.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        buffer.clear();
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Source(error))),
                    Poll::Pending => {
                        self.kept = Vec::new();
                        self.poll_flush(sink, context)?;
                        return Poll::Pending;
                    }
                }
                let data = buffer.filled();
                self.has_ended = data.is_empty();
                self.has_begun |= !data.is_empty();
                self.has_moved = true;
                self.is_flushed &= data.is_empty();
                self.passed += data.len() as u64;
                count.fetch_add(data.len() as u64, Ordering::Relaxed);
                self.pass(data, sink, context)?;
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Passes `data` on as far as it is taken, and keeps the rest.
    fn pass<W>(
        &mut self,
        mut data: &[u8],
        sink: &mut W,
        context: &mut Context<'_>,
    ) -> Result<(), Fault>
    where
        W: AsyncWrite + Unpin,
    {
        while !data.is_empty() {
            match poll_write(sink, data, context)? {
                Poll::Ready(length) => data = &data[length..],
                Poll::Pending => {
                    self.kept.extend_from_slice(data);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Ready when nothing is kept any more.
    fn poll_kept<W>(&mut self, sink: &mut W, context: &mut Context<'_>) -> Result<Poll<()>, Fault>
    where
        W: AsyncWrite + Unpin,
    {
        while self.taken < self.kept.len() {
            match poll_write(sink, &self.kept[self.taken..], context)? {
                Poll::Ready(length) => {
                    self.taken += length;
                    self.has_moved = true;
                }
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.kept.clear();
        self.taken = 0;
        Ok(Poll::Ready(()))
    }

    fn poll_flush<W>(&mut self, sink: &mut W, context: &mut Context<'_>) -> Result<(), Fault>
    where
        W: AsyncWrite + Unpin,
    {
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(sink).poll_flush(context)
        {
            flushed.map_err(Fault::Sink)?;
            self.is_flushed = true;
        }
        Ok(())
    }

    fn poll_end<W>(&mut self, sink: &mut W, context: &mut Context<'_>) -> Poll<Result<(), Fault>>
    where
        W: AsyncWrite + Unpin,
    {
        Pin::new(sink).poll_shutdown(context).map(|ended| {
            self.kept = Vec::new();
            self.is_done = true;
            match ended {
                // It has ended both ways already.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                ended => ended.map_err(Fault::Sink),
            }
        })
    }
}

fn poll_write<W>(sink: &mut W, data: &[u8], context: &mut Context<'_>) -> Result<Poll<usize>, Fault>
where
    W: AsyncWrite + Unpin,
{
    match Pin::new(sink).poll_write(context, data) {
        Poll::Ready(Ok(0)) => Err(Fault::Sink(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(length)) => Ok(Poll::Ready(length)),
        Poll::Ready(Err(error)) => Err(Fault::Sink(error)),
        Poll::Pending => Ok(Poll::Pending),
    }
}

/// The time without a byte.
struct Silence {
    longest: Duration,
    since: Instant,
    over: Pin<Box<Sleep>>,
}

impl Silence {
    fn new(longest: Duration) -> Self {
        Self {
            longest,
            since: Instant::now(),
            over: Box::pin(sleep(longest)),
        }
    }

    /// Ready when it has lasted too long.
    fn poll(&mut self, moved: bool, context: &mut Context<'_>) -> Poll<()> {
        if moved {
            self.since = Instant::now();
        }
        // The timer stays as it is while bytes flow, and is set again when it rings too early.
        while self.over.as_mut().poll(context).is_ready() {
            let until = self.since + self.longest;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.over.as_mut().reset(until.into());
        }
        Poll::Pending
    }
}
