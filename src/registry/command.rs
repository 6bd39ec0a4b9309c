//! What the registry can be asked to do, and why it may refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::snapshot::{Fitness, Member, Revision};
use super::store::StoreError;

/// One change to the membership.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Sign in, or replace everything known about an instance. Renews the lease and ends a drain.
    Register(Instance),
    /// Be as another registry, which this one follows, shows the instance to be: signed in, in
    /// whatever life, and draining or not, in one step. Renews the lease.
    Mirror {
        /// What is registered there; with a lease of this registry's own.
        instance: Arc<Instance>,
        /// Whether it drains there.
        draining: bool,
        /// How it was found there.
        fitness: Fitness,
    },
    /// Change some of what is known about an instance.
    Patch {
        /// The instance's service.
        service: ServiceName,
        /// The instance.
        id: InstanceId,
        /// What to change.
        patch: Patch,
        /// The member's revision the caller has seen; another one is refused.
        if_match: Option<Revision>,
    },
    /// Stop (`true`) or resume (`false`) giving an instance new requests.
    Drain {
        /// The instance's service.
        service: ServiceName,
        /// The instance.
        id: InstanceId,
        /// Whether to drain.
        draining: bool,
        /// As in [`Command::Deregister`].
        generation: Option<u64>,
    },
    /// Sign out.
    Deregister {
        /// The instance's service.
        service: ServiceName,
        /// The instance.
        id: InstanceId,
        /// The caller's life; an older one than the member's is refused.
        generation: Option<u64>,
    },
    /// Sign out at the end of a drain; refused if the instance no longer drains, because it came
    /// back meanwhile.
    FinishDrain {
        /// The instance's service.
        service: ServiceName,
        /// The instance.
        id: InstanceId,
        /// As in [`Command::Deregister`].
        generation: Option<u64>,
    },
}

impl Command {
    /// The service and the instance it is about.
    pub fn about(&self) -> (&ServiceName, &InstanceId) {
        match self {
            Self::Register(instance) => (&instance.service, &instance.id),
            Self::Mirror { instance, .. } => (&instance.service, &instance.id),
            Self::Patch { service, id, .. }
            | Self::Drain { service, id, .. }
            | Self::Deregister { service, id, .. }
            | Self::FinishDrain { service, id, .. } => (service, id),
        }
    }
}

/// A partial update; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// The new weight.
    pub weight: Option<u32>,
    /// The new zone; `Some(None)` clears it.
    pub zone: Option<Option<String>>,
    /// The new tags.
    pub tags: Option<BTreeSet<String>>,
    /// Metadata entries to set (`Some`) or remove (`None`).
    pub metadata: BTreeMap<String, Option<String>>,
    /// Removes all metadata before setting those above.
    pub clear_metadata: bool,
}

impl Patch {
    /// `instance` with this laid over it.
    pub fn over(&self, instance: &Instance) -> Instance {
        let mut patched = instance.clone();
        if let Some(weight) = self.weight {
            patched.weight = weight;
        }
        if let Some(zone) = &self.zone {
            patched.zone.clone_from(zone);
        }
        if let Some(tags) = &self.tags {
            patched.tags.clone_from(tags);
        }
        if self.clear_metadata {
            patched.metadata.clear();
        }
        for (key, value) in &self.metadata {
            match value {
                Some(value) => patched.metadata.insert(key.clone(), value.clone()),
                None => patched.metadata.remove(key),
            };
        }
        patched
    }
}

/// What came of an accepted command.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The member as it is now, or as it was when it left.
    pub member: Arc<Member>,
    /// The revision at which the change was published; when nothing changed, the member's
    /// [`modified`](Member::modified).
    pub revision: Revision,
    /// Whether a [`Command::Register`] added a member that was not there.
    pub created: bool,
}

/// Why a command was not carried out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is no such instance.
    #[error("service {service:?} has no instance {id:?}")]
    NotFound {
        /// The service asked for.
        service: String,
        /// The instance asked for.
        id: String,
    },
    /// The call comes from an earlier life of the instance.
    #[error("generation {given} is older than the registered {current}")]
    Fenced {
        /// The call's generation.
        given: u64,
        /// The member's generation.
        current: u64,
    },
    /// The member is not at the revision the caller has seen.
    #[error("the instance is at index {current}, not at {given}")]
    Stale {
        /// The revision the caller named.
        given: Revision,
        /// The member's revision.
        current: Revision,
    },
    /// The instance was to be signed out at the end of a drain, and came back before that.
    #[error(
        "service {service:?} instance {id:?} registered again or was told to resume while it \
         drained, and was left in place (expected it to stay draining)"
    )]
    NotDraining {
        /// The instance's service.
        service: String,
        /// The instance.
        id: String,
    },
    /// The registration breaks a rule.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field, as the API spells it.
        field: &'static str,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The instance was registered with another token.
    #[error(
        "service {service:?} instance {id:?} was registered with another token (expected that one, or one with the admin scope)"
    )]
    NotOwner {
        /// The instance's service.
        service: String,
        /// The instance.
        id: String,
    },
    /// There are as many as there may be; one more is refused.
    #[error(
        "registry.limits.{name} is reached (expected at most {value}; those that are registered may be replaced)"
    )]
    Limit {
        /// The limit, as the configuration spells it.
        name: &'static str,
        /// Its value.
        value: usize,
    },
    /// The change could not be stored.
    #[error("the registry cannot store changes now: {0}")]
    Unavailable(String),
    /// The change could not be stored because there is no room.
    #[error("the registry has no room to store changes: {0}")]
    Full(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(reason) => Self::Full(reason),
            StoreError::Failed(reason) => Self::Unavailable(reason),
        }
    }
}
