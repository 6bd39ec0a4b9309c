//! The request path, on Pingora's proxy engine. The methods below stand in the order in which
//! Pingora calls them; each does its phase and leaves what the next one needs in the [`Context`].

mod aim;
mod asked;
mod attempt;
pub mod clients;
pub mod connection;
mod context;
mod counters;
mod exchange;
mod failure;
pub mod forwarded;
pub mod gate;
mod grpc;
mod hash_key;
mod headers;
mod hear;
mod hedge;
mod hints;
mod lean;
pub mod listener;
mod mirror;
mod patience;
mod peer;
mod proof;
mod relay;
mod request_id;
pub mod retry;
mod rules;
mod ruling;
pub mod tcp;
mod trail;
mod tries;
mod tunnel;
mod upgrade;
mod verdict;
pub mod watchdog;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use log::debug;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::acme::Challenges;
use crate::cluster::clusters::Clusters;
use crate::grpc::Code;
use crate::route::splits::Splits;
use crate::telemetry::Telemetry;

use aim::limit_body;
use asked::Asked;
use attempt::Attempt;
use clients::Clients;
use connection::Client;
use context::Context;
use exchange::Exchange;
use failure::Failure;
use forwarded::TrustedProxies;
use gate::Gate;
use hear::Heard;
use mirror::Mirrors;
use retry::Replay;
use trail::{CutOff, Ended};
use verdict::Verdict;

/// How long a client may take to accept a piece of the response.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What may change while requests are served.
pub struct Settings {
    /// Whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// What clients may send.
    pub clients: Clients,
    /// Whether simple requests take the [lean path](lean).
    pub lean_path: bool,
}

/// callboard's data plane as a Pingora application. Clones share all there is.
#[derive(Clone)]
pub struct DataPlane {
    clusters: Clusters,
    splits: Arc<Splits>,
    settings: Arc<ArcSwap<Settings>>,
    gate: Arc<Gate>,
    telemetry: Arc<Telemetry>,
    exchange: Arc<Exchange>,
    mirrors: Mirrors,
    challenges: Option<Challenges>,
}

impl DataPlane {
    /// A data plane over `clusters`, to which `splits` leads; `gate` counts its requests, and
    /// `telemetry` tells of them.
    pub fn new(
        clusters: Clusters,
        splits: Arc<Splits>,
        settings: Arc<ArcSwap<Settings>>,
        gate: Arc<Gate>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            clusters,
            splits,
            settings,
            gate,
            telemetry,
            exchange: Arc::default(),
            mirrors: Mirrors::default(),
            challenges: None,
        }
    }

    /// Answers ACME servers from `challenges`, whatever the routes are.
    #[must_use]
    pub fn proving(self, challenges: Option<Challenges>) -> Self {
        Self { challenges, ..self }
    }
}

impl DataPlane {
    /// Does what else there is to do before a request that has a target goes to an instance; says whether
    /// it is answered.
    async fn begin(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        mirror::begin(self, session, context);
        if upgrade::is_asked(session) {
            return Box::pin(upgrade::answer(self, session, context)).await;
        }
        match context.target()?.policy.retry.hedge {
            // Boxed, or every request would make room for what few do.
            Some(hedge) => Box::pin(hedge::answer(self, session, context, hedge)).await,
            None => Ok(false),
        }
    }
}

/// Settles how the client is spoken with.
fn prepare(session: &mut Session) {
    session.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
    // The connection has its own idea of how long a body may take.
    session.set_read_timeout(None);
    // Interim answers came with HTTP/1.1 (RFC 9110, section 15.2).
    let ignored = speaks_http_10(session);
    session.set_ignore_info_resp(ignored);
}

fn speaks_http_10(session: &Session) -> bool {
    session.req_header().version < Version::HTTP_11
}

