//! The native API, `/api/v1`.
//!
//! Names, limits and semantics follow the public contract; [`routes`] is its table of contents.
//! What holds for all of them:
//!
//! - *Index.* Every change to the membership, and every change of an instance's availability, moves
//!   an index on. GETs carry it in `Callboard-Index`; lists take it back to wait for the
//!   next (`poll`).
//! - *Tags.* GETs carry an `ETag` made of that index (`version`). Live counters (`in_flight`,
//!   `served`, `expires_in`) are measurements and no part of what a tag stands for.
//! - *Strictness.* Unknown fields and parameters are refused by name. A body may come under any
//!   `Content-Type` and is read as JSON.
//! - *History.* `journal` tells what changed, and `?at=` who was there; both show registrations only,
//!   for how an instance was is not kept.
//! - *Heartbeats* may report load (`utilization`, `qps`, `errors`, `capacity`). The figures are
//!   checked and otherwise not acted on.

mod backlog;
mod bulk;
mod changes;
mod described;
mod crowd;
mod drain;
mod history;
mod instance;
mod journal;
mod lease;
mod lists;
mod past;
mod patch;
mod poll;
mod registration;
mod sse;
mod texts;
mod version;
mod view;
mod watch;
mod wire;
mod wire_check;

use axum::Router;
use axum::routing::{get, post, put};

use super::Api;

/// Every call of the native API, relative to `/api/v1`.
#[rustfmt::skip]
pub fn routes() -> Router<Api> {
    Router::new()
        .route("/services", get(lists::services))
        .route("/services/{service}", get(lists::service))
        .route("/services/{service}/instances", lists::instances_route())
        .route("/services/{service}/instances/{id}",
            put(instance::register)
                .patch(patch::patch)
                .get(instance::show)
                .delete(drain::deregister))
        .route("/services/{service}/instances/{id}/lease", put(lease::renew))
        .route("/services/{service}/instances/{id}/drain",
            put(drain::start).delete(drain::stop))
        .route("/journal", get(journal::journal))
        .route("/watch", watch::route())
        .route("/leases:renew", post(bulk::renew))
        .route("/instances:batch", post(bulk::register))
}
