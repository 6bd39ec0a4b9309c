//! The routes as requests meet them: indexed by host and path, immutable, swapped whole on a reload.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use http::Method;

use crate::fields::Fields;

use super::index::Index;
use super::path::{is_below, prefix};
use super::sides::Sides;
use super::{DefaultRoutes, Match, Route, Routing};

/// The parts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The host without its port, if the request names one.
    pub host: Option<&'a str>,
    /// The path without the query.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: Fields<'a>,
    /// The names and URIs of the certificate that the client has shown; empty without one.
    pub client: &'a [String],
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'a> {
    /// The service's name, in lower case; for default routes not yet known to exist.
    pub service: Cow<'a, str>,
    /// How many bytes of the path to take off.
    pub strip: usize,
    /// The configured route that matched; its service may be absent, but not unknown. `None` for a
    /// default route.
    pub route: Option<&'a Route>,
    /// What figures and logs call the route.
    pub label: &'a Arc<str>,
}

/// What figures and logs call the default routes.
static DEFAULT_LABEL: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("default_routes"));

/// All routes, ready to be matched.
#[derive(Debug)]
pub struct Routes {
    pub(super) routes: Vec<Route>,
    /// What each of them is called: by its name, or else by its place in the configuration.
    pub(super) labels: Vec<Arc<str>>,
    /// The split of each of them.
    sides: Vec<Sides>,
    index: Index,
    pub(super) default_routes: Option<DefaultRoutes>,
}

impl Routes {
    /// Prepares `routing` for matching.
    pub fn new(routing: Routing) -> Self {
        let Routing {
            mut routes,
            default_routes,
        } = routing;
        for route in &mut routes {
            normalize(&mut route.matches.path);
            normalize(&mut route.strip_prefix);
        }
        let label = |(place, route): (usize, &Route)| match &route.name {
            Some(name) => Arc::from(name.as_str()),
            None => Arc::from(format!("routes[{place}]")),
        };
        Self {
            labels: routes.iter().enumerate().map(label).collect(),
            sides: (routes.iter())
                .map(|route| Sides::new(&route.destinations))
                .collect(),
            index: Index::new(routes.iter().map(|route| &route.matches)),
            routes,
            default_routes,
        }
    }

    /// The configured routes, in order.
    pub fn configured(&self) -> &[Route] {
        &self.routes
    }

    /// Where `request` goes: the first route of the file that matches, then the default routes.
    /// `draw` is asked for a number only when that is a split; requests that are to stay together
    /// bring the same one, others any.
    pub fn find<'a>(
        &'a self,
        request: &Request<'a>,
        draw: impl FnOnce(&Route) -> u64,
    ) -> Option<Found<'a>> {
        let host = request.host.map(lower_case);
        self.find_explicit(request, host.as_deref(), draw)
            .or_else(|| self.find_default(request, host))
    }

    fn find_explicit(
        &self,
        request: &Request<'_>,
        host: Option<&str>,
        draw: impl FnOnce(&Route) -> u64,
    ) -> Option<Found<'_>> {
        let admits = |index: usize| self.routes[index].matches.admits(request, host);
        let index = self.index.first(host, request.path, admits)?;
        let route = &self.routes[index];
        let side = self.sides[index].side(|| draw(route))?;
        let strip = route.strip_prefix.as_deref().unwrap_or_default();
        Some(Found {
            service: Cow::Borrowed(route.destinations[side].service.as_str()),
            strip: if is_below(request.path, strip) {
                strip.len()
            } else {
                0
            },
            route: Some(route),
            label: &self.labels[index],
        })
    }

    fn find_default<'a>(
        &self,
        request: &Request<'a>,
        host: Option<Cow<'a, str>>,
    ) -> Option<Found<'a>> {
        let suffix = &self.default_routes.as_ref()?.host_suffix;
        if let Some(host) = host
            && let Some(service) = host.strip_suffix(suffix.as_str())
            && !service.is_empty()
        {
            return Some(Found {
                service: Cow::Owned(service.to_owned()),
                strip: 0,
                route: None,
                label: &DEFAULT_LABEL,
            });
        }
        let segment = request.path.strip_prefix('/')?.split('/').next()?;
        if segment.is_empty() {
            return None;
        }
        Some(Found {
            service: lower_case(segment),
            strip: 1 + segment.len(),
            route: None,
            label: &DEFAULT_LABEL,
        })
    }
}

impl Match {
    /// Whether a request is matched; `host` is its host in lower case.
    pub(super) fn admits(&self, request: &Request<'_>, host: Option<&str>) -> bool {
        self.host_matches(host)
            && self
                .path
                .as_ref()
                .is_none_or(|path| is_below(request.path, path))
            && (self.methods.is_empty() || self.methods.contains(request.method))
            && self.headers.iter().all(|(name, wanted)| {
                let mut values = request.headers.all(name);
                values.any(|value| value == wanted.as_bytes())
            })
            && self
                .client
                .as_ref()
                .is_none_or(|wanted| request.client.iter().any(|name| client_is(wanted, name)))
    }

    /// Whether this host, in lower case, is matched.
    pub(super) fn host_matches(&self, host: Option<&str>) -> bool {
        match (&self.host, host) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(host)) => match wanted.strip_prefix('*') {
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => wanted == host,
            },
        }
    }
}

