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

use crate::api::Api;
use crate::api::caller::{Caller, InstancePath};
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::cluster::status::Status;
use crate::registry::command::{Applied, Command, Refusal};
use crate::registry::event::Actor;
use crate::registry::snapshot::Member;
use crate::units::parse_duration;

use super::view::Views;

/// The longest a sign-out waits for requests in flight.
const MAX_DRAIN: Duration = Duration::from_secs(60 * 60);

/// `PUT /services/{service}/instances/{id}/drain[?generation=]`: 202 with the instance; no new requests from here
/// on.
pub(super) async fn start(
    State(api): State<Api>,
    caller: Caller,
    path: InstancePath,
    mut query: Query,
) -> Result<Response, Problem> {
    let generation = query.number("generation");
    query.finish()?;
    let applied = set_draining(&api, &path, true, generation, caller.actor()).await?;
    let view = Views::new(&api).instance(&applied.member);
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}

/// `DELETE /services/{service}/instances/{id}/drain[?generation=]`: 204; it gets requests again.
pub(super) async fn stop(
    State(api): State<Api>,
    caller: Caller,
    path: InstancePath,
    mut query: Query,
) -> Result<StatusCode, Problem> {
    let generation = query.number("generation");
    query.finish()?;
    set_draining(&api, &path, false, generation, caller.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /services/{service}/instances/{id}[?drain=30s&generation=]`: 204 at once; with `drain`,
/// 200 when nothing is in flight any more or the time is up. A bare `drain` takes the time from the
/// service's policy.
pub(super) async fn deregister(
    State(api): State<Api>,
    caller: Caller,
    path: InstancePath,
    mut query: Query,
) -> Result<Response, Problem> {
    let drain = query.text("drain").and_then(|text| match text.as_str() {
        "" => Some(api.clusters.policies().of(path.service.as_str()).drain),
        text => query.noted("drain", parse_duration(text)),
    });
    let generation = query.number("generation");
    query.finish()?;
    let leaving = Leaving {
        api,
        path,
        generation,
        actor: caller.actor(),
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
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Farewell {
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

impl Leaving {
    async fn drain_and_sign_out(self, wait: Duration) -> Result<Farewell, Problem> {
        let actor = self.actor.clone();
        set_draining(&self.api, &self.path, true, self.generation, actor).await?;
        let (service, id) = (self.path.service.as_str(), self.path.id.as_str());
        let status = tokio::select! {
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
