//! How much a service and its instances are given at a time, and who waits.

use std::time::Duration;

/// How many requests may be in flight, and how many wait for those that are.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Requests in flight at all instances together; `None` is no limit.
    pub in_flight: Option<u32>,
    /// Requests in flight at one instance; `None` is no limit.
    pub in_flight_per_instance: Option<u32>,
    /// How many requests may wait at a limit; more are refused at once.
    pub queue: u32,
    /// How long a request may wait at a limit.
    pub queue_timeout: Duration,
    /// Whether the limit of all instances together follows the response times (Gradient2);
    /// `in_flight` then is the most it grows to.
    pub adaptive: bool,
}

/// Requests for a service without an available instance wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long one waits.
    pub timeout: Duration,
    /// How many wait at a time for one service.
    pub max: u32,
}

/// How the share of a member grows that is new or has come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// How long it takes to its full share; zero is off.
    pub window: Duration,
    /// 1 is a straight line; more gives more at first. Above 0.
    pub aggression: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: None,
            in_flight_per_instance: None,
            queue: 1_024,
            queue_timeout: Duration::from_secs(1),
            adaptive: false,
        }
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            max: 1_000,
        }
    }
}

impl Default for SlowStart {
    fn default() -> Self {
        Self {
            window: Duration::ZERO,
            aggression: 1.0,
        }
    }
}
