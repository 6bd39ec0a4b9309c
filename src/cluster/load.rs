//! What members say of their own load, and the capacity that follows from it.
//!
//! The formula, the periods and the rules for reports that are missing or late are those of gRPC's
//! proposal A58 ("`weighted_round_robin` LB policy", M. Roth, Y. Seung, 2023), fed by heartbeats
//! instead of ORCA reports (A51): a member that serves `qps` requests a second at a `utilization` of
//! 0.5 could serve twice as many, and failures count as work it did not get done:
//!
//! ```text
//! capacity = qps / (utilization + errors / qps × penalty)
//! ```
//!
//! An instance that knows its own `capacity` may report it in place of its utilization
//! (`utilization = qps / capacity`), of its requests (`qps = utilization × capacity`), or alone.
//!
//! Capacities come from what was served so far, so that shares made of them do not swing: a member
//! that gets more requests reports more of both.

use std::time::{Duration, Instant};

/// How long a member must have reported before its capacity counts, so that its first seconds are
/// not taken for all it can do.
const BLACKOUT: Duration = Duration::from_secs(10);
/// How long a report counts.
const EXPIRY: Duration = Duration::from_secs(3 * 60);
/// How much a share of failed requests adds to the utilization.
const PENALTY: f64 = 1.0;
/// The range of capacities that are told apart. Beyond it are slips of the pen.
const CAPACITIES: [f64; 2] = [1e-6, 1e12];

/// What one member said of its load. Every figure is finite and at least 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// How busy it is, 1 being all it can do.
    pub utilization: Option<f64>,
    /// Requests it serves per second.
    pub qps: Option<f64>,
    /// Requests among them that fail, per second.
    pub errors: Option<f64>,
    /// Requests per second it could serve.
    pub capacity: Option<f64>,
}

impl Report {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The requests per second its sender could serve; `None` if that does not follow from it, as
    /// from a member that has nothing to do.
    fn full_capacity(&self) -> Option<f64> {
        let given =
            |figure: Option<f64>| figure.filter(|figure| figure.is_finite() && *figure > 0.0);
        let (qps, utilization) = (given(self.qps), given(self.utilization));
        let (qps, utilization) = match (qps, utilization, given(self.capacity)) {
            (Some(qps), Some(utilization), _) => (qps, utilization),
            (Some(qps), None, Some(capacity)) => (qps, qps / capacity),
            (None, Some(utilization), Some(capacity)) => (utilization * capacity, utilization),
            // It says what it can do, and nothing of what it does.
            (None, None, Some(capacity)) => return Some(bounded(capacity)),
            (_, _, None) => return None,
        };
        let failing = (given(self.errors).unwrap_or(0.0) / qps).min(1.0);
        Some(bounded(qps / (utilization + failing * PENALTY)))
    }
}

fn bounded(capacity: f64) -> f64 {
    let [least, most] = CAPACITIES;
    capacity.max(least).min(most)
}

/// What is known of one member's load.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    last: Option<(Report, Instant)>,
    capacity: Option<f64>,
    /// When the last report came that says how much it can do, and the first of that series.
    updated: Option<Instant>,
    since: Option<Instant>,
}

impl Load {
    /// Takes a report.
    pub(super) fn record(&mut self, report: Report, now: Instant) {
        self.last = Some((report, now));
        if let Some(capacity) = report.full_capacity() {
            self.capacity = Some(capacity);
            self.updated = Some(now);
            self.since.get_or_insert(now);
        }
    }

    /// Its sender starts afresh: what it could do before says nothing of what it can do now.
    pub(super) fn restart(&mut self) {
        self.capacity = None;
        self.since = None;
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= EXPIRY;
        if self.last.is_some_and(|(_, at)| is_old(at)) {
            self.last = None;
        }
        if self.updated.is_some_and(is_old) {
            self.updated = None;
            self.restart();
        }
    }

    /// The requests per second it could serve, if it has reported for long enough.
    pub(super) fn capacity(&self, now: Instant) -> Option<f64> {
        let since = self.since?;
        self.capacity
            .filter(|_| now.saturating_duration_since(since) >= BLACKOUT)
    }

