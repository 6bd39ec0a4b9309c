//! Hedging: a second instance is asked when the first one takes longer than most, and the first
//! answer wins (J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56, 2013).
//!
//! Only a GET or HEAD without a body is asked twice. The second try comes out of the retry budget and
//! counts against `attempts`, so that a service whose instances are all slow gets no flood on top; it
//! never waits for a place at an instance. The try that loses is cancelled, its connection closed, and
//! counts neither for nor against its instance.
//!
//! An answer with a status that would be tried again does not win while the other try is under way. If
//! no try wins, the request goes on to the ordinary path with what was tried excluded, or is answered
//! if nothing is left to try with.
//!
//! What a percentile is taken of are the times from the first try to the winning answer.

use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Method, Version};
use log::debug;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session};
use tokio::time::sleep;

use crate::cluster::budget::RetryPermit;
use crate::cluster::pick::{Outcome, Pick};
use crate::cluster::policy::{Hedge, RetryOn};
use crate::telemetry::record;

use super::DataPlane;
use super::asked::Asked;
use super::context::Context;
use super::exchange::{self, Answer, Cause, Link, Lost, Request, client_left};
use super::trail::Try;

/// Answers the request if it is one that may be hedged; says whether it did.
///
/// # Errors
/// When the request has to end otherwise: the client left, or the answer broke off.
pub(super) async fn answer(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    hedge: Hedge,
) -> Result<bool> {
    if context.target()?.rules.attempts == 0 || !may_be_hedged(session) {
        return Ok(false);
    }
    let request = Request {
        head: exchange::head(session, context, context.target()?.strip)?,
        body: Bytes::new(),
        may_reuse: true,
    };
    match race(plane, session, context, &request, hedge).await? {
        Ended::Won(won) => settle(plane, session, context, won).await,
        Ended::Lost(causes) => resume(context, &causes),
    }
}

fn may_be_hedged(session: &mut Session) -> bool {
    let head = session.req_header();
    matches!(head.method, Method::GET | Method::HEAD)
        && head.version >= Version::HTTP_11
        && head.raw_path().first() == Some(&b'/')
        && exchange::can_be_copied(Asked::of_head(head))
        && session.is_body_empty()
}

/// A try that has an answer, its part of the budget if it was the second, and which one it was.
type Won = (Pick, Answer, Option<RetryPermit>, Try);

/// What came of the tries.
enum Ended {
    Won(Box<Won>),
    Lost(Vec<Cause>),
}

async fn race(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    request: &Request,
    hedge: Hedge,
) -> Result<Ended> {
    let started = Instant::now();
    let deadline = started + context.remaining(started);
    let target = context.target()?;
    let (hash, timeouts, policy) = (target.hash, target.rules.timeouts, target.policy.clone());
    let cluster = target.cluster.clone();
    let latencies = cluster.latencies(started);
    let Ok(first) = cluster.acquire(hash, &context.tried, started).await else {
        // The ordinary path waits where there is something to wait for, and says why where not.
        return Ok(Ended::Lost(Vec::new()));
    };
    let mut picked = context.tried.clone();
    picked.add(first.endpoint());
    let arrived = context.arrived();
    let links = [Link::default(), Link::default()];
    let mut begun = [None; 2];
    let ask = |pick, permit, one, parent, link| async move {
        let asked = plane
            .exchange
            .ask(pick, request, parent, timeouts, deadline, link);
        (asked.await, permit, one)
    };
    let mut tries = FuturesUnordered::new();
    let one = context.trail.picked(&first, arrived);
    context.trail.saw(&context.tried, Duration::ZERO);
    begun[0] = Some(one);
    let parent = context.trail.parent_of(one);
    tries.push(ask(first, None, one, parent, &links[0]));
    let mut alarm = pin!(ring(match hedge {
        Hedge::After(time) => Some(time),
        Hedge::Percentile(share) => latencies.percentile(share, started),
    }));
    let mut rung = false;
    let mut causes = Vec::new();
    let mut spare: Option<Won> = None;
    loop {
        tokio::select! {
            biased;
            Some((tried, permit, one)) = tries.next() => match tried {
                Ok((pick, answer)) => {
                    let is_poor = is_tried_again(&policy.retry.on, &answer);
                    let now = Instant::now();
                    note_connections(context, &begun, &links);
                    context.trail.turn_to(one);
                    note_answer(context, &answer, now);
                    if is_poor && !tries.is_empty() {
                        spare = Some((pick, answer, permit, one));
                        continue;
                    }
                    context.trail.cancelled(now.saturating_duration_since(arrived));
                    if !is_poor {
                        latencies.record(now.duration_since(started), now);
                    }
                    if let Some((mut pick, answer, ..)) = spare {
                        if let Some(counters) = context.trail.counters() {
                            counters.heard(now.saturating_duration_since(pick.started()));
                        }
                        pick.report(answer.outcome(), now);
                    }
                    return Ok(Ended::Won(Box::new((pick, answer, permit, one))));
                }
                Err(lost) => {
                    causes.push(lost.cause);
                    note_connections(context, &begun, &links);
                    context.trail.turn_to(one);
                    take_note(context, lost, Instant::now());
                    if tries.is_empty() {
                        return Ok(match spare {
                            Some(spare) => Ended::Won(Box::new(spare)),
                            None => Ended::Lost(causes),
                        });
                    }
                }
            },
            error = client_left(session) => {
                note_connections(context, &begun, &links);
                return Err(error);
            }
            () = &mut alarm, if !rung => {
                rung = true;
                let permit = cluster.try_retry();
                if let (None, Some(counters)) = (&permit, context.trail.counters()) {
                    counters.denied();
                }
                if let Some(permit) = permit
                    && let Ok(second) = cluster.acquire(hash, &picked, Instant::now()).await
                {
                    debug!("{}: no answer yet, asks {} too", context.name(), second.address());
                    if let Some(counters) = context.trail.counters() {
                        counters.hedged();
                    }
                    context.tries.repeats += 1;
                    let one = context.trail.picked(&second, arrived);
                    context.trail.saw(&context.tried, Duration::ZERO);
                    context.trail.hedged();
                    begun[1] = Some(one);
                    let parent = context.trail.parent_of(one);
                    tries.push(ask(second, Some(permit), one, parent, &links[1]));
                }
            }
        }
    }
}

