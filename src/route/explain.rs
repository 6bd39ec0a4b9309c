//! Why a request took its route: each condition with what the request brought, and which routes it
//! was passed over for.
//!
//! The conditions are looked at once more, for the few requests that are explained. The table is the
//! one that the route was found in, and neither changes, so the outcome cannot differ.

use std::borrow::Cow;
use std::ptr;
use std::sync::Arc;

use http::{HeaderName, header};

use super::path::is_below;
use super::table::{Found, Request, Routes, client_is, lower_case};
use super::{Destination, Match};

/// The most routes that are named as passed over.
pub const PASSED_OVER: usize = 20;

/// The most bytes of a value that are shown.
const SHOWN: usize = 128;

/// Headers whose values are secrets.
const SECRET: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
];

/// Why a request took its route, or none.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// The route's conditions, each with what the request brought. Empty without a route.
    pub matched: Vec<String>,
    /// The sides of its split and their weights, if it is one.
    pub sides: Vec<Destination>,
    /// What was taken off the path.
    pub strip: String,
    /// Routes before it that the request does not match, at most [`PASSED_OVER`].
    pub passed_over: Vec<PassedOver>,
}

/// A route that a request does not match.
#[derive(Clone, Debug, PartialEq)]
pub struct PassedOver {
    /// What it is called.
    pub route: Arc<str>,
    /// The first condition that does not hold.
    pub because: String,
}

impl Routes {
    /// Why `request` was `found` to go where it goes.
    pub fn explain(&self, request: &Request<'_>, found: Option<&Found<'_>>) -> Explained {
        let host = request.host.map(lower_case);
        let route = found.and_then(|found| found.route);
        let before = (self.routes.iter().zip(&self.labels))
            .take_while(|(other, _)| !route.is_some_and(|route| ptr::eq(*other, route)));
        let mut passed_over: Vec<_> = (before.take(PASSED_OVER))
            .map(|(other, label)| PassedOver {
                route: Arc::clone(label),
                because: (other.matches.obstacle(request, host.as_deref()))
                    .unwrap_or_else(|| "no side of its split has any weight".to_owned()),
            })
            .collect();
        if found.is_none() && passed_over.len() < PASSED_OVER {
            passed_over.push(PassedOver {
                route: Arc::from("default_routes"),
                because: match &self.default_routes {
                    None => "they are off".to_owned(),
                    Some(_) => "neither the host nor the path names a service".to_owned(),
                },
            });
        }
        let strip = found.map_or(0, |found| found.strip);
        Explained {
            matched: match (found, route) {
                (_, Some(route)) => route.matches.reasons(request),
                (Some(found), None) => vec![self.default_reason(request, found)],
                (None, None) => Vec::new(),
            },
            sides: (route.map(|route| &*route.destinations))
                .filter(|sides| sides.len() > 1)
                .map_or_else(Vec::new, <[_]>::to_vec),
            strip: shown(request.path.get(..strip).unwrap_or_default()).into_owned(),
            passed_over,
        }
    }

    fn default_reason(&self, request: &Request<'_>, found: &Found<'_>) -> String {
        let service = shown(&found.service);
        if found.strip > 0 {
            return format!("path {} begins with /{service}", shown(request.path));
        }
        let suffix = self.default_routes.as_ref().map(|it| &*it.host_suffix);
        format!("host {service}{}", suffix.unwrap_or_default())
    }
}

