//! Where a request goes: explicit routes in the order of the file, then the default ones.
//!
//! These are the settings; [`table::Routes`] is what requests are matched against.

pub mod path;
pub mod table;

use crate::names::ServiceName;

/// One explicit route. The first one that matches wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What it matches.
    pub matches: Match,
    /// Where matching requests go; more than one is a split.
    pub destinations: Vec<Destination>,
    /// A path prefix, in whole segments and without its trailing slash, taken off before the
    /// request is passed on.
    pub strip_prefix: Option<String>,
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
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// The service.
    pub service: ServiceName,
    /// Its share relative to the other sides.
    pub weight: u32,
}

/// The default routes, which need no configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultRoutes {
    /// `{service}{host_suffix}` as a host goes to the service; starts with a dot.
    pub host_suffix: String,
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
            default_routes: Some(DefaultRoutes {
                host_suffix: ".callboard".to_owned(),
            }),
        }
    }
}
