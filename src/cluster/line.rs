//! Who waits for an endpoint, in the order of arrival.
//!
//! The lock is taken by those who wait and by those who let go of something while somebody waits.
//! While nobody does, everybody else pays one atomic load.
//!
//! Architecture invariant: a place in the line is removed, under the lock, before its waiter goes
//! away. So whoever is in the line can be given something, and nothing given is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::pick::{Nobody, Pick, Tried};

/// What waiting came to.
pub(super) type Given = Result<Pick, Nobody>;

/// What somebody waits for; each kind has its own bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// For others to finish, at a limit.
    Queued,
    /// For an instance to become available.
    Held,
}

/// The line of one cluster.
#[derive(Default)]
pub(super) struct Line {
    waiting: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
    queued: u32,
    held: u32,
}

/// One who waits.
pub(super) struct Waiter {
    pub(super) hash: u64,
    pub(super) tried: Tried,
    /// What stood in its way when it was last looked at.
    pub(super) obstacle: Option<Nobody>,
    /// `None` until it has been admitted to the line.
    kind: Option<Kind>,
    given: oneshot::Sender<Given>,
}

/// The line while it is locked.
pub(super) struct Locked<'a> {
    waiting: &'a AtomicUsize,
    places: MutexGuard<'a, Places>,
}

impl Line {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        // Pairs with the store in `join`: whoever frees something and then finds nobody here did so
        // before the next one in line looks for what is free.
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// How many wait for others to finish, and how many for an instance to become available.
    pub(super) fn counts(&self) -> (u32, u32) {
        if self.is_empty() {
            return (0, 0);
        }
        let places = self.lock().places;
        (places.queued, places.held)
    }

    /// Nothing is left half done under the lock, so what a panic leaves behind is coherent.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked {
            waiting: &self.waiting,
            places: self.places.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Locked<'_> {
    /// Puts somebody at the end; says as whom, and where it gets what it is given.
    pub(super) fn join(&mut self, hash: u64, tried: Tried) -> (u64, oneshot::Receiver<Given>) {
        let ticket = self.places.next;
        self.places.next += 1;
        let (given, receiver) = oneshot::channel();
        let waiter = Waiter {
            hash,
            tried,
            obstacle: None,
            kind: None,
            given,
        };
        self.places.waiters.insert(ticket, waiter);
        self.tell();
        (ticket, receiver)
    }

    /// The first in line whose ticket is `from` or later.
    pub(super) fn next(&mut self, from: u64) -> Option<(u64, &mut Waiter)> {
        let (ticket, waiter) = self.places.waiters.range_mut(from..).next()?;
        Some((*ticket, waiter))
    }

    /// What stood in somebody's way; `None` if it is not in line any more.
    pub(super) fn find(&self, ticket: u64) -> Option<&Waiter> {
        self.places.waiters.get(&ticket)
    }

    /// Lets somebody wait, if fewer than `places` wait for the same; says whether it may.
    pub(super) fn admit(&mut self, ticket: u64, kind: Kind, places: u32) -> bool {
        let Places {
            waiters,
            queued,
            held,
            ..
        } = &mut *self.places;
        let count = match kind {
            Kind::Queued => queued,
            Kind::Held => held,
        };
        match waiters.get_mut(&ticket) {
            Some(waiter) if *count < places => {
                waiter.kind = Some(kind);
                *count += 1;
                true
            }
            _ => false,
        }
    }

    /// Gives somebody what it waited for. Gives it back if it is gone, to be dropped without the lock.
    pub(super) fn give(&mut self, ticket: u64, given: Given) -> Option<Given> {
        match self.take_out(ticket) {
            Some(waiter) => waiter.given.send(given).err(),
            None => Some(given),
        }
    }

    /// Takes somebody out of the line.
    pub(super) fn remove(&mut self, ticket: u64) {
        self.take_out(ticket);
    }

    fn take_out(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.places.waiters.remove(&ticket)?;
        match waiter.kind {
            Some(Kind::Queued) => self.places.queued -= 1,
            Some(Kind::Held) => self.places.held -= 1,
            None => {}
        }
        self.tell();
        Some(waiter)
    }

    fn tell(&self) {
        self.waiting
            .store(self.places.waiters.len(), Ordering::SeqCst);
    }
}
