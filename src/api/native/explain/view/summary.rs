//! One request in a list.

use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::explain::Explanation;
use crate::units::moment::format_moment;

use super::seconds;

/// One request that is explained.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRequest)]
pub(in crate::api::native::explain) struct SummaryView<'a> {
    /// What explains it is asked for by: `X-Request-Id`.
    id: &'a str,
    /// When it came.
    #[schema(format = DateTime)]
    at: String,
    client: String,
    method: &'a str,
    /// The path, and the names of the query's parameters.
    target: &'a str,
    #[schema(required)]
    host: Option<&'a str>,
    #[schema(required)]
    route: Option<&'a str>,
    #[schema(required)]
    service: Option<&'a str>,
    /// `null` if its client left first.
    #[schema(required)]
    status: Option<u16>,
    /// To the end of its answer.
    took: f64,
    attempts: usize,
    /// The one that was asked last.
    #[schema(required)]
    instance: Option<&'a str>,
}

impl<'a> From<&'a Explanation> for SummaryView<'a> {
    fn from(it: &'a Explanation) -> Self {
        Self {
            id: &it.id,
            at: format_moment(it.arrived),
            client: it.client.to_string(),
            method: it.method.as_str(),
            target: &it.target,
            host: it.host.as_deref(),
            route: it.route.as_deref(),
            service: it.service.as_deref(),
            status: it.status.map(|status| status.as_u16()),
            took: seconds(it.took),
            attempts: it.tries.len(),
            instance: it.instance().map(|id| id.as_str()),
        }
    }
}
