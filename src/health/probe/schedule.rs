//! Who is asked next, and when: a deadline-ordered set with a fast lane. Pure: the time is an
//! argument.
//!
//! Every operation costs O(log n) of the watches. A set rather than a binary heap, because a watch
//! that ends leaves at once and not only when its (possibly hours away) turn comes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::Pace;

/// Names one watch for as long as the prober lives.
pub(super) type Key = u64;

/// The shortest time between two probes of one watch; keeps an interval of 0 from spinning.
const SHORTEST_GAP: Duration = Duration::from_millis(1);
/// The longest; keeps the arithmetic of time within its range.
const LONGEST_GAP: Duration = Duration::from_secs(24 * 60 * 60);
/// A brisk probe leaves the instance at least this much time to change.
const SHORTEST_BRISK_GAP: Duration = Duration::from_millis(100);

/// When each watch is to be asked.
#[derive(Default)]
pub(super) struct Schedule {
    /// All that wait, in the order of their turns.
    waiting: BTreeSet<(Place, Key)>,
    turns: HashMap<Key, Turn>,
}

/// A place in the queue: the fast lane sorts before the routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    lane: Lane,
    due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Urgent,
    Routine,
}

enum Turn {
    Waiting(Place),
    UnderWay {
        /// Somebody asked for another probe meanwhile.
        again: bool,
    },
}

impl Schedule {
    /// Takes in a new watch: its first probe is due at once.
    pub(super) fn add(&mut self, key: Key, now: Instant) {
        self.wait(key, Lane::Urgent, now);
    }

    /// Forgets a watch, wherever it is.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(Turn::Waiting(place)) = self.turns.remove(&key) {
            self.waiting.remove(&(place, key));
        }
    }

    /// Moves a watch to the fast lane; with a probe under way, right after that.
    pub(super) fn urge(&mut self, key: Key, now: Instant) {
        match self.turns.get_mut(&key) {
            Some(Turn::Waiting(place)) if place.lane == Lane::Routine => {
                let place = *place;
                self.waiting.remove(&(place, key));
                self.wait(key, Lane::Urgent, now);
            }
            Some(Turn::UnderWay { again }) => *again = true,
            Some(Turn::Waiting(_)) | None => {}
        }
    }

    /// The watch whose turn it is, if any; it counts as under way until
    /// [`Schedule::finished`].
    pub(super) fn start_next(&mut self, now: Instant) -> Option<Key> {
        let &(place, key) = self.waiting.first()?;
        if place.due > now {
            return None;
        }
        self.waiting.pop_first();
        self.turns.insert(key, Turn::UnderWay { again: false });
        Some(key)
    }

    /// Ends a turn; the next one comes at `next`, or at once if it was asked for meanwhile.
    pub(super) fn finished(&mut self, key: Key, next: Instant, now: Instant) {
        match self.turns.get(&key) {
            Some(Turn::UnderWay { again: true }) => self.wait(key, Lane::Urgent, now),
            Some(Turn::UnderWay { again: false }) => self.wait(key, Lane::Routine, next),
            Some(Turn::Waiting(_)) | None => {}
        }
    }

    /// When the next turn comes; `None` while nobody waits for one.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(place, _)| place.due)
    }

    fn wait(&mut self, key: Key, lane: Lane, due: Instant) {
        let place = Place { lane, due };
        self.waiting.insert((place, key));
        self.turns.insert(key, Turn::Waiting(place));
    }
}

