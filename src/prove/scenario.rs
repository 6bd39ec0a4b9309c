//! What is proved, one file a scenario. Each has a guarantee that is either kept or broken.

mod graceful;
mod hung;
mod killed;
mod port_reused;
mod reload;
mod slow_start;
mod upgrade;

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use serde::Serialize;

use super::stage::{Asked, Finding};

/// The scenarios, in the order in which they are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Instances are replaced one by one, each drained before it is stopped
    Graceful,
    /// One of three instances is killed
    Killed,
    /// One of three instances stops answering, its connections open
    Hung,
    /// New instances sign in before they listen, or listen before they are ready
    SlowStart,
    /// The port of a killed instance is another process's at once
    PortReused,
    /// callboard reads its configuration again, ten times a second
    Reload,
    /// callboard itself is replaced
    Upgrade,
}

impl Scenario {
    /// What holds if callboard is right.
    pub fn guarantee(self) -> &'static str {
        match self {
            Self::Graceful => "no request fails",
            Self::Killed => "no GET fails, and no POST but those the killed process was sent",
            Self::Hung => {
                "no GET fails or waits for it, no POST fails but those it was sent, and it is sent few"
            }
            Self::SlowStart => "no request fails, and none comes to an instance before it is ready",
            Self::PortReused => {
                "no request is answered by another service, no GET fails, and no POST but those the \
                 killed process was sent"
            }
            Self::Reload => "no request fails, and no connection is closed",
            Self::Upgrade => "no request fails",
        }
    }

    /// How many times the thing is done: for a proof, and for a quick look.
    pub fn rounds(self, short: bool) -> usize {
        let (full, short_form) = match self {
            Self::Graceful => (1_000, 4),
            Self::Killed => (25, 2),
            Self::Hung => (8, 1),
            Self::SlowStart => (40, 2),
            Self::PortReused => (24, 2),
            Self::Reload => (200, 10),
            Self::Upgrade => (10, 2),
        };
        if short { short_form } else { full }
    }

    /// Carries it out.
    ///
    /// # Errors
    /// Why it could not even begin, in words.
    pub(super) async fn run(self, asked: &Asked) -> Result<Finding, String> {
        match self {
            Self::Graceful => graceful::run(asked).await,
            Self::Killed => killed::run(asked).await,
            Self::Hung => hung::run(asked).await,
            Self::SlowStart => slow_start::run(asked).await,
            Self::PortReused => port_reused::run(asked).await,
            Self::Reload => reload::run(asked).await,
            Self::Upgrade => upgrade::run(asked).await,
        }
    }

    /// Whether `program` can do what the scenario is about.
    ///
    /// # Errors
    /// When that cannot be found out.
    pub(super) fn is_available(self, program: &Path) -> Result<bool, String> {
        match self {
            Self::Upgrade => upgrade::is_available(program),
            _ => Ok(true),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graceful => "graceful",
            Self::Killed => "killed",
            Self::Hung => "hung",
            Self::SlowStart => "slow-start",
            Self::PortReused => "port-reused",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_called_the_same_wherever_it_is_named() {
        for scenario in Scenario::value_variants() {
            let name = scenario.to_string();
            let json = serde_json::to_string(scenario).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            let value = scenario.to_possible_value().unwrap();
            assert_eq!(value.get_name(), name);
        }
    }
}
