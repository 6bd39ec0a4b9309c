//! Explanations as replies show them. Times are in seconds since the request came.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::cluster::explain::{Candidate, Sight};
use crate::health::availability::Availability;
use crate::route::Destination;
use crate::telemetry::explain::{Explanation, Notes, Policy, Refused, Routed, Try, Waited};
use crate::telemetry::record::Outcome;
use crate::units::moment::format_moment;

/// One request that is explained.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRequest)]
pub(super) struct SummaryView<'a> {
    /// What explains it is asked for by: `X-Request-Id`.
    id: &'a str,
    /// When it came.
    #[schema(format = DateTime)]
    at: String,
    client: String,
    method: &'a str,
    /// The path, and the names of the query's parameters.
    target: &'a str,
    #[schema(required)]
    host: Option<&'a str>,
    #[schema(required)]
    route: Option<&'a str>,
    #[schema(required)]
    service: Option<&'a str>,
    /// `null` if its client left first.
    #[schema(required)]
    status: Option<u16>,
    /// To the end of its answer.
    took: f64,
    attempts: usize,
    /// The one that was asked last.
    #[schema(required)]
    instance: Option<&'a str>,
}

impl<'a> From<&'a Explanation> for SummaryView<'a> {
    fn from(it: &'a Explanation) -> Self {
        Self {
            id: &it.id,
            at: format_moment(it.arrived),
            client: it.client.to_string(),
            method: it.method.as_str(),
            target: &it.target,
            host: it.host.as_deref(),
            route: it.route.as_deref(),
            service: it.service.as_deref(),
            status: it.status.map(|status| status.as_u16()),
            took: seconds(it.took),
            attempts: it.tries.len(),
            instance: it.instance().map(|id| id.as_str()),
        }
    }
}

/// Why a request went where it went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(super) struct ExplanationView<'a> {
    id: &'a str,
    /// When it came.
    #[schema(format = DateTime)]
    at: String,
    /// Why this is kept.
    why: WhyKept,
    client: String,
    method: &'a str,
    #[schema(required)]
    host: Option<&'a str>,
    /// The path, and the names of the query's parameters.
    target: &'a str,
    version: String,
    /// `null` if its client left first.
    #[schema(required)]
    status: Option<u16>,
    /// To the end of its answer.
    took: f64,
    /// To the head of its answer.
    #[schema(required)]
    head: Option<f64>,
    /// Why callboard answered it itself, or broke its answer off.
    #[schema(required)]
    error: Option<ErrorView<'a>>,
    /// How it came by its route; `null` if it never got to the routes.
    #[schema(required)]
    route: Option<RouteTakenView<'a>>,
    #[schema(required)]
    service: Option<&'a str>,
    /// The index of the membership that its first pick went by.
    #[schema(required)]
    revision: Option<u64>,
    /// By what rules it was spread.
    #[schema(required)]
    policy: Option<PolicyView<'a>>,
    attempts: Vec<AttemptView<'a>>,
    /// The attempt for which no instance could be picked.
    #[schema(required)]
    refused: Option<RefusedView<'a>>,
    /// The service that a copy of it was made for.
    #[schema(required)]
    copied_to: Option<&'a str>,
}

/// Why an explanation is kept.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
enum WhyKept {
    /// By chance.
    #[serde(rename = "sampled")]
    Sampled,
    /// Its client asked for it.
    #[serde(rename = "asked for")]
    AskedFor,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedError)]
struct ErrorView<'a> {
    /// The error type of RFC 9209.
    #[serde(rename = "type")]
    kind: &'a str,
    detail: &'a str,
}

/// How a request came by its route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteTaken)]
struct RouteTakenView<'a> {
    /// `null` if none matched.
    #[schema(required)]
    name: Option<&'a str>,
    /// Its conditions, with what the request brought.
    matched: &'a [String],
    #[schema(required)]
    split: Option<SplitTakenView<'a>>,
    /// Routes before it, at most 20, each with the first condition that the request does not meet.
    passed_over: Vec<PassedOverView<'a>>,
    /// What was taken off the path.
    #[schema(required)]
    strip: Option<&'a str>,
}

/// The side of a split.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SplitTaken)]
struct SplitTakenView<'a> {
    side: &'a str,
    /// All sides.
    of: Vec<SideView<'a>>,
    /// What decided: `chance`, or the part of the request.
    by: &'a str,
}

/// One side of a split.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SplitSide)]
struct SideView<'a> {
    service: &'a str,
    weight: u32,
}

