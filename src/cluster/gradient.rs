//! Gradient2: finding out how many requests a service can take at a time by how long it takes.
//!
//! The algorithm is `Gradient2Limit` of Netflix's concurrency-limits
//! (<https://github.com/Netflix/concurrency-limits>): the response time of late is compared with its
//! long average. As long as it is not clearly longer, the limit grows by a small allowance for
//! queues; when it is, the limit shrinks by the ratio of the two:
//!
//! ```text
//! gradient = clamp(1.5 × long_rtt / rtt, 0.5, 1)
//! limit'   = 0.8 × limit + 0.2 × (limit × gradient + 4)
//! ```
//!
//! Two rules keep it honest. The limit is frozen while less than half of it is in use: a response time
//! measured then says nothing of the limit. And when the long average is more than twice what is
//! measured, it decays faster, so that a past slow time is forgotten soon.
//!
//! As there, one measurement is the average over a window of time; requests that failed give none. The
//! original leaves them out of account altogether; here a window in which a notable share failed
//! backs the limit off as its sibling `AIMDLimit` does, by a tenth: a service that drops requests is
//! overloaded however fast it is with the others.
//!
//! Architecture invariant: pure. When a window ends and what is in it is the caller's.

/// Response times up to this many times the long average are no sign of a queue.
const TOLERANCE: f64 = 1.5;
/// How many requests may be queued at a service that is fast enough.
const ALLOWANCE: f64 = 4.0;
/// How much of a step is taken.
const SMOOTHING: f64 = 0.2;
/// How many windows the long average looks back on, and the first of them that are plainly averaged.
const LONG: f64 = 600.0;
const WARM_UP: u32 = 10;
/// What is left of the long average in a window much faster than it.
const DECAY: f64 = 0.95;
/// What is left of the limit after a window with drops, and the share of them that makes it one.
const BACKOFF: f64 = 0.9;
const DROPS: f64 = 0.1;
/// The limit to start with, and the least one.
const INITIAL: f64 = 20.0;
const MIN: f64 = 4.0;

/// What was seen of a service in one window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// The sum of the response times, in seconds.
    pub(super) total: f64,
    /// How many were answered.
    pub(super) answers: u32,
    /// How many were not, or were turned away by the instance.
    pub(super) drops: u32,
    /// The most that were in flight at a time.
    pub(super) in_flight: u64,
}

/// The limit and what it rests on.
#[derive(Clone, Debug)]
pub(super) struct Gradient {
    limit: f64,
    max: f64,
    /// The long average of the response time, in seconds.
    long: f64,
    windows: u32,
}

impl Gradient {
    /// A limit that grows to `max` at most.
    pub(super) fn new(max: u32) -> Self {
        let max = f64::from(max).max(1.0);
        Self {
            limit: INITIAL.min(max),
            max,
            long: 0.0,
            windows: 0,
        }
    }