impl Match {
    /// The first condition that `request` does not meet; `host` is its host in lower case.
    fn obstacle(&self, request: &Request<'_>, host: Option<&str>) -> Option<String> {
        if let Some(wanted) = &self.host
            && !self.host_matches(host)
        {
            return Some(match host {
                Some(host) => format!("host {} is not {wanted}", shown(host)),
                None => format!("the request names no host (expected {wanted})"),
            });
        }
        if let Some(wanted) = &self.path
            && !is_below(request.path, wanted)
        {
            return Some(format!(
                "path {} is not below {}",
                shown(request.path),
                slashed(wanted)
            ));
        }
        if !self.methods.is_empty() && !self.methods.contains(request.method) {
            let methods: Vec<_> = self.methods.iter().map(http::Method::as_str).collect();
            let method = shown(request.method.as_str());
            return Some(format!("method {method} is not {}", methods.join(" or ")));
        }
        for (name, wanted) in &self.headers {
            let mut values = request.headers.all(name).peekable();
            let Some(&first) = values.peek() else {
                return Some(format!(
                    "header {name} is absent (expected {})",
                    told(name, wanted)
                ));
            };
            if !values.any(|value| value == wanted.as_bytes()) {
                let (value, wanted) = (value_of(name, first), told(name, wanted));
                return Some(format!("header {name} is {value} (expected {wanted})"));
            }
        }
        let wanted = self.client.as_ref()?;
        if request.client.iter().any(|name| client_is(wanted, name)) {
            return None;
        }
        Some(match request.client.first() {
            Some(name) => format!(
                "the client's certificate names {} (expected {wanted})",
                shown(name)
            ),
            None => format!("the client has shown no certificate (expected {wanted})"),
        })
    }

    /// Each condition with what `request` brought, which matches.
    fn reasons(&self, request: &Request<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        if let Some(wanted) = &self.host {
            let host = shown(request.host.unwrap_or_default());
            reasons.push(match wanted.strip_prefix("*.") {
                Some(_) => format!("host {wanted} (above {host})"),
                None => format!("host {wanted}"),
            });
        }
        if let Some(wanted) = &self.path {
            let (prefix, path) = (slashed(wanted), shown(request.path));
            reasons.push(format!("path {prefix} (a prefix of {path})"));
        }
        if !self.methods.is_empty() {
            reasons.push(format!("method {}", shown(request.method.as_str())));
        }
        for (name, wanted) in &self.headers {
            reasons.push(format!("header {name} is {}", told(name, wanted)));
        }
        if let Some(wanted) = &self.client {
            let mut names = request.client.iter();
            let name = names.find(|name| client_is(wanted, name));
            let name = name.map_or("", String::as_str);
            reasons.push(format!("client {wanted} (shown {})", shown(name)));
        }
        if reasons.is_empty() {
            reasons.push("it has no conditions".to_owned());
        }
        reasons
    }
}

/// A path prefix as it is written.
fn slashed(prefix: &str) -> &str {
    if prefix.is_empty() { "/" } else { prefix }
}

fn told<'a>(name: &HeaderName, value: &'a str) -> Cow<'a, str> {
    if SECRET.contains(name) {
        "a value that is not shown".into()
    } else {
        shown(value)
    }
}

fn value_of(name: &HeaderName, value: &[u8]) -> String {
    told(name, &String::from_utf8_lossy(value)).into_owned()
}

