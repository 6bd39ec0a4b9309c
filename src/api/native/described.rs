//! What the history shows of an instance: its registration, and what was done to it since. Nothing of
//! it is a matter of the present.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use crate::instance::{Instance, Scheme};
use crate::registry::snapshot::{Member, Revision};
use crate::registry::store::Remembered;
use crate::units::DurationText;
use crate::units::moment::format_moment;

use super::wire::{Address, Generation};

/// An instance as it was, its names apart.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Described<'a> {
    #[schema(value_type = Address)]
    address: String,
    /// `null` beside the path of a Unix socket.
    #[schema(minimum = 1, required)]
    port: Option<u16>,
    scheme: Scheme,
    weight: u32,
    #[schema(required)]
    zone: Option<&'a str>,
    tags: &'a BTreeSet<String>,
    metadata: &'a BTreeMap<String, String>,
    #[schema(value_type = Option<Generation>, inline, required)]
    generation: Option<u64>,
    draining: bool,
    /// RFC 3339.
    #[schema(format = DateTime)]
    registered_at: String,
    /// The name of the token it was registered with.
    #[schema(required)]
    owner: Option<&'a str>,
    /// The index at which its registration had last changed.
    index: Revision,
    /// `null` if it was a static member.
    #[schema(required)]
    lease: Option<Lease>,
}

/// A lease, but for how long it had to run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PastLease)]
struct Lease {
    ttl: DurationText,
}

impl<'a> Described<'a> {
    fn new(
        instance: &'a Instance,
        draining: bool,
        registered_at: SystemTime,
        owner: Option<&'a Arc<str>>,
        index: Revision,
    ) -> Self {
        let (address, port) = instance.address.parts();
        Self {
            address,
            port,
            scheme: instance.scheme,
            weight: instance.weight,
            zone: instance.zone.as_deref(),
            tags: &instance.tags,
            metadata: &instance.metadata,
            generation: instance.generation,
            draining,
            registered_at: format_moment(registered_at),
            owner: owner.map(|name| &**name),
            index,
            lease: instance.ttl.map(|ttl| Lease {
                ttl: DurationText(ttl),
            }),
        }
    }
}

impl<'a> From<&'a Member> for Described<'a> {
    fn from(member: &'a Member) -> Self {
        Self::new(
            &member.instance,
            member.draining,
            member.registered_at,
            member.owner.as_ref(),
            member.modified,
        )
    }
}

impl<'a> From<&'a Remembered> for Described<'a> {
    fn from(member: &'a Remembered) -> Self {
        Self::new(
            &member.instance,
            member.draining,
            member.registered_at,
            member.owner.as_ref(),
            member.modified,
        )
    }
}
