//! Membership changes as facts: what the store keeps and the journal shows.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::snapshot::{Member, Revision};

/// One change to one member, at one revision.
#[derive(Clone, Debug)]
pub struct Event {
    /// The revision the change made.
    pub revision: Revision,
    /// When, for people; nothing is decided by it.
    pub at: SystemTime,
    /// Who asked for it.
    pub actor: Actor,
    /// What changed.
    pub change: Change,
    /// The reason, in words for people, where the change alone does not tell it.
    pub why: Option<String>,
    /// The member as the change left it; as it last was if the change was that it left.
    pub member: Arc<Member>,
}

/// What an [`Event`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The member signed in or was replaced; a drain ended.
    Registered,
    /// Part of its description changed.
    Patched,
    /// It gets no new requests.
    Drained,
    /// It gets requests again.
    Undrained,
    /// It signed out.
    Deregistered,
    /// Its lease ran out.
    Expired,
}

impl Change {
    /// Every change there is.
    pub const ALL: [Self; 6] = [
        Self::Registered,
        Self::Patched,
        Self::Drained,
        Self::Undrained,
        Self::Deregistered,
        Self::Expired,
    ];

    /// Whether the member is gone after it.
    pub fn is_leaving(self) -> bool {
        matches!(self, Self::Deregistered | Self::Expired)
    }

    /// The word the store and APIs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Patched => "patched",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A client of an API.
    Peer {
        /// Where it called from.
        address: IpAddr,
        /// The name of the token it showed; `None` where none is asked for.
        token: Option<Arc<str>>,
        /// Whether it may act on instances that others registered.
        admin: bool,
    },
    /// callboard itself.
    Callboard,
    /// Another registry, which this one follows.
    Registry {
        /// Its URL.
        url: Arc<str>,
        /// Whether it is on this machine.
        here: bool,
    },
}

impl Actor {
    /// The name of the token shown.
    pub fn token(&self) -> Option<&Arc<str>> {
        match self {
            Self::Peer { token, .. } => token.as_ref(),
            Self::Callboard | Self::Registry { .. } => None,
        }
    }

    /// Whether it may change an instance that belongs to `owner`.
    pub fn may_change(&self, owner: Option<&Arc<str>>) -> bool {
        match self {
            Self::Callboard | Self::Registry { .. } | Self::Peer { admin: true, .. } => true,
            Self::Peer { token, .. } => owner.is_none() || owner == token.as_ref(),
        }
    }
}
