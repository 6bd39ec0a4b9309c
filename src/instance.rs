//! What registers: one running copy of a service, where it listens and how it wants to be treated.
//!
//! Both the registry and the data plane speak of instances and neither knows the other, so the
//! description lives to the left of both.

pub mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::names::{InstanceId, ServiceName};
use check::CheckOverride;

/// The largest weight an instance may have.
pub const MAX_WEIGHT: u32 = 65_535;
/// The most tags an instance may carry.
pub const MAX_TAGS: usize = 64;
/// The most metadata entries an instance may carry.
pub const MAX_METADATA: usize = 64;
/// The most bytes in one tag, zone, metadata key or metadata value.
pub const MAX_TEXT: usize = 512;

/// One registered instance, as its registration describes it. Parsed at the edge; every value is
/// within the limits above.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Its name within the service.
    pub id: InstanceId,
    /// Where it listens.
    pub address: Address,
    /// What it speaks there.
    pub scheme: Scheme,
    /// Its share of the traffic relative to its siblings; 0 takes none. At most [`MAX_WEIGHT`].
    pub weight: u32,
    /// The failure domain it runs in.
    pub zone: Option<String>,
    /// Labels to filter by.
    pub tags: BTreeSet<String>,
    /// Free-form facts about it.
    pub metadata: BTreeMap<String, String>,
    /// How long its lease lasts between heartbeats; `None` is a static member without a lease.
    pub ttl: Option<Duration>,
    /// What differs from its service's active check.
    pub check: CheckOverride,
    /// Which life of the process this is (for example its start time in milliseconds); a call that
    /// carries an older one is refused.
    pub generation: Option<u64>,
}

/// The protocol an instance speaks. A TCP listener passes bytes on to any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 in clear text, with prior knowledge (RFC 9113, section 3.3).
    H2c,
    /// HTTP/2 over TLS.
    H2,
    /// Bytes in clear text that are not HTTP.
    Tcp,
    /// Bytes over TLS that are not HTTP.
    Tls,
}

impl Scheme {
    /// All there are.
    pub const ALL: [Self; 6] = [
        Self::Http,
        Self::Https,
        Self::H2c,
        Self::H2,
        Self::Tcp,
        Self::Tls,
    ];

    /// Whether connections to the instance are encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2 | Self::Tls)
    }

    /// Whether the instance speaks HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }

    /// Whether the instance speaks HTTP at all.
    pub fn is_http(self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls)
    }

    /// The word for it in APIs and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}
