//! An explanation as a story: what came in, which route it took and why, and every attempt with who
//! could have been chosen, who was, and what became of it.

use std::io;

use crate::cli::screen::Screen;
use crate::cli::table::Table;
use crate::cli::table::cell::{Cell, Tone};

use super::shape::{Attempt, Candidate, Explanation, Fault, Policy, Route, status, time};

/// How far what belongs to something is indented.
const INDENT: &str = "  ";

const CANDIDATES: [&str; 8] = [
    "  ",
    "INSTANCE",
    "AVAILABILITY",
    "WEIGHT",
    "IN FLIGHT",
    "SCORE",
    "ZONE",
    "WHY NOT",
];

/// Tells it.
///
/// # Errors
/// When the output takes no more.
pub(super) fn tell(told: &Explanation, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut story = Story { screen };
    story.line(0, request(told))?;
    story.line(1, Cell::new(Tone::Faint, &background(told)))?;
    if let Some(error) = &told.error {
        story.line(1, Cell::new(Tone::Bad, &error.in_words()))?;
    }
    match &told.route {
        Some(route) => story.route(route, told.service.as_deref())?,
        None => story.line(0, heading("No route matched", ""))?,
    }
    if let Some(policy) = &told.policy {
        story.line(0, heading("Policy", &policy.in_words()))?;
    }
    for attempt in &told.attempts {
        story.attempt(attempt)?;
    }
    if told.attempts.is_empty() {
        story.line(0, heading("No attempt", "it was passed on to nobody"))?;
    }
    story.screen.out.flush()
}

struct Story<'s, 'a> {
    screen: &'s mut Screen<'a>,
}

impl Story<'_, '_> {
    fn line(&mut self, depth: usize, cell: Cell) -> io::Result<()> {
        let text = cell.text(self.screen.look.colored);
        writeln!(self.screen.out, "{}{text}", INDENT.repeat(depth))
    }

    fn plain(&mut self, text: &str) -> io::Result<()> {
        self.line(1, text.into())
    }

    fn route(&mut self, route: &Route, service: Option<&str>) -> io::Result<()> {
        let to = service.map(|service| format!(" → service {service}"));
        self.line(
            0,
            heading(
                "Route",
                &format!("{}{}", route.name, to.unwrap_or_default()),
            ),
        )?;
        if !route.matched.is_empty() {
            self.plain(&format!("matched {}", route.matched.join(", ")))?;
        }
        if let Some(split) = &route.split {
            let sides = split.of.iter();
            let sides: Vec<_> = sides
                .map(|side| format!("{}={}", side.service, side.weight))
                .collect();
            self.plain(&format!(
                "split {}: {}, by {}",
                sides.join(" "),
                split.side,
                split.by
            ))?;
        }
        if let Some(prefix) = &route.strip {
            self.plain(&format!("{prefix} is taken off the path"))?;
        }
        for other in &route.passed_over {
            let text = format!("passed over {}: {}", other.route, other.because);
            self.line(1, Cell::new(Tone::Faint, &text))?;
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: &Attempt) -> io::Result<()> {
        let name = format!("Attempt {}", attempt.number);
        self.line(0, heading(&name, &attempt.destination()))?;
        if let Some(why) = attempt.choice() {
            self.plain(&why)?;
        }
        self.candidates(attempt)?;
        if let Some(connection) = &attempt.connection {
            let after = connection.after.map(|after| format!(" at {}", time(after)));
            let how = if connection.reused {
                "on a kept connection"
            } else {
                "on a new connection"
            };
            self.plain(&format!("sent {how}{}", after.unwrap_or_default()))?;
        }
        if let Some(end) = attempt.end() {
            self.line(1, end)?;
        }
        match &attempt.next {
            Some(next) => self.plain(next),
            None => Ok(()),
        }
    }

    fn candidates(&mut self, attempt: &Attempt) -> io::Result<()> {
        let mut look = self.screen.look;
        look.width = look.width.map(|width| width.saturating_sub(INDENT.len()));
        let mut table = Vec::new();
        let rows = attempt.candidates.iter().map(Candidate::row);
        Table::new(CANDIDATES)
            .sparse()
            .on(look)
            .write(&mut table, rows)?;
        for line in String::from_utf8_lossy(&table).lines() {
            writeln!(self.screen.out, "{INDENT}{line}")?;
        }
        let shown = attempt.candidates.len() as u64;
        match attempt
            .candidates_total
            .unwrap_or(shown)
            .saturating_sub(shown)
        {
            0 => Ok(()),
            more => self.plain(&format!("and {more} more")),
        }
    }
}

fn heading(name: &str, text: &str) -> Cell {
    Cell::new(Tone::Strong, name)
        .and(Tone::Plain, if text.is_empty() { "" } else { "  " })
        .and(Tone::Plain, text)
}

/// `GET shop.example.com/orders/7 → 200 in 12.3ms`.
fn request(told: &Explanation) -> Cell {
    let host = told.host.as_deref().unwrap_or_default();
    let asked = format!("{} {host}{}", told.method, told.target);
    let shown = Cell::new(Tone::Strong, &asked).and(Tone::Plain, " → ");
    let answer = status(told.status).text(false);
    let tone = match told.status {
        Some(..=399) => Tone::Good,
        Some(400..=499) => Tone::Doubtful,
        _ => Tone::Bad,
    };
    let head = told
        .head
        .map(|head| format!(", its head after {}", time(head)));
    let took = format!(" in {}{}", time(told.took), head.unwrap_or_default());
    shown.and(tone, &answer).and(Tone::Plain, &took)
}

fn background(told: &Explanation) -> String {
    let why = match told.why.as_str() {
        "" => String::new(),
        why => format!(", explained because {why}"),
    };
    format!(
        "request {} by {} from {} at {}{why}",
        told.id, told.version, told.client, told.at
    )
}

impl Fault {
    fn in_words(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.kind),
            None => self.kind.clone(),
        }
    }
}

