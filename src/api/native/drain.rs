//! Leaving: at once, or without a failed request.
//!
//! A drain that ends in a sign-out is finished whether or not its caller stays to hear of it: an
//! instance that hung up early still wanted to leave. It never removes anyone but the life it was
//! asked for: an instance that registers again (or is told to resume) in the meantime stays.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::Api;
use crate::api::caller::{InstancePath, Registrant};
use crate::api::openapi::params;
use crate::api::openapi::replies::{DrainProblems, LeavingProblems};
use crate::api::openapi::schemas;
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::cluster::status::Status;
use crate::registry::command::{Applied, Command, Refusal};
use crate::registry::event::Actor;
use crate::registry::snapshot::Member;
use crate::units::parse_duration;

use super::view::{InstanceView, Views};
use super::wire::Generation;

/// The longest a sign-out waits for requests in flight.
const MAX_DRAIN: Duration = Duration::from_secs(60 * 60);
/// How long before the end of a drain WebSockets and the like are told to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Starts a drain
///
/// The instance gets no new requests from here on, and finishes those it has; `in_flight` shows how
/// many.
#[utoipa::path(
    put,
    path = "/services/{service}/instances/{id}/drain",
    operation_id = "startDrain",
    tag = "instances",
    params(InstancePath, Life),
    responses(
        (status = 202, description = "It drains", body = InstanceView<'_>),
        DrainProblems,
    )
)]
pub(super) async fn start(
    State(api): State<Api>,
    caller: Registrant,
    mut query: Query,
) -> Result<Response, Problem> {
    let generation = query.number("generation");
    query.finish()?;
    let applied = set_draining(&api, &caller.path, true, generation, caller.actor).await?;
    let view = Views::new(&api).instance(&applied.member);
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// Ends a drain
///
/// The instance gets requests again.
#[utoipa::path(
    delete,
    path = "/services/{service}/instances/{id}/drain",
    operation_id = "stopDrain",
    tag = "instances",
    params(InstancePath, Life),
    responses((status = 204, description = "It does not drain"), DrainProblems)
)]
pub(super) async fn stop(
    State(api): State<Api>,
    caller: Registrant,
    mut query: Query,
) -> Result<StatusCode, Problem> {
    let generation = query.number("generation");
    query.finish()?;
    set_draining(&api, &caller.path, false, generation, caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Signs an instance out
///
/// At once, or with `drain` when nothing is in flight any more or the time is up.
#[utoipa::path(
    delete,
    path = "/services/{service}/instances/{id}",
    operation_id = "deregisterInstance",
    tag = "instances",
    params(InstancePath, Leaving),
    responses(
        (status = 204, description = "It is signed out"),
        (status = 200, description = "It is signed out after a drain", body = Farewell),
        LeavingProblems,
    )
)]
pub(super) async fn deregister(
    State(api): State<Api>,
    caller: Registrant,
    mut query: Query,
) -> Result<Response, Problem> {
    let drain = query.text("drain").and_then(|text| match text.as_str() {
        "" => Some(
            api.clusters
                .policies()
                .of(caller.path.service.as_str())
                .drain,
        ),
        text => query.noted("drain", parse_duration(text)),
    });
    let generation = query.number("generation");
    query.finish()?;
    let leaving = Leaving {
        api,
        path: caller.path,
        generation,
        actor: caller.actor,
    };
    let Some(drain) = drain else {
        leaving.sign_out().await?;
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let farewell = tokio::spawn(leaving.drain_and_sign_out(drain.min(MAX_DRAIN)));
    match farewell.await {
        Ok(farewell) => Ok(Json(farewell?).into_response()),
        Err(error) => {
            let detail = format!("the drain was cut short: {error} (expected it to finish)");
            Err(Problem::new(Kind::Unavailable, detail))
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct Farewell {
    /// Requests the instance finished while it was registered.
    served: u64,
    /// Requests it had in hand when it was signed out.
    in_flight: u32,
    /// Those of them that were not waited for.
    aborted: u32,
}

/// One instance on its way out.
struct Leaving {
    api: Api,
    path: InstancePath,
    generation: Option<u64>,
    actor: Actor,
}

/// Which life of an instance a call is about.
struct Life;

impl IntoParams for Life {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![params::query(
            "generation",
            Generation::schema(),
            "Which life of the instance is meant; if a later one is registered: 409.",
        )]
    }
}

impl IntoParams for Leaving {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let mut all = Life::into_params(place);
        all.push(params::query(
            "drain",
            schemas::text(
                schemas::DURATION_OR_NOTHING,
                "A duration, or nothing.",
                "30s",
            ),
            "How long to wait for requests in flight, at most 1h. Given without a value it is \
                 the time from the service's policy.",
        ));
        all
    }
}

impl Leaving {
    async fn drain_and_sign_out(self, wait: Duration) -> Result<Farewell, Problem> {
        let actor = self.actor.clone();
        set_draining(&self.api, &self.path, true, self.generation, actor).await?;
        let (service, id) = (self.path.service.as_str(), self.path.id.as_str());
        // What would never end by itself is ended early enough to be over by then.
        let parting = Instant::now() + wait - (wait / 10).min(FAREWELL);
        self.api.clusters.part(service, id, parting);
        let status = tokio::select! {
            // Of one that is gone, the first knows how it was last.
            biased;
            status = self.api.clusters.idle(service, id, wait) => status,
            () = self.resumed() => None,
            () = self.keep_lease() => None,
        };
        let status = status.or_else(|| self.api.clusters.status(service, id));
        match self.finish().await {
            // Gone by another hand is gone.
            Ok(()) | Err(Refusal::NotFound { .. }) => {}
            Err(refusal) => return Err(refusal.into()),
        }
        Ok(status.map(Farewell::from).unwrap_or_default())
    }

    async fn sign_out(&self) -> Result<(), Refusal> {
        self.submit(Command::Deregister {
            service: self.path.service.clone(),
            id: self.path.id.clone(),
            generation: self.generation,
        })
        .await
    }

    /// Whether it still drains is for the registry to say: an instance may come back at any moment
    /// until it is signed out.
    async fn finish(&self) -> Result<(), Refusal> {
        self.submit(Command::FinishDrain {
            service: self.path.service.clone(),
            id: self.path.id.clone(),
            generation: self.generation,
        })
        .await
    }

    async fn submit(&self, command: Command) -> Result<(), Refusal> {
        let registry = &self.api.registry;
        registry.submit(command, self.actor.clone()).await?;
        Ok(())
    }

    /// The instance as it is now, `None` if it is gone.
    fn member(&self) -> Option<Arc<Member>> {
        let snapshot = self.api.registry.snapshot();
        let member = snapshot.member(self.path.service.as_str(), self.path.id.as_str());
        member.cloned()
    }

    /// Ends when the instance is no longer draining, or gone.
    async fn resumed(&self) {
        let registry = &self.api.registry;
        let mut follower = registry.follow(Some(&self.path.service));
        let mut seen = registry.revision_of(self.path.service.as_str());
        while self.member().is_some_and(|member| member.draining) {
            seen = follower.passed(seen).await;
        }
    }

    /// Renews the lease for as long as the instance stays. One that waits to leave has stopped its
    /// heartbeats, and its lease running out would cut off what it waits for. Never ends: when there
    /// is no lease left to renew, the other waits see why.
    async fn keep_lease(&self) {
        let (service, id) = (self.path.service.as_str(), self.path.id.as_str());
        while let Ok(Some(ttl)) = self.api.registry.renew(
            service,
            id,
            self.generation,
            &Actor::Callboard,
            Instant::now(),
        ) {
            tokio::time::sleep(ttl / 3).await;
        }
        std::future::pending().await
    }
}

impl From<Status> for Farewell {
    fn from(status: Status) -> Self {
        Self {
            served: status.served,
            in_flight: status.in_flight,
            aborted: status.in_flight,
        }
    }
}

async fn set_draining(
    api: &Api,
    path: &InstancePath,
    draining: bool,
    generation: Option<u64>,
    actor: Actor,
) -> Result<Applied, Refusal> {
    let command = Command::Drain {
        service: path.service.clone(),
        id: path.id.clone(),
        draining,
        generation,
    };
    api.registry.submit(command, actor).await
}
