//! Explanations as the API gives them. What a later version adds is passed over, and what is `null` or
//! left out is not told.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::table::cell::{Cell, Tone};

/// What [`Recent::row`] shows.
pub(super) const HEADINGS: [&str; 9] = [
    "TIME", "STATUS", "TOOK", "REQUEST", "ROUTE", "SERVICE", "INSTANCE", "TRIES", "ID",
];

/// One request in a list.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Recent {
    id: String,
    at: String,
    method: String,
    target: String,
    route: Option<String>,
    service: Option<String>,
    status: Option<u16>,
    took: f64,
    attempts: u64,
    instance: Option<String>,
}

/// Why one request went where it went.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Explanation {
    pub(super) id: String,
    pub(super) at: String,
    pub(super) why: String,
    pub(super) client: String,
    pub(super) method: String,
    pub(super) host: Option<String>,
    pub(super) target: String,
    pub(super) version: String,
    pub(super) status: Option<u16>,
    pub(super) took: f64,
    pub(super) head: Option<f64>,
    pub(super) error: Option<Fault>,
    pub(super) route: Option<Route>,
    pub(super) service: Option<String>,
    pub(super) policy: Option<Policy>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) refused: Option<Refused>,
    pub(super) copied_to: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) detail: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Route {
    pub(super) name: Option<String>,
    pub(super) matched: Vec<String>,
    pub(super) split: Option<Split>,
    pub(super) passed_over: Vec<PassedOver>,
    pub(super) strip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Split {
    pub(super) side: String,
    pub(super) of: Vec<Side>,
    pub(super) by: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Side {
    pub(super) service: String,
    pub(super) weight: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PassedOver {
    pub(super) route: String,
    pub(super) because: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    pub(super) balance: String,
    pub(super) hash_on: Option<String>,
    pub(super) hash: Option<String>,
    pub(super) hash_is_chance: bool,
    pub(super) panic: bool,
    pub(super) zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) number: u64,
    pub(super) at: f64,
    pub(super) instance: Option<String>,
    pub(super) address: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) because: Option<String>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) candidates_total: Option<u64>,
    pub(super) hedge: bool,
    pub(super) waited: Option<Waited>,
    pub(super) connection: Option<Connection>,
    pub(super) ended: Option<f64>,
    pub(super) outcome: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) error: Option<Fault>,
    pub(super) next: Option<String>,
}

/// An attempt for which nobody could be chosen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refused {
    pub(super) at: f64,
    pub(super) because: String,
    pub(super) waited: Option<Waited>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) candidates_total: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Waited {
    pub(super) time: f64,
    pub(super) because: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Candidate {
    pub(super) instance: String,
    pub(super) availability: String,
    pub(super) weight: u64,
    pub(super) effective_weight: Option<f64>,
    pub(super) in_flight: Option<u64>,
    pub(super) score: Option<f64>,
    pub(super) zone: Option<String>,
    pub(super) chosen: bool,
    pub(super) drawn: bool,
    pub(super) excluded: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connection {
    pub(super) after: Option<f64>,
    pub(super) reused: bool,
}

/// Reads what the API gave.
///
/// # Errors
/// When it is something else.
pub(super) fn read<T: DeserializeOwned>(mut given: Value) -> Result<T, serde_json::Error> {
    leave_out_nulls(&mut given);
    serde_json::from_value(given)
}

fn leave_out_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(leave_out_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_nulls),
        _ => {}
    }
}

impl Recent {
    /// What people want to see at a glance.
    pub(super) fn row(&self) -> [Cell; HEADINGS.len()] {
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or_default());
        [
            Cell::new(Tone::Faint, &self.at),
            status(self.status),
            time(self.took).into(),
            format!("{} {}", self.method, self.target).into(),
            text(&self.route),
            text(&self.service),
            text(&self.instance),
            self.attempts.to_string().into(),
            self.id.as_str().into(),
        ]
    }
}

/// A status in the colour of its class.
pub(super) fn status(status: Option<u16>) -> Cell {
    let tone = match status {
        Some(..=399) => Tone::Good,
        Some(400..=499) => Tone::Doubtful,
        Some(500..) => Tone::Bad,
        None => Tone::Faint,
    };
    let text = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    Cell::new(tone, &text)
}

/// Seconds in the unit that suits them.
pub(super) fn time(seconds: f64) -> String {
    let in_unit = |amount: f64, unit: &str| {
        let digits = match amount {
            _ if amount >= 100.0 => 0,
            _ if amount >= 10.0 => 1,
            _ => 2,
        };
        format!("{amount:.digits$}{unit}")
    };
    match seconds {
        _ if seconds >= 1.0 => in_unit(seconds, "s"),
        _ if seconds >= 1e-3 => in_unit(seconds * 1e3, "ms"),
        _ if seconds > 0.0 => format!("{:.0}µs", seconds * 1e6),
        _ => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_three_digits() {
        for (seconds, told) in [
            (0.0, "0s"),
            (-1.0, "0s"),
            (0.0000004, "0µs"),
            (0.000123, "123µs"),
            (0.00123, "1.23ms"),
            (0.0123, "12.3ms"),
            (0.123, "123ms"),
            (1.5, "1.50s"),
            (150.0, "150s"),
        ] {
            assert_eq!(time(seconds), told);
        }
    }

    #[test]
    fn a_row_of_the_list_says_what_became_of_the_request() {
        let recent: Recent = read(serde_json::json!({
            "id": "5f0c", "at": "2026-11-23T06:00:00.000Z", "client": "10.0.0.1", "method": "GET",
            "target": "/x?y", "host": "h", "route": "shop", "service": null, "status": 503,
            "took": 0.0123, "attempts": 2, "instance": null, "news": 1,
        }))
        .unwrap();
        let row = recent.row().map(|cell| cell.text(false));
        assert_eq!(
            row.join("|"),
            "2026-11-23T06:00:00.000Z|503|12.3ms|GET /x?y|shop|||2|5f0c"
        );
    }
}
