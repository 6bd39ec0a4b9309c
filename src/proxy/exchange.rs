//! Exchanges with instances beside Pingora's own: it speaks with one instance at a time and only on
//! behalf of a client that waits, and so can neither [hedge](super::hedge) nor [mirror](super::mirror).
//!
//! They go over Pingora's connectors, in the version of HTTP that the instance speaks, with a pool of
//! kept connections of their own that the whole process shares. What a request and an answer look like,
//! what counts as a failure of an instance, and how long things may take is decided where the ordinary
//! path decides it.
//!
//! An [`Answer`] that is dropped takes its connection along, unless others share it: a half-read answer
//! is never left in the pool.

mod delivery;
mod request;
mod session;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::HeaderValue;
use log::debug;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout_at;

use crate::cluster::pick::{Outcome, Pick};
use crate::cluster::policy::{RetryOn, Timeouts};

use super::failure::Failure;
use super::hints;
use super::peer;
use super::watchdog::Timer;

pub(super) use delivery::{client_left, deliver};
pub(super) use request::{can_be_copied, head};
use session::{Connectors, Session};

/// The connections; none, and nothing set up for them, until the first is asked for.
#[derive(Default)]
pub(super) struct Exchange {
    connectors: OnceLock<Connectors>,
}

/// What is sent.
pub(super) struct Request {
    pub(super) head: RequestHeader,
    pub(super) body: Bytes,
    /// Whether it may go over a connection kept from earlier, which the instance may just be closing.
    pub(super) may_reuse: bool,
}

/// When a try got its connection, and whether that had been kept from earlier. Outlives a try that is
/// given up.
pub(super) type Link = ArcSwapOption<(Instant, bool)>;

/// An answer of which the head has come.
pub(super) struct Answer {
    pub(super) head: Box<ResponseHeader>,
    session: Session,
    peer: HttpPeer,
    idle: Duration,
}

/// A try that came to nothing.
pub(super) struct Lost {
    /// What became of it; `None` if the instance left before it was sent anything.
    pub(super) failure: Option<Failure>,
    /// How.
    pub(super) cause: Cause,
    /// The instance, still held, if the request is not to go there again.
    pub(super) pick: Option<Pick>,
}

/// How a try came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The instance left before it was sent anything.
    Withdrawn,
    /// No connection could be made.
    Unreachable,
    /// The instance may have seen the request, and took too long for an answer.
    Late,
    /// The instance may have seen the request, and gave no answer.
    Broken,
}

impl Cause {
    /// Whether another instance may be tried after it.
    pub(super) fn is_tried_again(self, on: &RetryOn) -> bool {
        match self {
            Self::Withdrawn => true,
            Self::Unreachable => on.connect,
            Self::Late => on.timeout,
            Self::Broken => on.reset,
        }
    }

    /// Whether the instance may have seen the request.
    pub(super) fn was_sent(self) -> bool {
        matches!(self, Self::Late | Self::Broken)
    }
}

