//! Whether the process stood still: stopped with SIGSTOP, in a frozen container, on a machine that
//! was suspended or migrated. It took no heartbeats meanwhile, so leases must run that much longer.
//!
//! A thread that does nothing else notes the time at every beat. If the last beat is much longer ago
//! than it should be, nothing in the process ran. The writer cannot tell that from its own clock:
//! when it is late it may as well have worked, on a slow disk say, and then heartbeats were taken
//! all the same and leases run out as ever.
//!
//! Whoever looks first after a standstill finds it, the beating thread or the one that asks, so that
//! it does not matter which of them the system lets run first.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two beats.
const BEAT: Duration = Duration::from_millis(100);

/// A beat that comes this much after the last one means that the process stood still; less may be
/// a busy machine.
const STANDSTILL: Duration = Duration::from_millis(500);

/// Tells for how long the process stood still.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beats>);

#[derive(Debug)]
struct Beats {
    last: Instant,
    stood_still: Duration,
}

impl Pulse {
    /// Starts the thread that beats; it ends when the pulse is dropped.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start() -> io::Result<Arc<Self>> {
        let pulse = Arc::new(Self::new(Instant::now()));
        let beating = Arc::downgrade(&pulse);
        thread::Builder::new()
            .name("pulse".to_owned())
            .spawn(move || {
                while let Some(pulse) = beating.upgrade() {
                    drop(pulse.beat(Instant::now()));
                    drop(pulse);
                    thread::sleep(BEAT);
                }
            })?;
        Ok(pulse)
    }

    /// For how long the process stood still between the last call and `now`.
    pub(super) fn stood_still(&self, now: Instant) -> Duration {
        std::mem::take(&mut self.beat(now).stood_still)
    }

    fn new(now: Instant) -> Self {
        Self(Mutex::new(Beats {
            last: now,
            stood_still: Duration::ZERO,
        }))
    }

    fn beat(&self, now: Instant) -> MutexGuard<'_, Beats> {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since_last = now.saturating_duration_since(beats.last);
        if since_last >= STANDSTILL {
            beats.stood_still += since_last;
        }
        beats.last = beats.last.max(now);
        beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_told_once_whoever_finds_it() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        let mut now = start + STANDSTILL / 2;
        assert_eq!(pulse.stood_still(now), Duration::ZERO, "only a little late");

        now += 3 * STANDSTILL;
        drop(pulse.beat(now));
        drop(pulse.beat(now + BEAT));
        assert_eq!(pulse.stood_still(now + BEAT), 3 * STANDSTILL);

        now += BEAT + 2 * STANDSTILL;
        assert_eq!(pulse.stood_still(now), 2 * STANDSTILL);
        drop(pulse.beat(now + BEAT));
        assert_eq!(pulse.stood_still(now + BEAT), Duration::ZERO);
    }

    #[test]
    fn standstills_that_nobody_asked_about_add_up() {
        let start = Instant::now();
        let pulse = Pulse::new(start);
        drop(pulse.beat(start + STANDSTILL));
        drop(pulse.beat(start + 2 * STANDSTILL));
        let told = pulse.stood_still(start + 2 * STANDSTILL);
        assert_eq!(told, 2 * STANDSTILL);
    }

    #[test]
    fn a_time_from_before_the_last_beat_is_no_standstill() {
        let start = Instant::now();
        let pulse = Pulse::new(start + STANDSTILL);
        assert_eq!(pulse.stood_still(start), Duration::ZERO);
        assert_eq!(pulse.stood_still(start + STANDSTILL), Duration::ZERO);
    }
}
