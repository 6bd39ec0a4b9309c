//! The seam between the registry and what remembers for it.

pub mod carried;
pub mod memory;
pub mod sqlite;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::event::Event;
use super::journal::Journal;
use super::snapshot::{Fitness, Member, Revision, Snapshot};

/// Keeps the membership and its history. Called by the writer alone, one call at a time; it may
/// block.
pub trait Store: Send + 'static {
    /// The membership as it was kept. Called once, before anything else.
    ///
    /// # Errors
    /// When the store cannot be used at all. What is damaged is set aside and reported instead.
    fn recover(&mut self) -> Result<Recovered, StoreError>;

    /// Revisions from `first` on are about to be given out, also to changes that no event tells of:
    /// a later [`Store::recover`] must not report less. Called once, after it.
    ///
    /// # Errors
    /// When that could not be kept.
    fn reserve(&mut self, first: Revision) -> Result<(), StoreError>;

    /// Keeps `events`, all or none, before they take effect. `before` is the membership they change,
    /// for a store that has lost its own copy of it.
    ///
    /// # Errors
    /// When they could not be kept; the change is then refused.
    fn append(&mut self, events: &[Event], before: &Snapshot) -> Result<(), StoreError>;

    /// Remembers how instances were last found, for the next [`Store::recover`]. Nothing that was
    /// acknowledged rests on it, so that a failure is the store's to report.
    fn note(&mut self, found: &[(ServiceName, InstanceId, Fitness)]);

    /// Does a piece of its own upkeep, short enough not to be felt by a caller that waits. Says when
    /// it wants to be called again.
    fn tidy(&mut self, now: Instant) -> Option<Duration>;

    /// The history, for readers on other threads.
    fn journal(&self) -> Arc<dyn Journal>;

    /// What another process that goes on with `membership` has to be told, because this store keeps
    /// it where no other can read it; `None` if the other opens the store itself.
    fn carried(&self, _membership: &Snapshot) -> Option<Recovered> {
        None
    }
}

/// What a store brings back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// The members.
    pub members: Vec<Remembered>,
    /// The last revision that was kept or reserved; 0 if there was none.
    pub last: Revision,
}

/// One member as a store remembers it.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// What registered.
    pub instance: Instance,
    /// Whether it was asked to drain.
    pub draining: bool,
    /// The revision it first signed in at.
    pub created: Revision,
    /// The revision of the last change to its registration.
    pub modified: Revision,
    /// When it first signed in.
    pub registered_at: SystemTime,
    /// The name of the token it was registered with.
    pub owner: Option<Arc<str>>,
    /// How it was found last.
    pub fitness: Fitness,
}

impl From<&Member> for Remembered {
    fn from(member: &Member) -> Self {
        Self {
            instance: Instance::clone(&member.instance),
            draining: member.draining,
            created: member.created,
            modified: member.modified,
            registered_at: member.registered_at,
            owner: member.owner.clone(),
            fitness: member.recalled.unwrap_or_default(),
        }
    }
}

/// Why a store could not do its work, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room left.
    #[error("{0}")]
    Full(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
