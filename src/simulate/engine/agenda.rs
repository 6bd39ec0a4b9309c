//! What is still to happen, in the order of its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::simulate::world::{End, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A request comes.
    Arrival,
    /// A try of the request in this place ends.
    End(usize, End),
    /// Who is first in the line may have waited long enough.
    GiveUp,
    /// An instance is probed.
    Probe(usize),
    Step,
}

/// What is still to happen, and what time it is.
#[derive(Default)]
pub(super) struct Agenda {
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    /// How many events there were: those of one moment happen in the order they were made.
    made: u64,
}

impl Agenda {
    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// The next event. Its time has come.
    pub(super) fn pass(&mut self) -> Option<Event> {
        let Reverse((time, _, event)) = self.events.pop()?;
        self.now = time;
        Some(event)
    }

    pub(super) fn after(&mut self, wait: Time, event: Event) {
        self.at(self.now.saturating_add(wait), event);
    }

    pub(super) fn at(&mut self, time: Time, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time, self.made, event)));
    }
}