/// The beginning of `text`, with what is no printable character replaced.
fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN && !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut short: String = (text.chars())
        .take(SHOWN)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short.into()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::super::{Route, Routing};
    use super::*;

    fn route(name: &str, matches: Match) -> Route {
        Route {
            matches,
            name: Some(name.to_owned()),
            destinations: vec![Destination {
                service: name.parse().unwrap(),
                weight: 1,
            }],
            ..Route::default()
        }
    }

    fn table(routes: Vec<Route>) -> Routes {
        Routes::new(Routing {
            routes,
            ..Routing::default()
        })
    }

    #[test]
    fn the_first_condition_that_fails_is_named_with_the_requests_value() {
        let header = |name: &'static str, value: &str| Match {
            headers: vec![(HeaderName::from_static(name), value.to_owned())],
            ..Match::default()
        };
        let routes = table(vec![
            route(
                "host",
                Match {
                    host: Some("shop.example.com".into()),
                    ..Match::default()
                },
            ),
            route(
                "path",
                Match {
                    path: Some("/orders/".into()),
                    ..Match::default()
                },
            ),
            route(
                "method",
                Match {
                    methods: vec![Method::PUT, Method::POST],
                    ..Match::default()
                },
            ),
            route("absent", header("x-canary", "1")),
            route("other", header("x-side", "b")),
            route("secret", header("authorization", "Bearer theirs")),
            route(
                "client",
                Match {
                    client: Some("spiffe://mesh/ops".into()),
                    ..Match::default()
                },
            ),
            route(
                "last",
                Match {
                    path: Some("/".into()),
                    ..Match::default()
                },
            ),
        ]);
        let mut headers = HeaderMap::new();
        headers.insert("x-side", "a".parse().unwrap());
        headers.insert("authorization", "Bearer mine".parse().unwrap());
        let request = Request {
            host: Some("Api.example.com"),
            path: "/x",
            method: &Method::GET,
            headers: (&headers).into(),
            client: &[],
        };
        let found = routes.find(&request, |_| 0).unwrap();
        let explained = routes.explain(&request, Some(&found));
        let because: Vec<_> = (explained.passed_over.iter())
            .map(|passed| format!("{}: {}", passed.route, passed.because))
            .collect();
        assert_eq!(
            because,
            [
                "host: host api.example.com is not shop.example.com",
                "path: path /x is not below /orders",
                "method: method GET is not PUT or POST",
                "absent: header x-canary is absent (expected 1)",
                "other: header x-side is a (expected b)",
                "secret: header authorization is a value that is not shown (expected a value that \
                 is not shown)",
                "client: the client has shown no certificate (expected spiffe://mesh/ops)",
            ]
        );
        assert_eq!(explained.matched, ["path / (a prefix of /x)"]);
    }

    #[test]
    fn the_routes_that_are_named_are_bounded_and_so_is_what_is_shown() {
        let mut routes: Vec<_> = (0..40)
            .map(|n| {
                route(
                    &format!("r{n}"),
                    Match {
                        path: Some("/a".into()),
                        ..Match::default()
                    },
                )
            })
            .collect();
        routes.push(route("all", Match::default()));
        let routes = table(routes);
        let path = format!("/{}", "ü".repeat(5_000));
        let none = HeaderMap::new();
        let request = Request {
            host: None,
            path: &path,
            method: &Method::GET,
            headers: (&none).into(),
            client: &[],
        };
        let found = routes.find(&request, |_| 0).unwrap();
        let explained = routes.explain(&request, Some(&found));
        assert_eq!(explained.passed_over.len(), PASSED_OVER);
        assert!(explained.passed_over[0].because.len() < 3 * SHOWN);
        assert_eq!(explained.matched, ["it has no conditions"]);
    }

    proptest! {
        #[test]
        fn a_route_has_an_obstacle_if_and_only_if_it_does_not_match(
            host in prop::option::of("[ab]\\.x|\\*\\.x"),
            prefix in prop::option::of("/|/a|/a/b/"),
            methods in prop::sample::subsequence(vec![Method::GET, Method::POST], 0..=2),
            wanted in prop::option::of("[01]"),
            client in prop::option::of("a\\.x|\\*\\.x"),
            asked in prop::option::of("[ab]\\.x|x"),
            path in "/[abc]?(/[abc])?",
            sent in prop::collection::vec("[01]", 0..3),
            names in prop::collection::vec("[ab]\\.x", 0..2),
        ) {
            let matches = Match {
                host,
                path: prefix.map(|path| super::super::path::prefix(&path).to_owned()),
                methods,
                headers: wanted.map(|it| (HeaderName::from_static("h"), it)).into_iter().collect(),
                client,
            };
            let mut headers = HeaderMap::new();
            for value in &sent {
                headers.append("h", value.parse().unwrap());
            }
            let request = Request {
                host: asked.as_deref(),
                path: &path,
                method: &Method::GET,
                headers: (&headers).into(),
                client: &names,
            };
            let obstacle = matches.obstacle(&request, asked.as_deref());
            prop_assert_eq!(obstacle.is_none(), matches.admits(&request, asked.as_deref()), "{:?}", obstacle);
        }
    }
}
