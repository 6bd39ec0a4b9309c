//! A new split as clients send it, held to what the configuration demands of one.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::body;
use crate::api::native::wire::Integer;
use crate::api::problem::{Faults, Problem};
use crate::instance::MAX_WEIGHT;
use crate::names::ServiceName;
use crate::route::Destination;
use crate::route::splits::MAX_SIDES;

/// A new split.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api::native) struct NewSplit {
    /// Where requests go, by weight. At least one side needs a weight above 0, and each is for a service
    /// of its own. The services need not be there yet; a request that falls on a side without an
    /// available instance is answered with 503.
    #[schema(value_type = Vec<NewSide>, min_items = 1, max_items = 64, required)]
    split: Option<Vec<NewSide>>,
}

/// One side of a new split.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSide {
    #[schema(value_type = ServiceName, required)]
    service: Option<ServiceName>,
    /// Its share relative to the other sides; 1 if it is left out.
    #[schema(value_type = u32, maximum = 65_535, required = false)]
    weight: Option<Integer<0, { MAX_WEIGHT as u64 }>>,
}

/// The split that a body asks for.
///
/// # Errors
/// All that is wrong with it.
pub(super) fn read(value: Value) -> Result<Vec<Destination>, Problem> {
    let mut faults = Faults::default();
    let fields: NewSplit = body::fields(value, &mut faults);
    let sides = fields.split.unwrap_or_default();
    if sides.is_empty() && faults.is_empty() {
        let detail = r#"is missing or empty (expected for example [{"service": "orders"}])"#;
        faults.add("split", detail);
    }
    if sides.len() > MAX_SIDES {
        let detail = format!("has {} sides (expected at most {MAX_SIDES})", sides.len());
        faults.add("split", detail);
    }
    let mut split: Vec<Destination> = Vec::with_capacity(sides.len().min(MAX_SIDES));
    for (position, side) in sides.into_iter().take(MAX_SIDES).enumerate() {
        let weight = side.weight.map_or(1, |Integer(weight)| {
            u32::try_from(weight).unwrap_or(MAX_WEIGHT)
        });
        match side.service {
            Some(service) if split.iter().any(|side| side.service == service) => {
                let detail = format!("{service} is another side's, too (expected one of each)");
                faults.add(format!("split[{position}].service"), detail);
            }
            Some(service) => split.push(Destination { service, weight }),
            None => faults.add(
                format!("split[{position}].service"),
                "is missing (expected the name of a service)",
            ),
        }
    }
    if faults.is_empty() && split.iter().all(|side| side.weight == 0) {
        faults.add("split", "has only weights of 0 (expected one above 0)");
    }
    faults.none_or(split)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_side_without_a_weight_weighs_1() {
        let split = read(json!({"split": [{"service": "Web", "weight": 0}, {"service": "b"}]}));
        let split: Vec<_> = split.unwrap().iter().map(Destination::to_string).collect();
        assert_eq!(split, ["web 0", "b 1"]);
    }

    #[test]
    fn what_is_no_split_is_refused_by_field() {
        let many: Vec<_> = (0..=MAX_SIDES)
            .map(|n| json!({"service": format!("a{n}")}))
            .collect();
        for (body, field) in [
            (json!({}), "split"),
            (json!({"split": null}), "split"),
            (json!({"split": []}), "split"),
            (json!({"split": {}}), "split"),
            (json!({"split": many}), "split"),
            (json!({"split": [{"service": "a", "weight": 0}]}), "split"),
            (json!({"split": [{"weight": 1}]}), "split[0].service"),
            (json!({"split": [{"service": "a b"}]}), "split[0].service"),
            (
                json!({"split": [{"service": "a"}, {"service": "A", "weight": 0}]}),
                "split[1].service",
            ),
            (
                json!({"split": [{"service": "a", "weight": -1}]}),
                "split[0].weight",
            ),
            (
                json!({"split": [{"service": "a", "weight": 65_536}]}),
                "split[0].weight",
            ),
            (
                json!({"split": [{"service": "a", "share": 1}]}),
                "split[0].share",
            ),
            (json!({"split": [{"service": "a"}], "x": 1}), "x"),
            (json!([]), ""),
        ] {
            let problem = read(body.clone()).unwrap_err();
            let found: Vec<_> = problem.errors().iter().map(|error| &error.field).collect();
            assert_eq!(found, [field], "{body}");
        }
    }
}
