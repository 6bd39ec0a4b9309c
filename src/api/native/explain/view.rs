//! Explanations as replies show them. Times are in seconds since the request came.

mod attempt;
mod route;
mod summary;

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::explain::{Explanation, Notes};
use crate::units::moment::format_moment;

use attempt::{AttemptView, RefusedView};
use route::{PolicyView, RouteTakenView};

pub(super) use summary::SummaryView;

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

/// To the microsecond.
fn seconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e6
}