/// The time from the start of one probe to the start of the next; see the rhythm in
/// [`probe`](super). `first` says that the probe just done was the watch's first.
pub(super) fn gap(interval: Duration, pace: Pace, first: bool, rng: &mut Rng) -> Duration {
    let interval = interval.clamp(SHORTEST_GAP, LONGEST_GAP);
    let brisk = (interval / 4).max(SHORTEST_BRISK_GAP).min(interval);
    match pace {
        Pace::Brisk => brisk.mul_f64(0.9 + 0.2 * rng.f64()),
        Pace::Steady if first => brisk + (interval - brisk).mul_f64(rng.f64()),
        Pace::Steady => interval.mul_f64(0.9 + 0.2 * rng.f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(schedule: &mut Schedule, now: Instant) -> Vec<Key> {
        std::iter::from_fn(|| schedule.start_next(now)).collect()
    }

    #[test]
    fn new_watches_are_due_at_once_and_go_before_overdue_routine() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(1, start);
        assert_eq!(drain(&mut schedule, start), [1]);
        schedule.finished(1, start + SECOND, start);
        schedule.add(2, start + 5 * SECOND);
        assert_eq!(drain(&mut schedule, start + 5 * SECOND), [2, 1]);
    }

    #[test]
    fn nobody_is_asked_before_its_turn_or_while_its_probe_is_under_way() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(1, start);
        assert_eq!(drain(&mut schedule, start), [1]);
        assert_eq!(schedule.next_due(), None);
        schedule.finished(1, start + SECOND, start);
        assert_eq!(schedule.next_due(), Some(start + SECOND));
        assert_eq!(schedule.start_next(start), None);
        assert_eq!(drain(&mut schedule, start + SECOND), [1]);
    }

    #[test]
    fn urging_a_waiting_watch_brings_it_forward_once() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(1, start);
        drain(&mut schedule, start);
        schedule.finished(1, start + SECOND, start);
        schedule.urge(1, start);
        schedule.urge(1, start);
        assert_eq!(drain(&mut schedule, start), [1]);
        schedule.finished(1, start + SECOND, start);
        assert_eq!(schedule.next_due(), Some(start + SECOND));
    }

    #[test]
    fn urging_during_a_probe_asks_again_right_after_it() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(1, start);
        drain(&mut schedule, start);
        schedule.urge(1, start);
        assert_eq!(schedule.start_next(start), None);
        schedule.finished(1, start + SECOND, start);
        assert_eq!(drain(&mut schedule, start), [1]);
    }

    #[test]
    fn a_removed_watch_leaves_nothing_behind() {
        let start = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(1, start);
        schedule.remove(1);
        schedule.add(2, start);
        assert_eq!(drain(&mut schedule, start), [2]);
        schedule.remove(2);
        schedule.finished(2, start, start);
        schedule.urge(2, start);
        assert!(schedule.waiting.is_empty() && schedule.turns.is_empty());
    }

    #[test]
    fn steady_gaps_stay_within_a_tenth_of_the_interval() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..1_000 {
            let gap = gap(10 * SECOND, Pace::Steady, false, &mut rng);
            assert!((9 * SECOND..=11 * SECOND).contains(&gap), "{gap:?}");
        }
    }

    #[test]
    fn brisk_gaps_are_a_quarter_but_leave_time_to_change_and_never_slow_down() {
        let mut rng = Rng::with_seed(2);
        for (interval, expected) in [(8_000, 2_000), (200, 100), (40, 40)] {
            let gap = gap(
                Duration::from_millis(interval),
                Pace::Brisk,
                false,
                &mut rng,
            );
            let expected = Duration::from_millis(expected);
            assert!(
                gap >= expected.mul_f64(0.89) && gap <= expected.mul_f64(1.11),
                "{gap:?}"
            );
        }
    }

    #[test]
    fn watches_that_start_together_spread_out_over_their_first_interval() {
        let mut rng = Rng::with_seed(3);
        let mut per_quarter = [0; 4];
        for _ in 0..3_000 {
            let gap = gap(4 * SECOND, Pace::Steady, true, &mut rng);
            assert!(gap <= 4 * SECOND);
            per_quarter[gap.as_secs() as usize % 4] += 1;
        }
        assert_eq!(per_quarter[0], 0, "a quarter of the interval is the least");
        assert!(per_quarter[1..].iter().all(|&n| n > 900), "{per_quarter:?}");
    }

    #[test]
    fn absurd_intervals_neither_spin_nor_overflow() {
        let mut rng = Rng::with_seed(4);
        for (pace, first) in [
            (Pace::Steady, true),
            (Pace::Steady, false),
            (Pace::Brisk, false),
        ] {
            assert!(gap(Duration::ZERO, pace, first, &mut rng) > Duration::ZERO);
            assert!(gap(Duration::MAX, pace, first, &mut rng) < 2 * LONGEST_GAP);
        }
    }
}
