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
use crate::cluster::load::Report;
use crate::registry::event::Actor;

use super::wire::{Figure, Generation};

/// The optional body of a heartbeat.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    /// Which life of the instance this is; one that is over gets 409.
    #[schema(inline)]
    generation: Option<Generation>,
    /// How busy it is, 1 being all it can do. With `qps` it steers the instance's share of the
    /// requests, once two of its service have reported for ten seconds.
    #[schema(inline)]
    utilization: Option<Figure>,
    /// Requests it serves per second.
    #[schema(inline)]
    qps: Option<Figure>,
    /// Requests among them that fail, per second.
    #[schema(inline)]
    errors: Option<Figure>,
    /// Requests per second it could serve. Stands in for `utilization` or `qps`, or for both.
    #[schema(inline)]
    capacity: Option<Figure>,
}

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beat {
    pub(super) generation: Option<u64>,
    pub(super) load: Report,
}

impl Heartbeat {
    fn beat(&self) -> Beat {
        Beat {
            generation: self.generation.map(|generation| generation.0),
            load: report([self.utilization, self.qps, self.errors, self.capacity]),
        }
    }
}

/// A report of `utilization`, `qps`, `errors` and `capacity`.
pub(super) fn report(figures: [Option<Figure>; 4]) -> Report {
    let [utilization, qps, errors, capacity] = figures.map(|figure| figure.map(|figure| figure.0));
    Report {
        utilization,
        qps,
        errors,
        capacity,
    }
}

impl Beat {
    /// Renews the lease and passes the load on.
    pub(super) fn take(
        &self,
        api: &Api,
        path: &InstancePath,
        actor: &Actor,
    ) -> Result<(), Problem> {
        let (service, id) = (path.service.as_str(), path.id.as_str());
        let now = Instant::now();
        api.registry
            .renew(service, id, self.generation, actor, now)?;
        if !self.load.is_empty() {
            api.clusters.report(service, id, self.load, now);
        }
        Ok(())
    }
}

/// Renews a lease
///
/// A heartbeat, with or without a report of load. 404 tells the instance to register again. A static
/// member has no lease to renew, but may report its load.
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
    let mut beat = match &*body {
        [] => Beat::default(),
        body => read(body)?,
    };
    beat.generation = generation.or(beat.generation);
    beat.take(&api, &path, &actor)?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(body: &[u8]) -> Result<Beat, Problem> {
    let mut faults = Faults::default();
    let heartbeat: Heartbeat = match body::json(body)? {
        Value::Null => Heartbeat::default(),
        body => body::fields(body, &mut faults),
    };
    faults.none_or(heartbeat.beat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_may_name_its_generation_and_load() {
        assert_eq!(read(b"{}"), Ok(Beat::default()));
        assert_eq!(read(b"null"), Ok(Beat::default()));
        let body = br#"{"generation":7,"utilization":0.7,"qps":120,"errors":0.5,"capacity":200}"#;
        let load = Report {
            utilization: Some(0.7),
            qps: Some(120.0),
            errors: Some(0.5),
            capacity: Some(200.0),
        };
        let generation = Some(7);
        assert_eq!(read(body), Ok(Beat { generation, load }));
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
