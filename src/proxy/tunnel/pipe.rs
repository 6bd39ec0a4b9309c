//! One direction of a tunnel.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;

/// How much is read at once, in bytes.
const PIECE: usize = 16 << 10;

/// The direction. What it reads from and writes to is lent to it.
#[derive(Debug)]
pub(super) struct Pipe {
    /// What was not taken yet; takes no memory while it is empty.
    held: BytesMut,
    /// What was written may wait for more.
    is_unflushed: bool,
    stage: Stage,
    frames: Option<Frames>,
    /// Bytes.
    passed: u64,
}

#[derive(Debug)]
enum Stage {
    Flowing,
    /// To end with these bytes as soon as no frame is under way.
    Stopping(Box<[u8]>),
    /// Nothing more is passed on. What comes is forgotten until it says that it was the last.
    Stopped,
    /// What came has ended, and what goes is about to.
    Ending,
    Ended,
}

impl Pipe {
    /// A direction in which `first` goes first.
    pub(super) fn new(first: BytesMut, is_websocket: bool) -> Self {
        Self {
            held: first,
            is_unflushed: false,
            stage: Stage::Flowing,
            frames: is_websocket.then(Frames::default),
            passed: 0,
        }
    }

    /// How many bytes came.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether nothing is read because what came is not taken.
    pub(super) fn is_held_up(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether nothing more will come.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ending | Stage::Ended)
    }

    /// Says `last` as soon as no frame is under way, and nothing after it. Without frames to follow,
    /// the direction ends at once.
    pub(super) fn stop(&mut self, last: &[u8]) {
        match self.frames {
            _ if self.has_ended() => {}
            None => self.stage = Stage::Ending,
            // It has been said.
            Some(frames) if frames.has_closed() => self.stage = Stage::Stopped,
            Some(frames) if frames.is_between() => self.end_with(last),
            Some(_) => self.stage = Stage::Stopping(last.into()),
        }
    }

    fn end_with(&mut self, last: &[u8]) {
        self.held.extend_from_slice(last);
        self.stage = Stage::Stopped;
    }

    /// Passes on what comes. Ready when the direction is over: `from` has ended and `to` was told, or
    /// `from` has answered that it was stopped.
    ///
    /// # Errors
    /// When either side breaks off.
    pub(super) fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_held(to, context))?;
            match &self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Stopped if self.frames.is_none_or(Frames::has_closed) => {
                    ready!(self.poll_flush(to, context))?;
                    return Poll::Ready(Ok(()));
                }
                Stage::Flowing | Stage::Stopping(_) | Stage::Stopped => {}
            }
            let mut space = [MaybeUninit::<u8>::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut space);
            if Pin::new(&mut *from)
                .poll_read(context, &mut piece)?
                .is_pending()
            {
                ready!(self.poll_flush(to, context))?;
                return Poll::Pending;
            }
            self.take(piece.filled(), to, context)?;
        }
    }

    fn poll_held<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.held.is_empty() {
            let length = ready!(Pin::new(&mut *to).poll_write(context, &self.held))?;
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(length);
            self.is_unflushed = true;
        }
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_unflushed {
            ready!(Pin::new(&mut *to).poll_flush(context))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Passes on what came, or as much of it as is to be; nothing of it is the end.
    fn take<W: AsyncWrite + Unpin>(
        &mut self,
        came: &[u8],
        to: &mut W,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        if came.is_empty() {
            self.stage = Stage::Ending;
            return Ok(());
        }
        self.passed += came.len() as u64;
        let Some(frames) = &mut self.frames else {
            return self.write(came, to, context);
        };
        match &mut self.stage {
            Stage::Stopping(last) => {
                let length = frames.finish(came);
                let (is_over, has_closed) = (frames.is_between(), frames.has_closed());
                frames.pass(&came[length..]);
                let last = std::mem::take(last);
                self.write(&came[..length], to, context)?;
                if !is_over {
                    self.stage = Stage::Stopping(last);
                } else if has_closed {
                    self.stage = Stage::Stopped;
                } else {
                    self.end_with(&last);
                }
                Ok(())
            }
            Stage::Stopped => {
                frames.pass(came);
                Ok(())
            }
            Stage::Flowing | Stage::Ending | Stage::Ended => {
                frames.pass(came);
                self.write(came, to, context)
            }
        }
    }

    /// Writes what is taken at once, and keeps the rest.
    fn write<W: AsyncWrite + Unpin>(
        &mut self,
        bytes: &[u8],
        to: &mut W,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        let taken = match Pin::new(to).poll_write(context, bytes)? {
            Poll::Ready(length) => length,
            Poll::Pending => 0,
        };
        self.is_unflushed |= taken > 0;
        self.held.extend_from_slice(&bytes[taken..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::frames::close_frame;
    use super::*;

    /// A pipe between two pairs: what is said at the first comes out at the last.
    struct Line {
        pipe: Pipe,
        said: DuplexStream,
        from: DuplexStream,
        to: DuplexStream,
        heard: DuplexStream,
    }

    impl Line {
        fn new(first: &[u8], is_websocket: bool, room: usize) -> Self {
            let (said, from) = duplex(room);
            let (to, heard) = duplex(room);
            Self {
                pipe: Pipe::new(first.into(), is_websocket),
                said,
                from,
                to,
                heard,
            }
        }

        /// Passes on what can be; says whether the direction is over.
        async fn turn(&mut self) -> io::Result<bool> {
            let (pipe, from, to) = (&mut self.pipe, &mut self.from, &mut self.to);
            poll_fn(|context| {
                Poll::Ready(match pipe.poll(from, to, context) {
                    Poll::Ready(outcome) => outcome.map(|()| true),
                    Poll::Pending => Ok(false),
                })
            })
            .await
        }

        async fn hears(&mut self, expected: &[u8]) {
            let mut heard = vec![0; expected.len()];
            self.heard.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, expected);
        }
    }

    const TEXT: &[u8] = &[0x81, 5, b'h', b'e', b'l', b'l', b'o'];

    #[tokio::test]
    async fn what_is_not_taken_is_kept_and_nothing_is_kept_afterwards() {
        let mut line = Line::new(b"first ", false, 8);
        line.said.write_all(b"12345678").await.unwrap();
        assert!(!line.turn().await.unwrap());
        line.hears(b"first 12").await;
        assert!(!line.pipe.held.is_empty());
        assert!(!line.turn().await.unwrap());
        line.hears(b"345678").await;
        assert!(!line.turn().await.unwrap());
        assert_eq!(line.pipe.held.capacity(), 0);
        assert_eq!(line.pipe.passed(), 8);
    }

    #[tokio::test]
    async fn an_end_is_passed_on_behind_what_came_before_it() {
        let mut line = Line::new(b"", false, 64);
        line.said.write_all(b"last").await.unwrap();
        line.said.shutdown().await.unwrap();
        assert!(line.turn().await.unwrap());
        assert!(line.pipe.has_ended());
        let mut heard = Vec::new();
        line.heard.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last");
    }

    #[tokio::test]
    async fn who_does_not_listen_is_waited_for_and_who_is_gone_breaks_it() {
        let mut line = Line::new(b"", false, 4);
        line.said.write_all(b"1234").await.unwrap();
        assert!(!line.turn().await.unwrap());
        line.said.write_all(b"5678").await.unwrap();
        assert!(!line.turn().await.unwrap());
        drop(line.heard);
        assert!(line.pipe.poll_held(&mut line.to, &mut noop()).is_ready());
    }

    fn noop() -> Context<'static> {
        Context::from_waker(std::task::Waker::noop())
    }

    #[tokio::test]
    async fn the_last_word_waits_for_the_end_of_a_frame_and_for_an_answer() {
        let last = close_frame(None);
        for split in 1..TEXT.len() {
            let mut line = Line::new(b"", true, 64);
            line.said.write_all(&TEXT[..split]).await.unwrap();
            line.turn().await.unwrap();
            line.pipe.stop(&last);
            assert!(!line.turn().await.unwrap());
            line.hears(&TEXT[..split]).await;
            // The next message comes too late.
            line.said.write_all(&TEXT[split..]).await.unwrap();
            line.said.write_all(TEXT).await.unwrap();
            assert!(!line.turn().await.unwrap());
            line.hears(&TEXT[split..]).await;
            line.hears(&last).await;
            line.said.write_all(&close_frame(Some(1))).await.unwrap();
            assert!(line.turn().await.unwrap());
            drop(line.to);
            assert_eq!(line.heard.read(&mut [0]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn nobody_says_goodbye_twice() {
        let mut line = Line::new(b"", true, 64);
        let own = close_frame(Some(7));
        line.said.write_all(&own).await.unwrap();
        line.turn().await.unwrap();
        line.pipe.stop(&close_frame(None));
        assert!(line.turn().await.unwrap());
        line.hears(&own).await;
        drop(line.to);
        assert_eq!(line.heard.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn without_frames_a_direction_that_is_stopped_just_ends() {
        let mut line = Line::new(b"kept", false, 64);
        line.pipe.stop(&[]);
        assert!(line.turn().await.unwrap());
        let mut heard = Vec::new();
        line.heard.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"kept");
    }
}
