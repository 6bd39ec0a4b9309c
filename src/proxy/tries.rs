//! What becomes of a request when one try of it fails: another one, or the end.
//!
//! Every instance that failed it is one it has tried and is not given it again. The exception is the
//! one whose kept connection turned out to be closed, which says nothing about it: when nobody else is
//! left, it is asked once more. See [`retry`] for the rules, and [`again`] for how they are applied.

use std::time::{Duration, Instant};

use http::{Version, header};
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_proxy::Session;

use crate::cluster::budget::RetryPermit;
use crate::cluster::pick::{Nobody, Pick};
use crate::cluster::policy::Reuse;
use crate::cluster::queue::Refusal;

use super::asked::Asked;
use super::context::{Context, Target};
use super::failure::Failure;
use super::gate::Gate;
use super::patience::Waiting;
use super::peer;
use super::retry;

mod again;

/// How much later than the [`watchdog`](super::watchdog) Pingora gives up a try whose connection carries others.
const GRACE: Duration = Duration::from_secs(1);

/// The longest limit that Pingora is given, which keeps the alarm of every read and write until it
/// rings.
const LONGEST_ALARM: Duration = Duration::from_secs(60 * 60);

/// What the tries of one request have in common.
#[derive(Default)]
pub(super) struct Tries {
    /// How many there were.
    made: usize,
    /// How many of them repeated what had been sent before.
    pub(super) repeats: u32,
    /// The present repetition's part of the budget.
    pub(super) permit: Option<RetryPermit>,
    /// How long to wait before the next one.
    pause: Duration,
    /// The endpoint of the next one, when it was a condition of trying again that there is one.
    next: Option<Pick>,
    /// Whether a kept connection has failed this request, so that it gets no other.
    pub(super) burnt: bool,
    /// The key of the endpoint whose kept connection that was.
    blameless: Option<u64>,
    /// Whether the present one has a connection of its own.
    pub(super) alone: bool,
    /// Whether the client was told to send the body it holds back.
    told: bool,
}

/// The endpoint found for a try.
pub(super) struct Next {
    pub(super) pick: Pick,
    /// When it was asked for.
    pub(super) asked: Instant,
    /// Whether an earlier try has failed.
    is_further: bool,
}

/// Why a try gets no endpoint.
enum Unserved {
    /// The cluster has none for it.
    Refused(Refusal),
    /// The client left.
    Gone(Box<Error>),
    /// callboard ends.
    Leaving,
}

impl Context {
    /// Finds an endpoint for the next try of a request of `session`, and says how to connect to it,
    /// after the pause that is due.
    ///
    /// # Errors
    /// When there is none, or no time left.
    pub(super) async fn next_peer(
        &mut self,
        session: &mut Session,
        gate: &Gate,
    ) -> Result<Box<HttpPeer>> {
        let next = self.next_pick(session, gate).await?;
        let Next { pick, asked, .. } = &next;
        // It may have waited in a queue.
        let remaining = self.remaining(Instant::now());
        let target = self.target()?;
        let shared = pick.endpoint().instance.scheme.is_http2();
        let switches = session.is_upgrade_req() && !shared;
        // A connection of HTTP/2 that closes says which requests it has not seen.
        let alone =
            switches || self.tries.burnt || (!shared && must_be_alone(Asked::of(session), target));
        let timeouts = &target.rules.timeouts;
        let mut peer = peer::of(pick);
        if alone {
            peer::isolate(&mut peer);
        }
        let connect = timeouts.connect.min(remaining);
        peer.options.connection_timeout = Some(connect);
        peer.options.total_connection_timeout = Some(connect);
        peer.options.write_timeout = alarm(remaining);
        if shared {
            // Once a body could not be passed on, Pingora does not listen to the client any more, and
            // nobody is there who would give the try up.
            let total = (self.deadlines().total).map_or(Duration::MAX, |total| {
                total.saturating_duration_since(*asked)
            });
            let longest = remaining.max(timeouts.between_bytes).min(total);
            peer.options.read_timeout = alarm(longest + GRACE);
        }
        peer.options.idle_timeout = Some(if switches || (alone && shared) {
            // It cannot be told that its connection is to be closed: turned down, or not at all.
            Duration::ZERO
        } else {
            pick.endpoint().connection_idle(timeouts.idle)
        });
        self.settle_on(next, alone);
        Ok(Box::new(peer))
    }