/// Whether a client with this name or URI is meant by this pattern.
pub(super) fn client_is(pattern: &str, name: &str) -> bool {
    let is_uri = |text: &str| text.contains(':');
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => !is_uri(name) && name.len() > suffix.len() && name.ends_with(suffix),
        (None, Some(prefix)) => {
            is_uri(name) && name.len() > prefix.len() && name.starts_with(prefix)
        }
        (None, None) => pattern == name,
    }
}

fn normalize(path: &mut Option<String>) {
    if let Some(path) = path {
        path.truncate(prefix(path).len());
    }
}

pub(super) fn lower_case(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use crate::route::Destination;

    use super::*;

    fn route(host: Option<&str>, path: Option<&str>, service: &str) -> Route {
        Route {
            matches: Match {
                host: host.map(str::to_owned),
                path: path.map(str::to_owned),
                ..Match::default()
            },
            destinations: vec![destination(service, 1)],
            ..Route::default()
        }
    }

    fn destination(service: &str, weight: u32) -> Destination {
        Destination {
            service: service.parse().unwrap(),
            weight,
        }
    }

    fn table(routes: Vec<Route>) -> Routes {
        Routes::new(Routing {
            routes,
            ..Routing::default()
        })
    }

    fn service(routes: &Routes, host: Option<&str>, path: &str) -> Option<(String, usize)> {
        let headers = HeaderMap::new();
        let request = Request {
            host,
            path,
            method: &Method::GET,
            headers: (&headers).into(),
            client: &[],
        };
        let found = routes.find(&request, |_| 0)?;
        Some((found.service.into_owned(), found.strip))
    }

    #[test]
    fn the_first_route_of_the_file_wins_whatever_its_host() {
        let routes = table(vec![
            route(Some("*.example.com"), Some("/a"), "first"),
            route(Some("shop.example.com"), None, "second"),
            route(None, Some("/a"), "third"),
        ]);
        let to = |host, path| service(&routes, Some(host), path).unwrap().0;
        assert_eq!(to("shop.example.com", "/a/b"), "first");
        assert_eq!(to("Shop.Example.COM", "/b"), "second");
        assert_eq!(to("other.example.com", "/a"), "first");
        assert_eq!(to("example.com", "/a"), "third");
        assert_eq!(service(&routes, None, "/a").unwrap().0, "third");
    }

    #[test]
    fn methods_and_headers_must_match_too() {
        let mut canary = route(None, Some("/"), "canary");
        canary.matches.methods = vec![Method::GET];
        canary.matches.headers = vec![(http::HeaderName::from_static("x-canary"), "1".to_owned())];
        let routes = table(vec![canary, route(None, Some("/"), "stable")]);
        let mut headers = HeaderMap::new();
        let find = |method: &Method, headers: &HeaderMap| {
            let request = Request {
                host: None,
                path: "/",
                method,
                headers: headers.into(),
                client: &[],
            };
            routes.find(&request, |_| 0).unwrap().service.into_owned()
        };
        assert_eq!(find(&Method::GET, &headers), "stable");
        headers.append("x-canary", "0".parse().unwrap());
        headers.append("x-canary", "1".parse().unwrap());
        assert_eq!(find(&Method::GET, &headers), "canary");
        assert_eq!(find(&Method::POST, &headers), "stable");
    }

    #[test]
    fn a_client_is_known_by_any_name_of_its_certificate() {
        let mut ops = route(None, Some("/"), "ops");
        ops.matches.client = Some("spiffe://mesh/ops".to_owned());
        let routes = table(vec![ops, route(None, Some("/"), "others")]);
        let find = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let none = HeaderMap::new();
            let request = Request {
                host: None,
                path: "/",
                method: &Method::GET,
                headers: (&none).into(),
                client: &names,
            };
            routes.find(&request, |_| 0).unwrap().service.into_owned()
        };
        assert_eq!(find(&["ops.internal", "spiffe://mesh/ops"]), "ops");
        assert_eq!(find(&["ops.internal"]), "others");
        assert_eq!(find(&[]), "others");
    }

    #[test]
    fn a_pattern_of_names_means_no_uri_and_one_of_uris_no_name() {
        for (pattern, name, expected) in [
            ("a.internal", "a.internal", true),
            ("a.internal", "b.a.internal", false),
            ("*.internal", "b.a.internal", true),
            ("*.internal", ".internal", false),
            ("*.internal", "internal", false),
            ("*.internal", "spiffe://mesh/b.internal", false),
            ("spiffe://mesh/*", "spiffe://mesh/ns/ops", true),
            ("spiffe://mesh/*", "spiffe://mesh/", false),
            ("spiffe://mesh/*", "spiffe://mesh2/ops", false),
            ("spiffe://mesh/ops", "spiffe://mesh/ops2", false),
        ] {
            assert_eq!(client_is(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn default_routes_find_the_service_in_the_host_or_the_first_segment() {
        let routes = table(Vec::new());
        let found = |host, path| service(&routes, host, path);
        assert_eq!(found(None, "/Web/x"), Some(("web".to_owned(), 4)));
        assert_eq!(found(None, "/web"), Some(("web".to_owned(), 4)));
        assert_eq!(
            found(Some("WEB.callboard"), "/orders/x"),
            Some(("web".to_owned(), 0))
        );
        assert_eq!(found(Some(".callboard"), "/"), None);
        assert_eq!(found(None, "/"), None);
        assert_eq!(found(None, "*"), None);
    }

    #[test]
    fn default_routes_can_be_turned_off() {
        let routes = Routes::new(Routing {
            routes: Vec::new(),
            default_routes: None,
        });
        assert_eq!(service(&routes, Some("web.callboard"), "/web/"), None);
    }
}
