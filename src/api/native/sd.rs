//! `GET /sd/prometheus[?service=&tag=&zone=&status=]`: instances as targets for Prometheus, see
//! [http_sd](https://prometheus.io/docs/prometheus/latest/http_sd/).
//!
//! An instance is there for as long as it is registered, whatever its availability: figures of one
//! that is ill or leaves are those one wants to see. Labels of metadata follow what Prometheus does
//! with Consul's; two names that come to the same label are one, the first in their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::openapi::params::IfNoneMatch;
use crate::api::openapi::replies::{ListProblems, Listed};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::health::availability::Availability;
use crate::instance::Instance;
use crate::names::ServiceName;
use crate::registry::snapshot::{Member, Members};

use super::lists::Filter;
use super::version::Version;
use super::view::Views;

/// What every label here begins with.
const META: &str = "__meta_callboard_";

/// Something to scrape, and what is known of it.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PrometheusTarget)]
pub(super) struct Target {
    /// One address with its port.
    #[schema(min_items = 1, max_items = 1)]
    targets: [String; 1],
    /// `__meta_callboard_service`, `_instance`, `_zone`, `_tags` (with a comma before and after each),
    /// `_availability`, `_scheme` and `_metadata_…`; and `__scheme__` if it is https.
    labels: BTreeMap<String, String>,
}

/// Instances as targets for Prometheus
///
/// For `http_sd_configs`. Instances at Unix sockets are left out.
#[utoipa::path(
    get,
    path = "/sd/prometheus",
    operation_id = "discoverTargets",
    tag = "services",
    params(
        ("service" = Option<ServiceName>, Query, description = "Only this service."),
        Filter,
        IfNoneMatch,
    ),
    responses(Listed<Target>, ListProblems)
)]
pub(super) async fn prometheus(
    State(api): State<Api>,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let only = query.parsed::<ServiceName>("service");
    let filter = Filter::take(&mut query);
    query.finish()?;
    let snapshot = api.registry.snapshot();
    let views = Views::new(&api);
    let services: Vec<&Arc<Members>> = match &only {
        Some(service) => snapshot.members(service.as_str()).into_iter().collect(),
        None => snapshot.services.values().collect(),
    };
    let targets = || -> Vec<_> {
        let members = services
            .iter()
            .flat_map(|members| members.instances.values());
        let found = members.filter_map(|member| {
            let availability = views.status(member).availability;
            (filter.admits(member, availability)).then(|| target(member, availability))?
        });
        found.collect()
    };
    let version = Version::of_list(snapshot.revision_followed(only.as_ref()));
    Ok(version.reply_with(&headers, || axum::Json(targets())))
}

/// What Prometheus is told of `member`; `None` if it has no address that Prometheus could go to.
fn target(member: &Member, availability: Availability) -> Option<Target> {
    let instance: &Instance = &member.instance;
    instance.address.inet()?;
    let mut labels = BTreeMap::new();
    let mut label = |name: &str, value: String| {
        labels.entry(format!("{META}{name}")).or_insert(value);
    };
    label("service", instance.service.to_string());
    label("instance", instance.id.to_string());
    label("zone", instance.zone.clone().unwrap_or_default());
    label("tags", wrapped(instance.tags.iter()));
    label("availability", availability.to_string());
    label("scheme", instance.scheme.as_str().to_owned());
    for (name, value) in &instance.metadata {
        label(&format!("metadata_{}", sanitized(name)), value.clone());
    }
    if instance.scheme.is_tls() {
        labels.insert("__scheme__".to_owned(), "https".to_owned());
    }
    Some(Target {
        targets: [instance.address.authority()],
        labels,
    })
}

/// `,a,b,`, so that a regular expression finds a whole tag: `.*,a,.*`. Nothing for no tags.
fn wrapped<'a>(tags: impl Iterator<Item = &'a String>) -> String {
    tags.fold(String::new(), |mut all, tag| {
        if all.is_empty() {
            all.push(',');
        }
        all += tag;
        all.push(',');
        all
    })
}

/// `text` as a part of a label's name: `[a-zA-Z0-9_]`.
fn sanitized(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use crate::address::Address;
    use crate::api::native::view::tests::member;
    use crate::instance::Scheme;

    use super::*;

    fn described(describe: impl FnOnce(&mut Instance)) -> Option<Target> {
        let mut member = member("web", "web-1", 1);
        describe(Arc::make_mut(&mut Arc::make_mut(&mut member).instance));
        target(&member, Availability::Draining)
    }

    #[test]
    fn all_that_is_known_of_an_instance_is_in_its_labels() {
        let target = described(|instance| {
            instance.address = Address::from_parts("fd00::5", Some(9000)).unwrap();
            instance.scheme = Scheme::Https;
            instance.zone = Some("a".to_owned());
            instance.tags = ["v2", "blue"].map(str::to_owned).into();
            let metadata = [("build-no", "7"), ("build.no", "8"), ("é", "x")];
            instance.metadata = metadata
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        });
        let target = target.unwrap();
        assert_eq!(target.targets, ["[fd00::5]:9000"]);
        let labels: Vec<_> = target.labels.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(
            labels,
            [
                ("__meta_callboard_availability", "draining"),
                ("__meta_callboard_instance", "web-1"),
                ("__meta_callboard_metadata__", "x"),
                ("__meta_callboard_metadata_build_no", "7"),
                ("__meta_callboard_scheme", "https"),
                ("__meta_callboard_service", "web"),
                ("__meta_callboard_tags", ",blue,v2,"),
                ("__meta_callboard_zone", "a"),
                ("__scheme__", "https"),
            ]
        );
    }

    #[test]
    fn an_instance_at_a_unix_socket_is_no_target() {
        let at = |instance: &mut Instance| {
            instance.address = Address::unix(Path::new("/run/web.sock")).unwrap();
        };
        assert_eq!(described(at), None);
        assert!(described(|_| {}).is_some());
    }

    proptest! {
        #[test]
        fn whatever_metadata_is_called_its_label_is_one(name in ".{0,64}") {
            let target = described(|instance| {
                instance.metadata = [(name, String::new())].into();
            });
            for label in target.unwrap().labels.keys() {
                prop_assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
            }
        }
    }
}