    /// Finds an endpoint for the next try, after the pause that is due.
    ///
    /// # Errors
    /// When there is none, or no time left.
    pub(super) async fn next_pick(
        &mut self,
        client: &mut impl Waiting,
        gate: &Gate,
    ) -> Result<Next> {
        self.pause().await;
        let now = Instant::now();
        let remaining = self.remaining(now);
        let next = self.tries.next.take();
        let is_further = !self.tried.is_empty();
        if remaining.is_zero() {
            if let Some(next) = next {
                next.withdraw();
            }
            let late = self.too_late();
            return Err(self.fail(late));
        }
        let mut acquired = match next {
            Some(mut next) => {
                next.begin(now);
                Ok(next)
            }
            None => self.acquire(client, gate, now, now + remaining).await,
        };
        loop {
            match acquired {
                Ok(pick) if pick.endpoint().instance.scheme.is_http() => {
                    return Ok(Next {
                        pick,
                        asked: now,
                        is_further,
                    });
                }
                Ok(pick) => {
                    let scheme = pick.endpoint().instance.scheme;
                    self.failure = Some(Failure::no_http(pick.address(), scheme));
                    self.tried.add(pick.endpoint());
                    pick.withdraw();
                }
                Err(Unserved::Gone(error)) => return Err(error),
                Err(Unserved::Leaving) => {
                    let leaving = Failure::leaving(self.target()?.cluster.name().as_str());
                    return Err(self.fail(leaving));
                }
                Err(Unserved::Refused(refusal)) => {
                    if let Some(counters) = self.trail.counters() {
                        counters.refused(refusal);
                    }
                    let last = self.failure.take();
                    let failure = if self.call.is_some() && self.is_past_total(Instant::now()) {
                        self.too_late()
                    } else {
                        Failure::of_refusal(&self.target()?.cluster, refusal, last)
                    };
                    let at = now.saturating_duration_since(self.arrived());
                    (self.trail).refused(&self.tried, &failure, at, now.elapsed());
                    return Err(self.fail(failure));
                }
            }
            let again = Instant::now();
            acquired = self.acquire(client, gate, again, now + remaining).await;
        }
    }

    /// Leaves the endpoint that was found to whoever can speak with it.
    pub(super) fn pass_on(&mut self, next: Next) {
        self.tries.next = Some(next.pick);
    }

    /// Leaves the endpoint that was found out from now on.
    pub(super) fn pass_over(&mut self, next: Next) {
        self.tried.add(next.pick.endpoint());
        next.pick.withdraw();
    }

    /// Begins the next try at the endpoint that was found for it.
    pub(super) fn settle_on(&mut self, next: Next, alone: bool) {
        let Next {
            pick,
            asked,
            is_further,
        } = next;
        self.tries.made += 1;
        self.tries.alone = alone;
        if let Some(counters) = self.trail.counters().filter(|_| is_further) {
            counters.retried();
        }
        self.trail.picked(&pick, self.arrived());
        let waited = pick.started().saturating_duration_since(asked);
        self.trail.saw(&self.tried, waited);
        self.pick = Some(pick);
    }

    /// Does what is due before a request goes over a connection that carries others as well.
    ///
    /// # Errors
    /// When the client has left.
    pub(super) async fn begin_stream(
        &mut self,
        session: &mut Session,
        request: &mut RequestHeader,
    ) -> Result<()> {
        let now = Instant::now();
        let client = session.as_downstream_mut();
        if client.is_body_empty() {
            // Pingora sends it whole, and says no more about it.
            self.pass_request(0, true, now)?;
        }
        // Pingora does not see the interim answers of HTTP/2, so the client would wait for this one.
        let waits = request.remove_header(&header::EXPECT).is_some();
        if waits && !self.tries.told && client.req_header().version >= Version::HTTP_11 {
            self.tries.told = true;
            client
                .write_continue_response()
                .await
                .map_err(Error::into_down)?;
        }
        Ok(())
    }

    async fn pause(&mut self) {
        let pause = std::mem::take(&mut self.tries.pause);
        if !pause.is_zero() {
            tokio::time::sleep(pause.min(self.remaining(Instant::now()))).await;
        }
    }

    async fn acquire(
        &mut self,
        client: &mut impl Waiting,
        gate: &Gate,
        now: Instant,
        deadline: Instant,
    ) -> Result<Pick, Unserved> {
        if let Some(Target { cluster, hash, .. }) = &self.target
            && let Some(pick) = cluster.acquire_now(*hash, &self.tried, now)
        {
            return Ok(pick);
        }
        let acquired = self.acquire_once(client, gate, deadline).await;
        if let Err(Unserved::Refused(Refusal::Nobody(Nobody::Untried))) = acquired
            && let Some(key) = self.tries.blameless.take()
        {
            self.tried.forgive(key);
            return self.acquire_once(client, gate, deadline).await;
        }
        acquired
    }

    async fn acquire_once(
        &self,
        client: &mut impl Waiting,
        gate: &Gate,
        deadline: Instant,
    ) -> Result<Pick, Unserved> {
        let Some(Target { cluster, hash, .. }) = &self.target else {
            return Err(Unserved::Refused(Refusal::Nobody(Nobody::Available)));
        };
        tokio::select! {
            biased;
            acquired = cluster.acquire(*hash, &self.tried, deadline) => {
                acquired.map_err(Unserved::Refused)
            }
            error = client.left() => Err(Unserved::Gone(error)),
            () = gate.last_call() => Err(Unserved::Leaving),
        }
    }
}

/// Whether a request must not use a connection kept from another one.
pub(super) fn must_be_alone(asked: Asked<'_>, target: &Target) -> bool {
    target.policy.reuse == Reuse::Safe
        && !retry::is_surely_repeatable(asked.method, asked.fields, &target.policy.retry)
}

/// A limit for Pingora; `None` for one that is longer than it should be given.
fn alarm(limit: Duration) -> Option<Duration> {
    Some(limit).filter(|limit| *limit <= LONGEST_ALARM)
}
