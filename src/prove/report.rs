//! What the scenarios found, and whether each guarantee was kept.

use std::time::Duration;

use serde::Serialize;

use super::scenario::Scenario;
use super::stage::Finding;
use super::tally::{Failure, Kind};

/// How many failures of a scenario are told in full.
const TOLD: usize = 20;

/// What came of a whole proof.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every guarantee was kept that was put to the proof.
    pub held: bool,
    /// The scenarios, in order.
    pub scenarios: Vec<Scene>,
}

/// What came of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Scene {
    /// Which.
    pub scenario: Scenario,
    /// What was to hold.
    pub guarantee: &'static str,
    /// Whether it did.
    pub verdict: Verdict,
    /// How many times the thing was done.
    pub replacements: usize,
    /// How many requests there were.
    pub requests: Requests,
    /// How many of them failed in a client's eyes.
    pub failures: u64,
    /// How many of those the guarantee allows.
    pub explained: u64,
    /// How many kept connections were closed on their clients.
    pub closed_connections: u64,
    /// The time in which 99 of 100 requests were answered, in milliseconds.
    pub p99_ms: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What else broke the guarantee.
    pub breaches: Vec<String>,
    /// The first failures that it does not allow.
    pub unexpected: Vec<Failure>,
    /// The first that it does, and why.
    pub allowed: Vec<Failure>,
}

/// Whether a guarantee was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was.
    Held,
    /// It was not.
    Broken,
    /// This program cannot do what the scenario is about.
    NotAvailable,
}

/// Requests by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// GETs on kept connections.
    pub get: u64,
    /// GETs on connections of their own.
    pub get_new: u64,
    /// POSTs on kept connections.
    pub post: u64,
    /// POSTs on connections of their own.
    pub post_new: u64,
}

impl Report {
    /// The report of these scenes.
    pub fn new(scenarios: Vec<Scene>) -> Self {
        let broken = |scene: &Scene| scene.verdict == Verdict::Broken;
        Self {
            held: !scenarios.iter().any(broken),
            scenarios,
        }
    }
}

impl Scene {
    /// What a scenario found in `took`, or why it could not begin.
    pub(super) fn new(scenario: Scenario, found: Result<Finding, String>, took: Duration) -> Self {
        let found = found.unwrap_or_else(|error| Finding {
            breaches: vec![format!("it could not be carried out: {error}")],
            ..Finding::default()
        });
        let tally = found.tally;
        let unexcused = tally.failures() - tally.explained();
        let verdict = match unexcused == 0 && found.breaches.is_empty() {
            true => Verdict::Held,
            false => Verdict::Broken,
        };
        Self {
            scenario,
            guarantee: scenario.guarantee(),
            verdict,
            replacements: found.replacements,
            requests: Requests {
                get: tally.sent(Kind::Get),
                get_new: tally.sent(Kind::GetNew),
                post: tally.sent(Kind::Post),
                post_new: tally.sent(Kind::PostNew),
            },
            failures: tally.failures(),
            explained: tally.explained(),
            closed_connections: tally.closed_connections(),
            p99_ms: (tally.p99().as_secs_f64() * 1e4).round() / 10.0,
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
            unexpected: tally.unexplained().take(TOLD).cloned().collect(),
            allowed: tally.allowed().take(TOLD).cloned().collect(),
            breaches: found.breaches,
        }
    }

    /// A scenario this program cannot carry out; whether that breaks the proof depends on whether it
    /// was asked for by name.
    pub(super) fn not_available(scenario: Scenario, asked_for: bool) -> Self {
        let why = "this callboard has no such command";
        let mut scene = Self::new(scenario, Err(why.to_owned()), Duration::ZERO);
        if !asked_for {
            scene.verdict = Verdict::NotAvailable;
        }
        scene
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: Kind) -> Failure {
        Failure {
            at_ms: 5,
            kind,
            tag: 1,
            saw: "502 callboard".to_owned(),
            phase: "web-1 was killed".to_owned(),
            explained: None,
        }
    }

    fn scene(found: Finding) -> Scene {
        Scene::new(Scenario::Killed, Ok(found), Duration::from_secs(1))
    }

    #[test]
    fn a_guarantee_is_kept_when_nothing_failed_that_it_does_not_allow() {
        assert_eq!(scene(Finding::default()).verdict, Verdict::Held);
        let mut found = Finding::default();
        found.tally.failed(failure(Kind::Post));
        let broken = scene(found.clone());
        assert_eq!(broken.verdict, Verdict::Broken);
        assert_eq!(broken.unexpected, [failure(Kind::Post)]);
        found.tally.explain(|_| Some("sent".to_owned()));
        let held = scene(found);
        assert_eq!((held.verdict, held.failures), (Verdict::Held, 1));
        assert!(held.unexpected.is_empty());
        assert_eq!(held.allowed[0].explained.as_deref(), Some("sent"));
    }

    #[test]
    fn a_breach_breaks_it_without_any_failed_request() {
        let breached = Finding {
            breaches: vec!["a POST was sent twice".to_owned()],
            ..Finding::default()
        };
        assert_eq!(scene(breached).verdict, Verdict::Broken);
    }

    #[test]
    fn a_scenario_that_could_not_be_carried_out_shows_nothing() {
        let scene = Scene::new(
            Scenario::Hung,
            Err("no free port".to_owned()),
            Duration::ZERO,
        );
        assert_eq!(scene.verdict, Verdict::Broken);
        assert_eq!(
            scene.breaches,
            ["it could not be carried out: no free port"]
        );
    }

    #[test]
    fn only_the_first_failures_are_told_and_all_are_counted() {
        let mut found = Finding::default();
        (0..50).for_each(|_| found.tally.failed(failure(Kind::Get)));
        let scene = scene(found);
        assert_eq!((scene.unexpected.len(), scene.failures), (TOLD, 50));
    }

    #[test]
    fn one_broken_guarantee_breaks_the_proof_and_a_missing_command_does_only_when_asked_for() {
        let missing = |asked_for| Scene::not_available(Scenario::Upgrade, asked_for);
        let held = scene(Finding::default());
        assert!(Report::new(vec![held.clone(), missing(false)]).held);
        assert!(!Report::new(vec![held, missing(true)]).held);
    }
}
