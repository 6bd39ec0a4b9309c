//! Measuring for the adaptive limit: requests add to a window of atomics, and a step of
//! [`tempo`](super::tempo) closes it and moves the limit.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Cluster;
use super::gradient::{Gradient, Window};
use super::pick::Outcome;
use super::policy::Limits;

/// How long a window is at least, and how many requests it holds at least.
const WINDOW: Duration = Duration::from_millis(100);
const REQUESTS: u32 = 10;

/// What the limit grows to when `in_flight` says nothing.
const MAX: u32 = 10_000;

/// The adaptive limit of one cluster.
#[derive(Debug)]
pub(super) struct Adaptive {
    on: AtomicBool,
    limit: AtomicU32,
    /// In microseconds.
    total: AtomicU64,
    answers: AtomicU32,
    drops: AtomicU32,
    in_flight: AtomicU64,
    /// Only whoever closes a window or changes the policy takes it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gradient: Gradient,
    opened: Option<Instant>,
}

impl Adaptive {
    pub(super) fn new(limits: &Limits) -> Self {
        let gradient = Gradient::new(limits.in_flight.unwrap_or(MAX));
        Self {
            on: AtomicBool::new(limits.adaptive),
            limit: AtomicU32::new(gradient.limit()),
            total: AtomicU64::new(0),
            answers: AtomicU32::new(0),
            drops: AtomicU32::new(0),
            in_flight: AtomicU64::new(0),
            state: Mutex::new(State {
                gradient,
                opened: None,
            }),
        }
    }

    /// What it has come to.
    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Puts new limits in force. Turned on anew, it starts afresh, and no lower than at what is in
    /// flight: that much the service is taking already.
    pub(super) fn configure(&self, limits: &Limits, in_flight: u64) {
        let mut state = self.state();
        let max = limits.in_flight.unwrap_or(MAX);
        if limits.adaptive && !self.on.load(Ordering::Relaxed) {
            state.gradient = Gradient::under_load(max, in_flight);
        }
        state.gradient.set_max(max);
        self.limit.store(state.gradient.limit(), Ordering::Relaxed);
        self.on.store(limits.adaptive, Ordering::Relaxed);
    }

    /// Closes the window if it is full enough; says whether the limit has grown.
    fn close(&self, now: Instant) -> bool {
        let mut state = self.state();
        let opened = *state.opened.get_or_insert(now);
        let requests = self.answers.load(Ordering::Relaxed) + self.drops.load(Ordering::Relaxed);
        if requests < REQUESTS || now.saturating_duration_since(opened) < WINDOW {
            return false;
        }
        // A request that is added between two of these is counted in part here and in part in the
        // next window, which one of many may be.
        let window = Window {
            total: self.total.swap(0, Ordering::Relaxed) as f64 / 1e6,
            answers: self.answers.swap(0, Ordering::Relaxed),
            drops: self.drops.swap(0, Ordering::Relaxed),
            in_flight: self.in_flight.swap(0, Ordering::Relaxed),
        };
        state.opened = Some(now);
        state.gradient.update(window);
        let (before, after) = (self.limit(), state.gradient.limit());
        self.limit.store(after, Ordering::Relaxed);
        after > before
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Takes down what came of an attempt after `time`.
    ///
    /// An instance that could not be reached took no part, and an error of the application is an
    /// answer like any other unless it asks to come back later. What never was answered is a drop.
    pub(super) fn measure(&self, outcome: Outcome, time: Duration) {
        let measured = &self.adaptive;
        if !measured.on.load(Ordering::Relaxed) {
            return;
        }
        match outcome {
            Outcome::Answered | Outcome::Faulted { retry_after: None } => {
                let micros = time.as_micros().min(u128::from(u32::MAX)) as u64;
                measured.total.fetch_add(micros, Ordering::Relaxed);
                measured.answers.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Failed | Outcome::Faulted { .. } => {
                measured.drops.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Unreachable => return,
        }
        let in_flight = self.in_flight();
        measured.in_flight.fetch_max(in_flight, Ordering::Relaxed);
        self.unrest();
    }

    /// Moves the adaptive limit, if it is on and there is something to go by.
    pub(super) fn adapt(self: &Arc<Self>, now: Instant) {
        if !self.adaptive.on.load(Ordering::Relaxed) {
            return;
        }
        if self.adaptive.close(now) {
            self.serve();
        }
    }
}
