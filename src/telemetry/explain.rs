//! Why requests went where they went: a bounded ring of explanations of recent ones.
//!
//! ```text
//! Notes         what the request path takes down of a request that is explained
//! Explanation   that and the request's Record, kept
//! Explanations  the ring
//! ```
//!
//! What may be a secret is not kept: of a query the names of its parameters, of headers only those that
//! a route looks at, and of `Authorization` and `Cookie` not even those.

mod explanation;
mod notes;
mod ring;

pub use explanation::{Explanation, Try};
pub use notes::{Notes, Policy, Refused, Routed, Tried, Waited};
pub use ring::Explanations;

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderName;
use ipnet::IpNet;

use crate::fields::Fields;

/// Asks for an explanation of a request, if its client may.
pub const HEADER: &str = "x-callboard-explain";
/// [`HEADER`], to look for.
pub static NAME: HeaderName = HeaderName::from_static(HEADER);

/// Of which requests explanations are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The share of requests, 0 to 1.
    pub sample: f64,
    /// How many are kept.
    pub kept: usize,
    /// The networks whose clients may ask for one with [`HEADER`].
    pub clients: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sample: 0.01,
            kept: 4_096,
            clients: vec![
                IpNet::new_assert(IpAddr::from([127, 0, 0, 0]), 8),
                IpNet::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
            ],
        }
    }
}

impl Settings {
    /// Whether the next request, which comes from `client` with these `headers`, is explained.
    pub(super) fn draw(&self, headers: Fields<'_>, client: IpAddr) -> bool {
        (self.kept > 0) && (fastrand::f64() < self.sample || self.is_asked(headers, client))
    }

    /// Whether `client` asks for an explanation with these `headers`, and may.
    pub(super) fn is_asked(&self, headers: Fields<'_>, client: IpAddr) -> bool {
        let means_yes = |value: &[u8]| {
            let yes = ["1", "true", "yes", "on"];
            let value = value.trim_ascii();
            (yes.iter()).any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
        };
        self.clients.iter().any(|network| network.contains(&client))
            && headers.first(&NAME).is_some_and(means_yes)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn only_clients_that_may_are_explained_for_the_asking_and_only_for_a_yes() {
        let settings = Settings {
            sample: 0.0,
            ..Settings::default()
        };
        let draws = |value: Option<&str>, client: [u8; 4]| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(HEADER, value.parse().unwrap());
            }
            settings.draw((&headers).into(), client.into())
        };
        for yes in ["1", "true", "Yes", "on"] {
            assert!(draws(Some(yes), [127, 0, 0, 1]), "{yes}");
            assert!(!draws(Some(yes), [10, 0, 0, 1]), "{yes}");
        }
        for no in ["0", "false", "no", "", "11"] {
            assert!(!draws(Some(no), [127, 0, 0, 1]), "{no}");
        }
        assert!(!draws(None, [127, 0, 0, 1]));
    }
}
