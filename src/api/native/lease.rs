//! Heartbeats.

use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::body;
use crate::api::caller::{InstancePath, Registrant};
use crate::api::openapi::replies::LeaseProblems;
use crate::api::problem::{Faults, Problem};
use crate::api::query::Query;

use super::wire::{Figure, Generation};

/// The optional body of a heartbeat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    /// Which life of the instance this is; one that is over gets 409.
    #[schema(inline)]
    generation: Option<Generation>,
    /// How busy it is, 1 being all it can do.
    #[serde(rename = "utilization")]
    #[schema(inline)]
    _utilization: Option<Figure>,
    /// Requests per second.
    #[serde(rename = "qps")]
    #[schema(inline)]
    _qps: Option<Figure>,
    /// Failed requests per second.
    #[serde(rename = "errors")]
    #[schema(inline)]
    _errors: Option<Figure>,
    /// Requests per second it could serve.
    #[serde(rename = "capacity")]
    #[schema(inline)]
    _capacity: Option<Figure>,
}

/// Renews a lease
///
/// A heartbeat. 404 tells the instance to register again. A static member has no lease, and its
/// heartbeat changes nothing.
#[utoipa::path(
    put,
    path = "/services/{service}/instances/{id}/lease",
    operation_id = "renewLease",
    tag = "instances",
    params(
        InstancePath,
        ("generation" = inline(Option<Generation>), Query,
            description = "As in the body, before which it counts."),
    ),
    request_body = Option<Heartbeat>,
    responses((status = 204, description = "It is renewed"), LeaseProblems)
)]
pub(super) async fn renew(
    State(api): State<Api>,
    Registrant { path, actor, .. }: Registrant,
    mut query: Query,
    body: Body,
) -> Result<StatusCode, Problem> {
    let generation = query.number("generation");
    query.finish()?;
    let body = body::read(body, body::MAX_BODY).await?;
    let generation = match &*body {
        [] => generation,
        body => generation.or(read(body)?),
    };
    let (service, id) = (path.service.as_str(), path.id.as_str());
    api.registry
        .renew(service, id, generation, &actor, Instant::now())?;
    Ok(StatusCode::NO_CONTENT)
}

/// The generation a heartbeat names.
fn read(body: &[u8]) -> Result<Option<u64>, Problem> {
    let mut faults = Faults::default();
    let heartbeat: Heartbeat = match body::json(body)? {
        Value::Null => Heartbeat::default(),
        body => body::fields(body, &mut faults),
    };
    faults.none_or(heartbeat.generation.map(|generation| generation.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_may_name_its_generation_and_load() {
        assert_eq!(read(b"{}"), Ok(None));
        assert_eq!(read(b"null"), Ok(None));
        let body = br#"{"generation":7,"utilization":0.7,"qps":120,"errors":0.5,"capacity":200}"#;
        assert_eq!(read(body), Ok(Some(7)));
    }

    #[test]
    fn wrong_figures_are_named() {
        for (body, field) in [
            (r#"{"utilization":-1}"#, "utilization"),
            (r#"{"qps":"many"}"#, "qps"),
            (r#"{"errors":[]}"#, "errors"),
            (r#"{"generation":1.5}"#, "generation"),
            (r#"{"load":1}"#, "load"),
        ] {
            let problem = read(body.as_bytes()).unwrap_err();
            assert_eq!(problem.errors()[0].field, field, "{body}");
        }
    }
}
