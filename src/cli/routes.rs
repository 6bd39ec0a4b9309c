//! `callboard routes`: the configured routes and where their requests go.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;

use crate::client::{Call, Client};

use super::remote::{Ask, Failure, Remote};
use super::screen::Screen;
use super::split::{Side, in_words};
use super::table::Table;
use super::table::cell::{Cell, Tone};

/// How to list the routes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// JSON, as the API gives it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Route {
    name: Option<String>,
    #[serde(rename = "match")]
    matches: Match,
    strip_prefix: Option<String>,
    split: Vec<Side>,
    split_on: Option<String>,
    overridden: bool,
    mirror: Option<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Match {
    host: Option<String>,
    path: Option<String>,
    methods: Vec<String>,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Mirror {
    service: String,
    share: f64,
}

const HEADINGS: [&str; 6] = ["ROUTE", "MATCH", "SPLIT", "SPLIT ON", "STRIP", "MIRROR"];

impl Ask for Arguments {
    fn remote(&self) -> &Remote {
        &self.remote
    }

    async fn ask(&self, client: &Client, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let answer = client.call(Call::get("/api/v1/routes")).await?;
        let routes: Vec<Route> = client.read(&answer)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        if routes.is_empty() {
            screen.note(
                "no routes are configured; unless default_routes is off, services are reached as \
                 /SERVICE/ and by host",
            );
        }
        let rows = routes.iter().enumerate().map(|(at, route)| route.row(at));
        let mut table = Table::new(HEADINGS).sparse().on(screen.look);
        Ok(table.write(screen.out, rows)?)
    }
}

impl Route {
    fn row(&self, position: usize) -> [Cell; HEADINGS.len()] {
        let unnamed = || Cell::new(Tone::Faint, &format!("routes[{position}]"));
        let split = Cell::new(Tone::Plain, &in_words(&self.split));
        let mirror = self.mirror.as_ref();
        let mirror = mirror.map(|to| format!("{}% to {}", percent(to.share), to.service));
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or_default());
        [
            self.name.as_deref().map_or_else(unnamed, Cell::from),
            self.matches.in_words().into(),
            match self.overridden {
                true => split.and(Tone::Doubtful, " (set by hand)"),
                false => split,
            },
            text(&self.split_on),
            text(&self.strip_prefix),
            mirror.unwrap_or_default().into(),
        ]
    }
}

impl Match {
    fn in_words(&self) -> String {
        let host = self.host.iter().map(|host| format!("host {host}"));
        let path = self.path.iter().map(|path| format!("path {path}"));
        let methods = match self.methods.as_slice() {
            [] => None,
            methods => Some(methods.join("|")),
        };
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {value}"));
        let all: Vec<_> = host.chain(path).chain(methods).chain(headers).collect();
        match all.is_empty() {
            true => "everything".to_owned(),
            false => all.join(", "),
        }
    }
}

fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 1e2
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(route: serde_json::Value) -> [String; 6] {
        let route: Route = serde_json::from_value(route).unwrap();
        route.row(2).map(|cell| cell.text(false))
    }

    #[test]
    fn a_row_says_what_matches_and_where_it_goes() {
        let route = json!({
            "name": "shop", "strip_prefix": "/orders", "overridden": true, "split_on": "cookie:id",
            "match": {"host": "shop.example.com", "path": "/orders/", "methods": ["GET", "POST"],
                "headers": {"x-canary": "1"}},
            "split": [{"service": "orders", "weight": 95}, {"service": "next", "weight": 5}],
            "mirror": {"service": "copy", "share": 0.125},
        });
        assert_eq!(
            row(route),
            [
                "shop",
                "host shop.example.com, path /orders/, GET|POST, x-canary: 1",
                "orders=95 next=5 (set by hand)",
                "cookie:id",
                "/orders",
                "12.5% to copy"
            ]
        );
    }

    #[test]
    fn one_without_a_name_goes_by_its_place() {
        let row = row(json!({"split": [{"service": "web", "weight": 1}]}));
        assert_eq!(row[..3], ["routes[2]", "everything", "web=1"]);
    }
}
