//! The control plane's HTTP edges: parse, command, rebuild the answer from our own types.
//!
//! Every call passes the [`guard`] first, which finds out who is calling and refuses whatever is not
//! let through by name.
//!
//! Everything a client sends is parsed into domain types before it reaches the registry, and every
//! reply is built from domain types, so that nothing one client sends reaches another unparsed.
//! Whatever a request looks like, the answer is either what was asked for or a
//! [`Problem`] that says why not.

pub mod access;
pub mod body;
pub mod caller;
pub mod guard;
pub mod live;
pub mod native;
pub mod openapi;
pub mod problem;
pub mod query;
mod read_only;

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use utoipa_axum::router::OpenApiRouter;

use crate::cluster::clusters::Clusters;
use crate::dashboard;
use crate::registry::Registry;
use crate::route::splits::Splits;
use crate::telemetry::Telemetry;
use guard::Guard;
use live::Live;
use openapi::Document;
use problem::{Kind, Problem};

/// What every handler works with. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// Who is signed in.
    pub registry: Registry,
    /// What they are doing.
    pub clusters: Clusters,
    /// Where requests go.
    pub splits: Arc<Splits>,
    /// What is told of requests.
    pub telemetry: Arc<Telemetry>,
    /// What goes on right now.
    pub live: Live,
    /// The registries to sign in at instead, if this one only mirrors them.
    pub mirrored_from: Option<Arc<[Arc<str>]>>,
    /// Turns true when the process is leaving: streams and long polls then end.
    pub closing: tokio::sync::watch::Receiver<bool>,
}

impl Api {
    /// The whole control plane: the routes below `/api/v1` and those `beside` them, all behind
    /// `guard` and with the same 404 and 405 answers.
    ///
    /// Serve it with connect info of [`SocketAddr`](std::net::SocketAddr), which tells who is calling.
    pub fn control_plane(self, beside: OpenApiRouter, guard: Arc<Guard>) -> Router {
        let mirrored_from = self.mirrored_from.clone();
        let (router, description) = OpenApiRouter::with_openapi(openapi::outline())
            .route("/", get(welcome))
            .nest("/api/v1", native::routes())
            .with_state(self)
            .merge(beside)
            .split_for_parts();
        router
            .merge(dashboard::routes())
            .layer(Extension(Document::of(description)))
            .fallback(no_such_route)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(middleware::from_fn_with_state(
                mirrored_from,
                read_only::no_changes,
            ))
            .layer(middleware::from_fn_with_state(guard, guard::admit))
    }

    /// Ends when the process is leaving.
    async fn closed(&self) {
        let mut closing = self.closing.clone();
        if closing.wait_for(|closing| *closing).await.is_err() {
            std::future::pending().await
        }
    }
}

/// The dashboard for browsers, and for programs what can be called.
async fn welcome(headers: HeaderMap) -> Response {
    const TEXT: &str = concat!(
        "callboard ",
        env!("CARGO_PKG_VERSION"),
        ": service registry and load-balancing proxy\n\n",
        include_str!("api/welcome.txt")
    );
    if dashboard::wants_page(&headers) {
        return dashboard::page(&headers);
    }
    ([(header::VARY, "Accept")], TEXT).into_response()
}

async fn no_such_route(request: Request) -> Problem {
    let detail = format!(
        "there is no {} (expected a path such as /api/v1/services; GET / names them)",
        request.uri().path()
    );
    Problem::new(Kind::NoSuchRoute, detail)
}

async fn method_not_allowed(method: Method, request: Request) -> Problem {
    let detail = format!(
        "{method} is not a method of {} (expected one of those in the Allow header)",
        request.uri().path()
    );
    Problem::new(Kind::MethodNotAllowed, detail)
}
