//! Many at once: one call, one change to the registry, and a status for each item in order.
//!
//! The reply is 200 whatever became of the items; nothing waits for probes, so that an instance
//! that has yet to pass its first shows as 202.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, Array, ArrayBuilder};
use utoipa::openapi::{ObjectBuilder, Ref};

use crate::api::Api;
use crate::api::body;
use crate::api::caller::{Caller, InstancePath};
use crate::api::openapi::replies::BulkProblems;
use crate::api::problem::{Faults, Problem};
use crate::api::query::Query;
use crate::names::{InstanceId, ServiceName};
use crate::registry::command::{Applied, Command, Refusal};

use super::instance::registered;
use super::lease::{self, Beat};
use super::registration::{self, Defaults, Registration};
use super::view::Views;
use super::wire::{Figure, Generation};

/// The most items in one call.
const MAX_ITEMS: usize = 500;

/// What became of one item.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ItemStatus)]
pub(super) struct ItemView {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<InstanceId>,
    /// What the call about this one alone would have been answered with.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// Registrations, each with its service and id.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    /// Each is judged by itself: what is wrong with one is in its own status.
    #[schema(schema_with = named_registrations, required)]
    instances: Option<Vec<Value>>,
}

fn named_registrations() -> Array {
    let named = ObjectBuilder::new().required("service").required("id");
    let item = AllOfBuilder::new()
        .item(Ref::from_schema_name(Registration::name()))
        .item(named);
    ArrayBuilder::new()
        .items(item)
        .max_items(Some(MAX_ITEMS))
        .build()
}

/// Leases to renew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Renewals {
    /// Each is judged by itself: what is wrong with one is in its own status.
    #[schema(value_type = Vec<Renewal>, max_items = 500, required)]
    leases: Option<Vec<Value>>,
}

/// A lease to renew.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Renewal {
    #[schema(value_type = ServiceName, required)]
    service: Option<ServiceName>,
    #[schema(value_type = InstanceId, required)]
    id: Option<InstanceId>,
    /// Which life of the instance this is; one that is over gets 409.
    #[schema(inline)]
    generation: Option<Generation>,
    /// How busy it is, 1 being all it can do; this and the rest as in a heartbeat.
    #[schema(inline)]
    utilization: Option<Figure>,
    #[schema(inline)]
    qps: Option<Figure>,
    #[schema(inline)]
    errors: Option<Figure>,
    #[schema(inline)]
    capacity: Option<Figure>,
}

/// Registers many instances at once
///
/// Every instance that is described rightly is signed in; nothing waits for probes. The reply is
/// 200 with a status for each, in order.
#[utoipa::path(
    post,
    path = "/instances:batch",
    operation_id = "registerInstances",
    tag = "instances",
    request_body = Batch,
    responses(
        (status = 200, description = "What became of each", body = [ItemView]),
        BulkProblems,
    )
)]
pub(super) async fn register(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Result<Json<Vec<ItemView>>, Problem> {
    query.finish()?;
    let items = read(body, "instances", |batch: Batch| batch.instances).await?;
    let defaults = Defaults {
        address: caller.address(),
        ttl: api.registry.rules().ttl,
    };
    let mut commands = Vec::with_capacity(items.len());
    let mut outcomes = Vec::with_capacity(items.len());
    let mut actor = None;
    for item in items {
        let read = registration::read_named(item, defaults).and_then(|instance| {
            let path = InstancePath {
                service: instance.service.clone(),
                id: instance.id.clone(),
            };
            match caller.on(&path.service) {
                // The same one for every item it is given for.
                Ok(granted) => actor = Some(granted),
                Err(problem) => return Err((problem, Some(path))),
            }
            commands.push(Command::Register(instance));
            Ok(path)
        });
        outcomes.push(read);
    }
    let applied = match actor {
        Some(actor) => api.registry.submit_all(commands, actor).await,
        None => Vec::new(),
    };

    let views = Views::new(&api);
    let mut applied = applied.into_iter();
    let unanswered = || Err(Refusal::Unavailable("it did not answer".to_owned()));
    let outcomes = outcomes.into_iter().map(|outcome| match outcome {
        Err((problem, named)) => ItemView::refused(named, problem),
        Ok(path) => match applied.next().unwrap_or_else(unanswered) {
            Ok(Applied {
                member, created, ..
            }) => {
                let status = registered(views.status(&member).availability, created);
                ItemView::accepted(path, status)
            }
            Err(refusal) => ItemView::refused(Some(path), refusal.into()),
        },
    });
    Ok(Json(outcomes.collect()))
}

/// Renews many leases at once
///
/// The reply is 200 with a status for each, in order: 204 if it was renewed, 404 if the instance
/// must register again.
#[utoipa::path(
    post,
    path = "/leases:renew",
    operation_id = "renewLeases",
    tag = "instances",
    request_body = Renewals,
    responses(
        (status = 200, description = "What became of each", body = [ItemView]),
        BulkProblems,
    )
)]
pub(super) async fn renew(
    State(api): State<Api>,
    caller: Caller,
    query: Query,
    body: Body,
) -> Result<Json<Vec<ItemView>>, Problem> {
    query.finish()?;
    let items = read(body, "leases", |renewals: Renewals| renewals.leases).await?;
    let outcomes = items.into_iter().map(|item| {
        let (path, beat) = match renewal(item) {
            Ok(renewal) => renewal,
            Err(problem) => return ItemView::refused(None, problem),
        };
        let renewed = caller
            .on(&path.service)
            .and_then(|actor| beat.take(&api, &path, &actor));
        match renewed {
            Ok(()) => ItemView::accepted(path, StatusCode::NO_CONTENT),
            Err(problem) => ItemView::refused(Some(path), problem),
        }
    });
    Ok(Json(outcomes.collect()))
}

