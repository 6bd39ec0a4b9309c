//! Finding a request's route.

use callboard::fields::Fields;
use callboard::route::table::{Request, Routes};
use callboard::route::{Destination, Match, Route, Routing};
use http::{HeaderMap, Method};

use crate::inside::{Calls, FEW, STRIDE, turns};
use crate::series::{Scale, Series};

pub(crate) fn measure(scale: &Scale) -> Vec<Series> {
    let name = ("finding a route", "ns");
    let by_host = |size| searches(size, |n| (Some(format!("{n}.example.com")), None));
    let by_path = |size| searches(size, |n| (None, Some(format!("/api/{n}"))));
    vec![
        Series::new(name, "routes, each of a host", turns(scale, by_host)),
        Series::new(name, "routes, each of a path", turns(scale, by_path)),
    ]
}

/// Searches for a few routes in turn; `matches` is the host and the path of the n-th.
fn searches(size: usize, matches: impl Fn(usize) -> (Option<String>, Option<String>)) -> Calls {
    let all: Vec<_> = (0..size).map(matches).collect();
    let routes = all.iter().map(|(host, path)| Route {
        matches: Match {
            host: host.clone(),
            path: path.clone(),
            ..Match::default()
        },
        destinations: vec![Destination {
            service: "web".parse().unwrap(),
            weight: 1,
        }],
        ..Route::default()
    });
    let routes = Routes::new(Routing {
        routes: routes.collect(),
        default_routes: None,
    });
    let (headers, mut at) = (HeaderMap::new(), 0);
    Box::new(move |count| {
        for _ in 0..count {
            at = (at + 1) % all.len().min(FEW);
            let (host, path) = &all[at * STRIDE % all.len()];
            let request = Request {
                host: Some(host.as_deref().unwrap_or("example.com")),
                path: path.as_deref().unwrap_or("/"),
                method: &Method::GET,
                headers: Fields::from(&headers),
                client: &[],
            };
            assert!(routes.find(&request, |_| 0).is_some());
        }
    })
}
