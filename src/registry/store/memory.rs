//! Remembers nothing beyond the process: the snapshot itself is the only copy of the membership.

use super::{Store, StoreError};
use crate::registry::event::Event;

/// The store of a registry that forgets everybody on restart.
#[derive(Debug, Default)]
pub struct MemoryStore;

impl Store for MemoryStore {
    fn append(&mut self, _events: &[Event]) -> Result<(), StoreError> {
        Ok(())
    }

    fn replay(&mut self) -> Result<Vec<Event>, StoreError> {
        Ok(Vec::new())
    }
}
