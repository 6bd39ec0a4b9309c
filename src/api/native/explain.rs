//! `GET /explain[?service=&status=&limit=]` and `GET /explain/{request-id}`: why requests went where
//! they went.
//!
//! Of which requests this is kept is a matter of `telemetry.explain`: of a share of them, and of those
//! whose client asks for it with a header. Values of headers and of the query that may be secrets are
//! not kept, so that who may read the registry may read this.

mod view;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use crate::api::Api;
use crate::api::openapi::replies::{ExplainProblems, ListProblems};
use crate::api::openapi::{params, schemas};
use crate::api::problem::{Faults, Kind, Problem};
use crate::api::query::Query;
use crate::names::ServiceName;
use crate::telemetry::explain::HEADER;

use view::{ExplanationView, SummaryView};

/// How many a list has unless it is said.
const DEFAULT_LIMIT: u64 = 50;
/// How many it can have.
const MAX_LIMIT: u64 = 500;

/// Requests that are explained
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/explain",
    operation_id = "listExplained",
    tag = "requests",
    params(Wanted),
    responses(
        (status = 200, description = "Those that are kept", body = Vec<SummaryView<'_>>),
        ListProblems,
    )
)]
pub(super) async fn list(State(api): State<Api>, mut query: Query) -> Result<Response, Problem> {
    let wanted = Wanted::read(&mut query);
    query.finish()?;
    let recent = api.telemetry.explanations().recent(wanted.limit, |it| {
        let service = wanted.service.as_ref();
        service.is_none_or(|service| it.is_of(service.as_str()))
            && (wanted.status).is_none_or(|status| it.status.is_some_and(|it| it == status))
    });
    let list: Vec<_> = recent.iter().map(|it| SummaryView::from(&**it)).collect();
    Ok(Json(list).into_response())
}

/// Why a request went where it went
///
/// Its name is in the header `X-Request-Id` of its answer. Of several requests of one name it is the
/// last.
#[utoipa::path(
    get,
    path = "/explain/{id}",
    operation_id = "explainRequest",
    tag = "requests",
    params(RequestPath),
    responses(
        (status = 200, description = "What was noted of it", body = ExplanationView<'_>),
        ExplainProblems,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    RequestPath(id): RequestPath,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let explanations = api.telemetry.explanations();
    let explanation = explanations.find(&id).ok_or_else(|| unknown(&api, &id))?;
    Ok(Json(ExplanationView::from(&*explanation)).into_response())
}

fn unknown(api: &Api, id: &str) -> Problem {
    let settings = api.telemetry.settings();
    let remedy = match &settings.explain {
        None => "expected telemetry.explain to be on".to_owned(),
        Some(settings) => {
            let clients: Vec<_> = settings.clients.iter().map(ToString::to_string).collect();
            format!(
                "expected one of the last {} of a share of {}%, or a request with the header {HEADER}: 1 \
                 from {}",
                settings.kept,
                settings.sample * 100.0,
                if clients.is_empty() {
                    "a network in telemetry.explain.clients, which has none".to_owned()
                } else {
                    clients.join(" or ")
                }
            )
        }
    };
    let detail = format!("no explanation of request {id:?} is kept ({remedy})");
    Problem::new(Kind::UnknownRequest, detail)
}

/// What a list is to hold.
struct Wanted {
    service: Option<ServiceName>,
    status: Option<u16>,
    limit: usize,
}

impl Wanted {
    fn read(query: &mut Query) -> Self {
        let service = query.parsed("service");
        let status = query.number("status").and_then(|status| {
            let status = (u16::try_from(status).ok())
                .filter(|status| (100..=599).contains(status))
                .ok_or_else(|| format!("is {status} (expected 100 to 599)"));
            query.noted("status", status)
        });
        let limit = query.number("limit").unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            query.fault("limit", format!("is {limit} (expected 1 to {MAX_LIMIT})"));
        }
        Self {
            service,
            status,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }
}

impl IntoParams for Wanted {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            params::query("service", ServiceName::schema(), "Only requests for this."),
            params::query(
                "status",
                schemas::whole(100, 599),
                "Only those answered with this.",
            ),
            params::query(
                "limit",
                schemas::whole(1, MAX_LIMIT),
                "How many; 50 unless it is said.",
            ),
        ]
    }
}

/// The request a path names.
pub(super) struct RequestPath(String);

impl<S: Send + Sync> FromRequestParts<S> for RequestPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(rejection) => {
                let detail = format!("the path: {} (expected UTF-8)", rejection.body_text());
                Err(Faults::one("", detail).into())
            }
        }
    }
}

impl IntoParams for RequestPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let id = schemas::text(
            "^[!-~]{1,128}$",
            "1 to 128 visible characters of ASCII, percent-encoded where a path cannot carry them.",
            "0f343b0931126a20f133d67c2b018a3b",
        );
        vec![params::segment("id", id.into())]
    }
}