    /// The last report, whatever it is good for.
    pub(super) fn last(&self) -> Option<Report> {
        self.last.map(|(report, _)| report)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(utilization: f64, qps: f64, errors: f64) -> Report {
        Report {
            utilization: Some(utilization),
            qps: Some(qps),
            errors: Some(errors),
            capacity: None,
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn capacity_is_what_was_served_by_how_busy_that_made_it() {
        assert_eq!(report(0.5, 100.0, 0.0).full_capacity(), Some(200.0));
        assert_eq!(report(0.5, 100.0, 50.0).full_capacity(), Some(100.0));
        assert_eq!(report(0.75, 100.0, 25.0).full_capacity(), Some(100.0));
    }

    #[test]
    fn without_utilization_or_requests_nothing_follows() {
        assert_eq!(report(0.0, 100.0, 50.0).full_capacity(), None);
        assert_eq!(report(0.5, 0.0, 0.0).full_capacity(), None);
        assert_eq!(Report::default().full_capacity(), None);
    }

    #[test]
    fn a_reported_capacity_stands_in_for_what_is_missing() {
        let with = |utilization, qps, errors| Report {
            utilization,
            qps,
            errors,
            capacity: Some(200.0),
        };
        for (utilization, qps) in [
            (None, None),
            (None, Some(50.0)),
            (Some(0.25), None),
            (Some(0.0), Some(50.0)),
        ] {
            assert_eq!(with(utilization, qps, None).full_capacity(), Some(200.0));
        }
        let failing = with(None, Some(50.0), Some(12.5));
        assert_eq!(failing.full_capacity(), Some(100.0));
        let measured = with(Some(0.5), Some(50.0), None);
        assert_eq!(
            measured.full_capacity(),
            Some(100.0),
            "measured comes first"
        );
    }

    #[test]
    fn a_capacity_counts_after_the_blackout_and_until_it_expires() {
        let (mut load, start) = (Load::default(), Instant::now());
        load.record(report(0.5, 100.0, 0.0), start);
        assert_eq!(load.capacity(after(start, 9)), None);
        load.record(report(0.5, 150.0, 0.0), after(start, 9));
        assert_eq!(load.capacity(after(start, 10)), Some(300.0));
        load.expire(after(start, 188));
        assert_eq!(load.capacity(after(start, 188)), Some(300.0));
        load.expire(after(start, 189));
        assert_eq!(load.capacity(after(start, 189)), None);
        assert_eq!(load.last(), None);

        load.record(report(0.5, 100.0, 0.0), after(start, 200));
        assert_eq!(load.capacity(after(start, 209)), None, "blacked out again");
        assert_eq!(load.capacity(after(start, 210)), Some(200.0));
    }

    #[test]
    fn a_report_that_says_nothing_leaves_what_is_known() {
        let (mut load, start) = (Load::default(), Instant::now());
        load.record(report(0.5, 100.0, 0.0), start);
        load.record(report(0.0, 0.0, 0.0), after(start, 10));
        assert_eq!(load.capacity(after(start, 10)), Some(200.0));
        assert_eq!(load.last(), Some(report(0.0, 0.0, 0.0)));
        load.expire(after(start, 180));
        assert_eq!(load.capacity(after(start, 180)), None);
        assert!(load.last().is_some());
    }

    #[test]
    fn whoever_comes_back_is_blacked_out_again() {
        let (mut load, start) = (Load::default(), Instant::now());
        load.record(report(0.5, 100.0, 0.0), start);
        load.restart();
        assert_eq!(load.capacity(after(start, 60)), None);
        load.record(report(0.5, 40.0, 0.0), after(start, 60));
        assert_eq!(load.capacity(after(start, 70)), Some(80.0));
    }

    proptest! {
        #[test]
        fn every_capacity_is_a_number_to_count_with(
            utilization in prop::option::of(figure()),
            qps in prop::option::of(figure()),
            errors in prop::option::of(figure()),
            capacity in prop::option::of(figure()),
        ) {
            let report = Report { utilization, qps, errors, capacity };
            if let Some(capacity) = report.full_capacity() {
                prop_assert!((CAPACITIES[0]..=CAPACITIES[1]).contains(&capacity));
            }
        }
    }

    fn figure() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), Just(f64::MAX), Just(f64::MIN_POSITIVE), 0.0..1e6,]
    }
}
