//! What becomes of the configured routes. A route is the same as one before if it has the same name, or
//! else if it matches the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::route::{Destination, Match, Mirror, Overrides, Route, Routing, TimeoutOverrides};

use super::words::{bytes, duration, list, or_off, percent, switch};
use super::{Change, Present, RouteChanges, numbered};

/// The routes that differ, and the splits in force that end.
pub(super) fn changes(
    old: &Routing,
    new: &Routing,
    present: &Present,
) -> (RouteChanges, Vec<Change>) {
    let (before, after) = (Listed::of(&old.routes), Listed::of(&new.routes));
    let only = |these: &Listed, others: &Listed| {
        let lone = these
            .order
            .iter()
            .filter(|label| !others.written.contains_key(*label));
        lone.map(|label| format!("{label}: {}", these.written[label]))
            .collect()
    };
    let changed = after.order.iter().filter_map(|label| {
        let (old, new) = (before.written.get(label)?, &after.written[label]);
        (old != new).then(|| format!("{label}: {old} ⇒ {new}"))
    });
    let routes = RouteChanges {
        added: only(&after, &before),
        removed: only(&before, &after),
        changed: changed.collect(),
        moved: moved(&before, &after),
    };
    (routes, resets(old, new, present))
}

/// Routes by label.
struct Listed {
    order: Vec<String>,
    written: BTreeMap<String, String>,
}

impl Listed {
    fn of(routes: &[Route]) -> Self {
        let order = numbered(routes.iter().map(label));
        let written = order
            .iter()
            .cloned()
            .zip(routes.iter().map(written))
            .collect();
        Self { order, written }
    }
}

/// Those that stay and are not in the longest run that keeps its order.
fn moved(before: &Listed, after: &Listed) -> Vec<String> {
    let places: BTreeMap<&String, usize> = before
        .order
        .iter()
        .enumerate()
        .map(|(place, label)| (label, place))
        .collect();
    let staying: Vec<(&String, usize)> = (after.order.iter())
        .filter_map(|label| Some((label, *places.get(label)?)))
        .collect();
    let kept = longest_rise(&staying.iter().map(|(_, place)| *place).collect::<Vec<_>>());
    (staying.iter().enumerate())
        .filter(|(position, _)| !kept.contains(position))
        .map(|(_, (label, _))| (*label).clone())
        .collect()
}

/// The positions of a longest increasing subsequence (C. Schensted, 1961).
fn longest_rise(values: &[usize]) -> BTreeSet<usize> {
    let mut ends: Vec<usize> = Vec::new();
    let mut before = vec![None; values.len()];
    for (position, value) in values.iter().enumerate() {
        let length = ends.partition_point(|&end| values[end] < *value);
        before[position] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = position,
            None => ends.push(position),
        }
    }
    let mut rise = BTreeSet::new();
    let mut next = ends.last().copied();
    while let Some(position) = next {
        rise.insert(position);
        next = before[position];
    }
    rise
}

/// A split that was set holds for as long as the file says the same of its route.
fn resets(old: &Routing, new: &Routing, present: &Present) -> Vec<Change> {
    let named = |routing: &Routing, name: &String| {
        let mut routes = routing.routes.iter();
        let route = routes.find(|route| route.name.as_ref() == Some(name));
        route.map(|route| route.destinations.clone())
    };
    let reset = |(name, set): (&String, &Vec<Destination>)| {
        let (before, after) = (named(old, name), named(new, name));
        (before != after).then(|| Change {
            path: format!("routes.{name}.split"),
            from: Some(format!("{} (as set through the control plane)", list(set))),
            to: after.map(list),
            effect: Some("the split that was set ends".to_owned()),
        })
    };
    present.splits.iter().filter_map(reset).collect()
}

fn label(route: &Route) -> String {
    match &route.name {
        Some(name) => name.clone(),
        None => matching(&route.matches),
    }
}

fn matching(matches: &Match) -> String {
    let Match {
        host,
        path,
        methods,
        headers,
        client,
    } = matches;
    let mut parts = Vec::new();
    parts.extend(host.as_ref().map(|host| format!("host {host}")));
    parts.extend(path.as_ref().map(|path| format!("path {path}")));
    if !methods.is_empty() {
        parts.push(format!("methods {}", list(methods)));
    }
    parts.extend(
        headers
            .iter()
            .map(|(name, value)| format!("header {name}: {value}")),
    );
    parts.extend(client.as_ref().map(|client| format!("client {client}")));
    if parts.is_empty() {
        parts.push("everything".to_owned());
    }
    parts.join(", ")
}

/// All of a route but its place.
fn written(route: &Route) -> String {
    let Route {
        matches,
        destinations,
        strip_prefix,
        name,
        split_on,
        mirror,
        overrides,
    } = route;
    let mut parts = Vec::new();
    if name.is_some() {
        parts.push(matching(matches));
    }
    parts.push(match destinations.as_slice() {
        [Destination { service, weight: _ }] => format!("→ {service}"),
        sides => format!("→ {}", list(sides)),
    });
    parts.extend(split_on.as_ref().map(|on| format!("split on {on}")));
    parts.extend(
        strip_prefix
            .as_ref()
            .map(|prefix| format!("strip {prefix}")),
    );
    parts.extend(
        mirror
            .as_ref()
            .map(|Mirror { service, share }| format!("copies of {} → {service}", percent(share))),
    );
    let Overrides {
        max_body,
        retry,
        timeouts,
    } = overrides;
    parts.extend(max_body.map(|most| format!("max_body {}", or_off(most.as_ref(), bytes))));
    parts.extend(retry.map(|retry| format!("retry {}", switch(&retry))));
    let TimeoutOverrides {
        connect,
        first_byte,
        between_bytes,
        request,
        total,
        tunnel,
    } = timeouts;
    let limits: [(&str, Option<Option<Duration>>); 6] = [
        ("connect", connect.map(Some)),
        ("first_byte", *first_byte),
        ("between_bytes", between_bytes.map(Some)),
        ("request", request.map(Some)),
        ("total", *total),
        ("tunnel", *tunnel),
    ];
    let limits = limits
        .into_iter()
        .filter_map(|(key, limit)| Some((key, limit?)));
    parts.extend(limits.map(|(key, limit)| format!("{key} {}", or_off(limit.as_ref(), duration))));
    parts.join(", ")
}
