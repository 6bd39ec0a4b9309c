//! `callboard services`: every service and how its instances are.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use crate::client::{Call, Client};

use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::table::Table;
use super::table::cell::{Cell, Tone};
use super::table::fit::Priority;

/// How to list the services.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// JSON, as the API gives it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Deserialize)]
struct Service {
    service: String,
    instances: usize,
    #[serde(default)]
    availability: BTreeMap<String, usize>,
}

/// Availabilities from the best to the worst.
const ORDER: [&str; 7] = [
    "ready",
    "suspect",
    "starting",
    "draining",
    "ejected",
    "unhealthy",
    "down",
];

const HEADINGS: [&str; 3] = ["SERVICE", "INSTANCES", "AVAILABILITY"];
/// Who is there is also in how they are.
const PRIORITY: Priority = Priority {
    dispensable: &[1],
    whole: Some(2),
};

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let answer = client.call(Call::get("/api/v1/services")).await?;
        let services: Vec<Service> = client.read(&answer)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        if services.is_empty() {
            screen.note("no service has instances");
        }
        let table = Table::new(HEADINGS).by(PRIORITY);
        let rows = services.iter().map(Service::row);
        Ok(table.on(screen.look).write(screen.out, rows)?)
    }
}

impl Service {
    fn row(&self) -> [Cell; 3] {
        let rank = |word: &str| ORDER.iter().position(|known| *known == word);
        let mut counts: Vec<_> = self.availability.iter().collect();
        counts.sort_by_key(|(word, _)| rank(word).unwrap_or(ORDER.len()));
        let mut shown = Cell::default();
        for (position, (word, count)) in counts.into_iter().enumerate() {
            let comma = if position > 0 { ", " } else { "" };
            shown = shown.and(Tone::Plain, comma);
            shown = shown.and(Tone::of(word), &format!("{count} {word}"));
        }
        [
            self.service.as_str().into(),
            self.instances.to_string().into(),
            shown,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_availabilities_from_the_best_to_the_worst() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "service": "web", "instances": 9, "index": 7,
            "availability": {"ejected": 1, "ready": 7, "asleep": 1},
        }))
        .unwrap();
        let [name, count, shown] = service.row().map(|cell| cell.text(false));
        assert_eq!((name.as_str(), count.as_str()), ("web", "9"));
        assert_eq!(shown, "7 ready, 1 ejected, 1 asleep");
    }
}
