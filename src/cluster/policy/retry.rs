//! When a request is tried again, and how often.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How requests are tried again. A request of which nothing was sent goes on to another instance
/// whatever `attempts` and `budget` say, as long as `on` has `connect`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// How many times more a request is tried that was sent; 0 is never.
    pub attempts: u32,
    /// The share of the requests in flight, 0 to 1, that may be tries of requests sent before;
    /// `None` is no bound.
    pub budget: Option<f64>,
    /// How many such tries there may be at a time whatever their share.
    pub budget_min: u32,
    /// What is tried again.
    pub on: RetryOn,
    /// The most bytes of a body that are kept to send them again.
    pub buffer: usize,
    /// When a second instance is asked before the first one has answered; `None` is never.
    pub hedge: Option<Hedge>,
}

/// What is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection could be made.
    pub connect: bool,
    /// The connection broke before an answer came, or what came is no answer.
    pub reset: bool,
    /// The instance took too long for the head of its answer.
    pub timeout: bool,
    /// Answers with one of these statuses.
    pub statuses: Vec<RangeInclusive<u16>>,
}

/// When a second instance is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hedge {
    /// After this long without an answer.
    After(Duration),
    /// After this share, 0 to 1, of the service's recent requests had their answer.
    Percentile(f64),
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            budget: Some(0.2),
            budget_min: 3,
            on: RetryOn::default(),
            buffer: 64 << 10,
            hedge: None,
        }
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            connect: true,
            reset: true,
            timeout: false,
            statuses: vec![502..=504],
        }
    }
}
