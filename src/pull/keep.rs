//! Renews the leases of mirrored members, in place of the heartbeats that go to the followed registry.
//!
//! Not only while that is there: a registry that is away says nothing about the instances it listed,
//! and the last that was known goes on until something else is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::registry::Registry;
use crate::registry::command::Command;
use crate::registry::event::Actor;

use super::Shared;

/// The longest time between two rounds, so that leases that came from elsewhere are met in time.
const LONGEST: Duration = Duration::from_secs(5);
/// The shortest: leases that are shorter still are not to keep a core busy.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often leases are renewed: three times in the shortest there is.
#[derive(Debug)]
pub(super) struct Pace {
    nanos: AtomicU64,
    quickened: Notify,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            nanos: AtomicU64::new(nanos(LONGEST)),
            quickened: Notify::new(),
        }
    }
}

impl Pace {
    /// Starts a round at once if a lease of this length, just granted, needs more frequent ones.
    pub(super) fn quicken(&self, ttl: Duration) {
        if nanos(ttl / 3) < self.nanos.load(Ordering::SeqCst) {
            self.quickened.notify_one();
        }
    }
}

/// The shortest lease that `commands` grant.
pub(super) fn shortest(commands: &[Command]) -> Option<Duration> {
    let ttls = commands.iter().filter_map(|command| match command {
        Command::Mirror { instance, .. } => instance.ttl,
        _ => None,
    });
    ttls.min()
}

/// Renews, as long as it is polled.
pub(super) async fn keep(registry: Registry, shared: Shared) {
    loop {
        // Whoever comes in during the round is not met by it, and must ask for another.
        shared.pace.nanos.store(nanos(LONGEST), Ordering::SeqCst);
        let pace = round(&registry, &shared);
        shared.pace.nanos.store(nanos(pace), Ordering::SeqCst);
        tokio::select! {
            () = tokio::time::sleep(pace) => {}
            () = shared.pace.quickened.notified() => {}
        }
    }
}

/// Renews every lease that is not in doubt; says when to do so again.
fn round(registry: &Registry, shared: &Shared) -> Duration {
    let snapshot = registry.snapshot();
    let doubted = {
        let mut mirror = shared.mirror();
        mirror.forget_gone(&snapshot);
        mirror.doubted().clone()
    };
    let now = Instant::now();
    let mut pace = LONGEST;
    for (service, members) in &snapshot.services {
        for (id, member) in &members.instances {
            let Some(lease) = &member.lease else {
                continue;
            };
            if !doubted.is_empty() && doubted.contains(&(service.clone(), id.clone())) {
                continue;
            }
            pace = pace.min(lease.ttl() / 3);
            // One that is gone by now is the mirror's to bring back.
            let _ = registry.renew(service.as_str(), id.as_str(), None, &Actor::Callboard, now);
        }
    }
    pace.max(SHORTEST)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
