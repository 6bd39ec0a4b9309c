//! When those must let go who hold a connection to an endpoint that has no end of its own, such as
//! a WebSocket: an instance that drains is to be left by then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::{ORIGIN, millis};

/// The moment, which nobody pays for but those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Parting {
    /// Milliseconds since [`ORIGIN`], plus one; 0 is never.
    at: AtomicU64,
    changed: Notify,
}

impl Parting {
    /// Sets the moment; `None` is never.
    pub(super) fn set(&self, at: Option<Instant>) {
        let at = at.map_or(0, |at| millis(at) + 1);
        if self.at.swap(at, Ordering::SeqCst) != at {
            self.changed.notify_waiters();
        }
    }

    /// Waits for it to come.
    pub(super) async fn come(&self) {
        loop {
            // Registered before the moment is read, so that no change in between is missed.
            let changed = self.changed.notified();
            match self.at.load(Ordering::SeqCst) {
                0 => changed.await,
                at => tokio::select! {
                    () = sleep_until((*ORIGIN + Duration::from_millis(at - 1)).into()) => return,
                    () = changed => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn the_moment_may_be_put_off_and_called_off_until_it_has_come() {
        let parting = Parting::default();
        let mut coming = Box::pin(parting.come());
        for at in [None, Some(Instant::now() + HOUR), None] {
            parting.set(at);
            assert!(futures_util::poll!(&mut coming).is_pending());
        }
        parting.set(Some(Instant::now()));
        coming.await;
        // Who comes late is told at once.
        parting.come().await;
    }
}
