//! Routes that no request reaches because an earlier one matches all they do.
//!
//! Comparing each route with every earlier one takes minutes for as many as a file can hold. But one
//! that covers another names no host or one that holds the other's, no path or a prefix of the
//! other's, no client or one that holds the other's, and no header that the other does not. So earlier
//! routes are kept by host, path, client and one of their headers, and are looked up by all that those
//! can be for a later one: about as many look-ups as its host, its path and its client have parts that
//! are kept. Only what is found there is compared in full.
//!
//! The header a route is kept by is the one that the fewest routes name, so that those that differ in
//! nothing but their headers do not end up in one place. A route that is out of reach itself is not
//! kept: whatever it would cover, the one that covers it does.

use std::collections::{HashMap, HashSet};
use std::iter::{once, successors};

use http::HeaderName;

use super::routes::is_prefix;
use crate::route::{Match, Route};

type Header = (HeaderName, String);

/// What a route is kept by: its host (see [`host`]), its path (see [`path`]), its client (see [`client`])
/// and one of its headers.
type Key<'routes> = (
    Option<&'routes str>,
    &'routes str,
    Option<&'routes str>,
    Option<&'routes Header>,
);

/// Each route that no request reaches, and the first one that matches all it does, by position.
pub(super) fn shadowed(routes: &[Route]) -> Vec<(usize, usize)> {
    let mut naming: HashMap<&Header, usize> = HashMap::new();
    for header in routes.iter().flat_map(|route| &route.matches.headers) {
        *naming.entry(header).or_default() += 1;
    }
    let mut kept: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    // A long path has many prefixes; few of them are as long as any path that is kept.
    let mut lengths: HashSet<usize> = HashSet::new();
    let mut clients: HashSet<Option<&str>> = HashSet::new();
    let mut shadowed = Vec::new();
    for (later, Route { matches, .. }) in routes.iter().enumerate() {
        let covering = keys_around(matches, &lengths, &clients)
            .filter_map(|key| kept.get(&key))
            .flat_map(|found| {
                let mut found = found.iter();
                found.find(|&&earlier| covers(&routes[earlier].matches, matches))
            })
            .min();
        match covering {
            Some(&earlier) => shadowed.push((later, earlier)),
            None => {
                let rarest = matches.headers.iter().min_by_key(|header| naming[header]);
                let path = path(matches);
                let client = matches.client.as_deref().map(client);
                let key = (matches.host.as_deref().map(host), path, client, rarest);
                kept.entry(key).or_default().push(later);
                clients.insert(client);
                lengths.insert(path.len());
            }
        }
    }
    shadowed
}

/// Every key by which a route that covers `later` may be kept.
fn keys_around<'routes>(
    later: &'routes Match,
    lengths: &HashSet<usize>,
    clients: &HashSet<Option<&str>>,
) -> impl Iterator<Item = Key<'routes>> {
    let around = later.client.as_deref().into_iter().flat_map(clients_around);
    let known: Vec<_> = once(None)
        .chain(around.map(Some))
        .filter(|client| clients.contains(client))
        .collect();
    let prefixes = successors(Some(path(later)), |path| Some(path.rsplit_once('/')?.0));
    prefixes
        .filter(|path| lengths.contains(&path.len()))
        .flat_map(|path| {
            let hosts = later.host.as_deref().into_iter().flat_map(hosts_around);
            once(None)
                .chain(hosts.map(Some))
                .map(move |host| (host, path))
        })
        .flat_map(|(host, path)| {
            let headers = once(None).chain(later.headers.iter().map(Some));
            headers.map(move |header| (host, path, header))
        })
        .flat_map(move |(host, path, header)| {
            let clients = known.clone().into_iter();
            clients.map(move |client| (host, path, client, header))
        })
}

/// A name or URI as it is, a pattern of them without its `*`.
fn client(pattern: &str) -> &str {
    let suffix = pattern.strip_prefix('*');
    suffix.unwrap_or_else(|| pattern.strip_suffix('*').unwrap_or(pattern))
}

/// A pattern's client and those of all patterns that hold it: for `a.b.c`, `.b.c` and `.c`; for
/// `spiffe://a/b`, `spiffe://a/` and shorter ones.
fn clients_around(pattern: &str) -> impl Iterator<Item = &str> {
    let whole = client(pattern);
    let is_uri = whole.contains(':');
    let parts = whole.char_indices().filter_map(move |(at, c)| match c {
        '/' if is_uri => Some(&whole[..=at]),
        '.' if !is_uri => Some(&whole[at..]),
        _ => None,
    });
    once(whole).chain(parts.filter(move |part| part.len() < whole.len()))
}

/// Whether `earlier` means every client that `later` does.
fn covers_client(earlier: &str, later: &str) -> bool {
    let is_uri = later.contains(':');
    earlier == later
        || match (earlier.strip_prefix('*'), earlier.strip_suffix('*')) {
            (Some(suffix), _) => !is_uri && later.len() > suffix.len() && later.ends_with(suffix),
            (None, Some(prefix)) => {
                is_uri && later.len() > prefix.len() && later.starts_with(prefix)
            }
            (None, None) => false,
        }
}

