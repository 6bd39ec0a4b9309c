//! What is simulated, as it is described.

mod file;

use std::time::Duration;

use serde::Deserialize;

use crate::balance::Algorithm;
use crate::cluster::policy::Policy;
use crate::config::Config;
use crate::names::InstanceId;

use file::{File, load, members, wrong};

/// What is simulated. Its values are within bounds that a run can bear.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What everything random follows from.
    pub seed: u64,
    /// How requests are spread.
    pub policy: Policy,
    /// The proxy's own zone.
    pub zone: Option<String>,
    pub(super) load: Load,
    pub(super) members: Vec<Member>,
}

/// A description is wrong: where, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

/// How requests come.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) arrivals: Arrivals,
    /// When no more come.
    pub(super) until: Option<Duration>,
    /// How many come at most.
    pub(super) requests: u64,
    pub(super) keys: usize,
    pub(super) skew: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arrivals {
    /// So many a second.
    Open(f64),
    /// So many clients, with a pause between two requests.
    Closed(usize, Duration),
}

/// One instance.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: InstanceId,
    pub(super) weight: u32,
    pub(super) zone: Option<String>,
    pub(super) latency: Latency,
    pub(super) capacity: Option<usize>,
    pub(super) errors: f64,
    pub(super) events: Vec<Event>,
}

/// How long a request takes, once it is its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latency {
    /// In seconds.
    pub(super) mean: f64,
    pub(super) shape: Shape,
    pub(super) sigma: f64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    Fixed,
    #[default]
    Exponential,
    Lognormal,
}

/// What happens to an instance for a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) at: Duration,
    pub(super) until: Duration,
    pub(super) slow: f64,
    pub(super) down: bool,
    pub(super) errors: Option<f64>,
}

impl Scenario {
    /// Reads a description. `policy` is the one to use in place of the description's own.
    ///
    /// # Errors
    /// [`Mistake`], with the key that is wrong.
    pub fn parse(text: &str, policy: Option<Policy>) -> Result<Self, Mistake> {
        Config::check_outline("line", text).map_err(|found| Mistake(found.to_string()))?;
        let file: File = serde_yaml::from_str(text).map_err(|error| Mistake(error.to_string()))?;
        let policy = match (policy, file.policy) {
            (Some(_), Some(_)) => {
                return wrong(
                    "policy",
                    "is given here and by --config (expected one of them)",
                );
            }
            (Some(policy), None) => policy,
            (None, own) => own.map_or_else(|| Ok(Policy::default()), |own| policy_of(&own))?,
        };
        let members = members(file.instances)?;
        Ok(Self {
            seed: file.seed,
            policy,
            zone: file.zone,
            load: load(&file.load)?,
            members,
        })
    }
}

/// The algorithms of a comparison, separated by commas.
///
/// # Errors
/// [`Mistake`] for a name that is none.
pub fn algorithms(text: &str) -> Result<Vec<(String, Algorithm)>, Mistake> {
    let one = |name: &str| {
        let policy = policy_of(&serde_json::json!({ "balance": name }))?;
        Ok((name.to_owned(), policy.balance.algorithm))
    };
    text.split(',').map(|name| one(name.trim())).collect()
}

/// An algorithm with its name.
pub fn named(algorithm: Algorithm) -> (String, Algorithm) {
    (algorithm.as_str().to_owned(), algorithm)
}

/// A policy by the configuration's own rules. JSON is YAML.
fn policy_of(keys: &serde_json::Value) -> Result<Policy, Mistake> {
    let text = serde_json::json!({ "defaults": keys }).to_string();
    match Config::parse("policy", &text) {
        Ok(loaded) => Ok(loaded.config.policies.default),
        Err(errors) => {
            let told = errors
                .iter()
                .map(|error| error.message.replace("defaults", "policy"));
            Err(Mistake(told.collect::<Vec<_>>().join("; ")))
        }
    }
}
