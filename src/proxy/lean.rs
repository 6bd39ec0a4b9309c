//! The lean path: most requests, served from bytes to bytes.
//!
//! Pingora's proxy can do anything with a request, and every request pays for that: maps of headers,
//! copies of them, channels, boxed futures. A request of HTTP/1.1 that wants nothing but an answer, in
//! common terms, and goes to an instance that speaks HTTP/1.1 in clear text, needs none of it. Its head is
//! taken apart once, and written to the instance out of the bytes that came; so is the answer's.
//!
//! What is decided about a request is decided by the same code as on Pingora's path: where it goes
//! ([`aim`](super::aim)), who gets it and who gets it next ([`tries`](super::tries)), what its answer says
//! of the instance ([`hear`](super::hear)), what is told of whom to whom ([`headers`](super::headers)), how
//! long things may take ([`attempt`](super::attempt), [`watchdog`]), and what is told of
//! it all ([`trail`]). What differs is who reads and writes. A request that turns out to
//! need more goes on to Pingora's path with all that was decided so far.
//!
//! Messages are not passed through: whatever two readers could take for two different messages is
//! refused, and lengths and chunks are written anew.

mod body;
mod exchange;
mod flow;
mod out;
mod pool;
mod request;
mod response;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use log::debug;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::{Error, ErrorSource};

use crate::tls::Identity;

use super::DataPlane;
use super::aim::most_of_body;
use super::asked::{Asked, From};
use super::connection::{Client, Plain};
use super::context::Context;
use super::failure::Failure;
use super::grpc::Flavor;
use super::retry::MAX_TRIES;
use super::trail::{self, Ended};
use super::watchdog;

use exchange::{Exchange, Step};
pub(super) use pool::Pool;

/// What serves requests on the lean path.
pub(super) struct Lean {
    plane: DataPlane,
    pool: Arc<Pool>,
}

/// Where a connection is from, for all of its requests.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) peer: Option<SocketAddr>,
    /// Its address, in words.
    pub(super) peer_name: Option<Box<str>>,
    pub(super) secured: bool,
    /// Who the client is, if it has shown a certificate.
    pub(super) proxy: Option<Arc<ProxyDigest>>,
}

/// What became of a request.
pub(super) enum Served {
    /// It was answered then, and the connection is good for another.
    Kept(Instant),
    /// It is over, and so is the connection.
    Over,
    /// It is for Pingora, with what was decided so far.
    Passed(Box<Context>),
}

/// A request as it came.
pub(super) struct Came<'a> {
    pub(super) plain: &'a Plain,
    /// Its head.
    pub(super) bytes: &'a [u8],
    pub(super) asked: Asked<'a>,
}

impl Origin {
    fn identity(&self) -> Option<&Identity> {
        self.proxy.as_ref()?.user_data.as_ref()?.downcast_ref()
    }
}

impl<'a> Came<'a> {
    /// The request whose head is `bytes`, which are `plain`.
    pub(super) fn new(plain: &'a Plain, bytes: &'a [u8], origin: &'a Origin) -> Self {
        let target = &bytes[plain.target.0..plain.target.1];
        Self {
            plain,
            bytes,
            asked: Asked::plainly(
                &plain.method,
                str::from_utf8(target).unwrap_or("/"),
                plain.fields(bytes),
                From {
                    peer: origin.peer,
                    peer_name: origin.peer_name.as_deref(),
                    secured: origin.secured,
                    identity: origin.identity(),
                },
            ),
        }
    }
}

impl Lean {
    pub(super) fn new(plane: DataPlane, pool: Arc<Pool>) -> Self {
        Self { plane, pool }
    }

    /// Whether the request may be served here, as far as its head tells.
    pub(super) fn takes(&self, came: &Came<'_>) -> bool {
        let asked = came.asked;
        let is_proof =
            || self.plane.challenges.is_some() && asked.target.starts_with("/.well-known/");
        Flavor::of(asked.method, asked.fields).is_none() && !is_proof()
    }

