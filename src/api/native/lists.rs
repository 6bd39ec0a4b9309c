//! Who is there: services, one service, and its instances.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::IntoParams;
use utoipa::PartialSchema;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{ArrayBuilder, RefOr, Schema};

use crate::api::Api;
use crate::api::caller::ServicePath;
use crate::api::openapi::params::{self, IfNoneMatch};
use crate::api::openapi::replies::{
    InstancesProblems, ListProblems, Listed, ServiceProblems, Shown,
};
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::health::availability::Availability;
use crate::instance::Instance;
use crate::registry::snapshot::Member;

use super::crowd::Crowd;
use super::past;
use super::poll::Poll;
use super::version::Version;
use super::view::{ServiceView, Views};

/// Every service that has instances
#[utoipa::path(
    get,
    path = "/services",
    operation_id = "listServices",
    tag = "services",
    params(Poll, IfNoneMatch),
    responses(Listed<ServiceView<'_>>, ListProblems)
)]
pub(super) async fn services(
    State(api): State<Api>,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let poll = Poll::take(&mut query);
    query.finish()?;
    poll.wait(&api, None).await;
    let snapshot = api.registry.snapshot();
    let views = Views::new(&api);
    let services: Vec<_> = snapshot
        .services
        .iter()
        .filter(|(_, members)| !members.instances.is_empty())
        .map(|(service, members)| views.service(service, members))
        .collect();
    Ok(Version::of_list(snapshot.revision).reply(&headers, services))
}

/// One service
#[utoipa::path(
    get,
    path = "/services/{service}",
    operation_id = "showService",
    tag = "services",
    params(ServicePath, Poll, IfNoneMatch),
    responses(Shown<ServiceView<'_>>, ServiceProblems)
)]
pub(super) async fn service(
    State(api): State<Api>,
    ServicePath(service): ServicePath,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let poll = Poll::take(&mut query);
    query.finish()?;
    poll.wait(&api, Some(&service)).await;
    let snapshot = api.registry.snapshot();
    match snapshot.members(service.as_str()) {
        Some(members) if !members.instances.is_empty() => {
            let view = Views::new(&api).service(&service, members);
            Ok(Version::of_list(members.revision).reply(&headers, view))
        }
        _ => {
            let detail = format!("service {service:?} has no instances");
            Err(Problem::new(Kind::UnknownService, detail))
        }
    }
}

/// The instances of a service
///
/// None if nobody has registered. With `at`, those of another moment. Long polls that a change wakes
/// share what it made of the list.
#[utoipa::path(
    get,
    path = "/services/{service}/instances",
    operation_id = "listInstances",
    tag = "services",
    params(
        ServicePath,
        Poll,
        Filter,
        IfNoneMatch,
        past::At,
    ),
    responses(Listed<past::NowOrThen>, InstancesProblems)
)]
pub(super) async fn instances(
    State(api): State<Api>,
    ServicePath(service): ServicePath,
    mut query: Query,
    headers: HeaderMap,
    Extension(crowd): Extension<Crowd>,
) -> Result<Response, Problem> {
    if query.has("at") {
        return past::instances(&api, service, query).await;
    }
    let poll = Poll::take(&mut query);
    let filter = Filter::take(&mut query);
    query.finish()?;
    let woken = poll.wait(&api, Some(&service)).await;
    let snapshot = api.registry.snapshot();
    let revision = snapshot.revision_of(service.as_str());
    let views = Views::new(&api);
    let instances = || -> Vec<_> {
        let members = snapshot.members(service.as_str());
        members
            .into_iter()
            .flat_map(|members| members.instances.values())
            .filter_map(|member| {
                let status = views.status(member);
                filter
                    .admits(member, status.availability)
                    .then(|| views.instance_with(member, status))
            })
            .collect()
    };
    let version = Version::of_list(revision);
    if !woken {
        return Ok(version.reply(&headers, instances()));
    }
    let subject = (service.clone(), revision, filter.clone());
    Ok(version.reply_with(&headers, || crowd.list(subject, instances)))
}

/// Which instances of a service to show. Every tag must be there; of several zones or statuses, one
/// must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    statuses: Vec<Availability>,
    tags: Vec<String>,
    zones: Vec<String>,
}

impl Filter {
    pub(super) fn take(query: &mut Query) -> Self {
        let statuses = query.all("status");
        Self {
            statuses: statuses
                .iter()
                .filter_map(|word| query.noted("status", availability(word)))
                .collect(),
            tags: query.all("tag"),
            zones: query.all("zone"),
        }
    }

    pub(super) fn admits(&self, member: &Member, availability: Availability) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&availability))
            && self.describes(&member.instance)
    }

    /// Whether the tags and the zone are right.
    pub(super) fn describes(&self, instance: &Instance) -> bool {
        let zone = instance.zone.as_deref().unwrap_or_default();
        self.tags.iter().all(|tag| instance.tags.contains(tag))
            && (self.zones.is_empty() || self.zones.iter().any(|wanted| wanted == zone))
    }
}

impl IntoParams for Filter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let several = |name, item: RefOr<Schema>, description| {
            params::query(name, ArrayBuilder::new().items(item), description)
        };
        vec![
            several(
                "status",
                Availability::schema(),
                "Only instances with one of these availabilities.",
            ),
            several(
                "tag",
                String::schema(),
                "Only instances with all of these tags.",
            ),
            several(
                "zone",
                String::schema(),
                "Only instances in one of these zones.",
            ),
        ]
    }
}

fn availability(word: &str) -> Result<Availability, String> {
    Availability::ALL
        .into_iter()
        .find(|availability| availability.as_str() == word)
        .ok_or_else(|| {
            let words = Availability::ALL.map(Availability::as_str).join(", ");
            format!("{word:?} is no availability (expected one of {words})")
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::api::native::view::tests::member;
    use crate::api::query::tests::query;

    use super::*;

    fn tagged(zone: &str, tags: &[&str]) -> Arc<Member> {
        let mut member = member("web", "web-1", 1);
        let instance = Arc::make_mut(&mut Arc::make_mut(&mut member).instance);
        instance.zone = Some(zone.to_owned());
        instance.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        member
    }

    #[tokio::test]
    async fn a_filter_wants_all_tags_and_any_of_the_zones_and_statuses() {
        let member = tagged("a", &["v2", "blue"]);
        let cases = [
            ("", true),
            ("tag=v2", true),
            ("tag=v2&tag=blue", true),
            ("tag=v2&tag=green", false),
            ("zone=a", true),
            ("zone=b", false),
            ("zone=b&zone=a", true),
            ("zone=", false),
            ("status=ready", true),
            ("status=draining", false),
            ("status=draining&status=ready", true),
            ("status=ready&tag=v2&zone=a", true),
        ];
        for (text, admitted) in cases {
            let mut query = query(text).await;
            let filter = Filter::take(&mut query);
            assert!(query.finish().is_ok(), "{text}");
            assert_eq!(
                filter.admits(&member, Availability::Ready),
                admitted,
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn an_unknown_status_is_refused_with_the_known_ones() {
        let mut query = query("status=up").await;
        Filter::take(&mut query);
        let problem = query.finish().unwrap_err();
        assert_eq!(problem.errors()[0].field, "status");
        assert!(problem.errors()[0].detail.contains("starting, ready"));
    }
}
