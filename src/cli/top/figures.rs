//! What the registry tells, and how people read it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::escape;

/// One event of `GET /api/v1/live`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) at: String,
    pub(super) complete: bool,
    pub(super) total: Total,
    pub(super) history: Vec<Figures>,
    pub(super) services: Vec<Row>,
    pub(super) removed: Vec<String>,
}

/// Per second, and in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figures {
    pub(super) rate: f64,
    pub(super) errors: f64,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) in_flight: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Total {
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) connections: u64,
    pub(super) services: u64,
    pub(super) instances: u64,
}

/// One service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Row {
    pub(super) service: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) instances: u64,
    pub(super) availability: BTreeMap<String, u64>,
    pub(super) panic: bool,
}

impl Row {
    /// How its instances are: `8 ready, 1 ejected`.
    pub(super) fn availability(&self) -> String {
        // What is in order first.
        let mut states: Vec<_> = self.availability.iter().collect();
        states.sort_by_key(|(name, _)| (*name != "ready", *name));
        let states: Vec<_> = states
            .iter()
            .map(|(name, n)| format!("{n} {name}"))
            .collect();
        let panic = if self.panic { " (panic)" } else { "" };
        harmless(&format!("{}{panic}", states.join(", ")))
    }

    /// Whether all of its instances are in order.
    pub(super) fn is_well(&self) -> bool {
        let ready = self.availability.get("ready");
        !self.panic && ready.copied().unwrap_or_default() == self.instances
    }
}

/// Text of unknown origin for a terminal.
pub(super) fn harmless(text: &str) -> String {
    escape::for_terminal(text).into_owned()
}

/// So many per second.
pub(super) fn rate(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 10.0 => format!("{value:.1}"),
        value if value < 99_999.5 => format!("{value:.0}"),
        value if value < 999_500.0 => format!("{:.0}k", value / 1e3),
        value => format!("{:.1}M", value / 1e6),
    }
}

/// A time in seconds.
pub(super) fn time(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 0.01 => format!("{:.1}ms", value * 1e3),
        Some(value) if value < 0.9995 => format!("{:.0}ms", value * 1e3),
        Some(value) => format!("{value:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let rates = [0.0, 0.04, 9.5, 12.4, 99_999.0, 100_000.0, 2_340_000.0].map(rate);
        assert_eq!(rates, ["0", "0.0", "9.5", "12", "99999", "100k", "2.3M"]);
        let times = [
            None,
            Some(0.0001),
            Some(0.0125),
            Some(0.5),
            Some(1.0),
            Some(100.0),
        ]
        .map(time);
        assert_eq!(times, ["-", "0.1ms", "12ms", "500ms", "1.0s", "100.0s"]);
    }

    #[test]
    fn how_instances_are_begins_with_those_in_order_and_commands_no_terminal() {
        let states = [("draining", 1), ("ready", 8), ("\u{1b}[2J", 2)];
        let row = Row {
            availability: states.map(|(name, n)| (name.to_owned(), n)).into(),
            panic: true,
            ..Row::default()
        };
        assert_eq!(
            row.availability(),
            "8 ready, 2 \\u{1b}[2J, 1 draining (panic)"
        );
    }

    #[test]
    fn an_event_may_leave_out_and_add_anything() {
        let event: Event =
            serde_json::from_str("{\"total\":{\"rate\":1.5,\"p50\":null},\"new\":1}").unwrap();
        assert_eq!(event.total.figures.rate, 1.5);
        assert!(event.services.is_empty());
    }
}