/// A route that was passed over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PassedOver)]
struct PassedOverView<'a> {
    route: &'a str,
    because: &'a str,
}

/// By what rules a request was spread.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedPolicy)]
struct PolicyView<'a> {
    balance: &'static str,
    hash_on: &'a str,
    /// What the algorithm went by, in hexadecimal; `null` if it hashes nothing.
    #[schema(required)]
    hash: Option<String>,
    /// Whether the request lacks what is hashed, so that its hash is chance.
    hash_is_chance: bool,
    /// Whether instances served that are out otherwise, as too few were left.
    panic: bool,
    /// The proxy's zone, if its instances came first.
    #[schema(required)]
    zone: Option<String>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedAttempt)]
struct AttemptView<'a> {
    /// From 1.
    number: usize,
    at: f64,
    instance: &'a str,
    address: String,
    #[schema(required)]
    algorithm: Option<&'static str>,
    /// Why this instance.
    #[schema(required)]
    because: Option<String>,
    /// At most 50: the one chosen, those that came up, those excluded, others.
    candidates: Vec<CandidateView<'a>>,
    candidates_total: usize,
    /// Whether it was made beside the one before it, which was taking long.
    hedge: bool,
    #[schema(required)]
    waited: Option<WaitedView<'a>>,
    #[schema(required)]
    connection: Option<ConnectionView>,
    /// When the head of its answer came, or it was lost.
    #[schema(required)]
    ended: Option<f64>,
    outcome: OutcomeView,
    #[schema(required)]
    status: Option<u16>,
    #[schema(required)]
    error: Option<ErrorView<'a>>,
    /// What followed from that.
    #[schema(required)]
    next: Option<&'a str>,
}

/// An attempt for which no instance could be picked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRefusal)]
struct RefusedView<'a> {
    at: f64,
    because: &'a str,
    #[schema(required)]
    waited: Option<WaitedView<'a>>,
    candidates: Vec<CandidateView<'a>>,
    candidates_total: usize,
}

/// A wait for an instance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Waited)]
struct WaitedView<'a> {
    /// For how long.
    time: f64,
    because: &'a str,
}

/// The connection of an attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedConnection)]
struct ConnectionView {
    /// When it was there.
    after: f64,
    /// Whether it had been kept from another request.
    reused: bool,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutcomeView {
    /// The head of an answer.
    Answered,
    /// No answer.
    Failed,
    /// The instance left before it was sent anything.
    Withdrawn,
    /// It was given up.
    Cancelled,
}

/// One member of the service, as the pick saw it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Candidate)]
struct CandidateView<'a> {
    instance: &'a str,
    address: String,
    availability: Availability,
    weight: u32,
    effective_weight: f64,
    /// This request apart.
    in_flight: u32,
    /// What the algorithm compared it by; less is better.
    #[schema(required)]
    score: Option<f64>,
    #[schema(required)]
    zone: Option<&'a str>,
    chosen: bool,
    /// Whether it came up.
    drawn: bool,
    /// Why it was out of the question.
    #[schema(required)]
    excluded: Option<String>,
}

impl<'a> From<&'a Explanation> for ExplanationView<'a> {
    fn from(it: &'a Explanation) -> Self {
        let Notes {
            routed,
            policy,
            refused,
            copied_to,
            ..
        } = &it.notes;
        Self {
            id: &it.id,
            at: format_moment(it.arrived),
            why: if it.is_asked {
                WhyKept::AskedFor
            } else {
                WhyKept::Sampled
            },
            client: it.client.to_string(),
            method: it.method.as_str(),
            host: it.host.as_deref(),
            target: &it.target,
            version: format!("{:?}", it.version),
            status: it.status.map(|status| status.as_u16()),
            took: seconds(it.took),
            head: it.head.map(seconds),
            error: (it.error.as_ref()).map(|(kind, detail)| ErrorView { kind, detail }),
            route: routed.as_ref().map(|routed| RouteTakenView::of(it, routed)),
            service: it.service.as_deref(),
            revision: it.revision(),
            policy: policy.as_ref().map(|policy| PolicyView::of(it, policy)),
            attempts: (it.tries.iter().zip(1..))
                .map(|(attempt, number)| AttemptView::of(attempt, number))
                .collect(),
            refused: refused.as_ref().map(RefusedView::from),
            copied_to: copied_to.as_deref(),
        }
    }
}

