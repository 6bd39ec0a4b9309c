//! Where a request was sent, and by what rules.

use serde::Serialize;
use utoipa::ToSchema;

use crate::route::Destination;
use crate::telemetry::explain::{Explanation, Policy, Routed};

/// How a request came by its route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteTaken)]
pub(super) struct RouteTakenView<'a> {
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
pub(super) struct PolicyView<'a> {
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

impl<'a> RouteTakenView<'a> {
    pub(super) fn of(it: &'a Explanation, Routed { why, by }: &'a Routed) -> Self {
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
    pub(super) fn of(it: &'a Explanation, policy: &'a Policy) -> Self {
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