impl Policy {
    fn in_words(&self) -> String {
        let hash = self.hash.iter().map(|hash| format!("hash {hash}"));
        let on = self.hash_on.iter().map(|on| format!("on {on}"));
        let zone = self.zone.iter().map(|zone| format!("zone {zone} first"));
        let panic = self
            .panic
            .then(|| "panic: too few are available, so all are used".to_owned());
        let words = [self.balance.clone()].into_iter().chain(on).chain(hash);
        words
            .chain(zone)
            .chain(panic)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Attempt {
    fn destination(&self) -> String {
        let at = format!("at {}", time(self.at));
        match (&self.instance, &self.address) {
            (Some(instance), Some(address)) => format!("{at} → {instance} ({address})"),
            (Some(place), None) | (None, Some(place)) => format!("{at} → {place}"),
            (None, None) => format!("{at}: nobody could be chosen"),
        }
    }

    fn choice(&self) -> Option<String> {
        match (&self.algorithm, &self.because) {
            (Some(algorithm), Some(because)) => Some(format!("chosen by {algorithm}: {because}")),
            (Some(algorithm), None) => Some(format!("chosen by {algorithm}")),
            (None, because) => because.clone(),
        }
    }

    fn end(&self) -> Option<Cell> {
        let outcome = self.outcome.as_deref()?;
        let tone = match outcome {
            "answered" if self.status.is_none_or(|status| status < 500) => Tone::Good,
            "answered" | "failed" => Tone::Bad,
            _ => Tone::Doubtful,
        };
        let status = self
            .status
            .map(|status| format!(" {status}"))
            .unwrap_or_default();
        let error = self
            .error
            .as_ref()
            .map(|error| format!(" ({})", error.in_words()));
        let at = self.ended.map(|ended| format!(" at {}", time(ended)));
        let rest = format!("{}{}", error.unwrap_or_default(), at.unwrap_or_default());
        Some(Cell::new(tone, &format!("{outcome}{status}")).and(Tone::Plain, &rest))
    }
}

impl Candidate {
    fn row(&self) -> [Cell; CANDIDATES.len()] {
        let mark = match (self.chosen, self.drawn) {
            (true, _) => "→",
            (false, true) => "·",
            (false, false) => "",
        };
        let weight = match self.effective_weight {
            Some(now) if (now - self.weight as f64).abs() >= 0.001 => {
                format!("{} (now {})", self.weight, short(now))
            }
            _ => self.weight.to_string(),
        };
        let name = if self.chosen {
            Tone::Strong
        } else {
            Tone::Plain
        };
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or_default());
        [
            Cell::new(Tone::Strong, mark),
            Cell::new(name, &self.instance),
            Cell::new(Tone::of(&self.availability), &self.availability),
            weight.into(),
            self.in_flight
                .map(|n| n.to_string())
                .unwrap_or_default()
                .into(),
            self.score.map(short).unwrap_or_default().into(),
            text(&self.zone),
            text(&self.excluded),
        ]
    }
}

/// A number with no more digits than anybody reads.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::cli::screen::Look;

    use super::*;

