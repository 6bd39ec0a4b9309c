//! Successes and failures within a sliding window, in cells that any thread adds to without a lock.
//!
//! The window is cut into [`RECENT`] parts of equal length, each with its own cell; the number of a
//! part is the time since a process-wide origin in such lengths. A cell holds the number of its part
//! with its counts, and whoever finds an older number there starts it anew. So what the window holds
//! is between seven and eight eighths of it old, and nothing has to be cleared by a clock.
//!
//! One cell, from the highest bit: 24 bits of the part's number, 20 of failures, 20 of all requests.
//! Counts that fill up are halved together, which keeps their ratio.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::endpoint::RECENT;

const COUNT_BITS: u32 = 20;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const NUMBER: u64 = (1 << 24) - 1;
/// Leaves room for all threads that have looked and not added yet.
const FULL: u64 = COUNT - 4_096;

/// The length of a window's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    millis: u64,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) failed: u64,
    pub(super) all: u64,
}

impl Parts {
    pub(super) fn of(window: Duration) -> Self {
        let millis = window.as_millis() as u64 / RECENT as u64;
        Self {
            millis: millis.max(1),
        }
    }

    fn number(self, now: Instant) -> u64 {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(|| now);
        now.saturating_duration_since(origin).as_millis() as u64 / self.millis
    }
}

/// Counts one request.
pub(super) fn add(cells: &[AtomicU64; RECENT], parts: Parts, failed: bool, now: Instant) {
    let number = parts.number(now);
    let cell = &cells[(number % RECENT as u64) as usize];
    let one = Counts {
        failed: u64::from(failed),
        all: 1,
    };
    let seen = Cell::unpack(cell.load(Ordering::Relaxed));
    if seen.number == number & NUMBER && seen.counts.all < FULL {
        cell.fetch_add(one.pack(), Ordering::Relaxed);
        return;
    }
    let renew = |seen| {
        let seen = Cell::unpack(seen);
        let counts = match seen.behind(number) {
            0 if seen.counts.all < FULL => seen.counts.plus(one),
            0 => seen.counts.halved().plus(one),
            // A thread that looked at the clock later was here before. What is far ahead was counted
            // in other lengths.
            behind if behind > NUMBER - 2 * RECENT as u64 && seen.counts.all > 0 => return None,
            _ => one,
        };
        Some((number & NUMBER) << (2 * COUNT_BITS) | counts.pack())
    };
    let relaxed = Ordering::Relaxed;
    let _ = cell.fetch_update(relaxed, relaxed, renew);
}

/// Adds up what is no older than the window.
pub(super) fn sum(cells: &[AtomicU64; RECENT], parts: Parts, now: Instant) -> Counts {
    let number = parts.number(now);
    cells
        .iter()
        .map(|cell| Cell::unpack(cell.load(Ordering::Relaxed)))
        .filter(|cell| cell.behind(number) < RECENT as u64)
        .fold(Counts::default(), |sum, cell| sum.plus(cell.counts))
}

/// Forgets everything.
pub(super) fn clear(cells: &[AtomicU64; RECENT]) {
    for cell in cells {
        cell.store(0, Ordering::Relaxed);
    }
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            failed: self.failed + other.failed,
            all: self.all + other.all,
        }
    }

    fn halved(self) -> Self {
        Self {
            failed: self.failed / 2,
            all: self.all / 2,
        }
    }

    fn pack(self) -> u64 {
        self.failed << COUNT_BITS | self.all
    }
}

/// One cell unpacked.
struct Cell {
    number: u64,
    counts: Counts,
}

impl Cell {
    fn unpack(cell: u64) -> Self {
        Self {
            number: cell >> (2 * COUNT_BITS),
            counts: Counts {
                failed: cell >> COUNT_BITS & COUNT,
                all: cell & COUNT,
            },
        }
    }

