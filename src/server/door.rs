//! Whether the control plane takes callers. It can be shut for a while, so that nothing changes while
//! another process takes over; then connections wait in the system's queue, which that process has as
//! well.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long clients get to hear, with an answer, that the connection ends.
const FAREWELL: Duration = Duration::from_millis(250);

/// The door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Callers are let in.
    Open,
    /// They have to wait.
    Shut,
    /// It does not open any more.
    Gone,
}

impl Door {
    /// Makes it `next`, unless it is gone; says whether it changed.
    pub(super) fn becomes(&mut self, next: Self) -> bool {
        let changes = *self != Self::Gone && *self != next;
        if changes {
            *self = next;
        }
        changes
    }
}

/// The connections that were let in since the door opened.
pub(super) struct Visitors {
    leaving: watch::Sender<bool>,
}

/// One of them.
#[derive(Clone)]
pub(super) struct Visitor(watch::Receiver<bool>);

impl Visitors {
    pub(super) fn new() -> Self {
        Self {
            leaving: watch::Sender::new(false),
        }
    }

    /// Lets one more in.
    pub(super) fn admit(&self) -> Visitor {
        Visitor(self.leaving.subscribe())
    }

    /// Asks all of them to leave. Says whether they have, within `grace`.
    pub(super) async fn leave(self, grace: Duration) -> bool {
        self.leaving.send_replace(true);
        timeout(grace, self.leaving.closed()).await.is_ok()
    }
}

impl Visitor {
    /// Whether the next answer is the last.
    pub(super) fn is_leaving(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the connection is to be closed although nothing was asked. Until a little before
    /// that, whoever asks gets an answer, and hears that it is the last: a request that was on its way
    /// when the door was shut does not meet a closed connection.
    pub(super) async fn time_is_up(&mut self) {
        // Without a sender nobody waits for it any more.
        let _ = self.0.wait_for(|&leaving| leaving).await;
        tokio::time::sleep(FAREWELL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_is_gone_stays_so() {
        let mut door = Door::Open;
        assert!(door.becomes(Door::Shut));
        assert!(!door.becomes(Door::Shut));
        assert!(door.becomes(Door::Gone));
        assert!(!door.becomes(Door::Open));
        assert_eq!(door, Door::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn visitors_are_waited_for_as_long_as_there_is_grace() {
        let visitors = Visitors::new();
        let mut visitor = visitors.admit();
        assert!(!visitor.is_leaving());
        let going = tokio::spawn(async move {
            visitor.time_is_up().await;
            assert!(visitor.is_leaving());
        });
        assert!(visitors.leave(2 * FAREWELL).await);
        going.await.unwrap();

        let visitors = Visitors::new();
        let _stays = visitors.admit();
        assert!(!visitors.leave(FAREWELL).await);
    }
}
