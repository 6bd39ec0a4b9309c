//! One try under way: the request goes to an instance and its answer to the client.
//!
//! Both directions are served at once: a client may be sent its answer while it still sends, and whoever
//! does not read does not keep the other direction waiting.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Instant;

use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::dial::Stream;
use crate::proxy::hear::Heard;

use super::body::Body;
use super::exchange::{Exchange, gone};
use super::out::{Out, poll_down};
use super::request;
use super::response::{self, Head};

/// How much is read at once, in bytes.
const PIECE: usize = 16 << 10;
/// The same of a long body.
const LARGE_PIECE: usize = 64 << 10;
/// How many pieces of a request are sent before it is the answer's turn: a task may do so much before others
/// have theirs, and a client that sends without end would use all of it up.
const TURN: usize = 16;
/// How much callboard adds to an answer as a rule, in bytes.
const ADDED: usize = 256;
/// The longest body that is kept to be sent again, in bytes, as long as Pingora keeps.
const KEPT: usize = 64 << 10;

/// One try under way.
pub(super) struct Flow<'a, 'b> {
    exchange: &'b mut Exchange<'a>,
    pub(super) instance: Stream,
    /// For the instance.
    up: Out,
    /// For the client.
    pub(super) down: Out,
    /// What came from the instance and was not looked at.
    input: Vec<u8>,
    /// How much of it was found to be no whole head.
    seen: usize,
    /// Whether an interim answer was in order.
    is_sound: bool,
    /// Why no more of the request can be sent.
    unsent: Option<Box<Error>>,
    /// Since when the client takes nothing.
    stalled: Option<Instant>,
    /// When something was heard last.
    pub(super) heard: Instant,
}

impl<'a, 'b> Flow<'a, 'b> {
    /// A try on the connection `instance`, which is there since `now`, with what of the request is in `up`.
    pub(super) fn new(
        exchange: &'b mut Exchange<'a>,
        instance: Stream,
        up: Out,
        now: Instant,
    ) -> Self {
        Self {
            exchange,
            instance,
            up,
            down: Out::default(),
            input: Vec::new(),
            seen: 0,
            is_sound: true,
            unsent: None,
            stalled: None,
            heard: now,
        }
    }

    /// Takes the whole answer; says whether the connection is good for another request.
    pub(super) async fn run(&mut self) -> Result<bool> {
        let mut answer: Option<(Head, Body)> = None;
        loop {
            let body = answer.as_ref().map(|(_, body)| *body);
            let came = poll_fn(|context| self.poll_read(body, context)).await?;
            self.heard = Instant::now();
            if came == 0 {
                self.end_of_instance(&mut answer)?;
            } else if answer.is_none() {
                answer = self.hear()?;
            } else if let Some((_, body)) = &mut answer {
                self.pass(body)?;
            }
            if let Some((head, body)) = &answer
                && *body == Body::Done
            {
                let was_asked = self.up.is_empty() && self.exchange.client.is_body_done();
                let is_over = was_asked && self.input.is_empty();
                return Ok(head.keeps && self.is_sound && came > 0 && is_over);
            }
        }
    }

