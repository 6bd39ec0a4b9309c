//! Where a request goes: explicit routes in the order of the file, then the default ones.
//!
//! These are the settings; [`table::Routes`] is what requests are matched against.

pub mod explain;
mod index;
mod kept;
pub mod path;
mod sides;
pub mod splits;
pub mod table;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::balance::HashOn;
use crate::names::ServiceName;

/// One explicit route. The first one that matches wins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    /// What it matches.
    pub matches: Match,
    /// Where matching requests go; more than one is a split.
    pub destinations: Vec<Destination>,
    /// A path prefix, in whole segments and without its trailing slash, taken off before the
    /// request is passed on.
    pub strip_prefix: Option<String>,
    /// What the control plane calls it; unique among the routes.
    pub name: Option<String>,
    /// What decides a request's side of a split; `None` is chance.
    pub split_on: Option<HashOn>,
    /// Where copies of requests go.
    pub mirror: Option<Mirror>,
    /// What differs from the policy of the service.
    pub overrides: Overrides,
}

/// Copies of requests go to a second service, whose answers nobody waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The service.
    pub service: ServiceName,
    /// The share of requests that are copied, 0 to 1.
    pub share: f64,
}

/// What a route sets in place of the service's policy; what it leaves out is the service's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The longest body of a request, in bytes; `Some(None)` lifts the limit.
    pub max_body: Option<Option<u64>>,
    /// Whether requests may be tried again that were sent.
    pub retry: Option<bool>,
    /// Time limits.
    pub timeouts: TimeoutOverrides,
}

/// The time limits a route may set. What they limit is said where the service's are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOverrides {
    /// To connect.
    pub connect: Option<Duration>,
    /// To the head of one try; `Some(None)` lifts the limit.
    pub first_byte: Option<Option<Duration>>,
    /// Within a response.
    pub between_bytes: Option<Duration>,
    /// To the head of the response.
    pub request: Option<Duration>,
    /// To the end of the response; `Some(None)` lifts the limit.
    pub total: Option<Option<Duration>>,
    /// On a connection that was switched to another protocol; `Some(None)` lifts the limit.
    pub tunnel: Option<Option<Duration>>,
}

/// What a route matches; every part given must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// The host without port, in lower case; `*.example.com` matches every name below.
    pub host: Option<String>,
    /// A path prefix in whole segments: `/orders` and `/orders/` both match `/orders` and
    /// `/orders/7`, and neither matches `/ordersheet`.
    pub path: Option<String>,
    /// Any of these methods; empty is any method.
    pub methods: Vec<http::Method>,
    /// Each of these headers with exactly this value.
    pub headers: Vec<(http::HeaderName, String)>,
    /// A name or URI in the certificate that the client has shown; `*.example.com` and `spiffe://mesh/*`
    /// match all below.
    pub client: Option<String>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The service.
    pub service: ServiceName,
    /// Its share relative to the other sides.
    pub weight: u32,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.weight)
    }
}

/// The default routes, which need no configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultRoutes {
    /// `{service}{host_suffix}` as a host goes to the service; starts with a dot.
    pub host_suffix: String,
}

impl Default for DefaultRoutes {
    fn default() -> Self {
        Self {
            host_suffix: ".callboard".to_owned(),
        }
    }
}

/// The routing settings as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// In order of the file.
    pub routes: Vec<Route>,
    /// `None` when they are off.
    pub default_routes: Option<DefaultRoutes>,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            default_routes: Some(DefaultRoutes::default()),
        }
    }
}
