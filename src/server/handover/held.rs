//! The listening sockets once more, for a process to come, and the files by which clients find those
//! that are at a path.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address::Address;
use crate::server::listening::Listening;
use crate::server::nameplate::Nameplate;
use crate::server::sockets::Nameplates;

/// The listening sockets, each with the address it was configured for.
#[derive(Debug)]
pub(in crate::server) struct Holdings {
    pub(in crate::server) proxy: Vec<(Address, Listening)>,
    pub(in crate::server) registry: (Address, Listening),
}

/// The sockets for a process to come, until this one leaves: an open socket would keep clients
/// waiting for nobody. Cheap to clone.
#[derive(Clone)]
pub(in crate::server) struct Held(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    holdings: Option<Holdings>,
    plates: Nameplates,
    /// Another process has the sockets as well, and goes on with them unless it says otherwise.
    is_lent: bool,
    /// Whether this process has closed its data plane, and its control plane.
    left: [bool; 2],
}

impl Held {
    /// `None` is nothing for a process to come.
    pub(in crate::server) fn new(holdings: Option<Holdings>, plates: Nameplates) -> Self {
        Self(Arc::new(Mutex::new(State {
            holdings,
            plates,
            is_lent: false,
            left: [false; 2],
        })))
    }

    /// The process before has no say any more in the sockets that were its own; those that nobody
    /// listens at now are removed.
    pub(super) fn take_over(&self) {
        let mut state = self.lock();
        let Nameplates {
            proxy,
            registry,
            gone,
        } = &mut state.plates;
        let all = proxy.iter_mut().chain(registry).chain(gone.iter_mut());
        all.for_each(Nameplate::take_over);
        gone.clear();
        state.clear();
    }

    /// Has `give` hand the sockets to another process; `None` if there are none any more.
    pub(super) fn lend<T>(&self, give: impl FnOnce(&Holdings) -> T) -> Option<T> {
        let mut state = self.lock();
        let given = give(state.holdings.as_ref()?);
        state.is_lent = true;
        Some(given)
    }

    /// The other process does not go on with them.
    pub(super) fn reclaim(&self) {
        let mut state = self.lock();
        state.is_lent = false;
        state.clear();
    }

    /// Closes them, because the data plane closes. Whoever accepts from them must still do so: what
    /// comes between the last accept and the last close is refused by the system.
    pub(in crate::server) fn release(&self) {
        let mut state = self.lock();
        state.left[0] = true;
        state.clear();
        state.holdings = None;
    }

    /// The control plane closes.
    pub(in crate::server) fn release_registry(&self) {
        let mut state = self.lock();
        state.left[1] = true;
        state.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Removes the files of sockets that this process has closed and nobody else has.
    fn clear(&mut self) {
        if !self.is_lent {
            if self.left[0] {
                self.plates.proxy.clear();
            }
            if self.left[1] {
                self.plates.registry = None;
            }
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.is_lent {
            let plates = std::mem::take(&mut self.plates);
            let all = plates.proxy.into_iter().chain(plates.registry);
            all.for_each(Nameplate::leave);
        }
    }
}
