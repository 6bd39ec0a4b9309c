//! An instance as the API gives it, as a row of a table and in full. Of one that was there at another
//! moment only the registration is known.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::address::Address;
use crate::cli::table::cell::{Cell, Tone};
use crate::cli::table::fit::Priority;

/// What [`Instance::row`] shows.
pub(in crate::cli) const HEADINGS: [&str; 9] = [
    "INSTANCE",
    "AVAILABILITY",
    "ADDRESS",
    "WEIGHT",
    "ZONE",
    "TAGS",
    "IN FLIGHT",
    "SERVED",
    "REASON",
];
/// Which of them give way: those last that say how an instance is, why, and where.
pub(super) const PRIORITY: Priority = Priority {
    dispensable: &[5, 3, 7, 4, 6, 8, 2],
    whole: Some(1),
};

/// One instance.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Instance {
    pub(in crate::cli) service: String,
    pub(in crate::cli) id: String,
    address: String,
    port: Option<u16>,
    scheme: String,
    pub(in crate::cli) weight: u32,
    effective_weight: Option<f64>,
    pub(in crate::cli) zone: Option<String>,
    pub(in crate::cli) tags: BTreeSet<String>,
    metadata: BTreeMap<String, String>,
    generation: Option<u64>,
    check: Value,
    pub(in crate::cli) availability: String,
    pub(in crate::cli) reason: Option<String>,
    pub(in crate::cli) in_flight: Option<u64>,
    served: Option<u64>,
    load: Option<BTreeMap<String, Value>>,
    pub(in crate::cli) draining: bool,
    registered_at: String,
    lease: Option<Lease>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Lease {
    ttl: String,
    expires_in: Option<String>,
}

impl Instance {
    /// `10.0.0.5:8080`, or what else is shown.
    pub(in crate::cli) fn place(&self) -> String {
        match Address::from_parts(&self.address, self.port) {
            Ok(address) => address.to_string(),
            Err(_) => self.address.clone(),
        }
    }

    /// Its availability, in its colour.
    pub(in crate::cli) fn availability(&self) -> Cell {
        Cell::new(Tone::of(&self.availability), &self.availability)
    }

    /// The same without what is counted and measured, which changes all the time.
    pub(in crate::cli) fn outline(&self) -> Self {
        Self {
            effective_weight: None,
            in_flight: None,
            served: None,
            load: None,
            lease: None,
            ..self.clone()
        }
    }

    /// What people want to see at a glance.
    pub(super) fn row(&self) -> [Cell; HEADINGS.len()] {
        let number = |number: Option<u64>| number.map_or_else(String::new, |n| n.to_string());
        let tags: Vec<_> = self.tags.iter().map(String::as_str).collect();
        [
            self.id.as_str().into(),
            self.availability(),
            self.place().into(),
            self.share().into(),
            self.zone.as_deref().unwrap_or_default().into(),
            tags.join(",").into(),
            number(self.in_flight).into(),
            number(self.served).into(),
            self.reason.as_deref().unwrap_or_default().into(),
        ]
    }

    /// All that is known, by name.
    pub(super) fn facts(&self) -> Vec<(&str, Cell)> {
        let text = |text: Option<&str>| Cell::from(text.unwrap_or_default());
        let number =
            |number: Option<u64>| number.map_or_else(Cell::default, |n| n.to_string().into());
        let tags: Vec<_> = self.tags.iter().map(String::as_str).collect();
        let metadata = self
            .metadata
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let metadata: Vec<_> = metadata.collect();
        vec![
            ("availability", self.availability()),
            ("reason", text(self.reason.as_deref())),
            ("address", self.place().into()),
            ("scheme", self.scheme.as_str().into()),
            ("weight", self.share().into()),
            ("zone", text(self.zone.as_deref())),
            ("tags", tags.join(", ").into()),
            ("metadata", metadata.join(", ").into()),
            ("check", self.check().into()),
            ("lease", self.lease().into()),
            ("in flight", number(self.in_flight)),
            ("served", number(self.served)),
            ("load", self.load().into()),
            ("generation", number(self.generation)),
            ("registered at", self.registered_at.as_str().into()),
        ]
    }

    /// Its weight, and what that counts for now if it is something else.
    fn share(&self) -> String {
        match self.effective_weight {
            Some(now) if (now - f64::from(self.weight)).abs() >= 0.001 => {
                format!("{} (now {now})", self.weight)
            }
            _ => self.weight.to_string(),
        }
    }

    fn check(&self) -> String {
        match &self.check {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            check => check.to_string(),
        }
    }

    fn lease(&self) -> String {
        match &self.lease {
            Some(Lease {
                ttl,
                expires_in: Some(left),
            }) => format!("{ttl}, {left} left"),
            Some(Lease { ttl, .. }) => ttl.clone(),
            None => "none: it stays until it is signed out".to_owned(),
        }
    }

    fn load(&self) -> String {
        let load = self.load.iter().flatten();
        let load = load.filter(|(_, value)| !value.is_null());
        let load: Vec<_> = load
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        load.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance() -> Instance {
        serde_json::from_value(json!({
            "service": "web", "id": "web-1", "address": "fd00::5", "port": 8080, "scheme": "http",
            "weight": 10, "effective_weight": 2.5, "zone": "a", "tags": ["v2", "blue"],
            "metadata": {"build": "7\u{1b}"}, "generation": null,
            "check": {"tcp": {}, "interval": "5s"}, "availability": "ejected",
            "reason": "5 failures in a row", "in_flight": 3, "served": 1234,
            "load": {"utilization": 0.7, "qps": null}, "draining": false,
            "registered_at": "2026-11-22T20:00:00.000Z", "index": 7, "news": [],
            "lease": {"ttl": "15s", "expires_in": "12.1s"},
        }))
        .unwrap()
    }

    #[test]
    fn a_row_says_where_it_is_and_how_and_why() {
        let row = instance().row().map(|cell| cell.text(false));
        assert_eq!(
            row,
            [
                "web-1",
                "ejected",
                "[fd00::5]:8080",
                "10 (now 2.5)",
                "a",
                "blue,v2",
                "3",
                "1234",
                "5 failures in a row"
            ]
        );
    }

    #[test]
    fn the_facts_are_complete() {
        let instance = instance();
        let facts = instance.facts().into_iter();
        let facts = facts.filter(|(_, cell)| cell.width() > 0);
        let facts: Vec<_> = facts
            .map(|(name, cell)| format!("{name}: {}", cell.text(false)))
            .collect();
        insta::assert_snapshot!(facts.join("\n"), @r#"
        availability: ejected
        reason: 5 failures in a row
        address: [fd00::5]:8080
        scheme: http
        weight: 10 (now 2.5)
        zone: a
        tags: blue, v2
        metadata: build=7\u{1b}
        check: {"interval":"5s","tcp":{}}
        lease: 15s, 12.1s left
        in flight: 3
        served: 1234
        load: utilization 0.7
        registered at: 2026-11-22T20:00:00.000Z
        "#);
    }

    #[test]
    fn of_another_moment_only_the_registration_is_known() {
        let past =
            json!({"service": "web", "id": "1", "address": "10.0.0.5", "port": 1, "weight": 1});
        let past: Instance = serde_json::from_value(past).unwrap();
        let row = past.row().map(|cell| cell.text(false));
        assert_eq!(row[2..4], ["10.0.0.5:1", "1"]);
        assert!(
            row[1].is_empty() && row[4..].iter().all(String::is_empty),
            "{row:?}"
        );
    }
}
