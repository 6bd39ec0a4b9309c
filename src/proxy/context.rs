//! What one request carries through the phases.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::address::Address;
use crate::cluster::Cluster;
use crate::cluster::pick::{Outcome, Pick, Tried};
use crate::cluster::policy::Policy;
use crate::grpc::Code;

use super::asked::Asked;
use super::attempt::{Arrival, Attempt, Deadlines};
use super::failure::Failure;
use super::forwarded::TrustedProxies;
use super::gate::Inside;
use super::grpc::Call;
use super::mirror::MirrorCopy;
use super::request_id;
use super::rules::Rules;
use super::ruling::Ruling;
use super::trail::Trail;
use super::tries::Tries;
use super::watchdog::Timer;

/// One request's state.
pub struct Context {
    arrived: Instant,
    request_id: Option<HeaderValue>,
    /// Who sent the request, as far as trusted proxies tell.
    pub(super) client: IpAddr,
    /// Whether the peer's own forwarding headers are passed on.
    pub(super) peer_is_trusted: bool,
    /// What it is besides, if it is a call of gRPC.
    pub(super) call: Option<Box<Call>>,
    pub(super) target: Option<Target>,
    /// What has come of the request's body.
    pub(super) arrival: Arrival,
    pub(super) tried: Tried,
    pub(super) tries: Tries,
    pub(super) pick: Option<Pick>,
    /// The present try, once it has its connection.
    pub(super) attempt: Option<Attempt>,
    /// The last failure of an attempt, or what ended the request.
    pub(super) failure: Option<Failure>,
    /// What is noted of it for those who want to know.
    pub(super) trail: Trail,
    /// The copy that is made of the request, until it is sent.
    pub(super) copy: Option<MirrorCopy>,
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

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.name())
            .finish_non_exhaustive()
    }
}

impl Context {
    pub(super) fn new(inside: Inside, arrived: Instant) -> Self {
        Self {
            arrived,
            request_id: None,
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            peer_is_trusted: false,
            call: None,
            target: None,
            arrival: Arrival::default(),
            tried: Tried::default(),
            tries: Tries::default(),
            pick: None,
            attempt: None,
            failure: None,
            trail: Trail::default(),
            copy: None,
            _inside: inside,
        }
    }

    /// Takes down who the request is from and what it is called.
    pub(super) fn identify(&mut self, asked: Asked<'_>, trusted: &TrustedProxies) {
        self.request_id = Some(request_id::of(asked.fields));
        self.call = Call::of(asked.method, asked.fields);
        let peer = asked.peer_ip();
        self.peer_is_trusted = trusted.believes(peer);
        self.client = trusted.client(peer, asked.fields);
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

    /// When the request came.
    pub(super) fn arrived(&self) -> Instant {
        self.arrived
    }

    /// When the request must be done; at once when it has no target.
    pub(super) fn deadlines(&self) -> Deadlines {
        match &self.target {
            Some(target) => Deadlines::new(self.arrived, self.arrival, &target.rules.timeouts),
            None => Deadlines {
                head: (self.arrived, Timer::Request),
                total: None,
            },
        }
    }

    /// What is left of the request's time to the head of its response.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        self.deadlines().head.0.saturating_duration_since(now)
    }

    /// Whether the response should have ended by now.
    pub(super) fn is_past_total(&self, now: Instant) -> bool {
        self.deadlines().total.is_some_and(|total| total <= now)
    }

    /// What ends a request for which no time is left.
    pub(super) fn too_late(&self) -> Failure {
        self.ran_out(self.deadlines().head.1, None::<&Address>)
    }

    /// What ends a request for which this setting ran out, while waiting for an instance if one is
    /// named.
    pub(super) fn ran_out(&self, timer: Timer, address: Option<&impl Display>) -> Failure {
        let limit = self.target.as_ref().and_then(|target| {
            let timeouts = &target.rules.timeouts;
            match timer {
                Timer::FirstByte => timeouts.first_byte,
                Timer::BetweenBytes => Some(timeouts.between_bytes),
                Timer::Request => Some(timeouts.request),
                Timer::Total => timeouts.total,
            }
        });
        let limit = limit.unwrap_or_default();
        let is_given = self.call.as_ref().is_some_and(|call| call.is_given(limit));
        if timer == Timer::Total && is_given {
            return Failure::deadline(limit, address);
        }
        Failure::ran_out(timer, limit, address)
    }

