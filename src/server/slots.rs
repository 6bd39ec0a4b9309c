//! How many connections the control plane has at a time.
//!
//! Each costs a file descriptor, and the data plane draws from the same supply: a registry that is
//! flooded with connections must not keep the proxy from accepting any. Connections beyond the limit
//! are not accepted, so that they wait in the kernel's queue, which costs no descriptor, until one of
//! the others closes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use tokio::sync::watch;

/// The shortest time between two warnings that all slots are taken.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The slots there are. Cheap to clone.
#[derive(Clone)]
pub(super) struct Slots(Arc<watch::Sender<Taken>>);

struct Taken {
    taken: usize,
    limit: usize,
    warned: Option<Instant>,
}

/// One slot; free again when dropped.
pub(super) struct Slot(Slots);

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        let taken = Taken {
            taken: 0,
            limit,
            warned: None,
        };
        Self(Arc::new(watch::Sender::new(taken)))
    }

    /// Allows so many from now on. Those beyond it that are taken already stay so.
    pub(super) fn set_limit(&self, limit: usize) {
        self.0.send_modify(|now| now.limit = limit);
    }

    /// Takes a slot as soon as there is one.
    pub(super) async fn take(&self) -> Slot {
        let mut changes = self.0.subscribe();
        loop {
            if self.try_take() {
                return Slot(self.clone());
            }
            // The sender is right here, so there is always another change to wait for.
            let _ = changes.changed().await;
        }
    }

    fn try_take(&self) -> bool {
        self.0.send_if_modified(|now| {
            let free = now.taken < now.limit;
            if free {
                now.taken += 1;
            } else {
                now.warn();
            }
            free
        })
    }
}

impl Taken {
    fn warn(&mut self) {
        if self.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!(
                "the control plane has {} connections, as many as registry.limits.connections \
                 allows; more have to wait",
                self.taken
            );
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.send_modify(|now| now.taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn no_more_slots_are_taken_than_there_are() {
        let slots = Slots::new(2);
        let first = slots.take().await;
        let _second = slots.take().await;
        let mut third = Box::pin(slots.take());
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        let _third = third.await;
        assert!(slots.take().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_new_limit_holds_for_those_that_wait() {
        let slots = Slots::new(1);
        let first = slots.take().await;
        let mut second = Box::pin(slots.take());
        assert!((&mut second).now_or_never().is_none());
        slots.set_limit(2);
        let second = second.await;
        slots.set_limit(1);
        drop(first);
        assert!(slots.take().now_or_never().is_none());
        drop(second);
        slots.take().await;
    }
}