impl<'a> RouteTakenView<'a> {
    fn of(it: &'a Explanation, Routed { why, by }: &'a Routed) -> Self {
        let side = it.service.as_deref().filter(|_| !why.sides.is_empty());
        let passed_over = why.passed_over.iter().map(|passed| PassedOverView {
            route: &passed.route,
            because: &passed.because,
        });
        Self {
            name: it.route.as_deref(),
            matched: &why.matched,
            split: side.map(|side| SplitTakenView {
                side,
                of: why.sides.iter().map(SideView::from).collect(),
                by,
            }),
            passed_over: passed_over.collect(),
            strip: Some(&*why.strip).filter(|strip| !strip.is_empty()),
        }
    }
}

impl<'a> From<&'a Destination> for SideView<'a> {
    fn from(side: &'a Destination) -> Self {
        Self {
            service: side.service.as_str(),
            weight: side.weight,
        }
    }
}

impl<'a> PolicyView<'a> {
    fn of(it: &'a Explanation, policy: &'a Policy) -> Self {
        let zones = it.sights().filter_map(|sight| sight.zone.as_ref());
        Self {
            balance: policy.algorithm.as_str(),
            hash_on: &policy.hash_on,
            hash: policy.hash.map(|hash| format!("{hash:016x}")),
            hash_is_chance: policy.hash.is_some() && !policy.has_part,
            panic: it.sights().any(|sight| sight.panic),
            zone: zones.map(|(zone, _)| zone.to_string()).next(),
        }
    }
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a Try, number: usize) -> Self {
        let noted = &attempt.noted;
        let sight = noted.sight.as_ref();
        let (outcome, status, error) = match &attempt.outcome {
            Outcome::Answered(status) => (OutcomeView::Answered, Some(status.as_u16()), None),
            Outcome::Failed { kind, detail } => {
                (OutcomeView::Failed, None, Some(ErrorView { kind, detail }))
            }
            Outcome::Withdrawn => (OutcomeView::Withdrawn, None, None),
            Outcome::Cancelled => (OutcomeView::Cancelled, None, None),
        };
        Self {
            number,
            at: seconds(attempt.began),
            instance: attempt.instance.as_str(),
            address: attempt.address.to_string(),
            algorithm: sight.map(|sight| sight.algorithm.as_str()),
            because: sight.and_then(because),
            candidates: sight.map_or_else(Vec::new, candidates),
            candidates_total: sight.map_or(0, |sight| sight.total),
            hedge: noted.is_hedge,
            waited: noted.waited.as_ref().map(WaitedView::from),
            connection: (attempt.connected).map(|(after, reused)| ConnectionView {
                after: seconds(after),
                reused,
            }),
            ended: attempt.ended.map(seconds),
            outcome,
            status,
            error,
            next: noted.next.as_deref(),
        }
    }
}

impl<'a> From<&'a Refused> for RefusedView<'a> {
    fn from(refused: &'a Refused) -> Self {
        let sight = refused.sight.as_ref();
        Self {
            at: seconds(refused.at),
            because: &refused.because,
            waited: refused.waited.as_ref().map(WaitedView::from),
            candidates: sight.map_or_else(Vec::new, candidates),
            candidates_total: sight.map_or(0, |sight| sight.total),
        }
    }
}

impl<'a> From<&'a Waited> for WaitedView<'a> {
    fn from(waited: &'a Waited) -> Self {
        Self {
            time: seconds(waited.time),
            because: &waited.behind,
        }
    }
}

impl<'a> From<&'a Candidate> for CandidateView<'a> {
    fn from(it: &'a Candidate) -> Self {
        Self {
            instance: it.instance.as_str(),
            address: it.address.to_string(),
            availability: it.availability,
            weight: it.weight,
            effective_weight: it.effective_weight,
            in_flight: it.in_flight,
            score: it.score.filter(|score| score.is_finite()),
            zone: it.zone.as_deref(),
            chosen: it.chosen,
            drawn: it.drawn,
            excluded: it.excluded.as_ref().map(ToString::to_string),
        }
    }
}

/// Why the one chosen was.
fn because(sight: &Sight) -> Option<String> {
    let mut because = sight.why?.to_string();
    if let Some((zone, stays)) = &sight.zone {
        because += match stays {
            true => " in zone ",
            false => " from all zones, beyond zone ",
        };
        because += zone;
    }
    if sight.panic {
        because += ", in panic";
    }
    Some(because)
}

fn candidates(sight: &Sight) -> Vec<CandidateView<'_>> {
    sight.candidates.iter().map(CandidateView::from).collect()
}

/// To the microsecond.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}
