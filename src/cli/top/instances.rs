//! The instances of the service that is looked into.

use super::feed::Raw;
use super::figures::harmless;

/// One instance, in texts that harm no terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) address: String,
    pub(super) zone: String,
    pub(super) weight: u64,
    pub(super) availability: String,
    pub(super) reason: String,
    pub(super) in_flight: u64,
    pub(super) served: u64,
}

/// A service that is looked into.
#[derive(Clone, Debug, Default)]
pub(super) struct Inside {
    pub(super) service: String,
    pub(super) instances: Vec<Instance>,
    /// Why they are not known.
    pub(super) problem: Option<String>,
    pub(super) selected: usize,
}

impl From<Raw> for Instance {
    fn from(raw: Raw) -> Self {
        let address = match raw.port {
            Some(port) if raw.address.contains(':') => format!("[{}]:{port}", raw.address),
            Some(port) => format!("{}:{port}", raw.address),
            None => raw.address,
        };
        Self {
            id: harmless(&raw.id),
            address: harmless(&address),
            zone: harmless(raw.zone.as_deref().unwrap_or_default()),
            weight: raw.weight,
            availability: harmless(&raw.availability),
            reason: harmless(raw.reason.as_deref().unwrap_or_default()),
            in_flight: raw.in_flight,
            served: raw.served,
        }
    }
}
