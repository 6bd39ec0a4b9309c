//! What is noted of a request on its way, to be told when it is over.
//!
//! Figures need a few moments and one pointer. Anything more is noted only for requests that somebody
//! wants to know of, which is drawn when the head has come.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode};
use pingora_proxy::Session;

use crate::cluster::explain::Sight;
use crate::cluster::pick::{Nobody, Pick, Tried};
use crate::grpc::Code;
use crate::names::ServiceName;
use crate::route::table::Found;
use crate::telemetry::explain::{Notes, Refused, Tried as Noted, Waited};
use crate::telemetry::record::{self, Attempt, Outcome, Record};
use crate::telemetry::{Telemetry, Watch};

use super::asked::Asked;
use super::connection::Passed;
use super::context::Context;
use super::counters::Counters;
use super::failure::Failure;
use super::ruling::Ruling;

mod cut_off;

pub(super) use cut_off::CutOff;

/// What is noted of one request.
#[derive(Default)]
pub(super) struct Trail {
    pub(super) watch: Watch,
    /// The figures it counts in; `None` before it has a service, and when it is not counted.
    counters: Option<Counters>,
    /// When the head of its answer was passed on.
    head: Option<Instant>,
    /// What that answer said.
    status: Option<StatusCode>,
    /// The client left before its answer was whole.
    client_left: bool,
    /// What the instance of the present try sees as its parent in the trace.
    span: u64,
    /// What a [`Record`] is made of, if anybody wants one.
    detail: Option<Box<Detail>>,
}

/// What nobody needs for figures.
#[derive(Default)]
pub(super) struct Detail {
    route: Option<Arc<str>>,
    service: Option<ServiceName>,
    /// Bytes that are taken off the path.
    stripped: usize,
    attempts: Vec<Attempt>,
    /// The attempt that things are noted of.
    current: usize,
    failure: Option<Failure>,
    /// What explains it, if it is to be explained.
    notes: Option<Box<Notes>>,
    /// What it ended with as a call of gRPC.
    code: Option<Code>,
    /// What it is told of by if it comes to no end.
    cut_off: Option<Box<CutOff>>,
}

/// One of the tries that are under way at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Try {
    number: usize,
    span: u64,
}

impl Trail {
    /// The request is known; `watch` says who wants to know of it.
    pub(super) fn begin(&mut self, watch: Watch) {
        self.detail = watch.wants_record().then(|| {
            Box::new(Detail {
                notes: watch.explained.then(Box::default),
                ..Detail::default()
            })
        });
        self.watch = watch;
    }

    /// Whether anybody wants to know more than figures.
    pub(super) fn is_told_of(&self) -> bool {
        self.detail.is_some()
    }

    /// It has a service, and counts in `counters` if it does.
    pub(super) fn aimed(
        &mut self,
        found: &Found<'_>,
        service: &ServiceName,
        counters: impl FnOnce() -> Counters,
    ) {
        if self.watch.counted {
            self.counters = Some(counters());
        }
        if let Some(detail) = &mut self.detail {
            detail.route = Some(Arc::clone(found.label));
            detail.stripped = found.strip;
            detail.service = Some(service.clone());
        }
    }

    /// An instance was picked for a try; `arrived` is when the request came.
    pub(super) fn picked(&mut self, pick: &Pick, arrived: Instant) -> Try {
        let span = self.new_span();
        let mut number = 0;
        if let Some(detail) = &mut self.detail {
            number = detail.attempts.len();
            detail.current = number;
            detail.attempts.push(Attempt {
                instance: Arc::clone(&pick.endpoint().instance),
                began: pick.started().saturating_duration_since(arrived),
                connected: None,
                ended: None,
                outcome: Outcome::default(),
                span,
            });
        }
        self.span = span;
        Try { number, span }
    }

    /// What follows is noted of `one` of the tries.
    pub(super) fn turn_to(&mut self, one: Try) {
        self.span = one.span;
        if let Some(detail) = &mut self.detail {
            detail.current = one.number;
        }
    }

    /// Those tries have been given up that have come to nothing else.
    pub(super) fn cancelled(&mut self, since: Duration) {
        for attempt in self
            .detail
            .iter_mut()
            .flat_map(|detail| &mut detail.attempts)
        {
            attempt.ended.get_or_insert(since);
        }
    }

    /// The instance left before it was sent anything.
    pub(super) fn withdrawn(&mut self, since: Duration) {
        self.ended(|| Outcome::Withdrawn, since);
    }

    /// What the present try sends along of the trace: who its instance's parent is.
    pub(super) fn parent(&self) -> Option<HeaderValue> {
        let trace = self.watch.trace.as_ref()?;
        Some(trace.parent_for(self.span))
    }

    /// The same for `one` of the tries.
    pub(super) fn parent_of(&self, one: Try) -> Option<HeaderValue> {
        let trace = self.watch.trace.as_ref()?;
        Some(trace.parent_for(one.span))
    }

