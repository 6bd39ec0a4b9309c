//! Who waits at a limit: first come, first served, and everybody for the same time.

use std::collections::VecDeque;

use crate::simulate::world::Time;

/// Those who wait, the first first.
#[derive(Default)]
pub(super) struct Line {
    /// The place of each request, and until when it waits.
    waiting: VecDeque<(usize, Time)>,
    /// Whether somebody has it on the agenda to come back for those who have waited long enough. Once is
    /// enough: whoever comes later waits for longer.
    is_watched: bool,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn first(&self) -> Option<usize> {
        self.waiting.front().map(|(place, _)| *place)
    }

    pub(super) fn join(&mut self, place: usize, until: Time) {
        self.waiting.push_back((place, until));
    }

    /// The first leaves.
    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    /// One who has waited for long enough at `now`, and leaves.
    pub(super) fn pop_late(&mut self, now: Time) -> Option<usize> {
        let (place, _) = *self.waiting.front().filter(|(_, until)| *until <= now)?;
        self.waiting.pop_front();
        Some(place)
    }

    /// When to come back for those who have waited long enough, if nobody does yet.
    pub(super) fn watch(&mut self) -> Option<Time> {
        let (_, until) = self.waiting.front().filter(|_| !self.is_watched)?;
        self.is_watched = true;
        Some(*until)
    }

    /// Whoever comes back for them is there.
    pub(super) fn watched(&mut self) {
        self.is_watched = false;
    }
}
