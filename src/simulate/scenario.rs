//! What is simulated, as it is described.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::balance::Algorithm;
use crate::cluster::policy::Policy;
use crate::config::Config;
use crate::instance::MAX_WEIGHT;
use crate::names::InstanceId;
use crate::units::DurationText;

/// The most instances.
const MAX_INSTANCES: usize = 1_000;
/// The most requests of one run.
const MAX_REQUESTS: u64 = 100_000_000;
/// The most keys, and the most clients of a closed loop.
const MAX_CROWD: usize = 1_000_000;
/// The longest time that is simulated, and the longest within it.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    policy: Option<serde_json::Value>,
    zone: Option<String>,
    load: FileLoad,
    instances: Vec<FileMember>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLoad {
    rate: Option<f64>,
    concurrency: Option<usize>,
    think: Option<DurationText>,
    duration: Option<DurationText>,
    requests: Option<u64>,
    keys: Option<usize>,
    skew: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMember {
    id: String,
    count: Option<usize>,
    weight: Option<u32>,
    zone: Option<String>,
    latency: Option<FileLatency>,
    capacity: Option<usize>,
    errors: Option<Share>,
    #[serde(default)]
    events: Vec<FileEvent>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLatency {
    mean: DurationText,
    #[serde(default)]
    distribution: Shape,
    sigma: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEvent {
    at: DurationText,
    until: Option<DurationText>,
    slow: Option<f64>,
    #[serde(default)]
    down: bool,
    errors: Option<Share>,
}

/// A share of 1, written as a percentage.
#[derive(Clone, Copy, Debug)]
struct Share(f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text
            .strip_suffix('%')
            .and_then(|text| text.trim().parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err(D::Error::custom(format!(
                "{text:?} is no percentage (expected one from 0% to 100%, such as 5%)"
            ))),
        }
    }
}

impl Scenario {
    /// Reads a description. `policy` is the one to use in place of the description's own.
    ///
    /// # Errors
    /// [`Mistake`], with the key that is wrong.
    pub fn parse(text: &str, policy: Option<Policy>) -> Result<Self, Mistake> {
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

fn load(file: &FileLoad) -> Result<Load, Mistake> {
    let think = file.think.map_or(Duration::ZERO, |think| think.0);
    let arrivals = match (file.rate, file.concurrency) {
        (Some(rate), None) if file.think.is_none() => {
            within("load.rate", rate, 0.001, 1e6)?;
            Arrivals::Open(rate)
        }
        (None, Some(clients)) => {
            within("load.concurrency", clients as f64, 1.0, MAX_CROWD as f64)?;
            in_time("load.think", think)?;
            Arrivals::Closed(clients, think)
        }
        (Some(_), None) => {
            return wrong(
                "load.think",
                "is for clients (expected concurrency beside it)",
            );
        }
        _ => {
            return wrong(
                "load",
                "has to have one of rate and concurrency (expected for example rate: 200)",
            );
        }
    };
    let until = file.duration.map(|until| until.0);
    if until.is_none() && file.requests.is_none() {
        return wrong(
            "load",
            "has no end (expected duration: 1m or requests: 10000)",
        );
    }
    if let Some(until) = until {
        in_time("load.duration", until)?;
    }
    let requests = file.requests.unwrap_or(MAX_REQUESTS);
    within("load.requests", requests as f64, 1.0, MAX_REQUESTS as f64)?;
    if let (Arrivals::Open(rate), Some(until), None) = (arrivals, until, file.requests) {
        within(
            "load.rate · load.duration",
            rate * until.as_secs_f64(),
            1.0,
            MAX_REQUESTS as f64,
        )?;
    }
    if let (Arrivals::Open(rate), None) = (arrivals, until) {
        let longest = MAX_TIME.as_secs_f64();
        within(
            "load.requests / load.rate, the seconds that takes,",
            requests as f64 / rate,
            0.0,
            longest,
        )?;
    }
    let until = Some(until.unwrap_or(MAX_TIME));
    let keys = file.keys.unwrap_or(1_000);
    within("load.keys", keys as f64, 1.0, MAX_CROWD as f64)?;
    let skew = file.skew.unwrap_or(0.0);
    within("load.skew", skew, 0.0, 10.0)?;
    Ok(Load {
        arrivals,
        until,
        requests,
        keys,
        skew,
    })
}

fn members(files: Vec<FileMember>) -> Result<Vec<Member>, Mistake> {
    let mut members: Vec<Member> = Vec::new();
    for (position, file) in files.into_iter().enumerate() {
        let place = format!("instances[{position}]");
        let count = file.count.unwrap_or(1);
        let room = MAX_INSTANCES - members.len();
        within(&format!("{place}.count"), count as f64, 1.0, room as f64)?;
        let one = member(&place, &file)?;
        for number in 1..=count {
            let id = match file.count {
                Some(_) => format!("{}-{number}", file.id),
                None => file.id.clone(),
            };
            let id = id
                .parse()
                .map_err(|error| Mistake(format!("{place}.id {error}")))?;
            members.push(Member { id, ..one.clone() });
        }
    }
    members.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(twice) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return wrong(
            "instances",
            &format!("name {} twice (expected each once)", twice[0].id),
        );
    }
    match members.iter().any(|member| member.weight > 0) {
        true => Ok(members),
        false => wrong(
            "instances",
            "have nobody with a weight (expected at least one)",
        ),
    }
}

fn member(place: &str, file: &FileMember) -> Result<Member, Mistake> {
    let weight = file.weight.unwrap_or(1);
    within(
        &format!("{place}.weight"),
        f64::from(weight),
        0.0,
        f64::from(MAX_WEIGHT),
    )?;
    let latency = file.latency.unwrap_or(FileLatency {
        mean: DurationText(Duration::from_millis(20)),
        distribution: Shape::default(),
        sigma: None,
    });
    let sigma = latency.sigma.unwrap_or(0.5);
    within(&format!("{place}.latency.sigma"), sigma, 0.0, 5.0)?;
    in_time(&format!("{place}.latency.mean"), latency.mean.0)?;
    if let Some(capacity) = file.capacity {
        within(
            &format!("{place}.capacity"),
            capacity as f64,
            1.0,
            100_000.0,
        )?;
    }
    let events: Result<Vec<_>, _> = (file.events.iter().enumerate())
        .map(|(number, event)| happening(&format!("{place}.events[{number}]"), event))
        .collect();
    Ok(Member {
        id: file
            .id
            .parse()
            .map_err(|error| Mistake(format!("{place}.id {error}")))?,
        weight,
        zone: file.zone.clone(),
        latency: Latency {
            mean: latency.mean.0.as_secs_f64(),
            shape: latency.distribution,
            sigma,
        },
        capacity: file.capacity,
        errors: file.errors.map_or(0.0, |share| share.0),
        events: events?,
    })
}

fn happening(place: &str, file: &FileEvent) -> Result<Event, Mistake> {
    let until = file.until.map_or(MAX_TIME, |until| until.0);
    let slow = file.slow.unwrap_or(1.0);
    within(&format!("{place}.slow"), slow, 0.001, 1e6)?;
    if until <= file.at.0 || until > MAX_TIME {
        return wrong(
            &format!("{place}.until"),
            "is not between `at` and 7 days (expected a later time)",
        );
    }
    Ok(Event {
        at: file.at.0,
        until,
        slow,
        down: file.down,
        errors: file.errors.map(|share| share.0),
    })
}

fn in_time(key: &str, time: Duration) -> Result<(), Mistake> {
    match time <= MAX_TIME {
        true => Ok(()),
        false => wrong(key, "is too long (expected at most 7 days)"),
    }
}

fn within(key: &str, value: f64, least: f64, most: f64) -> Result<(), Mistake> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => wrong(key, &format!("is {value} (expected {least} to {most})")),
    }
}

fn wrong<T>(key: &str, problem: &str) -> Result<T, Mistake> {
    Err(Mistake(format!("{key} {problem}")))
}
