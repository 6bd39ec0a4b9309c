//! What time alone brings about in a cluster, looked after in small steps.
//!
//! Most clusters have nothing to wait for, and cost one atomic load a step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Cluster;
use super::clusters::Clusters;
use super::shares;

/// The time between two steps.
const STEP: Duration = Duration::from_millis(50);

/// What a step did to one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beat {
    /// Requests are to be spread differently now.
    pub(super) changed: bool,
    /// It waits for a further step.
    pub(super) restless: bool,
    /// What APIs show of it is different now.
    pub(super) told: bool,
}

impl Clusters {
    /// Takes the steps, for as long as it is polled.
    pub async fn keep_time(self) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            self.tick(Instant::now());
        }
    }

    /// One step of every cluster.
    pub fn tick(&self, now: Instant) {
        for cluster in self.all().values() {
            cluster.tick(now);
        }
    }
}

impl Cluster {
    /// One step, if there is anything that waits for it.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) {
        if !self.restless.swap(false, Ordering::Relaxed) {
            return;
        }
        self.adapt(now);
        let mut guard = self.control();
        let control = &mut *guard;
        let mut beat = shares::beat(control, now);
        let mut told = Vec::new();
        let ejected = if control.out > 0 {
            Some(&mut control.slots)
        } else {
            // Only they wait for anything, and there may be ten thousand slots.
            None
        };
        for (id, slot) in ejected.into_iter().flatten() {
            let step = slot.tick(&control.policy, now);
            beat.changed |= step.changed;
            beat.restless |= step.restless;
            if step.told {
                told.push((id.clone(), slot.fitness()));
            }
        }
        if beat.restless {
            self.unrest();
        }
        if beat.changed {
            self.republish_at(control, now);
        }
        drop(guard);
        if beat.changed {
            self.stirred.notify_waiters();
        }
        for (id, found) in &told {
            self.surroundings.witness.changed(&self.name, id, *found);
        }
    }

    /// Asks for a step.
    pub(super) fn unrest(&self) {
        self.restless.store(true, Ordering::Relaxed);
    }
}
