//! Why requests went where they went: a bounded ring of explanations of recent ones.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

use super::record::Record;

/// Asks for an explanation of a request, if its client may.
pub const HEADER: &str = "x-callboard-explain";

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
    pub(super) fn draw(&self, headers: &HeaderMap, client: IpAddr) -> bool {
        fastrand::f64() < self.sample
            || (headers.contains_key(HEADER)
                && self.clients.iter().any(|network| network.contains(&client)))
    }
}

/// The explanations kept.
#[derive(Debug, Default)]
pub struct Explanations;

impl Explanations {
    pub(super) fn configure(&self, _settings: Option<&Settings>) {}

    pub(super) fn keep(&self, _record: &Record<'_>) {}
}
