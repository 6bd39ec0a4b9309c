//! The body of a request, as it comes on its stream.

use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use h2::RecvStream;
use http::header;
use pingora::http::RequestHeader;
use pingora::protocols::http::body_buffer::FixedBuffer;
use pingora::{Error, ErrorType, Result};

use crate::proxy::grpc::Flavor;

use super::super::alarm::Alarm;
use super::super::pace::Pace;
use super::terms::{self, Fault};

/// How much of a body is kept to be sent again, in bytes. As much as Pingora keeps.
const KEPT: usize = 64 << 10;

/// The body.
pub(super) struct Incoming {
    stream: RecvStream,
    /// The head says that there is nothing.
    is_nothing: bool,
    /// All of it was read.
    is_over: bool,
    read: usize,
    kept: Option<FixedBuffer>,
    pace: Pace,
    alarm: Alarm,
    /// It is a stream of messages, which come when there is something to say.
    may_pause: bool,
    /// The client sends it once it is told to, and was not told yet.
    expects_continue: bool,
}

impl Incoming {
    /// What follows `head` on `stream`, at no less than `rate` bytes a second.
    pub(super) fn new(stream: RecvStream, head: &RequestHeader, rate: Option<u64>) -> Self {
        let says = |name, value: &str| {
            let said = head.headers.get(name);
            said.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
        };
        Self {
            is_nothing: says(header::CONTENT_LENGTH, "0"),
            expects_continue: says(header::EXPECT, "100-continue"),
            may_pause: Flavor::of(&head.method, (&head.headers).into()) == Some(Flavor::Native),
            stream,
            is_over: false,
            read: 0,
            kept: None,
            pace: Pace::new(rate),
            alarm: Alarm::default(),
        }
    }

    /// Whether there is nothing to read, and never was.
    pub(super) fn is_empty(&self) -> bool {
        self.read == 0 && (self.is_nothing || self.stream.is_end_stream())
    }

    /// Whether there is nothing more to read.
    pub(super) fn is_done(&self) -> bool {
        self.is_over || self.is_empty() || self.stream.is_end_stream()
    }

    /// How much was read, in bytes.
    pub(super) fn read(&self) -> usize {
        self.read
    }

    /// The client need not wait any more.
    pub(super) fn has_been_told(&mut self) {
        self.expects_continue = false;
    }

    /// The next piece; `None` at the end. Trailers are behind it, which Pingora has no way to pass on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(None));
            }
            match self.stream.poll_data(context) {
                Poll::Ready(Some(Ok(piece))) if piece.is_empty() => {}
                Poll::Ready(Some(Ok(piece))) => return Poll::Ready(self.take(piece).map(Some)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(broken(error))),
                Poll::Ready(None) => self.is_over = true,
                Poll::Pending if self.expects_continue || self.may_pause => return Poll::Pending,
                Poll::Pending => {
                    let until = self.pace.wait(Instant::now());
                    return self.alarm.poll(until, context).map(|()| {
                        terms::blame(Fault::TooSlow);
                        Err(Error::explain(ErrorType::ReadTimedout, "the body is slow"))
                    });
                }
            }
        }
    }

    fn take(&mut self, piece: Bytes) -> Result<Bytes> {
        if self.pace.waits() {
            self.pace.rest(Instant::now());
        }
        self.pace.earn(piece.len());
        self.expects_continue = false;
        self.read += piece.len();
        terms::note_received(piece.len());
        if self.read as u64 > terms::most() {
            terms::blame(Fault::TooLong);
            return Err(Error::explain(ErrorType::ReadError, "the body is too long"));
        }
        if let Some(kept) = &mut self.kept {
            kept.write_to_buffer(&piece);
        }
        let window = self.stream.flow_control();
        window.release_capacity(piece.len()).map_err(broken)?;
        Ok(piece)
    }

    /// Keeps what is read from now on, to be sent again.
    pub(super) fn keep(&mut self) {
        self.kept.get_or_insert_with(|| FixedBuffer::new(KEPT));
    }

    /// Whether more was read than is kept.
    pub(super) fn outgrew(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    /// What was kept, if it is all and anything.
    pub(super) fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.is_truncated())?;
        kept.get_buffer()
    }
}

/// What ends a request whose stream broke.
pub(super) fn broken(error: h2::Error) -> Box<Error> {
    if error.is_reset() && error.is_remote() {
        terms::note_reset();
    }
    Error::because(ErrorType::ReadError, "reading from a stream", error)
}