    /// A span that nobody has; costs nothing where there are no traces.
    fn new_span(&self) -> u64 {
        (self.watch.trace.as_ref()).map_or(0, |_| fastrand::u64(..).max(1))
    }

    /// The present try is made beside another one.
    pub(super) fn hedged(&mut self) {
        if let Some(noted) = self.noted() {
            noted.is_hedge = true;
        }
    }

    fn noted(&mut self) -> Option<&mut Noted> {
        let detail = self.detail.as_mut()?;
        detail.notes.as_mut()?.tried.get_mut(detail.current)
    }

    /// The try has its connection, `reused` or made for it.
    pub(super) fn connected(&mut self, reused: bool, since: Duration) {
        if let Some(attempt) = self.current() {
            attempt.connected = Some((since, reused));
        }
    }

    /// The try has ended, `since` the request came.
    pub(super) fn ended(&mut self, outcome: impl FnOnce() -> Outcome, since: Duration) {
        if let Some(attempt) = self.current() {
            attempt.ended = Some(since);
            attempt.outcome = outcome();
        }
    }

    /// The try has come to nothing, for the `failure` noted last, unless it was given up.
    pub(super) fn lost(&mut self, failure: Option<&Failure>, since: Duration) {
        if let Some(attempt) = self.current()
            && attempt.outcome == Outcome::Cancelled
            && let Some(failure) = failure
        {
            attempt.ended = Some(since);
            attempt.outcome = Outcome::Failed {
                kind: failure.error_type(),
                detail: failure.detail().to_owned(),
            };
        }
    }

    fn current(&mut self) -> Option<&mut Attempt> {
        let detail = self.detail.as_mut()?;
        detail.attempts.get_mut(detail.current)
    }

    /// The figures that it counts in.
    pub(super) fn counters(&mut self) -> Option<&mut Counters> {
        self.counters.as_mut()
    }

    /// What explains the request, if it is to be explained.
    pub(super) fn notes(&mut self) -> Option<&mut Notes> {
        self.detail.as_mut()?.notes.as_deref_mut()
    }

    /// The pick of the present try has seen this, after it `waited`.
    pub(super) fn saw(&mut self, tried: &Tried, waited: Duration) {
        let Some(detail) = &mut self.detail else {
            return;
        };
        let (Some(notes), Some(eye)) = (&mut detail.notes, tried.eye()) else {
            return;
        };
        let place = detail.attempts.len().saturating_sub(1);
        notes.tried.resize_with(place, Noted::default);
        notes.tried.push(Noted {
            sight: eye.sight(),
            waited: waited_for(eye.waited_for(), waited),
            ..Noted::default()
        });
    }

    /// No instance could be picked for a try that began at `began`, for this `failure`.
    pub(super) fn refused(
        &mut self,
        tried: &Tried,
        failure: &Failure,
        at: Duration,
        waited: Duration,
    ) {
        if let (Some(notes), Some(eye)) = (self.notes(), tried.eye()) {
            notes.refused = Some(Refused {
                at,
                sight: eye.sight().map(Sight::refused),
                waited: waited_for(eye.waited_for(), waited),
                because: failure.detail().to_owned(),
            });
        }
    }

    /// This follows from the outcome of the present try.
    pub(super) fn ruled(&mut self, ruling: Ruling) {
        if let Some(noted) = self.noted() {
            noted.next = Some(ruling.to_string());
        }
    }

    /// It has led to no service, and is answered with `status`.
    pub(super) fn unrouted(&mut self, telemetry: &Telemetry, status: StatusCode) {
        if self.counters.is_none() && mem::take(&mut self.watch.counted) {
            telemetry.unrouted().count(Some(status));
        }
    }

    /// The head of an answer with `status` is passed on.
    pub(super) fn answered(&mut self, status: StatusCode, now: Instant) {
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        self.head = Some(now);
        self.status = Some(status);
        if let Some(counters) = &mut self.counters {
            counters.answered(status, now);
        }
    }

    /// A call has ended with `code`.
    pub(super) fn called(&mut self, code: Code) {
        if let Some(detail) = &mut self.detail {
            detail.code = Some(code);
        }
    }

    /// It is told of by `cut` if it comes to no end.
    pub(super) fn may_be_cut_off(&mut self, cut: CutOff) {
        if let Some(detail) = &mut self.detail {
            detail.cut_off = Some(Box::new(cut));
        }
    }

    /// The request goes on as a tunnel, at the end of which `cut` tells of it: gives what that is told
    /// from, and is told as it is dropped. Its choices are explained now.
    pub(super) fn go_on(&mut self, cut: CutOff) -> Trail {
        let mut rest = Trail::default();
        if let Some(mut detail) = self.detail.take() {
            let notes = detail.notes.take();
            rest.watch = mem::take(&mut self.watch);
            (rest.head, rest.status) = (self.head, self.status);
            rest.detail = Some(detail);
            cut.explain(&rest, notes);
            rest.may_be_cut_off(cut);
        }
        rest
    }

