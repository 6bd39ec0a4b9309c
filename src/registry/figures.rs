//! What is counted of the registry.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::event::{Change, Event};

/// The figures of a registry since it was started.
#[derive(Debug, Default)]
pub struct Figures {
    heartbeats: AtomicU64,
    changes: [AtomicU64; Change::ALL.len()],
    refused: AtomicU64,
    is_refusing: AtomicBool,
    followers: AtomicU64,
}

impl Figures {
    /// Leases that were renewed.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats.load(Ordering::Relaxed)
    }

    /// Changes that were made, by what they did.
    pub fn changes(&self) -> impl Iterator<Item = (Change, u64)> {
        let counts = self.changes.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        Change::ALL.into_iter().zip(counts)
    }

    /// Changes that the store refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the store took the last change.
    pub fn is_storing(&self) -> bool {
        !self.is_refusing.load(Ordering::Relaxed)
    }

    /// Those who wait for changes now.
    pub fn followers(&self) -> u64 {
        self.followers.load(Ordering::Relaxed)
    }

    pub(super) fn renewed(&self) {
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stored(&self, events: &[Event]) {
        for event in events {
            self.changes[event.change as usize].fetch_add(1, Ordering::Relaxed);
        }
        self.is_refusing.store(false, Ordering::Relaxed);
    }

    pub(super) fn not_stored(&self, events: &[Event]) {
        let count = events.len() as u64;
        self.refused.fetch_add(count, Ordering::Relaxed);
        self.is_refusing.store(true, Ordering::Relaxed);
    }

    pub(super) fn followed(&self) {
        self.followers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.followers.fetch_sub(1, Ordering::Relaxed);
    }
}
