//! The published membership: immutable, shared, cheap to change one service of.
//!
//! The maps are persistent (structure-sharing) trees, so that a change costs O(log n) in its own
//! service and nothing in the others, and two snapshots can be compared by what they do not share.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::command::Refusal;
use super::event::Actor;
use super::lease::Lease;

/// A point in the history of changes. Grows with every change, never goes back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The whole membership at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The revision of the last change.
    pub revision: Revision,
    /// Every service that has members, or had some not long ago.
    pub services: OrdMap<ServiceName, Arc<Members>>,
    /// No service that was dropped from `services` was changed later than this.
    pub forgotten: Revision,
}

/// The members of one service.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// The revision of the last change to this service.
    pub revision: Revision,
    /// By id.
    pub instances: OrdMap<InstanceId, Arc<Member>>,
}

/// One member: what registered, and what became of it since.
#[derive(Clone, Debug)]
pub struct Member {
    /// What registered.
    pub instance: Arc<Instance>,
    /// Its lease; `None` for a static member.
    pub lease: Option<Arc<Lease>>,
    /// Whether it was asked to drain.
    pub draining: bool,
    /// The revision it first signed in at.
    pub created: Revision,
    /// The revision of the last change to its registration.
    pub modified: Revision,
    /// The revision at which anything observable about it last changed, its availability included.
    pub observed: Revision,
    /// When it first signed in, for people.
    pub registered_at: SystemTime,
    /// The name of the token it was registered with; nobody but its bearer and administrators may
    /// change the member. `None` when it registered without one.
    pub owner: Option<Arc<str>>,
    /// How it was found before callboard restarted, until it registers again, or by the registry it
    /// is mirrored from; `None` for one that registered with this process.
    pub recalled: Option<Fitness>,
}

/// How the probes last found an instance: what the store remembers for a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fitness {
    /// No probe has passed since it registered.
    #[default]
    Unproven,
    /// Its probes pass, or it was to be believed without any.
    Fit,
    /// Its probes fail.
    Failing,
}

/// Two views of one service are equal when they are of the same revision, so that comparing two
/// snapshots costs nothing per service.
impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
    }
}

impl Eq for Members {}

/// Two members are equal when they are the same version of the same registration, so that comparing
/// two snapshots costs nothing per member.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.created == other.created && self.observed == other.observed
    }
}

impl Eq for Member {}

impl Member {
    /// Refuses a call by somebody other than whoever registered the member.
    ///
    /// # Errors
    /// [`Refusal::NotOwner`].
    pub fn guard(&self, actor: &Actor) -> Result<(), Refusal> {
        if actor.may_change(self.owner.as_ref()) {
            return Ok(());
        }
        Err(Refusal::NotOwner {
            service: self.instance.service.to_string(),
            id: self.instance.id.to_string(),
        })
    }

    /// Refuses a call that says it comes from an earlier life of the instance than registered last.
    ///
    /// # Errors
    /// [`Refusal::Fenced`].
    pub fn fence(&self, generation: Option<u64>) -> Result<(), Refusal> {
        match (generation, self.instance.generation) {
            (Some(given), Some(current)) if given < current => {
                Err(Refusal::Fenced { given, current })
            }
            _ => Ok(()),
        }
    }
}

impl Snapshot {
    /// The members of a service, `None` if nobody has registered for it (lately).
    pub fn members(&self, service: &str) -> Option<&Arc<Members>> {
        self.services.get(service)
    }

    /// One member.
    pub fn member(&self, service: &str, id: &str) -> Option<&Arc<Member>> {
        self.members(service)?.instances.get(id)
    }

    /// The revision `service` was last changed at.
    pub fn revision_of(&self, service: &str) -> Revision {
        self.members(service)
            .map_or(self.forgotten, |members| members.revision)
    }

    /// The revision that somebody who follows one service, or all with `None`, goes by.
    pub fn revision_followed(&self, only: Option<&ServiceName>) -> Revision {
        only.map_or(self.revision, |service| self.revision_of(service.as_str()))
    }
}
