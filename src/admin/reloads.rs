//! How reading the configuration went, last time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// The configuration as figures show it; a process that runs has read it once.
#[derive(Debug)]
pub struct Reloads {
    has_failed: AtomicBool,
    /// Milliseconds since 1970.
    in_force_since: AtomicU64,
}

impl Reloads {
    /// The configuration was read `now`.
    pub fn new(now: SystemTime) -> Self {
        Self {
            has_failed: AtomicBool::new(false),
            in_force_since: AtomicU64::new(millis(now)),
        }
    }

    /// Another one is in force from `now` on.
    pub fn succeeded(&self, now: SystemTime) {
        self.in_force_since.store(millis(now), Ordering::Relaxed);
        self.has_failed.store(false, Ordering::Relaxed);
    }

    /// What was to be read could not be put in force.
    pub fn failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    /// Whether the last attempt to read it failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// Since when the present one is in force, counted from 1970.
    pub fn in_force_since(&self) -> Duration {
        Duration::from_millis(self.in_force_since.load(Ordering::Relaxed))
    }
}

fn millis(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_known_until_the_next_success_and_changes_nothing_in_force() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let reloads = Reloads::new(at(5));
        reloads.failed();
        assert!(reloads.has_failed());
        assert_eq!(reloads.in_force_since().as_secs(), 5);
        reloads.succeeded(at(9));
        assert!(!reloads.has_failed());
        assert_eq!(reloads.in_force_since().as_secs(), 9);
    }
}
