//! Routes: what each matches and where it leads.

use http::{HeaderName, HeaderValue};

use super::raw;
use super::report::{Path, Report};
use super::scalar::{Name, quoted};
use super::shadows::shadowed;
use super::shape::{Section, Several};
use crate::route::{Destination, Match, Mirror, Overrides, Route, TimeoutOverrides};

/// The most headers one route may match; each is compared with every request.
const MAX_HEADERS: usize = 64;

/// The explicit routes in the order of the file.
pub(super) fn routes(raw: Several<Section<raw::Route>>, report: &mut Report) -> Vec<Route> {
    let all = Path::default().key("routes");
    let mut routes: Vec<Route> = Vec::new();
    for (position, Section(raw)) in raw.0.into_iter().enumerate() {
        let path = all.item(position);
        let route = Route {
            matches: matches(raw.matches.0, &path.key("match"), report),
            destinations: destinations(raw.service, raw.split, &path, report),
            strip_prefix: None,
            name: raw.name.map(|raw| raw.0),
            split_on: raw.split_on.map(|raw| raw.0),
            mirror: raw
                .mirror
                .and_then(|Section(raw)| mirror(raw, &path.key("mirror"), report)),
            overrides: Overrides {
                max_body: raw.max_body.map(|raw| raw.0),
                retry: raw.retry.map(|raw| raw.0),
                timeouts: timeouts(&raw.timeouts.0),
            },
        };
        if let Some(name) = &route.name
            && let Some(earlier) = routes
                .iter()
                .position(|other| other.name.as_ref() == Some(name))
        {
            let message = format!(
                "{} names the route at {} already (expected another name)",
                quoted(name),
                report.place(&all.item(earlier))
            );
            report.error(&path.key("name"), message);
        }
        let strip_prefix = raw
            .strip_prefix
            .and_then(|raw| strip_prefix(raw.0, &route.matches, &path, report));
        routes.push(Route {
            strip_prefix,
            ..route
        });
    }
    for (later, earlier) in shadowed(&routes) {
        let path = all.item(later);
        if report.whole(&path) {
            let message = format!(
                "no request gets here: the route at {} matches all it does (expected before that one)",
                report.place(&all.item(earlier))
            );
            report.warning(&path, message);
        }
    }
    routes
}

fn mirror(raw: raw::Mirror, path: &Path, report: &mut Report) -> Option<Mirror> {
    let Some(service) = raw.service else {
        if report.whole(path) {
            report.error(
                path,
                "has no service (expected for example service: orders-next)",
            );
        }
        return None;
    };
    Some(Mirror {
        service: service.0,
        share: raw.share.map_or(1.0, |raw| raw.0),
    })
}

fn timeouts(raw: &raw::RouteTimeouts) -> TimeoutOverrides {
    TimeoutOverrides {
        connect: raw.connect.as_ref().map(|raw| raw.0),
        first_byte: raw.first_byte.as_ref().map(|raw| raw.0),
        between_bytes: raw.between_bytes.as_ref().map(|raw| raw.0),
        request: raw.request.as_ref().map(|raw| raw.0),
        total: raw.total.as_ref().map(|raw| raw.0),
        tunnel: raw.tunnel.as_ref().map(|raw| raw.0),
    }
}

