//! A description as it is written, and the bounds its values must keep to.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::instance::MAX_WEIGHT;
use crate::units::DurationText;

use super::{Arrivals, Event, Latency, Load, Member, Mistake, Shape};

/// The most instances.
const MAX_INSTANCES: usize = 1_000;
/// The most requests of one run.
const MAX_REQUESTS: u64 = 100_000_000;
/// The most keys, and the most clients of a closed loop.
const MAX_CROWD: usize = 1_000_000;
/// The most events of one instance: each request looks at all of them.
const MAX_EVENTS: usize = 100;
/// The longest time that is simulated, and the longest within it.
const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) seed: u64,
    pub(super) policy: Option<serde_json::Value>,
    pub(super) zone: Option<String>,
    pub(super) load: FileLoad,
    pub(super) instances: Vec<FileMember>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLoad {
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
pub(super) struct FileMember {
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

pub(super) fn load(file: &FileLoad) -> Result<Load, Mistake> {
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

pub(super) fn members(files: Vec<FileMember>) -> Result<Vec<Member>, Mistake> {
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
    within(
        &format!("{place}.events, their number,"),
        file.events.len() as f64,
        0.0,
        MAX_EVENTS as f64,
    )?;
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

pub(super) fn wrong<T>(key: &str, problem: &str) -> Result<T, Mistake> {
    Err(Mistake(format!("{key} {problem}")))
}
