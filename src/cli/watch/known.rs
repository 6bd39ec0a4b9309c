//! What is known of the membership, so that of every event only what is new is told.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::instances::shape::Instance;
use crate::cli::table::cell::{Cell, Tone};
use crate::cli::table::fit::Priority;

/// What [`Change::row`] shows.
pub(super) const HEADINGS: [&str; 5] = ["TIME", "INSTANCE", "AVAILABILITY", "ADDRESS", "WHY"];
/// Which of them give way.
pub(super) const PRIORITY: Priority = Priority {
    dispensable: &[3, 0],
    whole: Some(2),
};

/// The instances there are, by service and id.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<(String, String), Instance>);

/// What happened to one instance.
#[derive(Debug)]
pub(super) enum Change {
    /// It is there, and was not known.
    Came(Instance),
    /// It was different before.
    Turned(Box<[Instance; 2]>),
    /// It is gone.
    Left(Instance),
}

#[derive(Debug, Deserialize)]
struct Name {
    service: String,
    id: String,
}

impl Known {
    /// Takes in an event; gives what is new. Events that are not known tell nothing.
    ///
    /// # Errors
    /// When the data is not what such an event has.
    pub(super) fn take(
        &mut self,
        event: &str,
        data: &[u8],
    ) -> Result<Vec<Change>, serde_json::Error> {
        Ok(match event {
            "snapshot" => self.everything(serde_json::from_slice(data)?),
            "upsert" => self
                .here(serde_json::from_slice(data)?)
                .into_iter()
                .collect(),
            "remove" => {
                let Name { service, id } = serde_json::from_slice(data)?;
                let gone = self.0.remove(&(service, id));
                gone.map(Change::Left).into_iter().collect()
            }
            _ => Vec::new(),
        })
    }

    fn everything(&mut self, instances: Vec<Instance>) -> Vec<Change> {
        let mut before = std::mem::take(self);
        let mut changes = Vec::new();
        for instance in instances {
            let key = (instance.service.clone(), instance.id.clone());
            if let Some(known) = before.0.remove(&key) {
                self.0.insert(key, known);
            }
            changes.extend(self.here(instance));
        }
        let gone = before.0.into_values().map(Change::Left);
        gone.chain(changes).collect()
    }

    fn here(&mut self, now: Instance) -> Option<Change> {
        let key = (now.service.clone(), now.id.clone());
        match self.0.insert(key, now.clone()) {
            None => Some(Change::Came(now)),
            Some(before) => {
                let same = before.outline() == now.outline();
                (!same).then(|| Change::Turned(Box::new([before, now])))
            }
        }
    }
}

impl Change {
    /// The change as people want to see it.
    pub(super) fn row(&self, at: &str) -> [Cell; HEADINGS.len()] {
        let (instance, availability, why) = match self {
            Self::Came(now) => (now, now.availability(), reason(now)),
            Self::Left(last) => (last, Cell::new(Tone::Faint, "gone"), String::new()),
            Self::Turned(turn) => {
                let [before, now] = &**turn;
                (now, turned(before, now), differences(before, now))
            }
        };
        [
            Cell::new(Tone::Faint, at),
            format!("{}/{}", instance.service, instance.id).into(),
            availability,
            instance.place().into(),
            why.into(),
        ]
    }
}

fn turned(before: &Instance, now: &Instance) -> Cell {
    match before.availability == now.availability {
        true => now.availability(),
        false => {
            let before = Cell::new(Tone::Faint, &format!("{} → ", before.availability));
            before.and(Tone::of(&now.availability), &now.availability)
        }
    }
}

/// What else is different, and the reason of how it is.
fn differences(before: &Instance, now: &Instance) -> String {
    let zone = |instance: &Instance| instance.zone.clone().unwrap_or_else(|| "none".to_owned());
    let tags = |instance: &Instance| instance.tags.iter().cloned().collect::<Vec<_>>().join(",");
    let told = [
        ("weight", before.weight.to_string(), now.weight.to_string()),
        ("zone", zone(before), zone(now)),
        ("tags", tags(before), tags(now)),
        ("address", before.place(), now.place()),
    ];
    let told = told.into_iter().filter(|(_, before, now)| before != now);
    let told = told.map(|(name, before, now)| format!("{name} {before} → {now}"));
    let reason = Some(reason(now)).filter(|reason| !reason.is_empty());
    let all: Vec<_> = reason.into_iter().chain(told).collect();
    match all.is_empty() && before.availability == now.availability {
        true => "its registration changed".to_owned(),
        false => all.join(", "),
    }
}

fn reason(instance: &Instance) -> String {
    instance.reason.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn instance(id: &str, more: Value) -> Value {
        let mut instance = json!({
            "service": "web", "id": id, "address": "10.0.0.5", "port": 80, "weight": 1,
            "availability": "ready", "reason": null, "in_flight": 0, "served": 0,
        });
        let fields = instance.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        instance
    }

    /// What is told of an event: instance, availability and why.
    fn told(known: &mut Known, event: &str, data: &Value) -> Vec<String> {
        let changes = known.take(event, data.to_string().as_bytes()).unwrap();
        let rows = changes.iter().map(|change| change.row("now"));
        rows.map(|row| {
            let [_, instance, availability, _, why] = row.map(|cell| cell.text(false));
            format!("{instance} {availability}: {why}")
        })
        .collect()
    }

    #[test]
    fn a_change_is_told_once_with_what_it_was_before() {
        let mut known = Known::default();
        let first = json!([instance("1", json!({})), instance("2", json!({}))]);
        assert_eq!(
            told(&mut known, "snapshot", &first),
            ["web/1 ready: ", "web/2 ready: "]
        );
        let draining = instance(
            "1",
            json!({"availability": "draining", "reason": "drain requested"}),
        );
        assert_eq!(
            told(&mut known, "upsert", &draining),
            ["web/1 ready → draining: drain requested"]
        );
        // Counters are no change.
        let busier = instance("2", json!({"in_flight": 7, "served": 100}));
        assert_eq!(told(&mut known, "upsert", &busier), [""; 0]);
        let heavier = instance("2", json!({"weight": 5, "zone": "a"}));
        assert_eq!(
            told(&mut known, "upsert", &heavier),
            ["web/2 ready: weight 1 → 5, zone none → a"]
        );
        let gone = json!({"service": "web", "id": "1"});
        assert_eq!(told(&mut known, "remove", &gone), ["web/1 gone: "]);
        assert_eq!(told(&mut known, "remove", &gone), [""; 0]);
    }

    #[test]
    fn of_another_snapshot_only_the_differences_are_told() {
        let mut known = Known::default();
        let first = json!([instance("1", json!({})), instance("2", json!({}))]);
        told(&mut known, "snapshot", &first);
        let second = json!([instance("2", json!({})), instance("3", json!({}))]);
        assert_eq!(
            told(&mut known, "snapshot", &second),
            ["web/1 gone: ", "web/3 ready: "]
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_what_is_not_known_is_passed_over() {
        let mut known = Known::default();
        assert!(known.take("upsert", b"[]x").is_err());
        assert!(known.take("weather", b"[]x").unwrap().is_empty());
    }
}
