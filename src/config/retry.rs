//! What is done about failed requests: trying again, and ejecting who fails them.

use super::raw;
use super::report::{Path, Report};
use super::scalar::Cause;
use super::shape::Several;
use super::variants::Hedge as RawHedge;
use crate::cluster::policy::{Hedge, Retry, RetryOn};
use crate::health::outlier::Outlier;
use crate::units::format_duration;

/// No retries at all, not even of requests that were not sent.
pub(super) fn off(base: &Retry) -> Retry {
    Retry {
        attempts: 0,
        on: RetryOn {
            connect: false,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
        },
        hedge: None,
        ..base.clone()
    }
}

/// `base` with what `raw` names in its place.
pub(super) fn retry_over(
    base: &Retry,
    raw: &raw::RetrySettings,
    path: &Path,
    report: &mut Report,
) -> Retry {
    Retry {
        attempts: raw.attempts.as_ref().map_or(base.attempts, |raw| raw.0),
        budget: raw.budget.as_ref().map_or(base.budget, |raw| raw.0),
        budget_min: raw.budget_min.as_ref().map_or(base.budget_min, |raw| raw.0),
        on: (raw.on.as_ref()).map_or_else(|| base.on.clone(), causes),
        buffer: raw.buffer.as_ref().map_or(base.buffer, |raw| raw.0),
        hedge: match &raw.hedge {
            None => base.hedge,
            Some(RawHedge::Off) => None,
            Some(RawHedge::Settings(raw)) => match &raw.after {
                Some(after) => Some(after.0),
                None => {
                    let path = path.key("hedge");
                    if report.whole(&path) {
                        report.error(&path, "has no time (expected for example after: p95)");
                    }
                    None::<Hedge>
                }
            },
        },
    }
}

fn causes(Several(raw): &Several<super::scalar::RetryCause>) -> RetryOn {
    let mut on = RetryOn {
        connect: false,
        reset: false,
        timeout: false,
        statuses: Vec::new(),
    };
    for cause in raw {
        match &cause.0 {
            Cause::Connect => on.connect = true,
            Cause::Reset => on.reset = true,
            Cause::Timeout => on.timeout = true,
            Cause::Statuses(range) => on.statuses.push(range.clone()),
        }
    }
    on
}

/// `base` with what `raw` names in its place.
pub(super) fn outlier_over(
    base: Outlier,
    raw: &raw::OutlierSettings,
    path: &Path,
    report: &mut Report,
) -> Outlier {
    let outlier = Outlier {
        consecutive_failures: (raw.consecutive_failures.as_ref())
            .map_or(base.consecutive_failures, |raw| raw.0),
        failure_ratio: (raw.failure_ratio.as_ref()).map_or(base.failure_ratio, |raw| raw.0),
        min_requests: raw
            .min_requests
            .as_ref()
            .map_or(base.min_requests, |raw| raw.0),
        interval: raw.interval.as_ref().map_or(base.interval, |raw| raw.0),
        base_ejection: (raw.base_ejection.as_ref()).map_or(base.base_ejection, |raw| raw.0),
        max_ejection: raw
            .max_ejection
            .as_ref()
            .map_or(base.max_ejection, |raw| raw.0),
        max_ejected: raw
            .max_ejected
            .as_ref()
            .map_or(base.max_ejected, |raw| raw.0),
    };
    if outlier.base_ejection > outlier.max_ejection && report.whole(path) {
        let message = format!(
            "base_ejection {} is longer than max_ejection {} (expected at most as long)",
            format_duration(outlier.base_ejection),
            format_duration(outlier.max_ejection)
        );
        report.error(path, message);
    }
    outlier
}
