//! The handover in a running process: first the end of the one it began with, then the next.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use log::{error, info, warn};

use crate::admin::health::Readiness;
use crate::registry::store::StoreError;

use super::taking::Ending;
use super::{Giver, Place, Successor, notify};

/// Why the process had to leave again, if it had to.
pub(in crate::server) type Failure = Arc<OnceLock<String>>;

/// What is left to do of one handover, and what there is to do for the next.
pub(in crate::server) struct Handover {
    /// The handover this process began with, if it did.
    pub(in crate::server) successor: Option<Successor>,
    pub(in crate::server) giver: Giver,
    /// Where the next is asked for, if it is.
    pub(in crate::server) place: Option<Place>,
    pub(in crate::server) path: Option<PathBuf>,
    pub(in crate::server) failure: Failure,
}

impl Handover {
    /// Does it, until the process leaves.
    pub(in crate::server) async fn run(mut self) {
        let mut readiness = self.giver.phases.readiness();
        let serves = readiness.wait_for(|now| *now != Readiness::Starting).await;
        if !serves.is_ok_and(|now| *now == Readiness::Serving) {
            return;
        }
        if let Some(successor) = self.successor.take() {
            let ending = tokio::task::spawn_blocking(move || successor.serving()).await;
            match ending {
                Ok(Ending::Alone) => self.giver.held.take_over(),
                Ok(Ending::Withdrawn(why)) => return self.withdraw(why).await,
                Err(error) => return self.withdraw(error.to_string()).await,
            }
            self.place = (self.path.as_deref()).and_then(|path| placed(path, Place::instead(path)));
            self.giver.phases.open();
            info!("took over");
        }
        notify::serving();
        if let Some(place) = self.place {
            self.giver.run(place).await;
        }
    }

    /// Gives the store back to the process before, then leaves.
    async fn withdraw(self, why: String) {
        error!("the process before took its place back ({why}); leaving");
        let never = || Err(StoreError::Failed("it was given back".to_owned()));
        match self.giver.registry.suspend(Box::new(never)).await {
            Ok(suspended) => suspended.give_up(),
            Err(refusal) => error!("{refusal}"),
        }
        self.failure.get_or_init(|| why);
        self.giver.leave();
    }
}

/// The place at `path`, or a warning that there is none.
pub(in crate::server) fn placed(
    path: &std::path::Path,
    place: std::io::Result<Place>,
) -> Option<Place> {
    place
        .inspect_err(|error| {
            warn!(
                "nobody can take over from this process: cannot listen at {} \
                 (proxy.upgrade_socket): {error}",
                path.display()
            );
        })
        .ok()
}
