//! Signing in, and looking at one instance.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::body;
use crate::api::caller::{InstancePath, Registrant};
use crate::api::openapi::params::IfNoneMatch;
use crate::api::openapi::replies::{InstanceProblems, Registered, RegistrationProblems, Shown};
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::cluster::status::Status;
use crate::health::availability::Availability;
use crate::registry::command::Command;
use crate::units::DurationText;

use super::registration::{self, Defaults, Registration};
use super::version::Version;
use super::view::{InstanceView, Views};

/// How long a registration waits for its first probe to pass, unless it says.
const DEFAULT_ADMISSION_WAIT: Duration = Duration::from_secs(1);
/// How long it may wait at most.
const MAX_ADMISSION_WAIT: Duration = Duration::from_secs(30);

/// Registers an instance, or replaces what is registered
///
/// An answer of 200 or 201 means that it gets traffic. One that has to pass a probe first is waited
/// for, and answered with 202 if it still fails at the end of the wait.
#[utoipa::path(
    put,
    path = "/services/{service}/instances/{id}",
    operation_id = "registerInstance",
    tag = "instances",
    params(
        InstancePath,
        ("wait" = Option<DurationText>, Query,
            description = "How long to wait for the first probe to pass: 1s unless given, at most \
                30s."),
    ),
    request_body = Registration,
    responses(Registered<InstanceView<'_>>, RegistrationProblems)
)]
pub(super) async fn register(
    State(api): State<Api>,
    caller: Registrant,
    mut query: Query,
    body: Body,
) -> Result<Response, Problem> {
    let wait = query.duration("wait").unwrap_or(DEFAULT_ADMISSION_WAIT);
    query.finish()?;
    let body = body::json(&body::read(body, body::MAX_BODY).await?)?;
    let path = caller.path;
    let defaults = Defaults {
        address: caller.address,
        ttl: api.registry.rules().ttl,
    };
    let instance = registration::read_at(&path, body, defaults)?;

    let command = Command::Register(instance);
    let applied = api.registry.submit(command, caller.actor).await?;
    let Some(status) = admission(&api, &path, wait.min(MAX_ADMISSION_WAIT)).await else {
        let detail = format!(
            "service {:?} instance {:?} was registered, and removed again while it waited for its \
             first probe (expected it to stay)",
            path.service, path.id
        );
        return Err(Problem::new(Kind::UnknownInstance, detail));
    };
    let code = registered(status.availability, applied.created);
    let view = Views::new(&api)
        .instance_with(&applied.member, status)
        .for_holder();
    let mut response = (code, Json(view)).into_response();
    Version::of_member(&applied.member).stamp(&mut response);
    Ok(response)
}

/// One instance
#[utoipa::path(
    get,
    path = "/services/{service}/instances/{id}",
    operation_id = "showInstance",
    tag = "services",
    params(InstancePath, IfNoneMatch),
    responses(Shown<InstanceView<'_>>, InstanceProblems)
)]
pub(super) async fn show(
    State(api): State<Api>,
    path: InstancePath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query.finish()?;
    let snapshot = api.registry.snapshot();
    let member = snapshot
        .member(path.service.as_str(), path.id.as_str())
        .ok_or_else(|| path.unknown())?;
    let view = Views::new(&api).instance(member);
    Ok(Version::of_member(member).reply(&headers, view))
}

/// The status of an accepted registration.
pub(super) fn registered(availability: Availability, created: bool) -> StatusCode {
    match (availability, created) {
        (Availability::Starting | Availability::Unhealthy | Availability::Ejected, _) => {
            StatusCode::ACCEPTED
        }
        (_, true) => StatusCode::CREATED,
        (_, false) => StatusCode::OK,
    }
}

/// Waits for the first probe's verdict. Nothing that is believed unprobed has to wait.
async fn admission(api: &Api, path: &InstancePath, wait: Duration) -> Option<Status> {
    let (service, id) = (path.service.as_str(), path.id.as_str());
    tokio::select! {
        status = api.clusters.settled(service, id, wait) => status,
        () = api.closed() => api.clusters.status(service, id),
    }
}
