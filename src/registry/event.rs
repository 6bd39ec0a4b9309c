//! Membership changes as facts: what the store keeps and the journal shows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::snapshot::Revision;

/// One change to one member, at one revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The revision the change made.
    pub revision: Revision,
    /// When, for people; nothing is decided by it.
    pub at: SystemTime,
    /// Who asked for it.
    pub actor: Actor,
    /// The member's service.
    pub service: ServiceName,
    /// The member.
    pub id: InstanceId,
    /// What changed.
    pub change: Change,
}

/// What an [`Event`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The member signed in or was replaced; a drain ended.
    Registered(Arc<Instance>),
    /// Part of its description changed.
    Patched(Arc<Instance>),
    /// It gets no new requests.
    Drained,
    /// It gets requests again.
    Undrained,
    /// It signed out.
    Deregistered,
    /// Its lease ran out.
    Expired,
}

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A client of an API, at this address.
    Peer(IpAddr),
    /// callboard itself.
    Callboard,
}
