//! A registry that stands aside, so that another process can have its store.
//!
//! Everything acknowledged is stored when it does; while it lasts nothing changes, on the disk or in
//! memory. What somebody asks for meanwhile waits, and is either carried out in full afterwards or
//! refused in full.

use std::fmt;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::store::{Recovered, Store, StoreError};

/// Opens the store again. Called until it succeeds, for the other process may still have it.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Store>, StoreError> + Send>;

/// A registry that stands aside. Dropped without a word, the registry goes on.
#[derive(Debug)]
pub struct Suspended {
    /// What whoever goes on has to be told, if it cannot open the store itself.
    pub carried: Option<Recovered>,
    outcome: mpsc::Sender<Outcome>,
}

impl Suspended {
    /// Lets the registry have its store back and go on; ends when it does.
    pub async fn resume(self) {
        let (resumed, done) = oneshot::channel();
        // Without a writer there is nothing to wait for.
        let _ = self.outcome.send(Outcome::Resume(resumed));
        let _ = done.await;
    }

    /// Somebody else goes on with the store. What waits is refused, and all that comes later.
    pub fn give_up(self) {
        let _ = self.outcome.send(Outcome::GiveUp);
    }
}

/// The writer's end.
pub(super) struct Suspension {
    pub(super) reopen: Reopen,
    pub(super) begun: oneshot::Sender<Option<Recovered>>,
    pub(super) outcome: mpsc::Receiver<Outcome>,
}

/// Who goes on with the store.
#[derive(Debug)]
pub(super) enum Outcome {
    /// This registry; to be told when it does.
    Resume(oneshot::Sender<()>),
    /// Another.
    GiveUp,
}

/// A suspension that is asked for.
pub(super) struct Asked {
    begun: oneshot::Receiver<Option<Recovered>>,
    outcome: mpsc::Sender<Outcome>,
}

/// Both ends of a suspension.
pub(super) fn pair(reopen: Reopen) -> (Suspension, Asked) {
    let (begin, begun) = oneshot::channel();
    let (decide, outcome) = mpsc::channel();
    let suspension = Suspension {
        reopen,
        begun: begin,
        outcome,
    };
    let asked = Asked {
        begun,
        outcome: decide,
    };
    (suspension, asked)
}

impl Asked {
    /// Waits until the registry stands aside; `None` if it will not.
    pub(super) async fn begun(self) -> Option<Suspended> {
        Some(Suspended {
            carried: self.begun.await.ok()?,
            outcome: self.outcome,
        })
    }
}

impl fmt::Debug for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspension").finish_non_exhaustive()
    }
}
