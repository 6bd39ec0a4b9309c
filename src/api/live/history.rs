//! The last two minutes, second by second.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::units::moment::format_moment;

use super::tick::{Figures, rounded};

/// How many seconds are kept.
pub(super) const KEPT: usize = 120;

/// One second of the past.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(in crate::api) struct Point {
    #[serde(serialize_with = "moment")]
    pub(super) at: SystemTime,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// The past of all services together.
#[derive(Clone, Debug, Default)]
pub(super) struct History(VecDeque<(u64, Point)>);

/// The past of one service, without the seconds in which nothing went on there.
#[derive(Debug, Default)]
pub(super) struct Sparse(VecDeque<Packed>);

/// What is kept of one second of one service, in as little room as it takes.
#[derive(Clone, Copy, Debug)]
struct Packed {
    /// The tick. They are a second apart and compared with each other only.
    number: u32,
    rate: f32,
    errors: f32,
    /// p50, p90 and p99 in microseconds; 0 for none, since no bucket ends there.
    percentiles: [u32; 3],
    in_flight: u32,
}

/// The most memory that the past of one service takes, in bytes: a deque grows to a power of two.
pub(super) const ROOM: usize = KEPT.next_power_of_two() * size_of::<Packed>();

impl History {
    /// Adds what was found at the tick of this number.
    pub(super) fn push(&mut self, number: u64, point: Point) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((number, point));
    }

    /// Oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.0.iter().map(|(_, point)| point)
    }

    /// The same seconds, as they were for one service.
    pub(super) fn of(&self, one: Option<&Sparse>) -> Vec<Point> {
        let mut own = one.into_iter().flat_map(|one| &one.0).peekable();
        let points = self.0.iter().map(|(number, point)| {
            let number = *number as u32;
            while own.next_if(|then| then.number < number).is_some() {}
            let figures = own.next_if(|then| then.number == number);
            Point {
                at: point.at,
                figures: figures.map_or_else(Figures::default, |packed| packed.figures()),
            }
        });
        points.collect()
    }
}

impl Sparse {
    /// Adds what was found at the tick of this number, unless it is nothing, and gives up what is too
    /// old.
    pub(super) fn push(&mut self, number: u64, figures: Figures) {
        let number = number as u32;
        while (self.0.front()).is_some_and(|then| then.number + KEPT as u32 <= number) {
            self.0.pop_front();
        }
        if figures != Figures::default() {
            self.0.push_back(Packed::new(number, &figures));
        } else if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Packed {
    fn new(number: u32, figures: &Figures) -> Self {
        let Figures {
            rate,
            errors,
            p50,
            p90,
            p99,
            in_flight,
        } = *figures;
        let micros = |took: Option<f64>| took.map_or(0, |seconds| (seconds * 1e6).round() as u32);
        Self {
            number,
            rate: rate as f32,
            errors: errors as f32,
            percentiles: [p50, p90, p99].map(micros),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        }
    }

    fn figures(&self) -> Figures {
        let seconds = |micros: u32| (micros > 0).then(|| f64::from(micros) / 1e6);
        let [p50, p90, p99] = self.percentiles.map(seconds);
        Figures {
            rate: rounded(f64::from(self.rate)),
            errors: rounded(f64::from(self.errors)),
            p50,
            p90,
            p99,
            in_flight: u64::from(self.in_flight),
        }
    }
}

fn moment<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_moment(*at))
}

#[cfg(test)]
mod tests {
    use crate::figures::histogram::BOUNDS;

    use super::*;

    fn busy(in_flight: u64) -> Figures {
        Figures {
            in_flight,
            ..Figures::default()
        }
    }

    fn history(ticks: u64) -> History {
        let mut history = History::default();
        for number in 1..=ticks {
            let point = Point {
                at: SystemTime::UNIX_EPOCH,
                figures: busy(number),
            };
            history.push(number, point);
        }
        history
    }

    #[test]
    fn two_minutes_are_kept() {
        let history = history(500);
        let kept: Vec<_> = history
            .points()
            .map(|point| point.figures.in_flight)
            .collect();
        assert_eq!(kept, (381..=500).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_packed_is_shown_as_it_was() {
        let figures = |bucket: usize, in_flight| Figures {
            rate: 1_234.567,
            errors: 0.001,
            p50: Some(BOUNDS[bucket] as f64 / 1e6),
            p90: None,
            p99: Some(BOUNDS[bucket] as f64 / 1e6),
            in_flight,
        };
        for bucket in 0..BOUNDS.len() {
            let before = figures(bucket, bucket as u64);
            assert_eq!(Packed::new(7, &before).figures(), before);
        }
        let beyond = Packed::new(7, &figures(0, u64::MAX)).figures();
        assert_eq!(beyond.in_flight, u64::from(u32::MAX));
    }

    #[test]
    fn seconds_in_which_nothing_went_on_take_no_room_and_are_shown() {
        let mut one = Sparse::default();
        for number in 1..=500 {
            let on = number % 50 == 0;
            one.push(number, if on { busy(7) } else { Figures::default() });
        }
        assert_eq!(one.0.len(), 3);
        let points = history(500).of(Some(&one));
        assert_eq!(points.len(), KEPT);
        let on: Vec<_> = (points.iter().enumerate())
            .filter(|(_, point)| point.figures.in_flight == 7)
            .map(|(index, _)| index)
            .collect();
        assert_eq!(on, [19, 69, 119]);
        one.push(700, Figures::default());
        assert!(one.is_empty());
        assert!(
            history(3)
                .of(None)
                .iter()
                .all(|point| point.figures == Figures::default())
        );
    }
}
