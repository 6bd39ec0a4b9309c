//! Keeps a callboard that mirrors another registry from being told otherwise. What signed in here
//! would be gone with the next comparison of the two; so it is told where to go instead.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem};

/// What is not mirrored, and so this callboard's to change: where it sends requests.
const ROUTES: &str = "/api/v1/routes/";
/// Asks what a configuration would change, which changes nothing.
const PLAN: &str = "/api/v1/plan";

/// Passes a request on unless it may change something and this callboard mirrors other registries.
pub(super) async fn no_changes(
    State(mirrored_from): State<Option<Arc<[Arc<str>]>>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    match mirrored_from {
        Some(origins) if !reads && !is_own(request.uri().path()) => {
            refusal(request.method(), &origins).into_response()
        }
        _ => next.run(request).await,
    }
}

fn is_own(path: &str) -> bool {
    path == PLAN || path.starts_with(ROUTES)
}

fn refusal(method: &Method, origins: &[Arc<str>]) -> Problem {
    let detail = format!(
        "this callboard mirrors another registry and takes no {method} (expected it to go to {})",
        origins.join(" or ")
    );
    Problem::new(Kind::ReadOnly, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_and_plans_are_not_mirrored() {
        for path in ["/api/v1/plan", "/api/v1/routes/shop/split"] {
            assert!(is_own(path), "{path}");
        }
        for path in [
            "/api/v1/plans",
            "/api/v1/plan/",
            "/api/v1/routes",
            "/api/v1/services/plan",
        ] {
            assert!(!is_own(path), "{path}");
        }
    }

    #[test]
    fn the_refusal_says_where_to_go() {
        let origins = ["http://a:8500".into(), "http://b:8500".into()];
        let json = serde_json::to_value(refusal(&Method::PUT, &origins)).unwrap();
        assert_eq!(json["type"], "urn:callboard:problem:read-only");
        assert_eq!(json["status"], 409);
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.ends_with("(expected it to go to http://a:8500 or http://b:8500)"));
    }
}