    fn told(explanation: Value, look: Look) -> String {
        let explanation: Explanation = serde_json::from_value(explanation).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen {
            out: &mut out,
            err: &mut err,
            look,
        };
        tell(&explanation, &mut screen).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn candidate(id: &str, more: Value) -> Value {
        let mut candidate = json!({
            "instance": id, "address": "10.0.0.5:9000", "availability": "ready", "weight": 10,
            "effective_weight": 10.0, "in_flight": 3, "score": null, "zone": null, "chosen": false,
            "drawn": false, "excluded": null,
        });
        let fields = candidate.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        candidate
    }

    fn full() -> Value {
        json!({
            "id": "5f0c", "at": "2026-11-23T06:00:00.000Z", "why": "sampled", "client": "10.0.0.1",
            "method": "GET", "host": "shop.example.com", "target": "/orders/7?y",
            "version": "HTTP/1.1", "status": 200, "took": 0.0123, "head": 0.0119, "error": null,
            "route": {
                "name": "shop",
                "matched": ["host shop.example.com", "path /orders/ (a prefix of /orders/7)"],
                "split": {"side": "orders", "of": [{"service": "orders", "weight": 95},
                    {"service": "orders-next", "weight": 5}], "by": "header:X-User"},
                "passed_over": [{"route": "beta", "because": "header X-Canary is absent (expected 1)"}],
                "strip": "/orders",
            },
            "service": "orders", "revision": 42,
            "policy": {"balance": "maglev", "hash_on": "header:X-User-Id",
                "hash": "9f00000000000000", "panic": false, "zone": "a"},
            "attempts": [
                {"number": 1, "at": 0.0001, "instance": "orders-1", "address": "10.0.0.5:9000",
                    "algorithm": "maglev", "because": "owner of the key's slot",
                    "candidates": [
                        candidate("orders-1", json!({"chosen": true, "drawn": true, "score": 0.41234})),
                        candidate("orders-2", json!({"drawn": true, "effective_weight": 2.5})),
                        candidate("orders-3", json!({"availability": "draining",
                            "excluded": "draining: drain requested"})),
                    ],
                    "candidates_total": 1200,
                    "connection": {"after": 0.0003, "reused": true}, "ended": 0.002,
                    "outcome": "failed", "status": 503, "error": null,
                    "next": "tried again: status 503 is in retry.on"},
                {"number": 2, "at": 0.003, "instance": "orders-2", "address": "10.0.0.6:9000",
                    "algorithm": "maglev", "because": "next in line", "candidates": [],
                    "candidates_total": 0, "connection": {"after": 0.0035, "reused": false},
                    "ended": 0.0119, "outcome": "answered", "status": 200, "error": null,
                    "next": "passed on"},
            ],
        })
    }

    #[test]
    fn the_whole_story_is_told() {
        insta::assert_snapshot!(told(full(), Look::default()), @r#"
        GET shop.example.com/orders/7?y → 200 in 12.3ms, its head after 11.9ms
          request 5f0c by HTTP/1.1 from 10.0.0.1 at 2026-11-23T06:00:00.000Z, explained because sampled
        Route  shop → service orders
          matched host shop.example.com, path /orders/ (a prefix of /orders/7)
          split orders=95 orders-next=5: orders, by header:X-User
          /orders is taken off the path
          passed over beta: header X-Canary is absent (expected 1)
        Policy  maglev, on header:X-User-Id, hash 9f00000000000000, zone a first
        Attempt 1  at 100µs → orders-1 (10.0.0.5:9000)
          chosen by maglev: owner of the key's slot
              INSTANCE  AVAILABILITY  WEIGHT        IN FLIGHT  SCORE   WHY NOT
          →   orders-1  ready         10            3          0.4123
          ·   orders-2  ready         10 (now 2.5)  3
              orders-3  draining      10            3                  draining: drain requested
          and 1197 more
          sent on a kept connection at 300µs
          failed 503 at 2.00ms
          tried again: status 503 is in retry.on
        Attempt 2  at 3.00ms → orders-2 (10.0.0.6:9000)
          chosen by maglev: next in line
          sent on a new connection at 3.50ms
          answered 200 at 11.9ms
          passed on
        "#);
    }

    #[test]
    fn one_that_went_nowhere_says_so() {
        let nowhere = json!({
            "id": "5f0c", "at": "2026-11-23T06:00:00.000Z", "why": "asked for", "client": "::1",
            "method": "GET", "host": null, "target": "/", "version": "HTTP/2", "status": 404,
            "took": 0.0001, "head": null, "route": null, "service": null, "policy": null,
            "error": {"type": "destination_not_found", "detail": "no route\u{1b}[2J"}, "attempts": [],
        });
        insta::assert_snapshot!(told(nowhere, Look::default()), @r#"
        GET / → 404 in 100µs
          request 5f0c by HTTP/2 from ::1 at 2026-11-23T06:00:00.000Z, explained because asked for
          destination_not_found: no route\u{1b}[2J
        No route matched
        No attempt  it was passed on to nobody
        "#);
    }

    #[test]
    fn on_a_terminal_it_is_in_colour_and_no_wider() {
        let look = Look {
            colored: true,
            width: Some(60),
        };
        let story = told(full(), look);
        assert!(
            story.contains("\u{1b}[31mfailed 503\u{1b}[0m at 2.00ms"),
            "{story}"
        );
        let table = story.lines().filter(|line| line.contains("orders-3"));
        for line in table {
            assert!(line.contains('…'), "{line}");
        }
    }

    #[test]
    fn what_an_earlier_version_leaves_out_is_not_told() {
        let story = told(json!({"id": "x"}), Look::default());
        assert!(story.contains("No route matched"), "{story}");
    }
}
