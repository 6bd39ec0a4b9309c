//! What a request met at instances.

use serde::Serialize;
use utoipa::ToSchema;

use crate::cluster::explain::{Candidate, Sight};
use crate::health::availability::Availability;
use crate::telemetry::explain::{Refused, Try, Waited};
use crate::telemetry::record::Outcome;

use super::{ErrorView, seconds};

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedAttempt)]
pub(super) struct AttemptView<'a> {
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
pub(super) struct RefusedView<'a> {
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

impl<'a> AttemptView<'a> {
    pub(super) fn of(attempt: &'a Try, number: usize) -> Self {
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