    /// So many more bytes were passed on in the tunnel.
    pub(super) fn passed(&mut self, bytes: Passed) {
        let cut = (self.detail.as_mut()).and_then(|detail| detail.cut_off.as_mut());
        if let Some(cut) = cut {
            cut.passed(bytes);
        }
    }

    /// The client has left before its answer was whole.
    pub(super) fn client_left(&mut self) {
        self.client_left = true;
    }

    /// callboard answers the request itself, or breaks its answer off.
    pub(super) fn failed(&mut self, failure: &Failure, is_call: bool) {
        if let Some(counters) = &mut self.counters {
            counters.ended(failure.code());
        }
        if let Some(detail) = &mut self.detail {
            detail.code = is_call.then(|| failure.code()).or(detail.code);
            detail.failure = Some(failure.clone());
        }
    }
}

impl Detail {
    fn failure(&self) -> Option<record::Failure<'_>> {
        self.failure.as_ref().map(|failure| record::Failure {
            kind: failure.error_type(),
            detail: failure.detail(),
        })
    }
}

/// A request that comes to no end as such, since its stream was reset or it became a tunnel, is told of
/// all the same.
impl Drop for Trail {
    fn drop(&mut self) {
        if let Some(detail) = &mut self.detail
            && let Some(cut) = detail.cut_off.take()
        {
            cut.tell(self);
        }
    }
}

/// A request that is over, as far as its trail does not know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    pub(super) asked: Asked<'a>,
    /// Its headers; may be left empty if nobody wants to know more than figures.
    pub(super) headers: &'a HeaderMap,
    /// The status of the answer, if there was one.
    pub(super) status: Option<StatusCode>,
    /// The headers of that answer, as `headers`.
    pub(super) answer: Option<&'a HeaderMap>,
    /// Bytes of its body.
    pub(super) received: u64,
    /// Bytes of the answer's body.
    pub(super) sent: u64,
}

impl<'a> Ended<'a> {
    pub(super) fn of(session: &'a Session) -> Self {
        // What was written may be an interim answer, after which no other came.
        let answer = session
            .response_written()
            .filter(|answer| !answer.status.is_informational());
        Self {
            asked: Asked::of(session),
            headers: &session.req_header().headers,
            status: answer.map(|answer| answer.status),
            answer: answer.map(|answer| &answer.headers),
            received: session.body_bytes_read() as u64,
            sent: session.body_bytes_sent() as u64,
        }
    }
}

/// The request is over, as of the moment that this gives.
pub(super) fn finish(telemetry: &Telemetry, ended: &Ended<'_>, context: &mut Context) -> Instant {
    let mut trail = mem::take(&mut context.trail);
    let notes = (trail.detail.as_mut()).and_then(|detail| detail.notes.take());
    if let Some(detail) = &mut trail.detail {
        detail.cut_off = None;
    }
    let (arrived, now) = (context.arrived(), Instant::now());
    // What switches protocols is not written as answers are.
    let status = ended.status.or(trail.status);
    if let Some(mut counters) = trail.counters.take() {
        counters.finish(status, now);
    }
    let Some(detail) = &trail.detail else {
        return now;
    };
    let asked = ended.asked;
    let took = now.saturating_duration_since(arrived);
    let record = Record {
        id: context.name(),
        arrived: SystemTime::now() - took,
        took,
        head: (trail.head).map(|head| head.saturating_duration_since(arrived)),
        client: context.client,
        peer: asked.peer,
        secured: asked.secured,
        method: asked.method,
        target: asked.target,
        stripped: detail.stripped,
        host: asked.host(),
        version: asked.version,
        headers: ended.headers,
        status,
        answer: ended.answer,
        received: ended.received,
        sent: ended.sent,
        route: detail.route.as_deref(),
        service: (context.target.as_ref()).map(|target| target.cluster.name().as_str()),
        failure: detail.failure(),
        code: (detail.code).or_else(|| {
            let answer = ended.answer.filter(|_| context.call.is_some())?;
            Code::of(answer)
        }),
        trace: trail.watch.trace.as_ref(),
        attempts: &detail.attempts,
        client_left: trail.client_left,
    };
    telemetry.finish(&record, &trail.watch);
    if let Some(notes) = notes {
        telemetry.explain(&record, *notes);
    }
    now
}

fn waited_for(obstacle: Option<Nobody>, time: Duration) -> Option<Waited> {
    let behind = match obstacle? {
        Nobody::Full(limit) => format!("in the queue: {limit} reached"),
        Nobody::Available => "held: no instance was available".to_owned(),
        Nobody::Untried => "held: every available instance had been tried".to_owned(),
    };
    Some(Waited { time, behind })
}
