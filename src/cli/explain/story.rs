//! An explanation as a story: what came in, which route it took and why, and every attempt with who
//! could have been chosen, who was, and what became of it.

use std::io;

use crate::cli::screen::Screen;
use crate::cli::table::Table;
use crate::cli::table::cell::{Cell, Tone};
use crate::cli::table::fit::Priority;

use super::shape::{
    Attempt, Candidate, Explanation, Fault, Policy, Refused, Route, Waited, status, time,
};

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
/// Which of them give way.
const PRIORITY: Priority = Priority {
    dispensable: &[6, 4, 3, 5, 7],
    whole: Some(2),
};

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
    if let Some(route) = &told.route {
        story.route(route, told.service.as_deref())?;
    }
    if let Some(policy) = &told.policy {
        story.line(0, heading("Policy", &policy.in_words()))?;
    }
    for attempt in &told.attempts {
        story.attempt(attempt)?;
    }
    match &told.refused {
        Some(refused) => story.refused(refused)?,
        None if told.attempts.is_empty() => {
            story.line(0, heading("No attempt", "it was passed on to nobody"))?;
        }
        None => {}
    }
    if let Some(service) = &told.copied_to {
        story.line(0, heading("Copied", &format!("to service {service}")))?;
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
        let to = to.unwrap_or_default();
        match &route.name {
            Some(name) => self.line(0, heading("Route", &format!("{name}{to}")))?,
            None => self.line(0, heading("No route matched", ""))?,
        }
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
        if attempt.hedge {
            self.plain("made beside the one before, which was taking long")?;
        }
        self.waited(attempt.waited.as_ref())?;
        if let Some(why) = attempt.choice() {
            self.plain(&why)?;
        }
        self.candidates(&attempt.candidates, attempt.candidates_total)?;
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

    fn refused(&mut self, refused: &Refused) -> io::Result<()> {
        let because = format!("at {}: {}", time(refused.at), refused.because);
        self.line(0, heading("Nobody could be chosen", &because))?;
        self.waited(refused.waited.as_ref())?;
        self.candidates(&refused.candidates, refused.candidates_total)
    }

    fn waited(&mut self, waited: Option<&Waited>) -> io::Result<()> {
        match waited {
            Some(wait) => self.plain(&format!("waited {}: {}", time(wait.time), wait.because)),
            None => Ok(()),
        }
    }

    fn candidates(&mut self, candidates: &[Candidate], total: Option<u64>) -> io::Result<()> {
        let mut look = self.screen.look;
        look.width = look.width.map(|width| width.saturating_sub(INDENT.len()));
        let mut table = Vec::new();
        let rows = candidates.iter().map(Candidate::row);
        Table::new(CANDIDATES)
            .sparse()
            .by(PRIORITY)
            .on(look)
            .write(&mut table, rows)?;
        for line in String::from_utf8_lossy(&table).lines() {
            writeln!(self.screen.out, "{INDENT}{line}")?;
        }
        let shown = candidates.len() as u64;
        match total.unwrap_or(shown).saturating_sub(shown) {
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
        // Without a hash it does not matter what one would be of.
        let hash = self.hash.as_ref().map(|hash| {
            let of = self.hash_on.as_deref().unwrap_or("nothing");
            match self.hash_is_chance {
                true => format!("hash {hash} by chance, as the request has no {of}"),
                false => format!("hash {hash} of {of}"),
            }
        });
        let zone = self.zone.iter().map(|zone| format!("zone {zone} first"));
        let panic = self
            .panic
            .then(|| "panic: too few are available, so all are used".to_owned());
        let words = [self.balance.clone()].into_iter().chain(hash);
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
mod tests;