impl ItemView {
    fn accepted(path: InstancePath, status: StatusCode) -> Self {
        Self {
            service: Some(path.service),
            id: Some(path.id),
            status: status.as_u16(),
            error: None,
        }
    }

    fn refused(path: Option<InstancePath>, problem: Problem) -> Self {
        let (service, id) = path.map(|path| (path.service, path.id)).unzip();
        Self {
            service,
            id,
            status: problem.status(),
            error: Some(problem),
        }
    }
}

/// The items that a call brings in `field`.
async fn read<T: DeserializeOwned + Default>(
    body: Body,
    field: &str,
    list: impl FnOnce(T) -> Option<Vec<Value>>,
) -> Result<Vec<Value>, Problem> {
    let body = body::json(&body::read(body, body::MAX_BULK_BODY).await?)?;
    let mut faults = Faults::default();
    let call = body::fields(body, &mut faults);
    items(field, list(call), faults)
}

/// The items of a call, if they are there and not too many.
fn items(
    field: &str,
    items: Option<Vec<Value>>,
    mut faults: Faults,
) -> Result<Vec<Value>, Problem> {
    match &items {
        None if !faults.cover(field) => faults.add(field, "is missing (expected a list)"),
        Some(items) if items.len() > MAX_ITEMS => faults.add(
            field,
            format!("has {} items (expected at most {MAX_ITEMS})", items.len()),
        ),
        _ => {}
    }
    faults.none_or(items.unwrap_or_default())
}

fn renewal(item: Value) -> Result<(InstancePath, Beat), Problem> {
    let mut faults = Faults::default();
    let renewal: Renewal = body::fields(item, &mut faults);
    for (field, missing) in [
        ("service", renewal.service.is_none()),
        ("id", renewal.id.is_none()),
    ] {
        if missing && !faults.cover(field) {
            faults.add(field, "is missing (expected a name)");
        }
    }
    match (renewal.service, renewal.id) {
        (Some(service), Some(id)) => faults.none_or((
            InstancePath { service, id },
            Beat {
                generation: renewal.generation.map(|generation| generation.0),
                load: lease::report([
                    renewal.utilization,
                    renewal.qps,
                    renewal.errors,
                    renewal.capacity,
                ]),
            },
        )),
        _ => Err(faults.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn too_many_items_or_none_at_all_are_refused() {
        let named = |result: Result<Vec<Value>, Problem>| {
            let problem = result.unwrap_err();
            (problem.status(), problem.errors()[0].field.clone())
        };
        let many = Some(vec![Value::Null; MAX_ITEMS + 1]);
        assert_eq!(
            named(items("leases", many, Faults::default())),
            (422, "leases".into())
        );
        assert_eq!(
            named(items("leases", None, Faults::default())),
            (422, "leases".into())
        );
        assert!(items("leases", Some(Vec::new()), Faults::default()).is_ok());
    }

    #[test]
    fn a_renewal_names_what_it_renews() {
        let item = json!({"service": "web", "id": "1", "generation": 7, "qps": 9, "capacity": 20});
        let (path, beat) = renewal(item).unwrap();
        assert_eq!((path.id.as_str(), beat.generation), ("1", Some(7)));
        assert_eq!((beat.load.qps, beat.load.capacity), (Some(9.0), Some(20.0)));
        for (item, field) in [
            (json!({"id": "1"}), "service"),
            (json!({"service": "web"}), "id"),
            (json!({"service": "a b", "id": "1"}), "service"),
            (json!({"service": "web", "id": "1", "ttl": "5s"}), "ttl"),
            (json!({"service": "web", "id": "1", "qps": -1}), "qps"),
            (json!("web/1"), ""),
        ] {
            let problem = renewal(item.clone()).unwrap_err();
            assert_eq!(problem.errors()[0].field, field, "{item}");
        }
    }
}
