//! The requests as they come, and what each is about.

use std::time::Duration;

use crate::balance::hash;
use crate::simulate::scenario::{Arrivals, Load};
use crate::simulate::world::{Time, exponential, nanos};

pub(super) struct Demand<'a> {
    load: &'a Load,
    rng: fastrand::Rng,
    /// The sums of the frequencies of keys.
    keys: Vec<f64>,
    came: u64,
}

impl<'a> Demand<'a> {
    pub(super) fn new(load: &'a Load, seed: u64) -> Self {
        Self {
            load,
            rng: fastrand::Rng::with_seed(seed),
            keys: cumulated(load.keys, load.skew),
            came: 0,
        }
    }

    /// How many requests came.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// Whether more of them come at `now` or later.
    pub(super) fn lasts(&self, now: Time) -> bool {
        let until = self.load.until;
        self.came < self.load.requests
            && until.is_none_or(|until| u128::from(now) < until.as_nanos())
    }

    /// When the first requests come.
    pub(super) fn first(&mut self) -> Vec<Time> {
        match self.load.arrivals {
            Arrivals::Open(_) => self.until_next().into_iter().collect(),
            // They do not come all at once.
            Arrivals::Closed(clients, think) => (0..clients)
                .map(|_| nanos(self.rng.f64() * think.as_secs_f64()))
                .collect(),
        }
    }

    /// How long after one request the next comes; `None` if that is for the end of the one to say.
    pub(super) fn until_next(&mut self) -> Option<Time> {
        match self.load.arrivals {
            Arrivals::Open(rate) => Some(nanos(exponential(1.0 / rate, &mut self.rng))),
            Arrivals::Closed(..) => None,
        }
    }

    /// How long after the end of a request its client comes again, if it does.
    pub(super) fn pause(&self) -> Option<Time> {
        match self.load.arrivals {
            Arrivals::Open(_) => None,
            Arrivals::Closed(_, think) => {
                // Who is turned away at once takes a breath all the same, or time would stand still.
                let breath = think.max(Duration::from_millis(1));
                Some(breath.as_nanos() as Time)
            }
        }
    }

    /// How much of it has come at `now`, 0 to 1.
    pub(super) fn share(&self, now: Time) -> f64 {
        let of_requests = self.came as f64 / self.load.requests as f64;
        let of_time = self
            .load
            .until
            .map_or(0.0, |until| now as f64 / 1e9 / until.as_secs_f64());
        of_requests.max(of_time).min(1.0)
    }

    /// One more request comes: its hash.
    pub(super) fn draw(&mut self) -> u64 {
        self.came += 1;
        let draw = self.rng.f64() * self.keys.last().copied().unwrap_or_default();
        let key = self.keys.partition_point(|&end| end <= draw);
        hash::of(format!("key-{key}").as_bytes())
    }
}

/// The sums of the frequencies of keys (G. K. Zipf's law).
fn cumulated(keys: usize, skew: f64) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect()
}
