//! `GET /services/{service}/instances?at=TIME`: who was there at another moment.
//!
//! It shows what was registered. How an instance was, what it had in hand and how long its lease had
//! to run is nowhere kept, and is left out rather than shown as it is now.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::api::Api;
use crate::api::openapi::{params, schemas};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::names::{InstanceId, ServiceName};
use crate::registry::store::Remembered;

use super::described::Described;
use super::history;
use super::lists::Filter;
use super::view::InstanceView;

/// Answers with the instances; 410 when the journal does not reach back that far.
pub(super) async fn instances(
    api: &Api,
    service: ServiceName,
    mut query: Query,
) -> Result<Response, Problem> {
    let now = SystemTime::now();
    let at = query.moment("at", now).unwrap_or(now);
    if at > now {
        let detail = "is in the future (expected a moment that has been)";
        query.fault("at", detail.to_owned());
    }
    for present in ["index", "wait", "status"] {
        if !query.all(present).is_empty() {
            let detail = "does not go with at (expected one of the two)";
            query.fault(present, detail.to_owned());
        }
    }
    let filter = Filter::take(&mut query);
    query.finish()?;
    history::read(api, move |journal| {
        let mut members = journal.members_at(&service, whole_millisecond(at))?;
        members.retain(|member| filter.describes(&member.instance));
        members.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
        let views: Vec<_> = members.iter().map(PastInstance::of).collect();
        Ok(Json(views).into_response())
    })
    .await
}

/// The end of the millisecond that `moment` is in. Replies show moments to the millisecond; one that
/// is copied from there is to include what happened in it.
pub(super) fn whole_millisecond(moment: SystemTime) -> SystemTime {
    let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH);
    let into = since_epoch.map_or(0, |since| since.subsec_nanos() % 1_000_000);
    moment + Duration::from_nanos(u64::from(999_999 - into))
}

/// The parameter that asks for another moment.
pub(super) struct At;

impl IntoParams for At {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The moment to show. It does not go with `index`, `wait` and `status`.";
        vec![params::query("at", schemas::moment(), description)]
    }
}

/// Describes an instance of a list that may be of now or of another moment.
pub(super) struct NowOrThen;

impl PartialSchema for NowOrThen {
    fn schema() -> RefOr<Schema> {
        let of = |name: &str| RefOr::<Schema>::Ref(Ref::from_schema_name(name));
        let names = [InstanceView::name(), PastInstance::name()];
        let either = names
            .iter()
            .fold(AnyOfBuilder::new(), |either, name| either.item(of(name)));
        either.into()
    }
}

impl ToSchema for NowOrThen {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("InstanceNowOrThen")
    }
}

/// One instance of a service as it was.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PastInstance<'a> {
    service: &'a ServiceName,
    id: &'a InstanceId,
    #[serde(flatten)]
    described: Described<'a>,
}

impl<'a> PastInstance<'a> {
    fn of(member: &'a Remembered) -> Self {
        Self {
            service: &member.instance.service,
            id: &member.instance.id,
            described: member.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_stands_for_the_millisecond_it_is_shown_as() {
        let shown = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let happened = shown + Duration::from_nanos(999_999);
        assert_eq!(whole_millisecond(shown), happened);
        assert_eq!(whole_millisecond(happened), happened);
    }
}
