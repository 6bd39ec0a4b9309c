//! Routes and splits as replies show them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::names::ServiceName;
use crate::route::splits::Shown;
use crate::route::{Destination, Match, Mirror};

/// One configured route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(in crate::api::native) struct RouteView<'a> {
    /// What its split is changed by; `null` if the configuration gives it no name.
    #[schema(required)]
    name: Option<&'a str>,
    #[serde(rename = "match")]
    matches: MatchView<'a>,
    /// Taken off the path before the request is passed on.
    #[schema(required)]
    strip_prefix: Option<&'a str>,
    /// Where requests go, by weight.
    split: Vec<SideView<'a>>,
    /// What keeps requests on one side, as the configuration has it; `null` is chance.
    #[schema(required)]
    split_on: Option<String>,
    /// Whether the split is not the configuration's.
    overridden: bool,
    #[schema(required)]
    mirror: Option<MirrorView<'a>>,
}

/// What a route matches; `null` and what is empty match everything.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Match)]
struct MatchView<'a> {
    #[schema(required)]
    host: Option<&'a str>,
    #[schema(required)]
    path: Option<&'a str>,
    methods: Vec<&'a str>,
    headers: BTreeMap<&'a str, &'a str>,
}

/// Where copies of requests go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Mirror)]
struct MirrorView<'a> {
    service: &'a ServiceName,
    /// The share of requests that are copied.
    #[schema(minimum = 0, maximum = 1)]
    share: f64,
}

/// How a route's requests are split.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Split)]
pub(in crate::api::native) struct SplitView<'a> {
    split: Vec<SideView<'a>>,
    /// Whether this is not the configuration's.
    overridden: bool,
}

/// One side of a split.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Side)]
struct SideView<'a> {
    service: &'a ServiceName,
    /// Its share relative to the other sides.
    #[schema(maximum = 65_535)]
    weight: u32,
}

impl<'a> From<Shown<'a>> for RouteView<'a> {
    fn from(shown: Shown<'a>) -> Self {
        let route = shown.route;
        Self {
            name: route.name.as_deref(),
            matches: MatchView::from(&route.matches),
            strip_prefix: route.strip_prefix.as_deref(),
            split: sides(&route.destinations),
            split_on: route.split_on.as_ref().map(ToString::to_string),
            overridden: shown.overridden,
            mirror: route.mirror.as_ref().map(MirrorView::from),
        }
    }
}

impl<'a> From<Shown<'a>> for SplitView<'a> {
    fn from(shown: Shown<'a>) -> Self {
        Self {
            split: sides(&shown.route.destinations),
            overridden: shown.overridden,
        }
    }
}

impl<'a> From<&'a Match> for MatchView<'a> {
    fn from(matches: &'a Match) -> Self {
        let headers = matches.headers.iter();
        Self {
            host: matches.host.as_deref(),
            path: matches.path.as_deref(),
            methods: matches
                .methods
                .iter()
                .map(|method| method.as_str())
                .collect(),
            headers: headers
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }
}

impl<'a> From<&'a Mirror> for MirrorView<'a> {
    fn from(mirror: &'a Mirror) -> Self {
        Self {
            service: &mirror.service,
            share: mirror.share,
        }
    }
}

fn sides(destinations: &[Destination]) -> Vec<SideView<'_>> {
    destinations
        .iter()
        .map(|side| SideView {
            service: &side.service,
            weight: side.weight,
        })
        .collect()
}