fn matches(raw: raw::Match, path: &Path, report: &mut Report) -> Match {
    if raw.headers.0.len() > MAX_HEADERS {
        let message = format!("has too many keys (expected at most {MAX_HEADERS})");
        report.error(&path.key("headers"), message);
    }
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    for (key, value) in raw.headers.0.into_iter().take(MAX_HEADERS) {
        let path = path.key("headers").key(&key);
        let Ok(name) = key.parse::<HeaderName>() else {
            let message = format!(
                "{} is not a header's name (expected for example X-Canary)",
                quoted(&key)
            );
            report.error_at_key(&path, message);
            continue;
        };
        if headers.iter().any(|(earlier, _)| *earlier == name) {
            let message = format!(
                "{} is given once more; upper and lower case are the same (expected once)",
                quoted(&key)
            );
            report.error_at_key(&path, message);
        }
        if HeaderValue::from_str(&value).is_err() {
            let message = format!(
                "{} is no header's value (expected visible characters)",
                quoted(&value)
            );
            report.error(&path, message);
        }
        headers.push((name, value));
    }
    Match {
        client: raw.client.map(|raw| raw.0),
        host: raw.host.map(|raw| raw.0),
        path: raw.path.map(|raw| raw.0),
        methods: raw.methods.0.into_iter().map(|raw| raw.0).collect(),
        headers,
    }
}

fn destinations(
    service: Option<Name>,
    split: Option<Several<Section<raw::Side>>>,
    path: &Path,
    report: &mut Report,
) -> Vec<Destination> {
    match (service, split) {
        (Some(service), None) => vec![Destination {
            service: service.0,
            weight: 1,
        }],
        (None, Some(Several(sides))) => split_between(sides, &path.key("split"), report),
        (Some(_), Some(_)) => {
            report.error(path, "has both service and split (expected one of them)");
            Vec::new()
        }
        (None, None) => {
            if report.whole(path) {
                report.error(path, "leads nowhere (expected service or split)");
            }
            Vec::new()
        }
    }
}

fn split_between(
    sides: Vec<Section<raw::Side>>,
    path: &Path,
    report: &mut Report,
) -> Vec<Destination> {
    if sides.is_empty() && report.whole(path) {
        report.error(
            path,
            "is empty (expected for example [{service: orders, weight: 1}])",
        );
    }
    let written = sides.len();
    let mut destinations: Vec<Destination> = Vec::new();
    for (position, Section(side)) in sides.into_iter().enumerate() {
        let path = path.item(position);
        match side.service {
            Some(service) if destinations.iter().any(|side| side.service == service.0) => {
                let message = format!(
                    "is another side's, too (expected one side for {})",
                    service.0
                );
                report.error(&path.key("service"), message);
            }
            Some(service) => destinations.push(Destination {
                service: service.0,
                weight: side.weight.map_or(1, |raw| raw.0),
            }),
            None if report.whole(&path) => {
                report.error(
                    &path,
                    "has no service (expected for example service: orders)",
                );
            }
            None => {}
        }
    }
    let told_of = written == 0 || destinations.len() < written || !report.whole(path);
    if !told_of && destinations.iter().all(|side| side.weight == 0) {
        report.error(path, "has only weights of 0 (expected one above 0)");
    }
    destinations
}

/// The prefix without its trailing slash, which every path that matches must start with.
fn strip_prefix(
    prefix: String,
    matches: &Match,
    path: &Path,
    report: &mut Report,
) -> Option<String> {
    let key = path.key("strip_prefix");
    let stripped = prefix.trim_end_matches('/');
    if stripped.is_empty() {
        report.error(&key, "strips nothing (expected for example /orders)");
        return None;
    }
    match &matches.path {
        Some(matched) if is_prefix(stripped, matched) => Some(stripped.to_owned()),
        Some(matched) => {
            let message = format!(
                "{} is no prefix of match.path {} (expected one, in whole segments)",
                quoted(&prefix),
                quoted(matched)
            );
            report.error(&key, message);
            None
        }
        None => {
            if report.whole(&path.key("match")) && report.whole(path) {
                let message = format!(
                    "there is no match.path to strip from (expected one that starts with {})",
                    quoted(stripped)
                );
                report.error(&key, message);
            }
            None
        }
    }
}

/// Whether `prefix` is a prefix of `path` in whole segments, trailing slashes aside.
pub(super) fn is_prefix(prefix: &str, path: &str) -> bool {
    path.trim_end_matches('/')
        .strip_prefix(prefix.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