    /// Looks for the head of the final answer in what came, and passes it on.
    fn hear(&mut self) -> Result<Option<(Head, Body)>> {
        if !response::may_be_whole(&self.input, self.seen) {
            self.seen = self.input.len();
            return Ok(None);
        }
        loop {
            let exchange = &mut *self.exchange;
            let asked = exchange.came.asked;
            let Some(head) = response::parse(&self.input, asked.method)? else {
                self.seen = self.input.len();
                return Ok(None);
            };
            let now = self.heard;
            let (bytes, rest) = self.input.split_at(head.length);
            let heard = Heard::of(head.status, head.fields(bytes));
            let is_final = exchange.context.hear(heard, exchange.replay(), now)?;
            let gate = &exchange.lean.plane.gate;
            let keeps = exchange.came.plain.keeps
                && !gate.is_closing()
                && exchange.client.is_body_nearly_done();
            self.down.bytes.reserve(self.input.len() + ADDED);
            head.write(&mut self.down.bytes, bytes, exchange.context.name(), keeps);
            if !is_final {
                self.is_sound &= head.keeps;
                self.input.drain(..head.length);
                self.seen = 0;
                if self.input.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            if let Some(attempt) = &mut exchange.context.attempt {
                attempt.answer(head.status, head.body == Body::UntilClose);
            }
            exchange.context.trail.answered(head.status, now);
            let mut body = head.body;
            // If this fails, nothing was sent yet, and the client can be told.
            let passed = body.pass(rest, &mut self.down.bytes)?;
            exchange.outcome.status = Some(head.status);
            exchange.outcome.keeps = keeps;
            if exchange.context.trail.is_told_of() {
                exchange.outcome.answer = Some(request::to_map(head.fields(bytes)));
            }
            exchange.outcome.sent += passed.data as u64;
            exchange.context.await_body(body == Body::Done, now)?;
            self.input.drain(..head.length + passed.taken);
            return Ok(Some((head, body)));
        }
    }

    /// Passes on what came of the body.
    fn pass(&mut self, body: &mut Body) -> Result<()> {
        let came = self.input.len();
        if self.down.is_empty() && body.takes_whole(came) {
            std::mem::swap(&mut self.input, &mut self.down.bytes);
            self.exchange.outcome.sent += came as u64;
        } else {
            let passed = body.pass(&self.input, &mut self.down.bytes)?;
            self.input.drain(..passed.taken);
            self.exchange.outcome.sent += passed.data as u64;
        }
        let ends = *body == Body::Done;
        self.exchange.context.await_body(ends, self.heard)
    }

    /// The instance has closed the connection.
    fn end_of_instance(&mut self, answer: &mut Option<(Head, Body)>) -> Result<()> {
        let early = |unsent: &mut Option<Box<Error>>| {
            unsent.take().unwrap_or_else(|| {
                let early = "the instance closed the connection";
                Error::explain(ErrorType::ConnectionClosed, early).into_up()
            })
        };
        let Some((_, body)) = answer else {
            return Err(early(&mut self.unsent));
        };
        if !body.end(&mut self.down.bytes) {
            return Err(early(&mut self.unsent));
        }
        self.exchange.context.await_body(true, self.heard)
    }

    /// Sees everything on its way, and reads what comes from the instance once the client has taken what
    /// came before it. Gives the number of bytes; 0 is the end.
    fn poll_read(
        &mut self,
        body: Option<Body>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Result<usize>> {
        self.poll_up(context)?;
        ready!(poll_down(
            self.exchange.client,
            &mut self.down,
            &mut self.stalled,
            context
        ))?;
        let piece = match body {
            Some(body) => self.poll_body(body, context),
            None => self.poll_head(context),
        };
        match piece {
            Poll::Ready(Ok(count)) => return Poll::Ready(Ok(count)),
            Poll::Ready(Err(error)) => {
                let broken = Error::because(ErrorType::ReadError, "reading an answer", error);
                return Poll::Ready(Err(self.unsent.take().unwrap_or(broken.into_up())));
            }
            Poll::Pending => {}
        }
        let client = &mut *self.exchange.client;
        if client.is_body_done() {
            let left = ready!(client.poll_silence(context));
            return Poll::Ready(Err(gone(left.err())));
        }
        Poll::Pending
    }

    /// Reads what may be the head of the answer, and most often is all of it: while it is waited for, no
    /// room is taken for it.
    fn poll_head(&mut self, context: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.instance).poll_read(context, &mut piece))?;
        self.input.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    }

    fn poll_body(
        &mut self,
        body: Body,
        context: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let is_long = matches!(body, Body::Length(left) if left > PIECE as u64);
        self.input
            .reserve(if is_long { LARGE_PIECE } else { PIECE });
        pin!(self.instance.read_buf(&mut self.input)).poll(context)
    }

    /// Sends what there is of the request, up to a turn's part of it.
    fn poll_up(&mut self, context: &mut std::task::Context<'_>) -> Result<()> {
        for _ in 0..TURN {
            if self.unsent.is_some() {
                return Ok(());
            }
            match self.up.poll_send(&mut self.instance, context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => {
                    // The answer may be there all the same.
                    let broken = Error::because(ErrorType::WriteError, "sending a request", error);
                    self.unsent = Some(broken.into_up());
                    return Ok(());
                }
                Poll::Ready(Ok(())) => {}
            }
            if self.exchange.client.is_body_done() || !self.take_body(context)? {
                return Ok(());
            }
        }
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Takes a piece of the request's body from the client; says whether there was one.
    fn take_body(&mut self, context: &mut std::task::Context<'_>) -> Result<bool> {
        let exchange = &mut *self.exchange;
        let mut space = [MaybeUninit::<u8>::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *exchange.client).poll_read(context, &mut piece) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Err(error)) => {
                let broken = Error::because(ErrorType::ReadError, "reading a body", error);
                return Err(broken.into_down());
            }
            Poll::Ready(Ok(())) => {}
        }
        let piece = piece.filled();
        if piece.is_empty() {
            let early = "the client closed the connection within a body";
            return Err(Error::explain(ErrorType::ConnectionClosed, early).into_down());
        }
        exchange.outcome.received += piece.len() as u64;
        if exchange.is_kept && exchange.kept.len() + piece.len() <= KEPT {
            exchange.kept.extend_from_slice(piece);
        } else {
            exchange.is_kept = false;
        }
        self.up.bytes.extend_from_slice(piece);
        let ends = exchange.client.is_body_done();
        exchange
            .context
            .pass_request(piece.len(), ends, Instant::now())?;
        Ok(true)
    }
}
