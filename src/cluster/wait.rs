//! Waiting for a member to become available, or idle.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::health::availability::Availability;

use super::Cluster;
use super::status::Status;

impl Cluster {
    /// Probes a member that is not available at once, waits until it is or until it cannot become
    /// so (it drains), at most for `wait`, and gives its state then; `None` if it is not there.
    pub async fn settled(&self, id: &str, wait: Duration) -> Option<Status> {
        let waiting = |status: &Status| {
            matches!(
                status.availability,
                Availability::Starting | Availability::Unhealthy
            )
        };
        if self.status(id).as_ref().is_some_and(waiting)
            && let Some(slot) = self.control().slots.get(id)
        {
            slot.probe_now();
        }
        self.wait_while(id, wait, waiting).await
    }

    /// Waits until a member has nothing in flight, at most for `wait`, and gives its state then, or
    /// its last one if it left meanwhile; `None` if it is not there. Meant for members that drain:
    /// others become busy again.
    pub async fn idle(&self, id: &str, wait: Duration) -> Option<Status> {
        let mut last = None;
        let idle = self.wait_while(id, wait, |status| {
            let busy = status.in_flight > 0;
            last = Some(status.clone());
            busy
        });
        idle.await.or(last)
    }

    /// Says when those who still use a connection to a member must let go; nothing if it is not there.
    pub(super) fn part(&self, id: &str, at: Instant) {
        if let Some(slot) = self.control().slots.get(id) {
            slot.endpoint.part(Some(at.into_std()));
        }
    }

    async fn wait_while(
        &self,
        id: &str,
        wait: Duration,
        mut waiting: impl FnMut(&Status) -> bool,
    ) -> Option<Status> {
        let deadline = Instant::now() + wait;
        loop {
            // Registered before the state is read, so that no change in between is missed.
            let stirred = self.stirred.notified();
            let status = self.status(id)?;
            if !waiting(&status) || timeout_at(deadline, stirred).await.is_err() {
                return self.status(id);
            }
        }
    }
}