/// A name as it is, a wildcard without its `*`.
fn host(pattern: &str) -> &str {
    pattern.strip_prefix('*').unwrap_or(pattern)
}

/// A pattern's host and those of all wildcards that hold it: for `a.b.c`, `.b.c` and `.c`.
fn hosts_around(pattern: &str) -> impl Iterator<Item = &str> {
    successors(Some(host(pattern)), |name| {
        let dot = name.char_indices().skip(1).find(|(_, c)| *c == '.')?.0;
        Some(&name[dot..])
    })
}

/// The path without its trailing slashes; no path at all matches as much as `/`.
fn path(matches: &Match) -> &str {
    let path = matches.path.as_deref().unwrap_or_default();
    path.trim_end_matches('/')
}

/// Whether `earlier` matches every request that `later` does.
fn covers(earlier: &Match, later: &Match) -> bool {
    let host = match (&earlier.host, &later.host) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => {
            earlier == later
                || (earlier.strip_prefix('*')).is_some_and(|suffix| {
                    // `*.a` has `b.a` and `*.b.a` below it, and not `a` itself.
                    later.len() > suffix.len() && later.ends_with(suffix)
                })
        }
    };
    let path = match (&earlier.path, &later.path) {
        (None, _) => true,
        (Some(earlier), None) => earlier.trim_end_matches('/').is_empty(),
        (Some(earlier), Some(later)) => is_prefix(earlier, later),
    };
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty()
            && later
                .methods
                .iter()
                .all(|method| earlier.methods.contains(method)));
    let headers = earlier
        .headers
        .iter()
        .all(|header| later.headers.contains(header));
    let client = match (&earlier.client, &later.client) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => covers_client(earlier, later),
    };
    host && path && methods && headers && client
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(host: &str, path: &str, methods: &[&str], headers: &[(&str, &str)]) -> Route {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let headers = headers.iter();
        Route {
            matches: Match {
                client: None,
                host: some(host),
                path: some(path),
                methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
                headers: headers
                    .map(|(name, value)| (name.parse().unwrap(), (*value).to_owned()))
                    .collect(),
            },
            destinations: Vec::new(),
            ..Route::default()
        }
    }

    fn any_route() -> impl Strategy<Value = Route> {
        let hosts = vec!["", "c", "b.c", "a.b.c", "*.c", "*.b.c", "*.a.b.c", "x.c"];
        let paths = vec!["", "/", "/a", "/a/", "/a/b", "/ab", "/a//b", "/a/b/c", "//"];
        let methods = prop::sample::subsequence(vec!["GET", "PUT", "PATCH"], 0..=3);
        let headers = vec![("a", "1"), ("a", "2"), ("b", "1"), ("c", "1")];
        let headers = prop::sample::subsequence(headers, 0..=3);
        let (hosts, paths) = (prop::sample::select(hosts), prop::sample::select(paths));
        (hosts, paths, methods, headers)
            .prop_map(|(host, path, methods, headers)| route(host, path, &methods, &headers))
            .prop_flat_map(|route| {
                let clients = vec![
                    "",
                    "",
                    "",
                    "b.c",
                    "a.b.c",
                    "*.c",
                    "*.b.c",
                    "u://m/a",
                    "u://m/*",
                    "u://m/a/*",
                    "u://m/a/b",
                    "u://m/b.c",
                ];
                prop::sample::select(clients).prop_map(move |client| {
                    let mut route = route.clone();
                    route.matches.client = (!client.is_empty()).then(|| client.to_owned());
                    route
                })
            })
    }

    /// The same by its definition.
    fn compared_with_each(routes: &[Route]) -> Vec<(usize, usize)> {
        let first = |later: usize| {
            let covering =
                |&earlier: &usize| covers(&routes[earlier].matches, &routes[later].matches);
            (0..later).find(covering).map(|earlier| (later, earlier))
        };
        (0..routes.len()).filter_map(first).collect()
    }

    proptest! {
        #[test]
        fn looking_up_finds_what_comparing_each_does(
            routes in prop::collection::vec(any_route(), 0..40),
        ) {
            prop_assert_eq!(shadowed(&routes), compared_with_each(&routes));
        }
    }

    #[test]
    fn as_many_routes_as_a_file_can_hold_take_no_time_to_speak_of() {
        let long = "/".repeat(500_000) + "a";
        let shapes: [fn(&str) -> Route; 5] = [
            |n| {
                let mut route = route("", "/", &[], &[]);
                route.matches.client = Some(format!("u://m/{n}"));
                route
            },
            |n| route("", &format!("/{n}"), &[], &[]),
            |n| route(&format!("{n}.example.com"), "", &[], &[]),
            |n| route("example.com", "/", &["GET"], &[("a", "1"), ("b", n)]),
            |n| route("*.example.com", &format!("/a/{n}/b"), &[], &[("a", n)]),
        ];
        let begun = std::time::Instant::now();
        for shape in shapes {
            let mut routes: Vec<_> = (0..20_000).map(|n| shape(&n.to_string())).collect();
            routes.push(routes[10_000].clone());
            routes.push(route("a.b.c", &long, &[], &[]));
            assert_eq!(shadowed(&routes), [(20_000, 10_000)]);
        }
        // Compared with each other they would take many minutes.
        assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    }
}
