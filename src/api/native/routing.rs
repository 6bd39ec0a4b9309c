//! The routes in force, and changing where a split sends its requests without a reload.
//!
//! The configured routes are listed in the order in which they are tried; the default ones are not. A
//! route is known by the name that the configuration gives it, and a split that is set here stays,
//! over restarts too, until it is deleted or the configuration's own split of that route changes. An
//! `ETag` stands for a split's sides and weights: with `If-Match`, nobody undoes a step that they have
//! not seen.
//!
//! These calls are about this callboard alone. One that mirrors another registry takes them too, for
//! its routes are its own.

mod change;
mod view;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};
use utoipa::IntoParams;
use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::api::Api;
use crate::api::body;
use crate::api::caller::Caller;
use crate::api::openapi::params::{self, IfNoneMatch};
use crate::api::openapi::replies::{ListProblems, RouteProblems, SplitProblems};
use crate::api::problem::{Faults, Kind, Problem};
use crate::api::query::Query;
use crate::names::InstanceId;
use crate::route::Destination;
use crate::route::splits::{Live, SplitError};

use super::version::tags;
use change::NewSplit;
use view::{RouteView, SplitView};

/// Every configured route
///
/// In the order in which they are tried, with the splits in force. The default routes are not listed.
#[utoipa::path(
    get,
    path = "/routes",
    operation_id = "listRoutes",
    tag = "routes",
    responses(
        (status = 200, description = "As they are now", body = Vec<RouteView<'_>>),
        ListProblems,
    )
)]
pub(super) async fn list(State(api): State<Api>, query: Query) -> Result<Response, Problem> {
    query.finish()?;
    let live = api.splits.snapshot();
    let routes: Vec<_> = live.shown().map(RouteView::from).collect();
    Ok(Json(routes).into_response())
}

/// The split of a route
#[utoipa::path(
    get,
    path = "/routes/{name}/split",
    operation_id = "showSplit",
    tag = "routes",
    params(RoutePath, IfNoneMatch),
    responses(
        (status = 200, description = "As it is now", body = SplitView<'_>,
            headers(("ETag" = String, description = "Stands for the sides and their weights."))),
        (status = 304, description = "The caller has seen this split already"),
        RouteProblems,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    RoutePath(name): RoutePath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query.finish()?;
    reply(&api.splits.snapshot(), &name, &headers)
}

/// Sets the split of a route
///
/// It replaces the one in force from the next request on, and stays until it is deleted or the
/// configuration's own split of the route changes. A request whose part named by `split_on` is the same
/// stays on its side; when one of two sides grows, only requests of the other move.
#[utoipa::path(
    put,
    path = "/routes/{name}/split",
    operation_id = "setSplit",
    tag = "routes",
    params(
        RoutePath,
        ("If-Match" = Option<String>, Header, description = "Change only the split with this `ETag`."),
    ),
    request_body = NewSplit,
    responses(
        (status = 200, description = "It is in force", body = SplitView<'_>,
            headers(("ETag" = String, description = "Stands for the sides and their weights."))),
        SplitProblems,
    )
)]
pub(super) async fn set(
    State(api): State<Api>,
    caller: Caller,
    RoutePath(name): RoutePath,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    caller.administers()?;
    query.finish()?;
    let body = body::json(&body::read(body, body::MAX_BODY).await?)?;
    let split = change::read(body)?;
    let live = change(api, name.clone(), Some(split), headers, caller).await?;
    reply(&live, &name, &HeaderMap::new())
}

/// Goes back to the configuration's split of a route
#[utoipa::path(
    delete,
    path = "/routes/{name}/split",
    operation_id = "resetSplit",
    tag = "routes",
    params(
        RoutePath,
        ("If-Match" = Option<String>, Header, description = "Change only the split with this `ETag`."),
    ),
    responses(
        (status = 204, description = "The configuration's split is in force"),
        SplitProblems,
    )
)]
pub(super) async fn reset(
    State(api): State<Api>,
    caller: Caller,
    RoutePath(name): RoutePath,
    query: Query,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.administers()?;
    query.finish()?;
    change(api, name, None, headers, caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a split, or goes back to the configuration's, on a thread that may wait for the disk.
async fn change(
    api: Api,
    name: String,
    split: Option<Vec<Destination>>,
    headers: HeaderMap,
    who: Caller,
) -> Result<Arc<Live>, Problem> {
    let changing = tokio::task::spawn_blocking(move || {
        let agrees = |seen: &[Destination]| is_expected(&headers, seen);
        match split {
            Some(split) => api.splits.set(&name, split, agrees, &who),
            None => api.splits.reset(&name, agrees, &who),
        }
    });
    match changing.await {
        Ok(changed) => Ok(changed?),
        Err(error) => {
            let detail = format!("the change was cut short: {error} (expected it to finish)");
            Err(Problem::new(Kind::Unavailable, detail))
        }
    }
}

fn reply(live: &Live, name: &str, request: &HeaderMap) -> Result<Response, Problem> {
    let shown = live
        .named(name)
        .ok_or_else(|| SplitError::Unknown(name.to_owned()))?;
    let tag = tag(&shown.route.destinations);
    let seen = tags(request, IF_NONE_MATCH).any(|seen| seen == "*" || seen == tag);
    let mut response = if seen {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(SplitView::from(shown)).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn is_expected(request: &HeaderMap, split: &[Destination]) -> bool {
    let tag = tag(split);
    !request.contains_key(IF_MATCH)
        || tags(request, IF_MATCH).any(|expected| expected == "*" || expected == tag)
}

/// What a split is known by, without quotes.
fn tag(split: &[Destination]) -> String {
    let sides = split.iter().map(|side| format!("{side};"));
    let sides: String = sides.collect();
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(sides.as_bytes()))
}

impl From<SplitError> for Problem {
    fn from(error: SplitError) -> Self {
        let kind = match &error {
            SplitError::Unknown(_) => Kind::UnknownRoute,
            SplitError::Stale(_) => Kind::Stale,
            SplitError::NotKept(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Kind::StorageFull
            }
            SplitError::NotKept(_) => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// The route a path names.
pub(super) struct RoutePath(String);

impl<S: Send + Sync> FromRequestParts<S> for RoutePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => {
                let detail = format!("the path: {} (expected UTF-8)", rejection.body_text());
                Err(Faults::one("", detail).into())
            }
        }
    }
}

impl IntoParams for RoutePath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        // The names of routes are made of the same characters as those of instances.
        vec![params::segment("name", InstanceId::schema())]
    }
}
