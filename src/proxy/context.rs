//! What one request carries through the phases.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::cluster::Cluster;
use crate::cluster::pick::{Outcome, Pick, Tried};
use crate::cluster::policy::Policy;

use super::failure::Failure;
use super::forwarded::TrustedProxies;
use super::gate::Inside;
use super::request_id;
use super::rules::Rules;

/// One request's state.
pub struct Context {
    arrived: Instant,
    request_id: Option<HeaderValue>,
    /// Who sent the request, as far as trusted proxies tell.
    pub(super) client: IpAddr,
    /// Whether the peer's own forwarding headers are passed on.
    pub(super) peer_is_trusted: bool,
    pub(super) target: Option<Target>,
    pub(super) tried: Tried,
    pub(super) pick: Option<Pick>,
    /// The last failure of an attempt, or what ended the request.
    pub(super) failure: Option<Failure>,
    /// Declared last and so dropped last: the request is inside until it holds nothing else.
    _inside: Inside,
}

/// Where the request goes.
pub(super) struct Target {
    pub(super) cluster: Arc<Cluster>,
    pub(super) policy: Arc<Policy>,
    pub(super) rules: Rules,
    pub(super) hash: u64,
    /// Bytes to take off the path.
    pub(super) strip: usize,
}

impl Context {
    pub(super) fn new(inside: Inside, arrived: Instant) -> Self {
        Self {
            arrived,
            request_id: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            peer_is_trusted: false,
            target: None,
            tried: Tried::default(),
            pick: None,
            failure: None,
            _inside: inside,
        }
    }

    /// Takes down who the request is from and what it is called.
    pub(super) fn identify(&mut self, session: &Session, trusted: &TrustedProxies) {
        let head = session.req_header();
        self.request_id = Some(request_id::of(head));
        if let Some(peer) = session.client_addr().and_then(|address| address.as_inet()) {
            let peer = peer.ip().to_canonical();
            self.peer_is_trusted = trusted.contains(peer);
            self.client = trusted.client(peer, &head.headers);
        }
    }

    pub(super) fn request_id(&self) -> &HeaderValue {
        static NONE: HeaderValue = HeaderValue::from_static("-");
        self.request_id.as_ref().unwrap_or(&NONE)
    }

    /// The request's id as logs show it.
    pub(super) fn name(&self) -> &str {
        self.request_id().to_str().unwrap_or("-")
    }

    /// # Errors
    /// Never once `request_filter` has let the request pass.
    pub(super) fn target(&self) -> Result<&Target> {
        self.target
            .as_ref()
            .ok_or_else(|| Error::explain(ErrorType::InternalError, "the request has no target"))
    }

    /// What is left of the request's time.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        let limit = self
            .target
            .as_ref()
            .map_or(Duration::ZERO, |target| target.rules.timeouts.request);
        (self.arrived + limit).saturating_duration_since(now)
    }

    pub(super) fn report(&mut self, outcome: Outcome, now: Instant) {
        if let Some(pick) = &mut self.pick {
            pick.report(outcome, now);
        }
    }

    /// Lets go of the endpoint. One that could not be reached is not picked again.
    pub(super) fn give_up_pick(&mut self, outcome: Outcome, now: Instant) {
        if let Some(mut pick) = self.pick.take() {
            pick.report(outcome, now);
            if outcome == Outcome::Unreachable {
                self.tried.add(pick.endpoint());
            }
        }
    }

    /// Makes sure that the instance may still be given the request, in the last moment before it is.
    ///
    /// # Errors
    /// When it left or drains since it was picked; the request goes to another one.
    pub(super) fn confirm_pick(&mut self) -> Result<()> {
        if self.pick.as_ref().is_some_and(Pick::holds) {
            return Ok(());
        }
        if let Some(pick) = self.pick.take() {
            pick.withdraw();
        }
        let error = Error::explain(ErrorType::InternalError, "the instance has just left");
        Err(error.into_up())
    }

    /// Ends the request with `failure`, which [`fail_to_proxy`] will answer.
    ///
    /// [`fail_to_proxy`]: pingora_proxy::ProxyHttp::fail_to_proxy
    pub(super) fn fail(&mut self, failure: Failure) -> Box<Error> {
        let error = Error::explain(
            ErrorType::HTTPStatus(failure.status().as_u16()),
            failure.detail().to_owned(),
        );
        self.failure = Some(failure);
        error.into_in()
    }
}
