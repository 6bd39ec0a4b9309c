//! What operators and orchestrators ask of callboard itself.

pub mod health;
mod metrics;
pub mod reloads;

use std::sync::Arc;

use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::acme::Expiries;
use crate::cluster::clusters::Clusters;
use crate::proxy::tcp::counts::Counts;
use crate::pull::status::Status;
use crate::registry::Registry;
use crate::telemetry::Telemetry;
use health::Readiness;
use reloads::Reloads;

/// Where the answers come from. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    /// How far the process is in its life.
    pub readiness: watch::Receiver<Readiness>,
    /// Who is signed in.
    pub registry: Registry,
    /// How following another registry goes, if that is where the membership comes from.
    pub pull: Option<Status>,
    /// What became of clients' connections.
    pub connections: Arc<Counts>,
    /// What instances are doing.
    pub clusters: Clusters,
    /// What is told of requests.
    pub telemetry: Arc<Telemetry>,
    /// When certificates end, if an ACME server gives any.
    pub certificates: Option<Expiries>,
    /// How reading the configuration went.
    pub reloads: Arc<Reloads>,
}

/// `GET /healthz`, `GET /readyz` and `GET /metrics`, without a fallback.
pub fn routes(sources: Sources) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .with_state(sources)
}
