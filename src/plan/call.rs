//! `POST /api/v1/plan`.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::body;
use crate::api::caller::Caller;
use crate::api::openapi::replies::PlanProblems;
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::cluster::clusters::Clusters;
use crate::config::Config;
use crate::registry::Registry;
use crate::route::splits::Splits;

use super::{MAX_TEXT, Plan, Present};

/// How many plans are made at a time; more wait.
const AT_ONCE: usize = 1;
/// How long a caller waits for its plan, and for its turn.
const PATIENCE: Duration = Duration::from_secs(50);

/// What plans are compared with. Cheap to clone.
#[derive(Clone)]
pub struct Running {
    config: Arc<ArcSwap<Config>>,
    registry: Registry,
    clusters: Clusters,
    splits: Arc<Splits>,
    turns: Arc<Semaphore>,
}

impl Running {
    /// The configuration in force, and who lives by it.
    pub fn new(
        config: Arc<ArcSwap<Config>>,
        registry: Registry,
        clusters: Clusters,
        splits: Arc<Splits>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self {
            config,
            registry,
            clusters,
            splits,
            turns,
        }
    }

    /// What `text` would change.
    fn plan(&self, text: &str) -> Plan {
        let present = Present::new(
            &self.registry.snapshot(),
            &self.clusters,
            &self.splits.snapshot(),
        );
        let read = Config::parse("the configuration", text);
        Plan::of(&self.config.load(), read, &present)
    }
}

/// `POST /api/v1/plan`, without a fallback.
pub fn routes(running: Running) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(plan))
        .with_state(running)
}

/// What another configuration would change
///
/// The body is the text of the configuration in YAML. It is compared with the one in force and with who
/// is signed in; nothing is changed by that. Files that it names are read as this process would read
/// them. One that is faulty gets a plan too, with `valid` false and what is wrong in `errors`.
#[utoipa::path(
    post,
    path = "/api/v1/plan",
    operation_id = "plan",
    tag = "callboard",
    request_body(content = String, content_type = "application/yaml",
        description = "A whole configuration, of at most 1 MiB"),
    responses(
        (status = 200, description = "What would change", body = Plan),
        PlanProblems,
    )
)]
async fn plan(
    State(running): State<Running>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Result<Json<Plan>, Problem> {
    caller.administers()?;
    query.finish()?;
    let body = body::read(body, MAX_TEXT).await?;
    let unavailable = |why: &str| {
        let detail = format!("the plan was not made: {why}");
        Problem::new(Kind::Unavailable, detail)
    };
    // A file that the configuration names may be one whose reading never ends.
    let late = |_| unavailable("it took too long (expected all files it names to be regular ones)");
    let until = Instant::now() + PATIENCE;
    let turn = timeout_at(until, Arc::clone(&running.turns).acquire_owned());
    let turn = turn.await.map_err(late)?;
    // Held by the work itself, which goes on if the caller leaves.
    let turn = turn.map_err(|_| unavailable("callboard is leaving"))?;
    let planned = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match std::str::from_utf8(&body) {
            Ok(text) => running.plan(text),
            Err(error) => Plan::unreadable(format!(
                "is not UTF-8 from byte {} on (expected YAML)",
                error.valid_up_to()
            )),
        }
    });
    let plan = timeout_at(until, planned).await.map_err(late)?;
    plan.map(Json).map_err(|error| match error.is_panic() {
        true => unavailable("callboard failed at it (expected no such thing: please report it)"),
        false => unavailable("callboard is leaving"),
    })
}