    /// How many parts ago it was counted, modulo 2²⁴.
    fn behind(&self, number: u64) -> u64 {
        number.wrapping_sub(self.number) & NUMBER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(8);

    fn cells() -> [AtomicU64; RECENT] {
        Default::default()
    }

    /// A moment that is not the origin, which other tests may have set as well.
    fn start() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let (cells, parts, now) = (cells(), Parts::of(WINDOW), start());
        add(&cells, parts, true, now);
        add(&cells, parts, false, now);
        let both = Counts { failed: 1, all: 2 };
        assert_eq!(sum(&cells, parts, now), both);
        assert_eq!(sum(&cells, parts, now + WINDOW * 6 / 8), both);
        assert_eq!(sum(&cells, parts, now + WINDOW), Counts::default());
        assert_eq!(sum(&cells, parts, now + WINDOW * 100), Counts::default());
    }

    #[test]
    fn a_cell_is_used_again_for_a_later_part() {
        let (cells, parts, now) = (cells(), Parts::of(WINDOW), start());
        for round in 0..5 {
            add(&cells, parts, true, now + WINDOW * round);
            let one = Counts { failed: 1, all: 1 };
            assert_eq!(sum(&cells, parts, now + WINDOW * round), one);
        }
        // A thread whose clock is a window behind changes nothing.
        add(&cells, parts, true, now + WINDOW * 3);
        assert_eq!(sum(&cells, parts, now + WINDOW * 4).all, 1);
    }

    #[test]
    fn what_was_counted_in_other_lengths_stands_in_nobodys_way() {
        let (cells, parts, now) = (cells(), Parts::of(WINDOW), start());
        for millis in 0..100 {
            let other = Parts::of(WINDOW / 1_000);
            add(&cells, other, true, now + Duration::from_millis(millis));
        }
        for part in 0..RECENT as u32 {
            add(&cells, parts, false, now + WINDOW * part / RECENT as u32);
        }
        let all = Counts { failed: 0, all: 8 };
        assert_eq!(sum(&cells, parts, now + WINDOW * 7 / 8), all);
    }

    #[test]
    fn full_cells_keep_their_ratio() {
        let (cells, parts, now) = (cells(), Parts::of(WINDOW), start());
        let nearly_full = Counts {
            failed: FULL / 4 - 1_000,
            all: FULL - 4_000,
        };
        add(&cells, parts, false, now);
        let cell = cells.iter().find(|cell| cell.load(Ordering::Relaxed) != 0);
        cell.unwrap()
            .fetch_add(nearly_full.pack(), Ordering::Relaxed);
        for request in 0..10_000 {
            add(&cells, parts, request % 4 == 0, now);
        }
        let Counts { failed, all } = sum(&cells, parts, now);
        assert!((400_000..=COUNT).contains(&all), "{all}");
        let ratio = failed as f64 / all as f64;
        assert!((ratio - 0.25).abs() < 0.01, "{ratio}");
    }

    #[test]
    fn no_failure_is_lost_between_threads() {
        let (cells, parts, now) = (cells(), Parts::of(WINDOW), start());
        std::thread::scope(|scope| {
            for failed in [true, false, true, false] {
                let cells = &cells;
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        add(cells, parts, failed, now);
                    }
                });
            }
        });
        let expected = Counts {
            failed: 20_000,
            all: 40_000,
        };
        assert_eq!(sum(&cells, parts, now), expected);
    }

    proptest! {
        #[test]
        fn the_sum_lies_between_seven_eighths_of_the_window_and_all_of_it(
            steps in prop::collection::vec((0u64..3_000, any::<bool>()), 1..60)
        ) {
            let (cells, parts, mut now) = (cells(), Parts::of(WINDOW), start());
            let mut told = Vec::new();
            for (millis, failed) in steps {
                now += Duration::from_millis(millis);
                add(&cells, parts, failed, now);
                told.push((now, failed));
                let within = |window: Duration| {
                    let recent = told.iter().filter(|(at, _)| now - *at < window);
                    recent.filter(|(_, failed)| *failed).count() as u64
                };
                let failed = sum(&cells, parts, now).failed;
                prop_assert!(within(WINDOW * 7 / 8) <= failed && failed <= within(WINDOW));
            }
        }
    }
}
