//! Instances as they are made up: how long each takes for what it is given.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::scenario::{Event, Latency, Member, Shape};

/// Nanoseconds since the simulation began.
pub(super) type Time = u64;

/// One instance at work. It takes what it is given in that order.
pub(super) struct Worker {
    latency: Latency,
    errors: f64,
    events: Vec<Event>,
    /// How many places it has; `None` if there is no end of them.
    capacity: Option<usize>,
    /// When each of its places that are taken is free again.
    taken: BinaryHeap<Reverse<Time>>,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Answered,
    /// With 503.
    Faulted,
    /// The instance went down meanwhile.
    Broken,
    /// It was down.
    Refused,
    /// Nobody waits any longer.
    Late,
}

impl Worker {
    pub(super) fn new(member: &Member) -> Self {
        Self {
            latency: member.latency,
            errors: member.errors,
            events: member.events.clone(),
            capacity: member.capacity,
            taken: BinaryHeap::new(),
        }
    }

    /// When a request that comes at `now` is done, and how.
    pub(super) fn serve(&mut self, now: Time, rng: &mut fastrand::Rng) -> (Time, End) {
        if self.is_down(now) {
            return (now, End::Refused);
        }
        let begins = self.free_from(now);
        let slow: f64 = self.at(begins).map(|event| event.slow).product();
        let ends = begins.saturating_add(nanos(draw(self.latency, rng) * slow));
        let goes_down = self.events.iter().filter(|event| event.down);
        let goes_down = goes_down.map(|event| event.at.as_nanos() as Time);
        let broken = goes_down.filter(|at| (now..ends).contains(at)).min();
        if self.capacity.is_some() {
            // What it had to do is gone when it comes up again.
            self.taken.push(Reverse(broken.unwrap_or(ends)));
        }
        if let Some(broken) = broken {
            return (broken, End::Broken);
        }
        let errors = self
            .at(begins)
            .filter_map(|event| event.errors)
            .fold(self.errors, f64::max);
        match rng.f64() < errors {
            true => (ends, End::Faulted),
            false => (ends, End::Answered),
        }
    }

    /// When it has a place for a request that comes at `now`. That place is no longer among the taken.
    fn free_from(&mut self, now: Time) -> Time {
        while self.taken.peek().is_some_and(|Reverse(free)| *free <= now) {
            self.taken.pop();
        }
        match self.capacity {
            Some(capacity) if self.taken.len() >= capacity => {
                self.taken.pop().map_or(now, |Reverse(free)| free)
            }
            _ => now,
        }
    }

    /// Whether it refuses connections.
    pub(super) fn is_down(&self, now: Time) -> bool {
        self.at(now).any(|event| event.down)
    }

    fn at(&self, now: Time) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| {
            (event.at.as_nanos() as Time..event.until.as_nanos() as Time).contains(&now)
        })
    }
}

/// Seconds as [`Time`].
pub(super) fn nanos(seconds: f64) -> Time {
    (seconds * 1e9) as Time
}

/// The time to the next of events that happen at random with this mean, in seconds.
pub(super) fn exponential(mean: f64, rng: &mut fastrand::Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

fn draw(latency: Latency, rng: &mut fastrand::Rng) -> f64 {
    let Latency { mean, shape, sigma } = latency;
    match shape {
        Shape::Fixed => mean,
        Shape::Exponential => exponential(mean, rng),
        // Box and Muller's normal variate; the median is such that the mean is as asked for.
        Shape::Lognormal => {
            let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * rng.f64()).cos();
            mean * (sigma * normal - sigma * sigma / 2.0).exp()
        }
    }
}
