//! How long a service's requests took lately, for percentiles.
//!
//! Counts in buckets that are a sixteenth of an octave wide, so that a percentile is off by 6% at most
//! (the layout of HdrHistogram, <http://hdrhistogram.org>). Two windows take turns: one fills while the
//! other, the one before it, still counts, so that the figures are between one and two windows old.
//! Recording is one increment and takes no lock. Whoever records while a window is emptied may see its
//! count lost, which a percentile bears.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a window fills.
const WINDOW: Duration = Duration::from_secs(30);
/// The fewest requests that a percentile is taken of.
const MIN_SAMPLES: u64 = 100;
/// Buckets in an octave.
const STEPS: u64 = 16;
/// Enough for more than an hour in microseconds.
const BUCKETS: usize = 30 * STEPS as usize;

/// The response times of one service.
#[derive(Debug)]
pub struct Latencies {
    since: Instant,
    /// The number of the window that fills.
    current: AtomicU64,
    windows: [Box<[AtomicU32]>; 2],
}

impl Latencies {
    /// Nothing was recorded before `now`.
    pub fn new(now: Instant) -> Self {
        let window = || (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        Self {
            since: now,
            current: AtomicU64::new(0),
            windows: [window(), window()],
        }
    }

    /// Takes note that a request took so long.
    pub fn record(&self, took: Duration, now: Instant) {
        let window = self.turn(now);
        self.windows[window][bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// The time in which `share` of the recent requests, 0 to 1, were answered; `None` if there were
    /// too few to tell.
    pub fn percentile(&self, share: f64, now: Instant) -> Option<Duration> {
        self.turn(now);
        let [left, right] = &self.windows;
        let count = |bucket: usize| {
            let in_window =
                |window: &[AtomicU32]| u64::from(window[bucket].load(Ordering::Relaxed));
            in_window(left) + in_window(right)
        };
        let total: u64 = (0..BUCKETS).map(count).sum();
        if total < MIN_SAMPLES {
            return None;
        }
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        (0..BUCKETS)
            .find(|&bucket| {
                seen += count(bucket);
                seen >= wanted
            })
            .map(upper_bound)
    }

    /// The window that fills at `now`, emptied if its turn has just come.
    fn turn(&self, now: Instant) -> usize {
        let elapsed = now.saturating_duration_since(self.since);
        let number = elapsed.as_secs() / WINDOW.as_secs();
        let current = self.current.load(Ordering::Relaxed);
        if number > current
            && (self.current)
                .compare_exchange(current, number, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.empty(number);
            if number > current + 1 {
                self.empty(number + 1);
            }
        }
        (number % 2) as usize
    }

    fn empty(&self, number: u64) {
        for bucket in &self.windows[(number % 2) as usize] {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < STEPS {
        return micros as usize;
    }
    let octave = u64::from(micros.ilog2() - STEPS.ilog2());
    let step = (micros >> octave) - STEPS;
    ((STEPS * (octave + 1) + step) as usize).min(BUCKETS - 1)
}

/// The longest time that falls into `bucket`.
fn upper_bound(bucket: usize) -> Duration {
    let (octave, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    Duration::from_micros(match octave {
        0 => step + 1,
        _ => (STEPS + step + 1) << (octave - 1),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_percentile_is_that_of_the_recent_requests() {
        let start = Instant::now();
        let latencies = Latencies::new(start);
        for n in 1..=1_000 {
            latencies.record(n * MS, start);
        }
        for (share, expected) in [(0.5, 500 * MS), (0.95, 950 * MS), (0.99, 990 * MS)] {
            let found = latencies.percentile(share, start).unwrap();
            let off = found.as_secs_f64() / expected.as_secs_f64();
            assert!((0.99..1.07).contains(&off), "{share}: {found:?}");
        }
    }

    #[test]
    fn too_few_requests_tell_nothing_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let latencies = Latencies::new(start);
        for n in 0..MIN_SAMPLES {
            assert_eq!(latencies.percentile(0.5, start), None, "{n}");
            latencies.record(100 * MS, start);
        }
        assert!(latencies.percentile(0.5, start).unwrap() >= 100 * MS);
        assert!(latencies.percentile(0.5, start + WINDOW).unwrap() >= 100 * MS);
        for _ in 0..MIN_SAMPLES {
            latencies.record(MS, start + WINDOW);
        }
        let now = start + 2 * WINDOW;
        assert!(latencies.percentile(1.0, now).unwrap() < 2 * MS);
        assert_eq!(latencies.percentile(0.5, start + 9 * WINDOW), None);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_what_is_no_longer_than_its_bound(micros in 0_u64..4_000_000_000) {
            let took = Duration::from_micros(micros);
            let bucket = bucket(took);
            prop_assert!(took < upper_bound(bucket));
            prop_assert!(bucket == 0 || took >= upper_bound(bucket - 1));
            prop_assert!(bucket < BUCKETS);
        }

        #[test]
        fn every_duration_has_a_bucket(took: Duration) {
            prop_assert!(bucket(took) < BUCKETS);
        }
    }
}
