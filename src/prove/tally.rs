//! The account of one scenario's requests: how many of which kind, how long they took, and every
//! one that failed.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// How many failures are kept in full. All of them are counted.
const KEPT: usize = 1_000;

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A GET on a connection kept from earlier ones.
    Get,
    /// A GET on a connection of its own.
    GetNew,
    /// A POST on a connection kept from earlier ones.
    Post,
    /// A POST on a connection of its own.
    PostNew,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Get, Self::GetNew, Self::Post, Self::PostNew];

    /// Whether it may be sent twice.
    pub fn is_repeatable(self) -> bool {
        matches!(self, Self::Get | Self::GetNew)
    }

    /// Whether its connection is kept for the next one.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Get | Self::Post)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::GetNew => "GET (new connection)",
            Self::Post => "POST",
            Self::PostNew => "POST (new connection)",
        })
    }
}

/// One request that did not get its right answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When, in milliseconds since the scenario began.
    pub at_ms: u64,
    /// What kind of request.
    pub kind: Kind,
    /// Which one.
    pub tag: u64,
    /// What the client saw: a status with its `Proxy-Status`, or how the connection broke.
    pub saw: String,
    /// What the scenario was doing.
    pub phase: String,
    /// Why the guarantee allows it, if it does.
    pub explained: Option<String>,
}

/// The account.
#[derive(Clone, Debug)]
pub struct Tally {
    sent: [u64; Kind::ALL.len()],
    failures: Vec<Failure>,
    untold: u64,
    closed: u64,
    slowest_get: Duration,
    /// Microseconds.
    latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: [0; Kind::ALL.len()],
            failures: Vec::new(),
            untold: 0,
            closed: 0,
            slowest_get: Duration::ZERO,
            latency: latencies(),
        }
    }
}

impl Tally {
    /// Notes a right answer and how long it took.
    pub fn answered(&mut self, kind: Kind, took: Duration) {
        self.sent[kind as usize] += 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
        if kind.is_repeatable() {
            self.slowest_get = self.slowest_get.max(took);
        }
    }

    /// Notes a failure.
    pub fn failed(&mut self, failure: Failure) {
        self.sent[failure.kind as usize] += 1;
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        } else {
            self.untold += 1;
        }
    }

    /// Notes that a kept connection was closed on its client, between requests or with an answer.
    pub fn closed(&mut self) {
        self.closed += 1;
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in self.sent.iter_mut().zip(other.sent) {
            *sum += more;
        }
        let room = KEPT.saturating_sub(self.failures.len());
        self.untold += other.untold + other.failures.len().saturating_sub(room) as u64;
        self.failures.extend(other.failures.into_iter().take(room));
        self.failures.sort_by_key(|failure| failure.at_ms);
        self.closed += other.closed;
        self.slowest_get = self.slowest_get.max(other.slowest_get);
        self.latency += &other.latency;
    }

    /// Lets `explain` say of each failure why it is allowed, if it is.
    pub fn explain(&mut self, explain: impl Fn(&Failure) -> Option<String>) {
        for failure in &mut self.failures {
            failure.explained = explain(failure);
        }
    }

    /// How many requests of a kind there were.
    pub fn sent(&self, kind: Kind) -> u64 {
        self.sent[kind as usize]
    }

    /// How many failed, for whatever reason.
    pub fn failures(&self) -> u64 {
        self.failures.len() as u64 + self.untold
    }

    /// How many of those are explained.
    pub fn explained(&self) -> u64 {
        self.allowed().count() as u64
    }

    /// Those that are, as far as they are kept in full.
    pub fn allowed(&self) -> impl Iterator<Item = &Failure> {
        let explained = |failure: &&Failure| failure.explained.is_some();
        self.failures.iter().filter(explained)
    }

    /// Those that are not, as far as they are kept in full.
    pub fn unexplained(&self) -> impl Iterator<Item = &Failure> {
        let unexplained = |failure: &&Failure| failure.explained.is_none();
        self.failures.iter().filter(unexplained)
    }

    /// How many kept connections were closed on their clients.
    pub fn closed_connections(&self) -> u64 {
        self.closed
    }

    /// The longest that a GET took to be answered.
    pub fn slowest_get(&self) -> Duration {
        self.slowest_get
    }

    /// The time in which 99 of 100 requests were answered.
    pub fn p99(&self) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(0.99))
    }
}

/// Up to a minute, to three digits.
#[allow(
    clippy::expect_used,
    reason = "the bounds are constants that the constructor accepts"
)]
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(at_ms: u64, kind: Kind) -> Failure {
        Failure {
            at_ms,
            kind,
            tag: at_ms,
            saw: "502".to_owned(),
            phase: "killed web-1".to_owned(),
            explained: None,
        }
    }

    #[test]
    fn what_failed_is_counted_as_sent_and_as_failed() {
        let mut tally = Tally::default();
        tally.answered(Kind::Get, Duration::from_millis(1));
        tally.failed(failure(1, Kind::Get));
        assert_eq!((tally.sent(Kind::Get), tally.failures()), (2, 1));
        assert_eq!(tally.sent(Kind::Post), 0);
    }

    #[test]
    fn only_what_was_explained_is_excused() {
        let mut tally = Tally::default();
        tally.failed(failure(1, Kind::Get));
        tally.failed(failure(2, Kind::Post));
        tally.explain(|failure| (!failure.kind.is_repeatable()).then(|| "sent".to_owned()));
        assert_eq!((tally.failures(), tally.explained()), (2, 1));
        let left: Vec<_> = tally.unexplained().map(|failure| failure.tag).collect();
        assert_eq!(left, [1]);
    }

    #[test]
    fn a_flood_of_failures_is_counted_in_bounded_memory_and_never_excused() {
        let mut tally = Tally::default();
        for at in 0..KEPT as u64 + 5 {
            tally.failed(failure(at, Kind::Post));
        }
        let mut sum = Tally::default();
        sum.failed(failure(0, Kind::Post));
        sum.add(tally);
        sum.explain(|_| Some("all".to_owned()));
        assert_eq!(sum.failures(), KEPT as u64 + 6);
        assert_eq!(sum.explained(), KEPT as u64);
        assert_eq!(sum.sent(Kind::Post), KEPT as u64 + 6);
    }

    #[test]
    fn a_sum_is_in_order_of_time_and_holds_every_latency() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        one.failed(failure(5, Kind::Get));
        other.failed(failure(3, Kind::Get));
        other.closed();
        for _ in 0..100 {
            other.answered(Kind::GetNew, Duration::from_millis(20));
        }
        one.add(other);
        let order: Vec<_> = one.unexplained().map(|failure| failure.at_ms).collect();
        assert_eq!(order, [3, 5]);
        assert_eq!(one.closed_connections(), 1);
        assert!(one.p99() >= Duration::from_millis(20));
        assert_eq!(one.slowest_get(), Duration::from_millis(20));
    }
}
