//! The seam between the registry and what remembers for it.

pub mod memory;

use super::event::Event;

/// Keeps events. Called by the writer alone, one call at a time; it may block.
pub trait Store: Send + 'static {
    /// Keeps `events`, all or none, before they take effect.
    ///
    /// # Errors
    /// When they could not be kept; the change is then refused.
    fn append(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// Everything kept, oldest first, to rebuild the membership from.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    fn replay(&mut self) -> Result<Vec<Event>, StoreError>;
}

/// Why a store could not do its work, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);
