//! The native API, `/api/v1`.
//!
//! Names, limits and semantics follow the public contract; [`routes()`] is its table of contents.
//! What holds for all of them:
//!
//! - *Index.* Every change to the membership, and every change of an instance's availability, moves
//!   an index on. Lists, instances and the journal carry it in `Callboard-Index`; lists and the
//!   journal take it back to wait for the next (`poll`).
//! - *Tags.* Lists and instances carry an `ETag` made of that index (`version`). Live counters (`in_flight`,
//!   `served`, `effective_weight`, `load`, `expires_in`) are measurements and no part of what a tag
//!   stands for.
//! - *Strictness.* Unknown fields and parameters are refused by name. A body may come under any
//!   `Content-Type` and is read as JSON.
//! - *History.* `journal` tells what changed, and `?at=` who was there; both show registrations only,
//!   for how an instance was is not kept.
//! - *Heartbeats* may report load (`utilization`, `qps`, `errors`, `capacity`), which steers shares
//!   in the callboard that is told. Mirrors of it are not told: theirs go by weight.
//! - *Explanations* (`explain`) say why a request went where it went. They are this callboard's own, too.
//! - *Routes* (`routing`) are this callboard's own, whoever it follows. Only an admin changes them.

mod backlog;
mod bulk;
mod changes;
mod crowd;
mod described;
mod drain;
mod explain;
mod history;
mod instance;
mod journal;
mod lease;
mod lists;
mod live;
mod past;
mod patch;
mod poll;
mod registration;
mod routing;
mod sd;
mod sse;
mod texts;
mod version;
mod view;
mod watch;
mod wire;
mod wire_check;

use axum::Extension;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Api, openapi};
use crowd::Crowd;
use texts::Texts;

/// What replies are made of.
#[derive(OpenApi)]
#[openapi(components(schemas(view::InstanceView<'_>, view::ServiceView<'_>, past::NowOrThen, past::PastInstance<'_>, sd::Target)))]
struct Schemas;

/// Every call of the native API, relative to `/api/v1`. Each path and method is written at its
/// handler, and is in the API's description by being here.
pub fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(lists::services))
        .routes(routes!(lists::service))
        .routes(routes!(lists::instances))
        .routes(routes!(
            instance::register,
            instance::show,
            patch::patch,
            drain::deregister
        ))
        .routes(routes!(lease::renew))
        .routes(routes!(drain::start, drain::stop))
        .routes(routes!(watch::watch))
        .routes(routes!(live::live))
        .routes(routes!(sd::prometheus))
        .routes(routes!(bulk::renew))
        .routes(routes!(bulk::register))
        .routes(routes!(journal::journal))
        .routes(routes!(routing::list))
        .routes(routes!(routing::show, routing::set, routing::reset))
        .routes(routes!(explain::list))
        .routes(routes!(explain::show))
        .routes(routes!(openapi::describe))
        .layer(Extension(Crowd::default()))
        .layer(Extension(Texts::default()))
}

#[cfg(test)]
pub(super) mod testing {
    pub(in crate::api) use super::poll::tests::api;
    pub(in crate::api) use super::view::tests::member;
}
