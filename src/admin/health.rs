//! `/healthz` (the process is alive) and `/readyz` (it is serving).
//!
//! They are two questions because the answers have two consequences: a process that is not alive is
//! restarted, one that is not ready gets no traffic. A process that is leaving says so on `/readyz`
//! first and stops listening later, so that whoever is in front of it has time to notice.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pull::status::Report;
use crate::units::DurationText;

use super::Sources;

/// How far the process is in its life. Whoever drives it holds the other end of the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// Not every listener is up yet.
    #[default]
    Starting,
    /// Takes requests.
    Serving,
    /// Finishes what it has and takes nothing new before long.
    Leaving,
}

/// Whether callboard serves, and why not.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
pub(super) struct Answer {
    /// Whether to send it requests.
    ready: bool,
    /// Why not, for people.
    reasons: Vec<String>,
    /// How following another callboard's registry goes, if that is where the membership comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pull: Option<PullAnswer>,
}

/// How following another registry goes.
#[derive(Serialize, ToSchema)]
#[schema(as = Pull)]
struct PullAnswer {
    /// The registry followed, or tried.
    from: String,
    /// Whether it is heard of now.
    connected: bool,
    /// The index up to which the membership is known.
    #[schema(required)]
    index: Option<u64>,
    /// For how long nothing was heard of it.
    #[schema(required, value_type = Option<String>)]
    stale_for: Option<DurationText>,
    /// What went wrong last.
    #[schema(required)]
    last_error: Option<String>,
}

/// Is the process alive?
///
/// A process that does not answer should be restarted.
#[utoipa::path(
    get, path = "/healthz", operation_id = "isAlive", tag = "callboard", security(()),
    responses((status = 200, description = "It is", body = String))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Is it serving?
///
/// A process that is starting or leaving should get no requests.
#[utoipa::path(
    get, path = "/readyz", operation_id = "isReady", tag = "callboard", security(()),
    responses(
        (status = 200, description = "It is", body = Answer),
        (status = 503, description = "It is not, or not any more", body = Answer),
    )
)]
pub(super) async fn readyz(State(sources): State<Sources>) -> (StatusCode, Json<Answer>) {
    let readiness = *sources.readiness.borrow();
    let report = sources.pull.map(|pull| pull.report(Instant::now()));
    let answer = answer(readiness, report);
    let status = if answer.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(answer))
}

fn answer(readiness: Readiness, report: Option<Report>) -> Answer {
    let mut reasons = Vec::new();
    match readiness {
        Readiness::Starting => {
            reasons.push("callboard is starting: not every listener is up yet".to_owned());
        }
        Readiness::Serving => {}
        Readiness::Leaving => {
            reasons.push("callboard is leaving: it finishes what it has".to_owned());
        }
    }
    // One that was of use and is cut off now still is: what it knows may be stale, and is better
    // than no answer.
    if let Some(report) = report.as_ref().filter(|report| !report.usable) {
        let error = report.last_error.as_deref().unwrap_or("none");
        reasons.push(format!(
            "no membership was mirrored yet from {} (last error: {error})",
            report.from
        ));
    }
    Answer {
        ready: reasons.is_empty(),
        reasons,
        pull: report.map(PullAnswer::from),
    }
}

impl From<Report> for PullAnswer {
    fn from(report: Report) -> Self {
        // More digits tell people nothing.
        let tenths = |time: Duration| Duration::from_millis(time.as_millis() as u64 / 100 * 100);
        Self {
            from: report.from.to_string(),
            connected: report.connected,
            index: report.index,
            stale_for: report.stale_for.map(|time| DurationText(tenths(time))),
            last_error: report.last_error,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(usable: bool) -> Report {
        Report {
            from: "http://a:8500".parse().unwrap(),
            connected: false,
            usable,
            index: usable.then_some(7),
            stale_for: Some(Duration::from_millis(12_345)),
            last_error: Some("closed the stream".to_owned()),
        }
    }

    #[test]
    fn only_a_serving_process_is_ready() {
        for (now, ready) in [
            (Readiness::Starting, false),
            (Readiness::Serving, true),
            (Readiness::Leaving, false),
        ] {
            let answer = answer(now, None);
            assert_eq!((answer.ready, answer.reasons.is_empty()), (ready, ready));
        }
    }

    #[test]
    fn one_that_follows_is_ready_once_it_has_a_membership_to_go_by() {
        let answer = |usable| answer(Readiness::Serving, Some(report(usable)));
        assert!(answer(true).ready);
        assert_eq!(
            answer(false).reasons,
            ["no membership was mirrored yet from http://a:8500 (last error: closed the stream)"]
        );
    }

    #[test]
    fn the_answer_tells_how_following_goes() {
        let answer = answer(Readiness::Serving, Some(report(true)));
        let pull = json!({"from": "http://a:8500", "connected": false, "index": 7,
            "stale_for": "12.3s", "last_error": "closed the stream"});
        let expected = json!({"ready": true, "reasons": [], "pull": pull});
        assert_eq!(serde_json::to_value(answer).unwrap(), expected);
    }
}
