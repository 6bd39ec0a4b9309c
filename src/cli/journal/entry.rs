//! One entry of the journal, as the API gives it and as a row of a table.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::Value;

use crate::address::Address;
use crate::cli::table::fit::Priority;
use crate::units::moment::parse_moment;

/// What [`Entry::row`] shows.
pub(super) const HEADINGS: [&str; 6] = ["TIME", "CHANGE", "INSTANCE", "ADDRESS", "BY", "WHY"];
/// Which of them give way.
pub(super) const PRIORITY: Priority = Priority {
    dispensable: &[3, 4],
    whole: Some(1),
};

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    shown: Shown,
    whole: Value,
}

/// What of it a table shows.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Shown {
    index: u64,
    at: String,
    change: String,
    service: String,
    id: String,
    by: By,
    why: Option<String>,
    instance: Instance,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct By {
    actor: String,
    peer: Option<IpAddr>,
    token: Option<String>,
    registry: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Instance {
    address: String,
    port: Option<u16>,
}

/// Keeps the whole, so that what a later version adds gets through to those who read JSON.
impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = Value::deserialize(deserializer)?;
        let shown = Shown::deserialize(&whole).map_err(serde::de::Error::custom)?;
        Ok(Self { shown, whole })
    }
}

impl Entry {
    /// Where it stands in the journal.
    pub(super) fn index(&self) -> u64 {
        self.shown.index
    }

    /// All of it.
    pub(super) fn json(&self) -> &Value {
        &self.whole
    }

    /// What people want to see at a glance.
    pub(super) fn row(&self) -> [String; HEADINGS.len()] {
        let Shown {
            at,
            change,
            service,
            id,
            by,
            why,
            instance,
            ..
        } = &self.shown;
        [
            to_the_second(at),
            change.clone(),
            format!("{service}/{id}"),
            instance.place(),
            by.name(),
            why.clone().unwrap_or_default(),
        ]
    }
}

impl Instance {
    /// `10.0.0.5:8080`, or what else is shown.
    fn place(&self) -> String {
        match Address::from_parts(&self.address, self.port) {
            Ok(address) => address.to_string(),
            Err(_) => self.address.clone(),
        }
    }
}

impl By {
    /// `deploy@10.0.0.9`, `10.0.0.9`, `http://10.0.0.1:8500`, or `callboard`.
    fn name(&self) -> String {
        match (&self.token, &self.peer) {
            (Some(token), Some(peer)) => format!("{token}@{peer}"),
            (None, Some(peer)) => peer.to_string(),
            (_, None) => self.registry.as_ref().unwrap_or(&self.actor).clone(),
        }
    }
}

fn to_the_second(at: &str) -> String {
    match parse_moment(at, SystemTime::UNIX_EPOCH) {
        Ok(moment) => humantime::format_rfc3339_seconds(moment).to_string(),
        Err(_) => at.to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An entry as the API gives it.
    pub(in crate::cli::journal) fn entry(index: u64, by: Value) -> Value {
        json!({
            "index": index, "at": "2026-11-22T20:00:00.123Z", "change": "patched",
            "service": "web", "id": "web-1", "by": by, "why": "weight 1 → 5",
            "instance": {"address": "fd00::5", "port": 8080, "weight": 5}, "news": true,
        })
    }

    fn row(by: Value) -> [String; 6] {
        let entry: Entry = serde_json::from_value(entry(7, by)).unwrap();
        assert_eq!((entry.index(), &entry.json()["news"]), (7, &json!(true)));
        entry.row()
    }

    #[test]
    fn a_row_says_when_what_where_who_and_why() {
        assert_eq!(
            row(json!({"actor": "client", "peer": "10.0.0.9", "token": "deploy"})),
            [
                "2026-11-22T20:00:00Z",
                "patched",
                "web/web-1",
                "[fd00::5]:8080",
                "deploy@10.0.0.9",
                "weight 1 → 5",
            ]
        );
        let client = row(json!({"actor": "client", "peer": "10.0.0.9", "token": null}));
        assert_eq!(client[4], "10.0.0.9");
        let callboard = row(json!({"actor": "callboard", "peer": null, "token": null}));
        assert_eq!(callboard[4], "callboard");
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let error = serde_json::from_value::<Entry>(json!({"index": 7})).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
