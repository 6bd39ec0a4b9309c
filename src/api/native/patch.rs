//! Changing part of a registration: a merge patch
//! ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)) of what may change while an instance runs.
//! `null` takes a value back to what a registration without it would have.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::body;
use crate::api::caller::{InstancePath, Registrant};
use crate::api::openapi::replies::{PatchProblems, Patched};
use crate::api::problem::{Faults, Problem};
use crate::api::query::Query;
use crate::instance::MAX_WEIGHT;
use crate::registry::command::{Command, Patch};

use super::version::{self, Version};
use super::view::{InstanceView, Views};
use super::wire::{Integer, nullable};

/// The weight of a registration that names none.
const DEFAULT_WEIGHT: u32 = 1;

/// Changes part of a registration
///
/// A merge patch (RFC 7396): what is left out stays, and `null` takes a value back to what a
/// registration without it would have.
#[utoipa::path(
    patch,
    path = "/services/{service}/instances/{id}",
    operation_id = "patchInstance",
    tag = "instances",
    params(
        InstancePath,
        ("If-Match" = Option<String>, Header,
            description = "Change only the registration with this `ETag`, or one that has not \
                changed since this index."),
    ),
    request_body = PatchFields,
    responses(Patched<InstanceView<'_>>, PatchProblems)
)]
pub(super) async fn patch(
    State(api): State<Api>,
    Registrant { path, actor, .. }: Registrant,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    query.finish()?;
    let patch = read(body::json(&body::read(body, body::MAX_BODY).await?)?)?;
    let if_match = {
        let snapshot = api.registry.snapshot();
        let member = snapshot
            .member(path.service.as_str(), path.id.as_str())
            .ok_or_else(|| path.unknown())?;
        version::if_match(&headers, member, snapshot.revision)?
    };
    let command = Command::Patch {
        service: path.service,
        id: path.id,
        patch,
        if_match,
    };
    let applied = api.registry.submit(command, actor).await?;
    let view = Views::new(&api).instance(&applied.member);
    Ok(Version::of_member(&applied.member).reply(&HeaderMap::new(), view))
}

/// What may change while an instance runs.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Patch)]
pub(super) struct PatchFields {
    /// The share of the traffic relative to the other instances; 0 takes none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, maximum = 65_535)]
    weight: Option<Option<Integer<0, { MAX_WEIGHT as u64 }>>>,
    /// The failure domain it runs in, in at most 512 bytes.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 512)]
    zone: Option<Option<String>>,
    /// At most 64 labels to filter by, each of at most 512 bytes. Replaces those that are there.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>)]
    tags: Option<Option<BTreeSet<String>>>,
    /// Entries to set, or with `null` to take out. At most 64 may result, each of at most 512
    /// bytes.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: Option<Option<BTreeMap<String, Option<String>>>>,
}

fn read(value: Value) -> Result<Patch, Problem> {
    let mut faults = Faults::default();
    let fields: PatchFields = body::fields(value, &mut faults);
    let weight = |weight: Option<Integer<0, _>>| match weight {
        Some(Integer(weight)) => u32::try_from(weight).unwrap_or(MAX_WEIGHT),
        None => DEFAULT_WEIGHT,
    };
    faults.none_or(Patch {
        weight: fields.weight.map(weight),
        zone: fields.zone,
        tags: fields.tags.map(Option::unwrap_or_default),
        clear_metadata: matches!(fields.metadata, Some(None)),
        metadata: fields.metadata.flatten().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_stays_and_null_takes_back() {
        assert_eq!(read(json!({})).unwrap(), Patch::default());
        let patch = read(json!({"weight": null, "zone": null, "tags": null, "metadata": null}));
        let patch = patch.unwrap();
        assert_eq!(patch.weight, Some(1));
        assert_eq!(patch.zone, Some(None));
        assert_eq!(patch.tags, Some(BTreeSet::new()));
        assert!(patch.clear_metadata && patch.metadata.is_empty());
    }

    #[test]
    fn metadata_is_merged_entry_by_entry() {
        let patch = read(json!({"weight": 5, "metadata": {"build": "8", "old": null}})).unwrap();
        assert_eq!(patch.weight, Some(5));
        assert!(!patch.clear_metadata);
        assert_eq!(patch.metadata["build"], Some("8".to_owned()));
        assert_eq!(patch.metadata["old"], None);
    }

    #[test]
    fn nothing_else_can_be_patched() {
        let cases = [
            (json!({"port": 1}), "port"),
            (json!({"id": "x"}), "id"),
            (json!({"lease": null}), "lease"),
            (json!({"weight": "1"}), "weight"),
            (json!({"tags": {"a": 1}}), "tags"),
            (json!({"metadata": {"a": {"b": "c"}}}), "metadata.a"),
            (json!(null), ""),
        ];
        for (body, field) in cases {
            let problem = read(body.clone()).unwrap_err();
            assert_eq!(problem.errors()[0].field, field, "{body}");
        }
    }
}