impl Exchange {
    /// Sends `request` to the instance picked, with `parent` as its place in a trace if that is another
    /// than what its head says, and waits for the head of its answer, at most until `deadline`. Failures
    /// are reported to the pick; an answer is for the caller to judge. Its connection is told of in
    /// `link` as soon as there is one.
    pub(super) async fn ask(
        &self,
        mut pick: Pick,
        request: &Request,
        parent: Option<HeaderValue>,
        timeouts: Timeouts,
        deadline: Instant,
        link: &Link,
    ) -> Result<(Pick, Answer), Lost> {
        let scheme = pick.endpoint().instance.scheme;
        if !scheme.is_http() {
            let failure = Failure::no_http(pick.address(), scheme);
            pick.withdraw();
            return Err(Lost {
                failure: Some(failure),
                cause: Cause::Withdrawn,
                pick: None,
            });
        }
        let peer = peer_of(&pick, timeouts, deadline, request.may_reuse);
        let connectors = self.connectors.get_or_init(Connectors::default);
        loop {
            let idle = pick.endpoint().connection_idle(timeouts.idle);
            let (mut session, reused) = match connectors.connect(&peer, idle).await {
                Ok(connected) => connected,
                Err(error) => {
                    debug!("connect to {}: {error}", peer._address);
                    pick.report(Outcome::Unreachable, Instant::now());
                    return Err(Lost {
                        failure: Some(Failure::of_connect(
                            &peer._address,
                            &error,
                            timeouts.connect,
                        )),
                        cause: Cause::Unreachable,
                        pick: Some(pick),
                    });
                }
            };
            link.store(Some(Arc::new((Instant::now(), reused))));
            if !pick.holds() {
                pick.withdraw();
                return Err(Lost {
                    failure: None,
                    cause: Cause::Withdrawn,
                    pick: None,
                });
            }
            let error =
                match converse(&mut session, request, parent.clone(), timeouts, deadline).await {
                    Ok(head) => {
                        let endpoint = pick.endpoint();
                        if let Some(timeout) = hints::keep_alive((&head.headers).into()) {
                            endpoint.announce_keep_alive(timeout);
                        }
                        let group_key = peer::of(&pick).group_key;
                        let idle = endpoint.connection_idle(timeouts.idle);
                        let answer = Answer {
                            head,
                            session,
                            peer: HttpPeer { group_key, ..peer },
                            idle,
                        };
                        return Ok((pick, answer));
                    }
                    Err(mut error) => {
                        error.retry.decide_reuse(reused);
                        error
                    }
                };
            if reused && error.retry() && request.head.method.is_idempotent() {
                // It crossed the instance's closing of the connection.
                continue;
            }
            debug!("instance at {}: {error}", peer._address);
            pick.report(Outcome::Failed, Instant::now());
            let is_late = matches!(
                error.etype(),
                ErrorType::ReadTimedout | ErrorType::WriteTimedout
            );
            let (timer, limit) = match timeouts.first_byte {
                Some(limit) if Instant::now() < deadline => (Timer::FirstByte, limit),
                _ => (Timer::Request, timeouts.request),
            };
            let (cause, failure) = if is_late {
                let failure = Failure::ran_out(timer, limit, Some(&peer._address));
                (Cause::Late, failure)
            } else {
                let failure = Failure::of_exchange(&peer._address, &error);
                (Cause::Broken, failure)
            };
            return Err(Lost {
                failure: Some(failure),
                cause,
                pick: Some(pick),
            });
        }
    }

    /// Keeps the connection of an answer that was read to its end, if it is good for another.
    async fn keep(&self, answer: Answer) {
        if let Some(connectors) = self.connectors.get()
            && !answer.idle.is_zero()
        {
            connectors
                .keep(answer.session, &answer.peer, answer.idle)
                .await;
        }
    }

    /// Reads an answer that nobody wants to its end, so that its connection can be used again.
    ///
    /// # Errors
    /// When the answer breaks off.
    pub(super) async fn discard(&self, mut answer: Answer) -> Result<()> {
        while answer.session.piece().await?.is_some() {}
        self.keep(answer).await;
        Ok(())
    }
}

impl Answer {
    /// An answer on a connection that nobody else is to have afterwards.
    pub(super) fn own(head: Box<ResponseHeader>, session: HttpSession, peer: HttpPeer) -> Self {
        Self {
            head,
            session: Session::Http1(Box::new(session)),
            peer,
            idle: Duration::ZERO,
        }
    }

    /// What the answer says of the instance.
    pub(super) fn outcome(&self) -> Outcome {
        if self.head.status.is_server_error() {
            Outcome::Faulted { retry_after: None }
        } else {
            Outcome::Answered
        }
    }
}

fn peer_of(pick: &Pick, timeouts: Timeouts, deadline: Instant, may_reuse: bool) -> HttpPeer {
    let remaining = deadline.saturating_duration_since(Instant::now());
    let mut peer = peer::of(pick);
    if !may_reuse && !peer::is_shared(&peer) {
        peer::isolate(&mut peer);
    }
    let connect = timeouts.connect.min(remaining);
    peer.options.connection_timeout = Some(connect);
    peer.options.total_connection_timeout = Some(connect);
    peer
}

/// Sends the request and reads to the head of the final answer.
async fn converse(
    session: &mut Session,
    request: &Request,
    parent: Option<HeaderValue>,
    timeouts: Timeouts,
    deadline: Instant,
) -> Result<Box<ResponseHeader>> {
    let late = |kind| move |_| Error::explain(kind, "the time ran out");
    timeout_at(deadline.into(), session.send(request, parent))
        .await
        .map_err(late(ErrorType::WriteTimedout))??;
    let first_byte = (timeouts.first_byte).map(|limit| Instant::now() + limit);
    let deadline = first_byte.map_or(deadline, |limit| limit.min(deadline));
    timeout_at(deadline.into(), session.head())
        .await
        .map_err(late(ErrorType::ReadTimedout))?
}