    /// Sets the limits on the rest of the response; `ends` tells that there is none.
    ///
    /// # Errors
    /// When a limit has been reached that cut the response.
    pub(super) fn await_body(&mut self, ends: bool, now: Instant) -> Result<()> {
        let total = self.deadlines().total;
        let (Some(attempt), Some(target)) = (&mut self.attempt, &self.target) else {
            return Ok(());
        };
        let silence = target.rules.timeouts.between_bytes;
        attempt.await_body(ends, total, silence, now)
    }

    /// Counts a part of the request's body that is passed on in the present try, and sets the limits that
    /// hold from now on; `ends` tells that it is the last.
    ///
    /// # Errors
    /// Never once `request_filter` has let the request pass.
    pub(super) fn pass_request(&mut self, length: usize, ends: bool, now: Instant) -> Result<()> {
        let timeouts = &self.target()?.rules.timeouts;
        let (first_byte, silence) = (timeouts.first_byte, timeouts.between_bytes);
        if let Some(attempt) = &mut self.attempt {
            attempt.pass_request(length, ends, &mut self.arrival, now);
        }
        let deadlines = self.deadlines();
        if let Some(attempt) = &self.attempt {
            attempt.await_head(deadlines, first_byte, now);
            attempt.await_more(deadlines.total, silence, now);
        }
        Ok(())
    }

    pub(super) fn report(&mut self, outcome: Outcome, now: Instant) {
        if let Some(pick) = &mut self.pick {
            pick.report(outcome, now);
        }
    }

    /// Writes what is a call's own into the head for the instance picked.
    ///
    /// # Errors
    /// When something of it cannot be written.
    pub(super) fn forward_call(&mut self, request: &mut RequestHeader, now: Instant) -> Result<()> {
        let total = self.deadlines().total;
        let (Some(call), Some(pick)) = (&mut self.call, &self.pick) else {
            return Ok(());
        };
        let left = total.map(|total| total.saturating_duration_since(now));
        let speaks_http2 = pick.endpoint().instance.scheme.is_http2();
        call.forward(request, speaks_http2, left)
    }

    /// Says of the endpoint that a call's answer is no failure, when that is known first.
    pub(super) fn judge_answered(&mut self, now: Instant) {
        if let (Some(call), Some(pick)) = (&mut self.call, &mut self.pick)
            && call.judge()
        {
            pick.judge(Outcome::Answered, now);
        }
    }

    /// Says of the endpoint what a call has ended with.
    pub(super) fn judge_end(&mut self, code: Code, retry_after: Option<Duration>, now: Instant) {
        if !code.is_fault() {
            return self.judge_answered(now);
        }
        if let (Some(call), Some(pick)) = (&mut self.call, &mut self.pick) {
            call.judge();
            pick.judge(Outcome::Faulted { retry_after }, now);
        }
    }

    /// Lets go of an endpoint that failed the request, which is not picked for it again.
    pub(super) fn give_up_pick(&mut self, outcome: Outcome, now: Instant) {
        if let Some(mut pick) = self.pick.take() {
            pick.report(outcome, now);
            if matches!(outcome, Outcome::Answered | Outcome::Faulted { .. }) {
                self.tried.mark_answer();
            }
            self.tried.add(pick.endpoint());
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
        self.trail.withdrawn(self.arrived.elapsed());
        self.trail.ruled(Ruling::AgainFor(
            "the instance had left before it was sent anything",
        ));
        let error = Error::explain(ErrorType::InternalError, "the instance has just left");
        Err(error.into_up())
    }

    /// Takes down that the present try ended with `error`: lost to its instance, or given up, which
    /// the failure of an earlier try must not be taken for.
    pub(super) fn note_broken(&mut self, error: &Error, now: Instant) {
        if *error.esource() == ErrorSource::Upstream {
            self.note_lost(now);
        } else {
            let since = now.saturating_duration_since(self.arrived);
            self.trail.cancelled(since);
        }
    }

    /// Takes down what the present try was lost for.
    pub(super) fn note_lost(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.arrived);
        self.trail.lost(self.failure.as_ref(), since);
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
