//! The explanations kept: the last so many, and no more than so many bytes.
//!
//! A request that is over leaves its explanation in an inbox, a bounded channel, and files what is there
//! unless somebody else is at the ring just now; who reads the ring files first. So no request waits
//! for a reader, and none is lost before the inbox is full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::Settings;
use super::explanation::{Explanation, Shared};

/// The most bytes that are kept, about.
const BYTES: usize = 16 << 20;

/// How many explanations may wait to be filed.
const INBOX: usize = 256;

/// The explanations of recent requests.
#[derive(Debug)]
pub struct Explanations {
    inbox: SyncSender<Explanation>,
    /// How many are kept.
    most: AtomicUsize,
    ring: Mutex<Ring>,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    inbox: Receiver<Explanation>,
    /// The oldest first, each with its size.
    kept: VecDeque<(Shared, usize)>,
    bytes: usize,
}

impl Default for Explanations {
    fn default() -> Self {
        let (inbox, receiver) = sync_channel(INBOX);
        Self {
            inbox,
            most: AtomicUsize::new(0),
            ring: Mutex::new(Ring {
                inbox: receiver,
                kept: VecDeque::new(),
                bytes: 0,
            }),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Explanations {
    /// Keeps as many as `settings` say from now on, none for `None`.
    pub(in crate::telemetry) fn configure(&self, settings: Option<&Settings>) {
        let most = settings.map_or(0, |settings| settings.kept);
        self.most.store(most, Ordering::Relaxed);
        drop(self.ring());
    }

    pub(in crate::telemetry) fn keep(&self, explanation: Explanation) {
        if self.inbox.try_send(explanation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        match self.ring.try_lock() {
            Ok(mut ring) => ring.file(self.most()),
            Err(TryLockError::Poisoned(ring)) => ring.into_inner().file(self.most()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// The explanation of the request of this name; of several, the last.
    pub fn find(&self, id: &str) -> Option<Arc<Explanation>> {
        let ring = self.ring();
        let mut newest_first = ring.kept.iter().rev();
        let found = newest_first.find(|(explanation, _)| &*explanation.id == id);
        found.map(|(explanation, _)| Arc::clone(explanation))
    }

    /// The newest `limit` that are `wanted`, newest first.
    pub fn recent(
        &self,
        limit: usize,
        wanted: impl Fn(&Explanation) -> bool,
    ) -> Vec<Arc<Explanation>> {
        let ring = self.ring();
        (ring.kept.iter().rev())
            .filter(|(explanation, _)| wanted(explanation))
            .take(limit)
            .map(|(explanation, _)| Arc::clone(explanation))
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ring().kept.len()
    }

    /// How many were lost because they came faster than they could be filed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The ring with everything filed. Whatever panics while it is locked leaves it coherent.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.file(self.most());
        ring
    }
}

impl Ring {
    fn file(&mut self, most: usize) {
        // No more than one inbox full, or one request would file for all others without end.
        for explanation in self.inbox.try_iter().take(INBOX) {
            let size = explanation.size();
            self.bytes += size;
            self.kept.push_back((Arc::new(explanation), size));
        }
        while self.kept.len() > most || self.bytes > BYTES {
            let Some((_, size)) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::explanation::example;
    use super::*;

    fn keeping(most: usize) -> Explanations {
        let explanations = Explanations::default();
        explanations.configure(Some(&Settings {
            kept: most,
            ..Settings::default()
        }));
        explanations
    }

    fn ids(explanations: &Explanations) -> Vec<String> {
        let recent = explanations.recent(100, |_| true);
        recent.iter().map(|it| it.id.to_string()).collect()
    }

    #[test]
    fn the_last_are_kept_and_the_newest_comes_first() {
        let explanations = keeping(3);
        for id in ["a", "b", "c", "d"] {
            explanations.keep(example(id, "/"));
        }
        assert_eq!(ids(&explanations), ["d", "c", "b"]);
        assert!(explanations.find("a").is_none());
        assert_eq!(
            explanations.recent(1, |it| &*it.id != "d")[0].id,
            "c".into()
        );
    }

    #[test]
    fn of_several_with_one_name_the_last_is_found() {
        let explanations = keeping(3);
        explanations.keep(example("a", "/first"));
        explanations.keep(example("a", "/second"));
        assert_eq!(explanations.find("a").unwrap().target, "/second");
    }

    #[test]
    fn fewer_are_kept_from_the_moment_it_is_said() {
        let explanations = keeping(3);
        for id in ["a", "b", "c"] {
            explanations.keep(example(id, "/"));
        }
        explanations.configure(Some(&Settings {
            kept: 1,
            ..Settings::default()
        }));
        assert_eq!(ids(&explanations), ["c"]);
        explanations.configure(None);
        assert_eq!(explanations.count(), 0);
    }

    #[test]
    fn large_ones_are_kept_to_a_number_of_bytes() {
        let explanations = keeping(usize::MAX);
        let target = format!("/{}", "x".repeat(1_000));
        for id in 0..20_000 {
            explanations.keep(example(&id.to_string(), &target));
        }
        let ring = explanations.ring();
        assert!(ring.bytes <= BYTES && ring.kept.len() < 20_000);
        let real: usize = ring.kept.iter().map(|(it, _)| it.size()).sum();
        assert_eq!(real, ring.bytes);
    }

    #[test]
    fn while_somebody_reads_nobody_waits_and_what_fits_the_inbox_is_kept() {
        let explanations = keeping(10_000);
        let ring = explanations.ring();
        for id in 0..INBOX + 7 {
            explanations.keep(example(&id.to_string(), "/"));
        }
        drop(ring);
        assert_eq!(explanations.dropped(), 7);
        assert_eq!(explanations.count(), INBOX);
    }

    #[test]
    fn threads_lose_nothing_that_is_counted_as_kept() {
        let explanations = keeping(10_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let explanations = &explanations;
                scope.spawn(move || {
                    for id in 0..500 {
                        explanations.keep(example(&format!("{thread}-{id}"), "/"));
                        if id % 50 == 0 {
                            explanations.recent(10, |_| true);
                        }
                    }
                });
            }
        });
        let dropped = explanations.dropped() as usize;
        assert_eq!(explanations.count() + dropped, 2_000);
    }
}
