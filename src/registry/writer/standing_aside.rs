//! What the writer does while another process may have its store.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crate::names::{InstanceId, ServiceName};
use crate::registry::command::Refusal;
use crate::registry::event::Event;
use crate::registry::expiry::Expiry;
use crate::registry::journal::Journal;
use crate::registry::snapshot::{Fitness, Revision, Snapshot};
use crate::registry::store::{Recovered, Store, StoreError};
use crate::registry::suspects::Suspects;
use crate::registry::suspension::{Outcome, Reopen, Suspension};

use super::{Request, Writer};

/// How long to wait between two tries to have the store back.
const AGAIN: Duration = Duration::from_millis(50);
/// How long commands wait for the store to be back before they are refused.
const PATIENCE: Duration = Duration::from_secs(5);

impl Writer {
    /// Lets go of the store until it is decided who goes on with it. Says whether this writer does;
    /// else it returns when there is nobody left to refuse anything to.
    pub(super) fn stand_aside(
        &mut self,
        Suspension {
            reopen,
            begun,
            outcome,
        }: Suspension,
        requests: &Receiver<Request>,
    ) -> bool {
        let since = Instant::now();
        let carried = self.store.carried(self.state.snapshot());
        let kept = carried.is_some();
        if !kept {
            self.store = Box::new(Absent(self.store.journal()));
        }
        // If nobody hears it, the other end of `outcome` is gone as well.
        let _ = begun.send(carried);
        let resumed = match outcome.recv() {
            Ok(Outcome::GiveUp) => {
                self.refuse_all(requests);
                return false;
            }
            Ok(Outcome::Resume(resumed)) => Some(resumed),
            Err(_) => None,
        };
        if !kept && !self.take_back(reopen, requests) {
            return false;
        }
        self.extend_leases(since.elapsed());
        if let Some(resumed) = resumed {
            let _ = resumed.send(());
        }
        true
    }

    /// Opens the store again, as soon as whoever has it lets it go. Gives up only when nobody is
    /// left to keep it for.
    fn take_back(&mut self, mut reopen: Reopen, requests: &Receiver<Request>) -> bool {
        let since = Instant::now();
        let mut told = false;
        let (store, recovered) = loop {
            let opened = reopen().and_then(|mut store| {
                let recovered = store.recover()?;
                Ok((store, recovered))
            });
            match opened {
                Ok(opened) => break opened,
                Err(error) if since.elapsed() >= PATIENCE => {
                    if !told {
                        log::error!("the store cannot be opened again yet: {error}");
                        told = true;
                    }
                    if !refuse_waiting(requests, &error.into()) {
                        return false;
                    }
                }
                Err(_) => {}
            }
            std::thread::sleep(AGAIN);
        };
        self.store = store;
        self.go_on(recovered, Instant::now());
        true
    }

    /// Goes on with what the store has now. Revisions that another process reserved are left out; if
    /// it changed something, the registry is as after a restart.
    fn go_on(&mut self, recovered: Recovered, now: Instant) {
        if self.state.is(&recovered) {
            self.state.skip(recovered.last);
            return;
        }
        log::warn!("the store was changed while another process had it; going by what it holds");
        self.state = self.state.restored_over(recovered, now);
        self.expiry = Expiry::default();
        self.suspects = Suspects::default();
        self.expel_disallowed();
        self.settle_leases(now);
        self.publish(now);
    }

    fn refuse_all(&mut self, requests: &Receiver<Request>) {
        let refusal =
            Refusal::Unavailable("another callboard process has taken over; ask again".to_owned());
        for request in requests {
            refuse(request, &refusal);
        }
    }
}

/// Refuses what waits; says whether anybody could still ask for something.
fn refuse_waiting(requests: &Receiver<Request>, refusal: &Refusal) -> bool {
    loop {
        match requests.try_recv() {
            Ok(request) => refuse(request, refusal),
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

/// What observers say is let go of: they say it again when it changes again.
fn refuse(request: Request, refusal: &Refusal) {
    if let Request::Commands(submission) = request {
        let refused = submission.commands.iter().map(|_| Err(refusal.clone()));
        let _ = submission.answer.send(refused.collect());
    }
}

/// In the place of a store that was let go of.
#[derive(Clone)]
struct Absent(Arc<dyn Journal>);

impl Store for Absent {
    fn recover(&mut self) -> Result<Recovered, StoreError> {
        Err(let_go())
    }

    fn reserve(&mut self, _first: Revision) -> Result<(), StoreError> {
        Err(let_go())
    }

    fn append(&mut self, _events: &[Event], _before: &Snapshot) -> Result<(), StoreError> {
        Err(let_go())
    }

    fn note(&mut self, _found: &[(ServiceName, InstanceId, Fitness)]) {}

    fn tidy(&mut self, _now: Instant) -> Option<Duration> {
        None
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.0.clone()
    }
}

fn let_go() -> StoreError {
    StoreError::Failed("another process has the store".to_owned())
}