/// Ends after `time`, or never.
async fn ring(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

/// Whether the ordinary path would rather try again than pass this answer on.
fn is_tried_again(on: &RetryOn, answer: &Answer) -> bool {
    let status = answer.head.status.as_u16();
    on.statuses.iter().any(|range| range.contains(&status))
}

fn note_answer(context: &mut Context, answer: &Answer, now: Instant) {
    let status = answer.head.status;
    let since = now.saturating_duration_since(context.arrived());
    context
        .trail
        .ended(|| record::Outcome::Answered(status), since);
}

/// Takes down what connections the tries have got so far, of those that will be given up as well.
fn note_connections(context: &mut Context, begun: &[Option<Try>; 2], links: &[Link; 2]) {
    for (one, link) in begun.iter().zip(links) {
        if let (Some(one), Some(link)) = (one, &*link.load()) {
            let (at, reused) = **link;
            let since = at.saturating_duration_since(context.arrived());
            context.trail.turn_to(*one);
            context.trail.connected(reused, since);
        }
    }
}

fn take_note(context: &mut Context, lost: Lost, now: Instant) {
    if lost.failure.is_some() {
        context.failure = lost.failure;
        context.note_lost(now);
    } else {
        let since = now.saturating_duration_since(context.arrived());
        context.trail.withdrawn(since);
    }
    if let Some(pick) = lost.pick {
        context.tried.add(pick.endpoint());
    }
}

/// Passes the winning answer on, unless it is one to try again after.
async fn settle(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    won: Box<Won>,
) -> Result<bool> {
    let (pick, mut answer, permit, one) = *won;
    context.trail.turn_to(one);
    context.pick = Some(pick);
    context.tries.permit = permit;
    let judged = plane.upstream_response_filter(session, &mut answer.head, context);
    match judged.await {
        Ok(()) => {}
        Err(error) if error.retry() => return Ok(false),
        Err(error) => return Err(error),
    }
    let delivered = exchange::deliver(&plane.exchange, plane, answer, session, context).await;
    if let Err(error) = delivered {
        let now = Instant::now();
        // Neither a client that left nor an answer that was taking long is a failure of the instance.
        if *error.esource() != ErrorSource::Downstream && !context.is_past_total(now) {
            context.give_up_pick(Outcome::Failed, now);
        }
        return Err(error);
    }
    Ok(true)
}

/// Nobody answered: the ordinary path goes on if there is a try left.
fn resume(context: &mut Context, causes: &[Cause]) -> Result<bool> {
    let target = context.target()?;
    let on = &target.policy.retry.on;
    let goes_on = causes.iter().all(|cause| cause.is_tried_again(on));
    if goes_on && !causes.iter().any(|cause| cause.was_sent()) {
        return Ok(false);
    }
    if goes_on && context.tries.repeats < target.rules.attempts {
        if let Some(permit) = target.cluster.try_retry() {
            context.tries.permit = Some(permit);
            context.tries.repeats += 1;
            return Ok(false);
        }
        if let Some(counters) = context.trail.counters() {
            counters.denied();
        }
    }
    let failure = context.failure.clone();
    Err(failure.map_or_else(
        || {
            Error::explain(
                ErrorType::InternalError,
                "a request was lost without a failure",
            )
        },
        |failure| context.fail(failure),
    ))
}