    /// Serves the request that has come on `client`, the last of its head at `arrived`.
    pub(super) async fn serve(
        &self,
        client: &mut Client,
        came: Came<'_>,
        arrived: Instant,
    ) -> Served {
        let plane = &self.plane;
        let mut context = Context::new(plane.gate.enter(), arrived);
        let aimed = plane.aim(came.asked, &mut context);
        let aimed = aimed.and_then(|target| {
            let most = most_of_body(came.asked, &target.rules)?;
            Ok((target, most))
        });
        let (target, most) = match aimed {
            Ok(aimed) => aimed,
            Err(failure) => return self.refuse(client, &came, &mut context, failure).await,
        };
        if let Some(most) = most {
            client.limit_body(most);
        }
        let is_simple = context.copy.is_none() && target.policy.retry.hedge.is_none();
        context.target = Some(target);
        if !is_simple {
            return Served::Passed(Box::new(context));
        }
        let mut exchange = Exchange::new(self, client, &came, &mut context);
        let mut tries = 0;
        let failed = loop {
            tries += 1;
            match exchange.attempt().await {
                Ok(Step::Done) => break None,
                Ok(Step::Passed) => return Served::Passed(Box::new(context)),
                Err(error) if error.retry() && tries < MAX_TRIES => {
                    debug!("{}: {error}", exchange.name());
                }
                Err(error) => break Some(error),
            }
        };
        watchdog::clear();
        let mut outcome = exchange.into_outcome();
        if let Some(error) = failed {
            outcome.keeps = false;
            self.fail(client, &came, &mut context, &mut outcome, &error)
                .await;
        }
        let now = self.finish(&came, &mut context, &outcome);
        if outcome.keeps && client.is_between_requests() {
            Served::Kept(now)
        } else {
            Served::Over
        }
    }

    /// Answers a request that has led nowhere.
    async fn refuse(
        &self,
        client: &mut Client,
        came: &Came<'_>,
        context: &mut Context,
        failure: Failure,
    ) -> Served {
        context.trail.failed(&failure, false);
        context
            .trail
            .unrouted(&self.plane.telemetry, failure.status());
        let keeps = came.plain.keeps
            && !self.plane.gate.is_closing()
            && failure.keeps_connection()
            && client.is_between_requests();
        let mut outcome = Outcome {
            keeps,
            ..Outcome::default()
        };
        self.answer(client, came, context, &mut outcome, &failure)
            .await;
        let now = self.finish(came, context, &outcome);
        if outcome.keeps {
            Served::Kept(now)
        } else {
            Served::Over
        }
    }

    /// Ends a request with callboard's own answer, or without one if it is too late for that.
    async fn fail(
        &self,
        client: &mut Client,
        came: &Came<'_>,
        context: &mut Context,
        outcome: &mut Outcome,
        error: &Error,
    ) {
        let fault = client.failure();
        let failure = match context.failure.take() {
            _ if fault.is_some() => fault,
            Some(failure) if *error.esource() != ErrorSource::Downstream => Some(failure),
            _ => Failure::of_pingora(error),
        };
        let Some(failure) = failure else {
            return context.trail.client_left();
        };
        context.trail.failed(&failure, false);
        if outcome.status.is_none() {
            self.answer(client, came, context, outcome, &failure).await;
        }
    }

    async fn answer(
        &self,
        client: &mut Client,
        came: &Came<'_>,
        context: &mut Context,
        outcome: &mut Outcome,
        failure: &Failure,
    ) {
        let is_head = came.asked.method == http::Method::HEAD;
        let written = failure.to_wire(context.request_id(), is_head, outcome.keeps);
        let Ok(wire) = written else {
            outcome.keeps = false;
            return;
        };
        outcome.status = Some(failure.status());
        if !is_head {
            let head = memchr::memmem::find(&wire, b"\r\n\r\n").map_or(wire.len(), |end| end + 4);
            outcome.sent = (wire.len() - head) as u64;
        }
        if context.trail.is_told_of()
            && let Ok((response, _)) = failure.response(context.request_id())
        {
            outcome.answer = Some(response.as_owned_parts().headers);
        }
        if let Err(error) = out::send(client, &wire).await {
            debug!("{}: the client left: {error}", context.name());
            outcome.keeps = false;
        }
    }

    /// The request is over, as of now.
    fn finish(&self, came: &Came<'_>, context: &mut Context, outcome: &Outcome) -> Instant {
        let headers = if context.trail.is_told_of() {
            request::to_map(came.asked.fields)
        } else {
            HeaderMap::new()
        };
        let ended = Ended {
            asked: came.asked,
            headers: &headers,
            status: outcome.status,
            answer: outcome.answer.as_ref(),
            received: outcome.received,
            sent: outcome.sent,
        };
        trail::finish(&self.plane.telemetry, &ended, context)
    }
}

/// What a request came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the client was answered.
    status: Option<StatusCode>,
    /// The headers of that answer, if anybody wants to know.
    answer: Option<HeaderMap>,
    /// Bytes of its body.
    received: u64,
    /// Bytes of the answer's body.
    sent: u64,
    /// Whether the connection is good for another request.
    keeps: bool,
}
