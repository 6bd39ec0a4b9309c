//! How long things took, in buckets whose bounds people know.
//!
//! Ten buckets to a decade, from 0.1 ms to 100 s, at the preferred numbers of the series R10 (ISO 3):
//! a percentile that is read off them is right within 26%, and the bounds at 1, 2.5 and 5 are those that
//! dashboards expect.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The preferred numbers of one decade, in hundredths.
const SERIES: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
/// Decades, from 100 µs on.
const DECADES: usize = 6;
/// Buckets that have an upper bound.
pub const BOUNDED: usize = SERIES.len() * DECADES + 1;

/// The upper bounds of the buckets in microseconds, ascending; what is longer is in one bucket more.
pub const BOUNDS: [u64; BOUNDED] = bounds();

const fn bounds() -> [u64; BOUNDED] {
    let mut bounds = [0; BOUNDED];
    let (mut index, mut scale) = (0, 1);
    while index < BOUNDED {
        bounds[index] = SERIES[index % SERIES.len()] * scale;
        index += 1;
        if index % SERIES.len() == 0 {
            scale *= 10;
        }
    }
    bounds
}

/// Counts by how long something took. Takes no room before there is something to count: most of many
/// services have no requests.
#[derive(Debug, Default)]
pub struct Histogram {
    cells: OnceLock<Box<Cells>>,
}

#[derive(Debug)]
struct Cells {
    buckets: [AtomicU64; BOUNDED + 1],
    /// Microseconds.
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How many were in each bucket, not cumulated; one more than there are [`BOUNDS`].
    pub buckets: [u64; BOUNDED + 1],
    /// The sum of all, in microseconds.
    pub sum: u64,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BOUNDED + 1],
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one that took so long.
    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        let cells = self.cells.get_or_init(Box::default);
        cells.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        cells.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let Some(cells) = self.cells.get() else {
            return Reading::default();
        };
        Reading {
            buckets: std::array::from_fn(|bucket| cells.buckets[bucket].load(Ordering::Relaxed)),
            sum: cells.sum.load(Ordering::Relaxed),
        }
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            buckets: [0; BOUNDED + 1],
            sum: 0,
        }
    }
}

impl Reading {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many took no longer than each of `bounds`, which are some of [`BOUNDS`], ascending.
    pub fn cumulated<'a>(&'a self, bounds: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
        let (mut seen, mut next) = (0, 0);
        bounds.iter().map(move |bound| {
            while next < BOUNDED && BOUNDS[next] <= *bound {
                seen += self.buckets[next];
                next += 1;
            }
            seen
        })
    }

    /// What was counted after `earlier` was read.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|bucket| {
                self.buckets[bucket].saturating_sub(earlier.buckets[bucket])
            }),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// The time within which `share` of them, 0 to 1, were done: the upper bound of its bucket; `None`
    /// if there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        let bound = BOUNDS.get(bucket).or(BOUNDS.last())?;
        Some(Duration::from_micros(*bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_ascend_from_a_tenth_of_a_millisecond_to_a_hundred_seconds() {
        assert_eq!((BOUNDS[0], BOUNDS[BOUNDED - 1]), (100, 100_000_000));
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_it_falls_into() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        for millis in 1..=100 {
            histogram.record(Duration::from_millis(millis));
        }
        let read = histogram.read();
        assert_eq!(read.count(), 100);
        assert_eq!(read.quantile(0.5), Some(Duration::from_millis(50)));
        assert_eq!(read.quantile(0.99), Some(Duration::from_millis(100)));
    }

    #[test]
    fn coarser_buckets_hold_what_finer_ones_below_them_do() {
        let histogram = Histogram::default();
        for micros in [90, 100, 101, 240, 9_999, 2_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let cumulated: Vec<_> = (histogram.read())
            .cumulated(&[100, 250, 10_000, 1_000_000])
            .collect();
        assert_eq!(cumulated, [2, 4, 5, 5]);
    }

    #[test]
    fn what_takes_longer_than_the_last_bound_is_counted_all_the_same() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(1_000));
        let read = histogram.read();
        assert_eq!(read.count(), 1);
        assert_eq!(read.quantile(1.0), Some(Duration::from_secs(100)));
    }
}
