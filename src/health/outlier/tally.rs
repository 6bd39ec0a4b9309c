//! What the requests of one endpoint add up to, counted by whoever sent them, without a lock.
//!
//! Two runs of failures are counted apart, because two things fail apart: what carries requests to the
//! instance, and the instance itself (Envoy's `split_external_local_origin_errors`).
//!
//! | outcome | unanswered in a row | failed answers in a row |
//! |---|---|---|
//! | an answer that is no failure | back to 0 | back to 0 |
//! | an answer that is one | back to 0 | + 1 |
//! | no connection, or no answer | + 1 | stays: nothing was said of it |
//!
//! A request that was cancelled counts nowhere. One that was answered and whose answer then breaks
//! off counts as one success and one failure.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Outlier;
use super::recent::{self, Parts};
use crate::endpoint::Endpoint;
use crate::units::format_duration;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made, or no answer came.
    Unanswered,
    /// The instance answered that it failed.
    Faulted,
}

/// Why an instance is to be ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// It failed so many requests in a row.
    InARow {
        /// How.
        failure: Failure,
        /// How many.
        count: u32,
    },
    /// It failed too large a share of its requests.
    Share {
        /// How many failed.
        failed: u64,
        /// Of how many.
        all: u64,
        /// In which time.
        within: Duration,
    },
    /// It failed the one request that was to show whether it is well again.
    Trial(Failure),
}

/// How the outcomes of one request are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale(Option<Parts>);

impl Scale {
    /// How `settings` have them counted.
    pub fn of(settings: &Outlier) -> Self {
        Self(settings.failure_ratio.map(|_| Parts::of(settings.interval)))
    }
}

/// Counts a success. Writes nothing that would not change, for every request comes through here.
pub fn succeeded(endpoint: &Endpoint, scale: Scale, now: Instant) {
    let tallies = endpoint.tallies();
    if tallies.runs.load(Ordering::Relaxed) != 0 {
        tallies.runs.store(0, Ordering::Relaxed);
    }
    if let Scale(Some(parts)) = scale {
        recent::add(&tallies.recent, parts, false, now);
    }
}

/// Counts a failure.
pub fn failed(endpoint: &Endpoint, failure: Failure, scale: Scale, now: Instant) {
    let tallies = endpoint.tallies();
    let lengthen = |runs| {
        let Runs {
            unanswered,
            faulted,
        } = Runs::unpack(runs);
        let runs = match failure {
            Failure::Unanswered => Runs {
                unanswered: unanswered.saturating_add(1),
                faulted,
            },
            Failure::Faulted => Runs {
                unanswered: 0,
                faulted: faulted.saturating_add(1),
            },
        };
        Some(runs.pack())
    };
    let relaxed = Ordering::Relaxed;
    let _ = tallies.runs.fetch_update(relaxed, relaxed, lengthen);
    if let Scale(Some(parts)) = scale {
        recent::add(&tallies.recent, parts, true, now);
    }
}

/// Why an endpoint is to be ejected, going by what was counted; `None` if there is no reason to.
pub fn grounds(endpoint: &Endpoint, settings: &Outlier, now: Instant) -> Option<Grounds> {
    let tallies = endpoint.tallies();
    let runs = Runs::unpack(tallies.runs.load(Ordering::Relaxed));
    let longest = [
        (Failure::Unanswered, runs.unanswered),
        (Failure::Faulted, runs.faulted),
    ];
    for (failure, count) in longest {
        if count >= settings.consecutive_failures.max(1) {
            return Some(Grounds::InARow { failure, count });
        }
    }
    let ratio = settings.failure_ratio?;
    let counts = recent::sum(&tallies.recent, Parts::of(settings.interval), now);
    let is_enough = counts.all >= u64::from(settings.min_requests);
    let is_too_much = counts.failed > 0 && counts.failed as f64 >= ratio * counts.all as f64;
    (is_enough && is_too_much).then_some(Grounds::Share {
        failed: counts.failed,
        all: counts.all,
        within: settings.interval,
    })
}

/// Forgets what was counted.
pub fn forget(endpoint: &Endpoint) {
    let tallies = endpoint.tallies();
    tallies.runs.store(0, Ordering::Relaxed);
    recent::clear(&tallies.recent);
}

impl fmt::Display for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow { failure, count } => {
                let requests = if *count == 1 { "request" } else { "requests" };
                write!(f, "{count} {failure} {requests} in a row")
            }
            Self::Share {
                failed,
                all,
                within,
            } => {
                let within = format_duration(*within);
                write!(f, "{failed} of {all} requests failed within {within}")
            }
            Self::Trial(Failure::Unanswered) => f.write_str("an unanswered request on trial"),
            Self::Trial(Failure::Faulted) => f.write_str("a failed request on trial"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unanswered => "unanswered",
            Self::Faulted => "failed",
        })
    }
}

/// The cell of the runs, unpacked.
#[derive(Clone, Copy)]
struct Runs {
    unanswered: u32,
    faulted: u32,
}

impl Runs {
    fn unpack(cell: u64) -> Self {
        Self {
            unanswered: (cell >> 32) as u32,
            faulted: cell as u32,
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.unanswered) << 32 | u64::from(self.faulted)
    }
}

#[cfg(test)]
mod tests;
