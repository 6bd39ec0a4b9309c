//! The last two minutes, second by second.

use std::collections::VecDeque;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::units::moment::format_moment;

use super::tick::Figures;

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
pub(super) struct Sparse(VecDeque<(u64, Figures)>);

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
            while own.next_if(|(then, _)| then < number).is_some() {}
            let figures = own.next_if(|(then, _)| then == number);
            Point {
                at: point.at,
                figures: figures.map_or_else(Figures::default, |(_, figures)| *figures),
            }
        });
        points.collect()
    }
}

impl Sparse {
    /// Adds what was found at the tick of this number, unless it is nothing, and gives up what is too
    /// old.
    pub(super) fn push(&mut self, number: u64, figures: Figures) {
        while (self.0.front()).is_some_and(|(then, _)| then + KEPT as u64 <= number) {
            self.0.pop_front();
        }
        if figures != Figures::default() {
            self.0.push_back((number, figures));
        } else if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn moment<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_moment(*at))
}

#[cfg(test)]
mod tests {
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
