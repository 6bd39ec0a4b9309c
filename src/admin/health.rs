//! `/healthz` (the process is alive) and `/readyz` (it is serving).
//!
//! They are two questions because the answers have two consequences: a process that is not alive is
//! restarted, one that is not ready gets no traffic. A process that is leaving says so on `/readyz`
//! first and stops listening later, so that whoever is in front of it has time to notice.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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

/// `GET /healthz` and `GET /readyz`, without a fallback.
pub fn routes(readiness: watch::Receiver<Readiness>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .with_state(readiness)
}

/// Whether callboard serves, and why not.
#[derive(Serialize, ToSchema)]
#[schema(as = Readiness)]
struct Answer {
    /// Whether to send it requests.
    ready: bool,
    /// Why not, for people.
    reasons: Vec<&'static str>,
}

/// Is the process alive?
///
/// A process that does not answer should be restarted.
#[utoipa::path(
    get, path = "/healthz", operation_id = "isAlive", tag = "callboard", security(()),
    responses((status = 200, description = "It is", body = String))
)]
async fn healthz() -> &'static str {
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
async fn readyz(State(readiness): State<watch::Receiver<Readiness>>) -> (StatusCode, Json<Answer>) {
    let reasons = match *readiness.borrow() {
        Readiness::Starting => vec!["callboard is starting: not every listener is up yet"],
        Readiness::Serving => Vec::new(),
        Readiness::Leaving => vec!["callboard is leaving: it finishes what it has"],
    };
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Answer { ready, reasons }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_serving_process_is_ready() {
        let (stage, readiness) = watch::channel(Readiness::default());
        for (now, status) in [
            (Readiness::Starting, 503),
            (Readiness::Serving, 200),
            (Readiness::Leaving, 503),
        ] {
            stage.send_replace(now);
            let (answered, Json(answer)) = readyz(State(readiness.clone())).await;
            assert_eq!(answered, status);
            assert_eq!(answer.ready, answer.reasons.is_empty());
        }
    }
}
