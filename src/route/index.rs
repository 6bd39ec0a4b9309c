//! The routes that can match a request, by their hosts and paths, without a look at all the others.
//!
//! Every route stands in one list: of those with its host, or for names below its domain, or for any
//! host, the list of its path prefix. A request's lists are those of its host and of the domains above
//! it, and of each those of its path and of the prefixes of that. How many these are depends on the
//! request, and not on how many routes there are.

use std::collections::HashMap;
use std::iter;

use foldhash::fast::RandomState;

use super::Match;

/// The numbers of routes, by what they ask of host and path.
#[derive(Debug, Default)]
pub(super) struct Index(Level<Level<Vec<usize>>>);

impl Index {
    /// The index of `routes`, whose path prefixes have no trailing slash; their numbers are their places.
    pub(super) fn new<'a>(routes: impl Iterator<Item = &'a Match>) -> Self {
        let mut hosts = Level::<Level<Vec<usize>>>::default();
        for (number, route) in routes.enumerate() {
            let host = route.host.as_deref().unwrap_or_default();
            let paths = hosts.of(host.strip_prefix('*').unwrap_or(host));
            let list = paths.of(route.path.as_deref().unwrap_or_default());
            list.push(number);
        }
        Self(hosts)
    }

    /// The lowest number that `admits` among the routes that can match `path` at `host`, which is in
    /// lower case.
    pub(super) fn first(
        &self,
        host: Option<&str>,
        path: &str,
        admits: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut first = None;
        for paths in self.0.matching(host.into_iter().flat_map(domains)) {
            for list in paths.matching(prefixes(path)) {
                let earlier = list.iter().copied();
                let mut earlier = earlier.take_while(|&number| first.is_none_or(|it| number < it));
                first = earlier.find(|&number| admits(number)).or(first);
            }
        }
        first
    }
}

/// What is known by names, and what there is for any name.
#[derive(Debug, Default)]
struct Level<T> {
    any: T,
    named: HashMap<String, T, RandomState>,
    /// How long names are at most: longer ones, which only clients bring, are not looked for.
    longest: usize,
}

impl<T: Default> Level<T> {
    fn of(&mut self, name: &str) -> &mut T {
        if name.is_empty() {
            return &mut self.any;
        }
        self.longest = self.longest.max(name.len());
        self.named.entry(name.to_owned()).or_default()
    }

    fn matching<'a>(&'a self, names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a T> {
        let known = names.filter(|name| name.len() <= self.longest);
        iter::once(&self.any).chain(known.filter_map(|name| self.named.get(name)))
    }
}

/// A host, and each domain that it is below, with its dot.
fn domains(host: &str) -> impl Iterator<Item = &str> {
    let dots = memchr::memchr_iter(b'.', host.as_bytes());
    iter::once(host).chain(dots.map(|dot| &host[dot..]))
}

/// A path, and each prefix that ends before a slash.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let slashes = memchr::memchr_iter(b'/', path.as_bytes());
    iter::once(path).chain(slashes.map(|slash| &path[..slash]))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::super::table::Request;
    use super::*;

    proptest! {
        #[test]
        fn the_first_route_is_the_one_that_a_look_at_all_of_them_finds(
            routes in prop::collection::vec(
                (
                    prop::option::of("([ab]\\.)?[ab]\\.x|\\*\\.([ab]\\.)?x"),
                    prop::option::of("(/[ab])?(/[ab])?(/[ab])?|//"),
                    prop::sample::subsequence(vec![Method::GET, Method::POST], 0..=2),
                ),
                0..20,
            ),
            host in prop::option::of("\\.?([abc]\\.){0,3}x"),
            path in "\\*|/{0,2}([abc]/{0,2}){0,4}",
        ) {
            let routes: Vec<_> = routes
                .into_iter()
                .map(|(host, path, methods)| Match { host, path, methods, ..Match::default() })
                .collect();
            let headers = HeaderMap::new();
            let request = Request {
                host: host.as_deref(),
                path: &path,
                method: &Method::GET,
                headers: (&headers).into(),
                client: &[],
            };
            let admits = |number: usize| routes[number].admits(&request, host.as_deref());
            let found = Index::new(routes.iter()).first(host.as_deref(), &path, admits);
            prop_assert_eq!(found, (0..routes.len()).find(|&number| admits(number)));
        }
    }
}
