//! Proof, by doing it, that clients do not notice deploys, crashes and reloads.
//!
//! A *scenario* starts a callboard and the instances of a service as processes of their own, has
//! clients call through callboard without a pause, and meanwhile replaces, kills or stops processes.
//! Everything a client saw is counted, and compared with what the instances say they were sent.
//!
//! # What counts as failed
//!
//! A request fails when its client sees anything but a 200 with the right body: a refused or reset
//! connection, an answer that is cut off, any other status, or nothing for ten seconds. Clients try
//! nothing again. A kept connection that callboard closed before a request was written to it is no
//! failure (a reload must not even do that); a request that was written to it is.
//!
//! Architecture invariant: the prover knows callboard from outside only: its configuration file, its
//! addresses and its signals.

mod answer;
mod blame;
mod board;
mod fleet;
mod http;
pub mod instance;
mod load;
mod process;
mod record;
pub mod report;
pub mod scenario;
mod stage;
pub mod tally;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use process::run_bound;
use report::{Report, Scene};
use scenario::Scenario;
use stage::Asked;

/// What to prove, and how hard to try.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The callboard that is put to the proof.
    pub program: PathBuf,
    /// The scenarios that were asked for by name; all of them when there are none.
    pub only: Vec<Scenario>,
    /// How many times the thing is done, instead of what [`Scenario::rounds`] says.
    pub rounds: Option<usize>,
    /// How many clients call each service.
    pub clients: usize,
    /// After how long a scenario begins no further round.
    pub limit: Option<Duration>,
    /// Whether a quick look is enough.
    pub short: bool,
    /// Whether instances end without signing out and nothing is tried again. The proof must fail.
    pub without_drain: bool,
}

/// Carries out the scenarios, one after the other. `told` hears of each before it begins, and again
/// when it is over.
///
/// It must run on the thread the process began with, in a runtime that has only that one.
pub async fn deploy(plan: &Plan, mut told: impl FnMut(Scenario, Option<&Scene>)) -> Report {
    let all = <Scenario as clap::ValueEnum>::value_variants();
    let chosen = all
        .iter()
        .filter(|scenario| plan.only.is_empty() || plan.only.contains(scenario));
    let mut scenes = Vec::new();
    for &scenario in chosen {
        told(scenario, None);
        let asked = Asked {
            program: plan.program.clone(),
            rounds: plan.rounds.unwrap_or_else(|| scenario.rounds(plan.short)),
            clients: plan.clients,
            limit: plan.limit,
            without_drain: plan.without_drain,
        };
        let begun = Instant::now();
        let scene = match scenario.is_available(&plan.program) {
            Ok(false) => Scene::not_available(scenario, !plan.only.is_empty()),
            Ok(true) => Scene::new(scenario, scenario.run(&asked).await, begun.elapsed()),
            Err(error) => Scene::new(scenario, Err(error), begun.elapsed()),
        };
        told(scenario, Some(&scene));
        scenes.push(scene);
    }
    Report::new(scenes)
}
