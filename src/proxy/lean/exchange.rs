//! One request's exchange with instances: who is asked, over which connection, and who next.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Instant;

use pingora::{Error, ErrorType, Result};
use tokio::io::{AsyncRead, ReadBuf};

use crate::cluster::pick::Pick;
use crate::dial::{self, Stream};
use crate::instance::Scheme;
use crate::proxy::attempt::Attempt;
use crate::proxy::connection::Client;
use crate::proxy::context::Context;
use crate::proxy::patience::Waiting;
use crate::proxy::retry::Replay;
use crate::proxy::tries::must_be_alone;
use crate::proxy::watchdog;

use super::flow::Flow;
use super::out::{Out, poll_down};
use super::pool::Key;
use super::request;
use super::{Came, Lean, Outcome};

/// How a try ended.
pub(super) enum Step {
    /// The request is answered.
    Done,
    /// The endpoint that was found speaks something else.
    Passed,
}

/// The exchange.
pub(super) struct Exchange<'a> {
    pub(super) lean: &'a Lean,
    pub(super) client: &'a mut Client,
    pub(super) came: &'a Came<'a>,
    pub(super) context: &'a mut Context,
    pub(super) outcome: Outcome,
    /// What of the request's body was passed on, to be sent again.
    pub(super) kept: Vec<u8>,
    /// Whether that is all of it.
    pub(super) is_kept: bool,
}

impl Waiting for Client {
    async fn left(&mut self) -> Box<Error> {
        if !self.is_body_done() {
            return std::future::pending().await;
        }
        let left = poll_fn(|context| self.poll_silence(context)).await;
        gone(left.err())
    }
}

