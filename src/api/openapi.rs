//! The API's description of itself, [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.1.html), at
//! `GET /api/v1/openapi.json`.
//!
//! Nothing is described twice: a route enters the router and the description in one call
//! ([`utoipa_axum::routes`]), a schema is derived from the type that is read or written, and a
//! problem's status and title come from its [`Kind`](super::problem::Kind). What the macros cannot
//! derive stands in `schemas` (values that are parsed by hand), `params` (parameters that several
//! calls take) and `replies` (answers that several calls give).

pub(in crate::api) mod params;
pub mod replies;
pub(in crate::api) mod schemas;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, Server, Tag};

use super::problem::{FieldError, Problem};
use super::query::Query;

/// The name of the security scheme that a bearer token satisfies.
const BEARER: &str = "bearer";

/// The description of everything that is served.
#[derive(Clone)]
pub(super) struct Document(Arc<OpenApi>);

/// What is true of the description whatever the routes are.
pub(super) fn outline() -> OpenApi {
    let components = ComponentsBuilder::new()
        .schema_from::<Problem>()
        .schema_from::<FieldError>()
        .security_scheme(
            BEARER,
            SecurityScheme::Http(
                HttpBuilder::new()
                    .scheme(HttpAuthScheme::Bearer)
                    .description(Some(
                        "A token from the configuration. Needed where `registry.auth` says so.",
                    ))
                    .build(),
            ),
        )
        .build();
    let info = InfoBuilder::new()
        .title("callboard")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(include_str!("openapi/introduction.md")))
        .license(Some(
            LicenseBuilder::new()
                .name("Apache-2.0")
                .identifier(Some("Apache-2.0"))
                .build(),
        ))
        .build();
    let tag = |name: &str, description: &str| {
        let mut tag = Tag::new(name);
        tag.description = Some(description.to_owned());
        tag
    };
    let mut outline = OpenApi::default();
    outline.info = info;
    outline.components = Some(components);
    outline.servers = Some(vec![Server::new("/")]);
    outline.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new(BEARER, [""; 0]),
    ]);
    outline.tags = Some(vec![
        tag("instances", "Signing in, staying and leaving"),
        tag("services", "Who is there"),
        tag("routes", "Where requests go"),
        tag("requests", "Why they went where they went"),
        tag("callboard", "The process itself"),
    ]);
    outline
}

impl Document {
    /// The description to serve.
    pub(super) fn of(description: OpenApi) -> Self {
        Self(Arc::new(description))
    }
}

/// This description
///
/// An OpenAPI 3.1 document. It needs no token.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "describe",
    tag = "callboard",
    security(()),
    responses(
        (status = 200, description = "The document", body = Object),
        replies::Open,
    )
)]
pub(super) async fn describe(
    query: Query,
    Extension(Document(description)): Extension<Document>,
) -> Result<Response, Problem> {
    query.finish()?;
    Ok(Json(&*description).into_response())
}
