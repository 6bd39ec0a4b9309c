//! Wakes those who wait for a service to change, and nobody else.
//!
//! A wake-up carries no value: whoever wakes reads the published snapshot. None is lost, because the
//! snapshot is published *before* the signal is given. A follower that still read the old one has
//! not yet seen that signal, and `tokio::sync::watch` remembers it for each receiver.
//!
//! What was published not long ago is kept too, for readers who were cut off ([`Missed`]). It is
//! brought up to date before the snapshot is stored, so that whoever reads the snapshot finds
//! everyone noted who has left by then.
//!
//! The map of signals is locked by following, by ceasing to, and by publishing; readers and
//! heartbeats never meet it. A service has an entry only while somebody follows it, whether anybody
//! ever registered for it or not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::names::ServiceName;

use super::figures::Figures;
use super::recent::Recent;
use super::snapshot::{Revision, Snapshot};

pub use super::recent::Missed;

/// The published snapshot and those who wait for the next.
#[derive(Debug)]
pub(super) struct Published {
    snapshot: ArcSwap<Snapshot>,
    recent: Mutex<Recent>,
    all: watch::Sender<()>,
    by_service: Mutex<HashMap<ServiceName, Signal>>,
    figures: Figures,
}

#[derive(Debug)]
struct Signal {
    sender: watch::Sender<()>,
    /// Counted under the lock, unlike the channel's own receivers: when two followers leave at the
    /// same time one of them is sure to be the last.
    followers: usize,
}

impl Published {
    pub(super) fn new(snapshot: Snapshot, now: Instant) -> Self {
        let snapshot = Arc::new(snapshot);
        Self {
            recent: Mutex::new(Recent::new(Arc::clone(&snapshot), now)),
            snapshot: ArcSwap::new(snapshot),
            all: watch::Sender::new(()),
            by_service: Mutex::default(),
            figures: Figures::default(),
        }
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(super) fn snapshot(&self) -> &ArcSwap<Snapshot> {
        &self.snapshot
    }

    /// Makes `snapshot` the published one and wakes whoever follows one of the `changed` services,
    /// or all.
    pub(super) fn publish<'a>(
        &self,
        snapshot: Arc<Snapshot>,
        changed: impl IntoIterator<Item = &'a ServiceName>,
        now: Instant,
    ) {
        self.recent().changed(&self.snapshot.load(), &snapshot, now);
        self.snapshot.store(snapshot);
        self.all.send_replace(());
        let signals = self.signals();
        if signals.is_empty() {
            return;
        }
        for service in changed {
            if let Some(signal) = signals.get(service) {
                signal.sender.send_replace(());
            }
        }
    }

    /// What a reader of one service, or of all, missed who knows everything up to `knows`. `None` if
    /// that is too long ago to tell, or still to come: then it is from another process's life.
    pub(super) fn since(&self, only: Option<&ServiceName>, knows: Revision) -> Option<Missed> {
        // Read first: everyone who is not in it then is noted as gone.
        let now = self.snapshot.load_full();
        if knows > now.revision {
            return None;
        }
        self.recent().since(only, knows, now)
    }

    pub(super) fn follow(self: &Arc<Self>, service: Option<&ServiceName>) -> Follower {
        let signal = match service {
            None => self.all.subscribe(),
            Some(service) => {
                let mut signals = self.signals();
                let signal = signals.entry(service.clone()).or_insert_with(|| Signal {
                    sender: watch::Sender::new(()),
                    followers: 0,
                });
                signal.followers += 1;
                signal.sender.subscribe()
            }
        };
        self.figures.followed();
        Follower {
            published: self.clone(),
            service: service.cloned(),
            signal,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // At worst a panic left it without the last change, and nothing under the lock panics.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signals(&self) -> MutexGuard<'_, HashMap<ServiceName, Signal>> {
        // Nothing under the lock leaves the map half changed.
        self.by_service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for one service, or all of them, to change.
#[derive(Debug)]
pub struct Follower {
    published: Arc<Published>,
    service: Option<ServiceName>,
    signal: watch::Receiver<()>,
}

impl Follower {
    /// Waits until the revision followed is greater than `seen`; at once if it is already. Gives
    /// that revision. Cancel-safe.
    pub async fn passed(&mut self, seen: Revision) -> Revision {
        loop {
            let revision = self.revision();
            if revision > seen {
                return revision;
            }
            if self.signal.changed().await.is_err() {
                // `published`, which we hold, owns the sender for as long as we follow.
                std::future::pending::<()>().await;
            }
        }
    }

    fn revision(&self) -> Revision {
        let snapshot = self.published.snapshot.load();
        snapshot.revision_followed(self.service.as_ref())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.published.figures.left();
        let Some(service) = &self.service else {
            return;
        };
        let mut signals = self.published.signals();
        if let Some(signal) = signals.get_mut(service) {
            signal.followers -= 1;
            if signal.followers == 0 {
                signals.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::snapshot::Members;
    use futures_util::FutureExt;

    fn publish(published: &Published, service: &str, revision: u64) {
        let service: ServiceName = service.parse().unwrap();
        let mut snapshot = Snapshot::clone(&published.snapshot.load());
        snapshot.revision = Revision(revision);
        snapshot.services.insert(
            service.clone(),
            Arc::new(Members {
                revision: Revision(revision),
                ..Members::default()
            }),
        );
        published.publish(Arc::new(snapshot), [&service], Instant::now());
    }

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    #[test]
    fn a_follower_of_a_service_wakes_for_that_service_only() {
        let published = Arc::new(Published::new(Snapshot::default(), Instant::now()));
        let mut web = published.follow(Some(&name("web")));
        let mut all = published.follow(None);
        publish(&published, "orders", 1);
        assert!(!web.signal.has_changed().unwrap(), "was not even signalled");
        assert_eq!(web.passed(Revision(0)).now_or_never(), None);
        assert_eq!(all.passed(Revision(0)).now_or_never(), Some(Revision(1)));
        publish(&published, "web", 2);
        assert_eq!(web.passed(Revision(0)).now_or_never(), Some(Revision(2)));
        assert_eq!(web.passed(Revision(2)).now_or_never(), None);
    }

    #[test]
    fn a_revision_already_passed_is_answered_at_once() {
        let published = Arc::new(Published::new(Snapshot::default(), Instant::now()));
        publish(&published, "web", 3);
        let mut web = published.follow(Some(&name("web")));
        assert_eq!(web.passed(Revision(2)).now_or_never(), Some(Revision(3)));
    }

    #[test]
    fn a_service_nobody_follows_has_no_entry() {
        let published = Arc::new(Published::new(Snapshot::default(), Instant::now()));
        let followers: Vec<_> = (0..64)
            .map(|n| published.follow(Some(&name(&format!("s{}", n % 2)))))
            .collect();
        assert_eq!(published.signals().len(), 2);
        std::thread::scope(|scope| {
            for follower in followers {
                scope.spawn(move || drop(follower));
            }
        });
        assert!(published.signals().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_up_is_lost_between_reading_and_waiting() {
        let published = Arc::new(Published::new(Snapshot::default(), Instant::now()));
        let mut web = published.follow(Some(&name("web")));
        let writer = {
            let published = published.clone();
            std::thread::spawn(move || {
                for revision in 1..=2_000 {
                    publish(&published, "web", revision);
                }
            })
        };
        let mut seen = Revision(0);
        while seen < Revision(2_000) {
            seen = web.passed(seen).await;
        }
        writer.join().unwrap();
    }
}