pub(super) fn gone(error: Option<io::Error>) -> Box<Error> {
    let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
    Error::because(ErrorType::ConnectionClosed, "the client", error).into_down()
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        lean: &'a Lean,
        client: &'a mut Client,
        came: &'a Came<'a>,
        context: &'a mut Context,
    ) -> Self {
        Self {
            lean,
            client,
            came,
            context,
            outcome: Outcome::default(),
            kept: Vec::new(),
            is_kept: true,
        }
    }

    /// The request's id.
    pub(super) fn name(&self) -> &str {
        self.context.name()
    }

    pub(super) fn into_outcome(self) -> Outcome {
        self.outcome
    }

    /// Asks one instance and passes its answer on.
    ///
    /// # Errors
    /// When the request was not answered. The error says whether another instance is to be asked.
    pub(super) async fn attempt(&mut self) -> Result<Step> {
        let lean = self.lean;
        let next = loop {
            let gate = &lean.plane.gate;
            let next = self.context.next_pick(self.client, gate).await?;
            if next.pick.endpoint().instance.scheme == Scheme::Http {
                break next;
            }
            if self.outcome.received == 0 {
                self.context.pass_on(next);
                return Ok(Step::Passed);
            }
            // What was read of the body is here, and nobody else can send it.
            self.context.pass_over(next);
        };
        let alone =
            self.context.tries.burnt || must_be_alone(self.came.asked, self.context.target()?);
        self.context.settle_on(next, alone);
        let (instance, reused, now) = self.connect(alone).await?;
        match self.converse(instance, alone, now).await {
            Ok(()) => Ok(Step::Done),
            Err(error) => Err(self.broken(error, reused)),
        }
    }

    pub(super) fn replay(&self) -> Replay {
        Replay {
            is_idempotent: self.came.asked.method.is_idempotent(),
            is_kept: self.is_kept,
        }
    }

    fn broken(&mut self, mut error: Box<Error>, reused: bool) -> Box<Error> {
        error.retry.decide_reuse(reused);
        let now = Instant::now();
        let address = self
            .context
            .pick
            .as_ref()
            .map(|pick| pick.address().clone());
        let replay = self.replay();
        match address {
            Some(address) => {
                error = error.more_context(format!("instance at {address}"));
                self.context
                    .broken(replay, &address, &mut error, reused, now);
            }
            None => self.context.broken(replay, &"-", &mut error, reused, now),
        }
        self.context.note_broken(&error, now);
        if self.outcome.status.is_some() {
            error.set_retry(false);
        }
        error
    }

    /// Reads what is left of a body that its answer did not wait for, so that another request can follow.
    fn poll_forget(&mut self, context: &mut std::task::Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::<u8>::uninit(); 1_024];
        while !self.client.is_body_done() {
            let mut piece = ReadBuf::uninit(&mut space);
            let read = ready!(Pin::new(&mut *self.client).poll_read(context, &mut piece));
            if read.is_err() || piece.filled().is_empty() {
                self.outcome.keeps = false;
                break;
            }
        }
        Poll::Ready(())
    }

    /// A connection to the instance picked, whether it was kept from another request, and since when it
    /// is there.
    async fn connect(&mut self, alone: bool) -> Result<(Stream, bool, Instant)> {
        let Some(pick) = &self.context.pick else {
            let nobody = "there is nobody to connect to";
            return Err(Error::explain(ErrorType::InternalError, nobody));
        };
        let now = pick.started();
        if !alone && let Some(kept) = self.lean.pool.take(key(pick), now) {
            let since = now.saturating_duration_since(self.context.arrived());
            self.context.trail.connected(true, since);
            return Ok((kept, true, now));
        }
        let address = pick.address().clone();
        let within = self.context.target()?.rules.timeouts.connect;
        let within = within.min(self.context.remaining(now));
        match dial::open(&address, None, within).await {
            Ok(stream) => {
                let now = Instant::now();
                let since = now.saturating_duration_since(self.context.arrived());
                self.context.trail.connected(false, since);
                Ok((stream, false, now))
            }
            Err(error) => {
                let kind = dial::fault_kind(&error);
                let mut error = Error::because(kind, "connect", error).into_up();
                let now = Instant::now();
                self.context.unconnected(&address, &mut error, now);
                self.context.note_lost(now);
                Err(error)
            }
        }
    }

    async fn converse(&mut self, instance: Stream, alone: bool, now: Instant) -> Result<()> {
        self.context.confirm_pick()?;
        self.context.attempt = Some(Attempt::new(Some(instance.as_fd().as_raw_fd()), now));
        let is_whole = self.client.is_body_done();
        (self.context).pass_request(self.kept.len(), is_whole, now)?;
        let strip = self.context.target()?.strip;
        let mut up = Out::default();
        request::write(&mut up.bytes, self.came, self.context, strip, alone)?;
        up.bytes.extend_from_slice(&self.kept);
        let mut flow = Flow::new(self, instance, up, now);
        let keeps = flow.run().await?;
        let Flow {
            instance,
            down,
            heard,
            ..
        } = flow;
        watchdog::clear();
        if keeps && !alone {
            self.keep(instance, heard);
        }
        self.finish(down).await
    }

    /// Keeps the connection, on which an answer was heard last at `heard`, for another request.
    fn keep(&self, instance: Stream, heard: Instant) {
        let (Some(pick), Some(target)) = (&self.context.pick, &self.context.target) else {
            return;
        };
        let idle = pick.endpoint().connection_idle(target.rules.timeouts.idle);
        if !idle.is_zero() {
            self.lean.pool.keep(key(pick), instance, heard + idle);
        }
    }

    /// Sees the client take the rest of its answer.
    async fn finish(&mut self, mut down: Out) -> Result<()> {
        let mut stalled = None;
        poll_fn(|context| {
            let taken = poll_down(self.client, &mut down, &mut stalled, context);
            if taken.is_pending() {
                // It may be one that takes nothing before it has sent everything.
                let _ = self.poll_forget(context);
            }
            taken
        })
        .await?;
        if self.outcome.keeps {
            poll_fn(|context| self.poll_forget(context)).await;
        }
        Ok(())
    }
}

/// Which kept connections are good for this pick.
fn key(pick: &Pick) -> Key {
    let endpoint = pick.endpoint();
    (endpoint.key(), endpoint.instance.generation)
}
