//! Requests to go on in another protocol on the same connection (RFC 9110, section 7.8), such as
//! WebSocket. Which one it is does not matter: that is between the client and the instance.
//!
//! They go to an instance as others do: through the same limits and queues, and on to another one when
//! it cannot be reached or fails. Each has a connection of its own. An answer that agrees makes a
//! [`Tunnel`] of both connections, and any other is passed on as answers are.
//!
//! Who asks for what HTTP allows to be ignored gets an ordinary answer: HTTP/2 in clear text, which
//! nobody speaks that way any more (RFC 9113, section 3.1), and whatever comes with a body.

mod connect;
mod handshake;

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use http::{StatusCode, header};
use log::debug;
use pingora::http::ResponseHeader;
use pingora::protocols::UniqueID;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{ProxyHttp, Session};

use crate::cluster::pick::Outcome;
use crate::dial;

use super::attempt::Attempt;
use super::connection::{Passed, Wire};
use super::context::Context;
use super::exchange::{self, Answer, client_left};
use super::retry::{MAX_TRIES, Replay};
use super::trail::CutOff;
use super::tunnel::Tunnel;
use super::{DataPlane, connection, watchdog};

/// Whether the request is to be answered here. One that is not loses its wish.
pub(super) fn is_asked(session: &mut Session) -> bool {
    if !session.req_header().headers.contains_key(header::UPGRADE) {
        return false;
    }
    if handshake::is_one(session.req_header()) && session.is_body_empty() {
        return true;
    }
    let head = session.req_header_mut();
    head.remove_header(&header::UPGRADE);
    head.remove_header("HTTP2-Settings");
    false
}

/// Asks an instance, and makes a tunnel of the connection or passes the answer on.
///
/// # Errors
/// When the request has to end otherwise: no instance answers, the client left, or the answer broke
/// off.
pub(super) async fn answer(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
) -> Result<bool> {
    let mut tries = 0;
    let (instance, head, peer) = loop {
        tries += 1;
        match attempt(plane, session, context).await {
            Ok(answered) => break answered,
            Err(error) if error.retry() && tries < MAX_TRIES => {
                debug!("{}: {error}", context.name());
            }
            Err(error) => return Err(error),
        }
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        switch(plane, session, context, instance, *head).await?;
    } else {
        deliver(plane, session, context, Answer::own(head, instance, peer)).await?;
    }
    Ok(true)
}

/// An answer of which the head has come, and on what.
type Answered = (HttpSession, Box<ResponseHeader>, HttpPeer);

/// Asks one instance. An error says whether another one is to be asked.
async fn attempt(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
) -> Result<Answered> {
    let peer = context.next_peer(session, &plane.gate).await?;
    let mut instance = match connect::connect(&peer, context).await {
        Ok(stream) => {
            context.trail.connected(false, context.arrived().elapsed());
            HttpSession::new(stream)
        }
        Err(mut error) => {
            debug!("{}: connect to {}: {error}", context.name(), peer._address);
            let now = Instant::now();
            context.unconnected(&peer._address, &mut error, now);
            context.note_lost(now);
            return Err(error);
        }
    };
    let asked = ask(plane, session, context, &mut instance).await;
    // From here on, whatever waits for the rest of the answer knows how long.
    watchdog::clear();
    match asked {
        Ok(head) => {
            context.attempt = None;
            Ok((instance, head, *peer))
        }
        Err(mut error) => {
            error.retry.decide_reuse(false);
            let mut error = error.more_context(format!("instance at {}", peer._address));
            let now = Instant::now();
            let replay = Replay::of(session);
            context.broken(replay, &peer._address, &mut error, false, now);
            context.note_broken(&error, now);
            Err(error)
        }
    }
}

/// Sends the request and judges the head of its answer.
async fn ask(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    instance: &mut HttpSession,
) -> Result<Box<ResponseHeader>> {
    let now = Instant::now();
    context.attempt = Some(Attempt::new(Some(instance.id()), now));
    context.pass_request(0, true, now)?;
    context.confirm_pick()?;
    let request = handshake::request(session, context)?;
    let mut head = tokio::select! {
        biased;
        head = handshake::exchange(instance, request) => head.map_err(Error::into_up)?,
        error = client_left(session) => return Err(error),
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS
        && !handshake::is_agreed(session.req_header(), &head)
    {
        let other = "it switched to a protocol that was not asked for";
        return Err(Error::new_up(ErrorType::Custom(other)));
    }
    plane
        .upstream_response_filter(session, &mut head, context)
        .await?;
    Ok(head)
}

/// Leaves the connection to a tunnel that begins with `head`.
async fn switch(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    mut instance: HttpSession,
    mut head: ResponseHeader,
) -> Result<()> {
    plane.response_filter(session, &mut head, context).await?;
    let mut first = handshake::to_wire(&mut head);
    let length = first.len();
    // What came along with the head is there at once; all else is the tunnel's to wait for.
    if let Some(Ok(Some(bytes))) = instance.read_body_ref().now_or_never() {
        first.extend_from_slice(bytes);
    }
    let target = context.target()?;
    let silence = target.rules.timeouts.tunnel;
    let is_websocket = handshake::is_websocket(&head);
    let instance = instance
        .into_inner()
        .into_any()
        .downcast::<Wire<dial::Stream>>();
    let (Some(pick), Some(client), Ok(instance)) =
        (context.pick.take(), connection::of(session), instance)
    else {
        let lost = "a handshake lost its connection";
        return Err(Error::explain(ErrorType::InternalError, lost));
    };
    let cut = CutOff::of_tunnel(&plane.telemetry, session, context);
    let mut trail = context.trail.go_on(cut);
    trail.passed(Passed {
        received: 0,
        sent: (first.len() - length) as u64,
    });
    client.become_tunnel(Box::new(Tunnel {
        instance: instance.into_inner(),
        first,
        pick,
        inside: plane.gate.enter(),
        gate: Arc::clone(&plane.gate),
        trail,
        silence,
        is_websocket,
    }));
    Ok(())
}

/// Passes an answer on that does not agree.
async fn deliver(
    plane: &DataPlane,
    session: &mut Session,
    context: &mut Context,
    answer: Answer,
) -> Result<()> {
    let delivered = exchange::deliver(&plane.exchange, plane, answer, session, context).await;
    if let Err(error) = &delivered {
        let now = Instant::now();
        // Neither a client that left nor an answer that was taking long is a failure of the instance.
        if *error.esource() != ErrorSource::Downstream && !context.is_past_total(now) {
            context.give_up_pick(Outcome::Failed, now);
        }
    }
    delivered
}