#[async_trait]
impl ProxyHttp for DataPlane {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(self.gate.enter(), Instant::now())
    }

    /// None of Pingora's modules is used, so none is set up for each request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        prepare(session);
        if let Some(handed) = connection::of(session).and_then(Client::take_handed) {
            *context = *handed;
            return self.begin(session, context).await;
        }
        if let Some(challenges) = &self.challenges
            && let Some(proof) = proof::asked_for(challenges, session)
        {
            let counted = self.telemetry.settings().metrics.requests;
            context.trail.watch.counted = counted;
            context.trail.unrouted(&self.telemetry, StatusCode::OK);
            proof::answer(session, proof, self.gate.is_closing()).await?;
            return Ok(true);
        }
        let aimed = self.aim(Asked::of(session), context);
        if context.trail.is_told_of() && session.req_header().version == Version::HTTP_2 {
            let cut = CutOff::new(&self.telemetry, session, context);
            context.trail.may_be_cut_off(cut);
        }
        match aimed.and_then(|target| limit_body(session, &target.rules).map(|()| target)) {
            Ok(target) => {
                context.target = Some(target);
                self.begin(session, context).await
            }
            Err(failure) => {
                let is_call = context.call.is_some();
                context.trail.failed(&failure, is_call);
                let status = if is_call {
                    StatusCode::OK
                } else {
                    failure.status()
                };
                context.trail.unrouted(&self.telemetry, status);
                let leaves = self.gate.is_closing();
                failure
                    .refuse(session, context.request_id(), leaves)
                    .await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        context.next_peer(session, &self.gate).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        debug!("{}: connect to {}: {error}", context.name(), peer._address);
        let now = Instant::now();
        context.unconnected(&peer._address, &mut error, now);
        context.note_lost(now);
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        file: RawFd,
        _digest: Option<&Digest>,
        context: &mut Context,
    ) -> Result<()> {
        let now = Instant::now();
        let attempt = Attempt::new((!peer::is_shared(peer)).then_some(file), now);
        attempt.await_head(context.deadlines(), None, now);
        context.attempt = Some(attempt);
        context.trail.connected(reused, now - context.arrived());
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.confirm_pick()?;
        mirror::begin_again(context);
        let strip = context.target()?.strip;
        let prefix = headers::strip_prefix(request, strip)?;
        let shared = context.attempt.as_ref().is_some_and(Attempt::is_shared);
        if shared {
            context.begin_stream(session, request).await?;
        }
        if context.tries.alone && !shared {
            request.insert_header(header::CONNECTION, "close")?;
        }
        headers::forward(request, session, context, prefix)?;
        context.forward_call(request, Instant::now())
    }

    /// Called for what is sent again as well.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        ends: bool,
        context: &mut Context,
    ) -> Result<()> {
        let length = body.as_ref().map_or(0, Bytes::len);
        context.pass_request(length, ends, Instant::now())?;
        mirror::add(self, session, context, body.as_ref(), ends);
        (context.call.as_mut()).map_or(Ok(()), |call| call.pass_request(body, ends))
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let now = Instant::now();
        let verdict = Verdict::of(context.call.as_deref(), response, SystemTime::now);
        let asked = context.attempt.as_ref().is_some_and(Attempt::has_asked);
        let heard = Heard {
            status: response.status,
            fields: (&response.headers).into(),
            verdict,
            may_switch: session.is_upgrade_req(),
        };
        if !context.hear(heard, Replay::of(session), now)? {
            return Ok(());
        }
        if let Some(attempt) = &mut context.attempt {
            if attempt.is_shared() && (!asked || verdict.is_over) {
                // Who is done with a request closes its stream, and a body that then finds it closed
                // costs the client its connection, which is better said.
                session.set_keepalive(None);
            }
            attempt.answer(
                response.status,
                attempt::ends_with_connection(&session.req_header().method, response),
            );
        }
        context.await_body(false, now)
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        ends: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        let now = Instant::now();
        context.await_body(ends, now)?;
        if ends || body.as_ref().is_some_and(|body| !body.is_empty()) {
            context.judge_answered(now);
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut Context,
    ) -> Result<()> {
        if context.call.is_some()
            && let Some(code) = Code::of(trailers)
        {
            context.trail.called(code);
            let retry_after = grpc::pushback(trailers).and_then(Result::ok);
            if let Some(counters) = context.trail.counters() {
                counters.ended(code);
            }
            context.judge_end(code, retry_after, Instant::now());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.trail.answered(response.status, Instant::now());
        if let (Some(call), Some(counters)) = (&context.call, context.trail.counters()) {
            match Code::of(&response.headers) {
                Some(code) => counters.ended(code),
                None if call.is_opaque() => counters.no_call(),
                None => {}
            }
        }
        headers::clean_response(response)?;
        if response.version == Version::HTTP_10 {
            // What we speak with the client is our own matter.
            response.set_version(Version::HTTP_11);
        }
        if speaks_http_10(session) {
            // It knows no transfer coding: the end of the connection ends the body.
            response.remove_header(&header::TRANSFER_ENCODING);
            if attempt::ends_with_connection(&session.req_header().method, response) {
                session.set_keepalive(None);
            }
        }
        if self.gate.is_closing() {
            // A client that was not told would send its next request into the closing connection.
            session.set_keepalive(None);
        }
        response.insert_header(request_id::HEADER, context.request_id().clone())?;
        (context.call.as_mut()).map_or(Ok(()), |call| call.answer(response))
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _ends: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        if let Some(call) = &context.call {
            call.pass_answer(body);
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        context: &mut Context,
    ) -> Result<Option<Bytes>> {
        Ok(context.call.as_ref().and_then(|call| call.close(trailers)))
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("instance at {}", peer._address));
        let now = Instant::now();
        context.broken(Replay::of(session), &peer._address, &mut error, reused, now);
        context.note_broken(&error, now);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let fault = connection::failure(session);
        let failure = match context.failure.take() {
            _ if fault.is_some() => fault,
            Some(failure) if *error.esource() != ErrorSource::Downstream => Some(failure),
            _ => Failure::of_pingora(error),
        };
        let Some(failure) = failure else {
            context.trail.client_left();
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        context.trail.failed(&failure, context.call.is_some());
        let error_code = failure.status().as_u16();
        let has_begun = (session.response_written()).is_some_and(|h| !h.status.is_informational());
        let answered = match &context.call {
            Some(call) if has_begun => failure.end(session, call).await.map(drop),
            _ => failure.answer(session, context.request_id()).await,
        };
        if let Err(error) = answered {
            debug!("{}: the client left: {error}", context.name());
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, context: &mut Context) {
        // A response without a body has had no other end than this.
        watchdog::clear();
        trail::finish(&self.telemetry, &Ended::of(session), context);
    }

    /// A failing instance would fill Pingora's log with a line per request; what operators need is
    /// in the response, and in one line when an instance's availability changes.
    fn suppress_error_log(&self, _: &Session, context: &Context, error: &Error) -> bool {
        debug!("{}: {error}", context.name());
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Context,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