    /// As [`Gradient::new`], for a service that has so many requests in flight.
    pub(super) fn under_load(max: u32, in_flight: u64) -> Self {
        let mut gradient = Self::new(max);
        gradient.limit = gradient.limit.max(in_flight as f64).min(gradient.max);
        gradient
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Lets it grow to `max` at most from now on.
    pub(super) fn set_max(&mut self, max: u32) {
        self.max = f64::from(max).max(1.0);
        self.limit = self.limit.min(self.max);
    }

    /// Takes a window into account that was not empty.
    pub(super) fn update(&mut self, window: Window) {
        let busy = window.in_flight as f64 >= self.limit / 2.0;
        let requests = f64::from(window.answers) + f64::from(window.drops);
        let measured = window.total / f64::from(window.answers);
        let gradient = (window.answers > 0).then(|| self.gradient(measured));
        if !busy {
            return;
        }
        let next = match gradient {
            _ if f64::from(window.drops) > DROPS * requests => self.limit * BACKOFF,
            Some(gradient) => {
                let step = self.limit * gradient + ALLOWANCE;
                self.limit * (1.0 - SMOOTHING) + step * SMOOTHING
            }
            None => self.limit,
        };
        self.limit = next.max(MIN).min(self.max);
    }

    /// Adds a measurement, in seconds, to the long average, and compares the two.
    fn gradient(&mut self, measured: f64) -> f64 {
        let measured = measured.max(1e-6);
        self.windows = self.windows.saturating_add(1);
        let weight = if self.windows <= WARM_UP {
            1.0 / f64::from(self.windows)
        } else {
            2.0 / (LONG + 1.0)
        };
        self.long += weight * (measured - self.long);
        let compared = self.long;
        if self.long > 2.0 * measured {
            self.long *= DECAY;
        }
        (TOLERANCE * compared / measured).clamp(0.5, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A service that works on `width` requests at a time, 10 ms each, and queues what is more.
    struct Service {
        width: f64,
    }

    impl Service {
        /// A window in which as many are in flight as `wanted` and the limit allow.
        fn window(&self, gradient: &Gradient, wanted: u32) -> Window {
            let in_flight = f64::from(gradient.limit().min(wanted));
            let time = 0.01 * (in_flight / self.width).max(1.0);
            Window {
                total: 50.0 * time,
                answers: 50,
                drops: 0,
                in_flight: in_flight as u64,
            }
        }

        fn serve(&self, gradient: &mut Gradient, wanted: u32, windows: u32) -> u32 {
            for _ in 0..windows {
                gradient.update(self.window(gradient, wanted));
            }
            gradient.limit()
        }
    }

    #[test]
    fn the_limit_settles_above_what_the_service_can_take_and_not_far() {
        let mut gradient = Gradient::new(10_000);
        let service = Service { width: 50.0 };
        service.serve(&mut gradient, 10, 20);
        let limit = service.serve(&mut gradient, 100_000, 400);
        assert!((50..=200).contains(&limit), "{limit}");
    }

    #[test]
    fn a_service_that_slows_down_is_given_less_and_more_again_when_it_recovers() {
        let mut gradient = Gradient::new(10_000);
        let healthy = Service { width: 100.0 };
        healthy.serve(&mut gradient, 10, 20);
        let before = healthy.serve(&mut gradient, 100_000, 300);
        let slow = Service { width: 10.0 };
        let during = slow.serve(&mut gradient, 100_000, 30);
        assert!(during < before / 2, "{before} to {during}");
        let after = healthy.serve(&mut gradient, 100_000, 300);
        assert!(after > 2 * during, "{during} to {after}");
    }

    #[test]
    fn the_limit_is_frozen_while_less_than_half_of_it_is_in_use() {
        let mut gradient = Gradient::new(10_000);
        let service = Service { width: 50.0 };
        assert_eq!(service.serve(&mut gradient, 9, 500), 20);
        let mut idle = service.window(&gradient, 9);
        idle.drops = 1_000;
        gradient.update(idle);
        assert_eq!(gradient.limit(), 20);
        assert!(service.serve(&mut gradient, 15, 10) > 20);
    }

    #[test]
    fn a_past_slow_time_is_forgotten_soon() {
        let mut gradient = Gradient::new(10_000);
        Service { width: 0.1 }.serve(&mut gradient, 10, 50);
        let slow = gradient.long;
        Service { width: 50.0 }.serve(&mut gradient, 10, 80);
        assert!(gradient.long < slow / 20.0, "{slow} to {}", gradient.long);
    }

    #[test]
    fn dropped_requests_back_the_limit_off_and_a_lone_one_does_not() {
        let mut gradient = Gradient::new(10_000);
        let service = Service { width: 50.0 };
        let mut window = service.window(&gradient, 20);
        window.drops = 1;
        gradient.update(window);
        assert!(gradient.limit >= 20.0);
        window.drops = 50;
        gradient.update(window);
        assert!(gradient.limit < 20.0);
        let only_drops = Window {
            drops: 10,
            in_flight: 20,
            ..Window::default()
        };
        for _ in 0..100 {
            gradient.update(only_drops);
        }
        assert_eq!(gradient.limit(), 4);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds_whatever_is_measured(
            max in 0_u32..100,
            windows in prop::collection::vec((0.0..1e9, 0_u32..100, 0_u32..100, 0_u64..1_000), 1..200),
        ) {
            let mut gradient = Gradient::new(max);
            for (total, answers, drops, in_flight) in windows {
                gradient.update(Window { total, answers, drops, in_flight });
                let least = 4.min(max.max(1));
                prop_assert!((least..=max.max(1)).contains(&gradient.limit()));
            }
        }
    }
}
