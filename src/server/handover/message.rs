//! What the two processes say to each other, a line of JSON each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// The version of this protocol. Processes that speak different ones part at once.
pub(super) const PROTOCOL: u32 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// Successor: wants to take over.
    Hello {
        protocol: u32,
        version: String,
        pid: u32,
    },
    /// Predecessor: will not be taken over from now.
    Refused { why: String },
    /// Predecessor: what it has. The sockets come along, those of the data plane first, each
    /// configured to listen at the address here.
    Welcome {
        version: String,
        pid: u32,
        store: String,
        proxy: Vec<Address>,
        registry: Address,
    },
    /// Successor: has everything but the store.
    Ready,
    /// Predecessor: has let go of the store.
    Yours {
        /// The membership, if it is in no store that the successor can open.
        membership: Option<String>,
        /// The splits that were set, if they are in no file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        splits: Option<String>,
    },
    /// Successor: takes requests.
    Serving,
    /// Predecessor: is leaving.
    Go,
    /// Predecessor: took everything back.
    Withdrawn { why: String },
}

impl fmt::Display for Message {
    /// What it is, without what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello { .. } => "hello",
            Self::Refused { .. } => "refused",
            Self::Welcome { .. } => "welcome",
            Self::Ready => "ready",
            Self::Yours { .. } => "yours",
            Self::Serving => "serving",
            Self::Go => "go",
            Self::Withdrawn { .. } => "withdrawn",
        })
    }
}
