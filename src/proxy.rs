//! The request path, on Pingora's proxy engine. The methods below stand in the order in which
//! Pingora calls them; each does its phase and leaves what the next one needs in the [`Context`].

pub mod clients;
mod context;
mod failure;
pub mod forwarded;
pub mod gate;
mod hash_key;
mod headers;
mod request_id;
mod rules;
pub mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{StatusCode, Version, header};
use log::debug;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::http::ServerSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::cluster::clusters::Clusters;
use crate::cluster::pick::{Nobody, Outcome};
use crate::cluster::queue::Refusal;
use crate::route::path::has_dot_segment;
use crate::route::table::{Request, Routes};

use clients::Clients;
use context::{Context, Target};
use failure::Failure;
use forwarded::TrustedProxies;
use gate::Gate;
use rules::Rules;

/// How long a client may take to accept a piece of the response.
const CLIENT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What may change while requests are served.
pub struct Settings {
    /// Where requests go.
    pub routes: Routes,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// What clients may send.
    pub clients: Clients,
}

/// callboard's data plane as a Pingora application.
pub struct DataPlane {
    clusters: Clusters,
    settings: Arc<ArcSwap<Settings>>,
    gate: Arc<Gate>,
}

impl DataPlane {
    /// A data plane over `clusters`; `gate` counts its requests.
    pub fn new(clusters: Clusters, settings: Arc<ArcSwap<Settings>>, gate: Arc<Gate>) -> Self {
        Self {
            clusters,
            settings,
            gate,
        }
    }

    /// Finds out where a request goes and what it is known by.
    fn aim(&self, session: &Session, context: &mut Context) -> Result<Target, Failure> {
        let settings = self.settings.load();
        let head = session.req_header();
        context.identify(session, &settings.trusted_proxies);
        let path = head.uri.path();
        if !headers::names_host(head) {
            return Err(Failure::bad_host());
        }
        if !headers::is_plainly_coded(head) {
            return Err(Failure::unknown_coding());
        }
        if has_dot_segment(path) {
            return Err(Failure::dot_segment());
        }
        let request = Request {
            host: headers::host(head),
            path,
            method: &head.method,
            headers: &head.headers,
        };
        let found = settings
            .routes
            .find(&request, fastrand::u64(..))
            .ok_or_else(|| Failure::no_route(&request))?;
        let Some(cluster) = self.clusters.find(&found.service) else {
            let policies = self.clusters.policies();
            let known = found.route.is_some() || policies.services.contains_key(&*found.service);
            return Err(if known {
                Failure::nobody_available(&found.service)
            } else {
                Failure::unknown_service(&found.service)
            });
        };
        let policy = cluster.policy();
        let overrides = found.route.map(|route| &route.overrides);
        Ok(Target {
            hash: hash_key::of(&policy.balance.hash_on, head, context.client),
            strip: found.strip,
            rules: overrides.map_or_else(
                || Rules::of(&policy),
                |over| Rules::laid_over(&policy, over),
            ),
            policy,
            cluster,
        })
    }
}

/// Settles how the client is spoken with.
fn prepare(session: &mut Session) {
    session.set_write_timeout(Some(CLIENT_WRITE_TIMEOUT));
    // Interim answers came with HTTP/1.1 (RFC 9110, section 15.2).
    let ignored = speaks_http_10(session);
    session.set_ignore_info_resp(ignored);
    // Without this, a next request that comes before the answer to this one fails both.
    if let ServerSession::H1(session) = session.as_downstream_mut() {
        session.set_pipelining_enabled(true);
    }
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
        match self.aim(session, context) {
            Ok(target) => {
                context.target = Some(target);
                Ok(false)
            }
            Err(failure) => {
                failure.answer(session, context.request_id()).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<HttpPeer>> {
        let now = Instant::now();
        let target = context.target()?;
        let remaining = context.remaining(now);
        if remaining.is_zero() {
            let late = Failure::out_of_time(target.rules.timeouts.request);
            return Err(context.fail(late));
        }
        let acquired = target
            .cluster
            .acquire(target.hash, &context.tried, now + remaining)
            .await;
        let pick = match acquired {
            Ok(pick) => pick,
            Err(Refusal::Nobody(nobody)) => {
                let none = Failure::nobody_available(target.cluster.name().as_str());
                let failure = match nobody {
                    Nobody::Untried => context.failure.take().unwrap_or(none),
                    Nobody::Available => none,
                };
                return Err(context.fail(failure));
            }
        };
        let timeouts = target.rules.timeouts;
        let mut peer = HttpPeer::new(pick.address(), false, String::new());
        peer.group_key = pick.endpoint().connection_group();
        peer.options.connection_timeout = Some(timeouts.connect.min(remaining));
        peer.options.read_timeout = Some(remaining);
        peer.options.write_timeout = Some(remaining);
        peer.options.idle_timeout = Some(timeouts.idle);
        context.pick = Some(pick);
        Ok(Box::new(peer))
    }

    /// Nothing of the request has been sent, so any method may go to another instance.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        peer: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        debug!("{}: connect to {}: {error}", context.name(), peer._address);
        context.failure = Some(Failure::of_connect(&peer._address, &error));
        context.give_up_pick(Outcome::Unreachable, Instant::now());
        error.set_retry(true);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        context.confirm_pick()?;
        let strip = context.target()?.strip;
        let prefix = headers::strip_prefix(request, strip)?;
        headers::forward(request, session, context, prefix)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let now = Instant::now();
        let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !session.is_upgrade_req() {
            context.report(Outcome::Failed, now);
            return Err(context.fail(Failure::unasked_upgrade()));
        }
        if switches || !response.status.is_informational() {
            context.report(Outcome::Answered, now);
        } else if context.remaining(now).is_zero() {
            // Each interim answer starts Pingora's read timeout anew.
            let late = Failure::out_of_time(context.target()?.rules.timeouts.request);
            return Err(context.fail(late));
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        headers::clean_response(response)?;
        if response.version == Version::HTTP_10 {
            // What we speak with the client is our own matter.
            response.set_version(Version::HTTP_11);
        }
        if speaks_http_10(session) {
            // It knows no transfer coding: the end of the connection ends the body.
            response.remove_header(&header::TRANSFER_ENCODING);
        }
        if session.is_process_shutting_down() {
            // A client that was not told would send its next request into the closing connection.
            session.set_keepalive(None);
        }
        response.insert_header(request_id::HEADER, context.request_id().clone())
    }

    /// A request that failed on a connection kept from earlier may have crossed the instance's
    /// closing it, so an idempotent one is sent again, to the same instance if it comes to that.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("instance at {}", peer._address));
        if context.pick.is_none() {
            // Withdrawn before anything was sent.
            error.set_retry(true);
            return error;
        }
        if session.req_header().method.is_idempotent() && !session.retry_buffer_truncated() {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        if *error.esource() == ErrorSource::Upstream {
            let limit = context.target.as_ref().map(|t| t.rules.timeouts.request);
            context.failure = Some(Failure::of_exchange(
                &peer._address,
                &error,
                limit.unwrap_or_default(),
            ));
            context.give_up_pick(Outcome::Failed, Instant::now());
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let failure = match context.failure.take() {
            Some(failure) if *error.esource() != ErrorSource::Downstream => Some(failure),
            _ => Failure::of_pingora(error),
        };
        let Some(failure) = failure else {
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        let error_code = failure.status().as_u16();
        if let Err(error) = failure.answer(session, context.request_id()).await {
            debug!("{}: the client left: {error}", context.name());
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
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
