//! What the events of a watch say, as far as a proxy needs to know.
//!
//! The other callboard may be newer than this one: fields and events that are not known are passed
//! over. What is known is read into the same types, and within the same limits, as a registration; an
//! instance that does not fit is skipped and told of, and the others are none the worse for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::address::Address;
use crate::instance::check::{
    CheckKind, CheckOverride, HttpCheck, MAX_INTERVAL, MAX_TIMEOUT, MIN_INTERVAL, MIN_TIMEOUT,
};
use crate::instance::{Instance, Scheme};
use crate::names::{InstanceId, ServiceName};
use crate::registry::Rules;
use crate::registry::snapshot::Fitness;
use crate::units::DurationText;

/// How many skipped instances of one event are told of one by one.
const MAX_TOLD: usize = 10;

/// One instance as the registry lists it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    /// Its description, with a lease as this registry grants them.
    pub(super) instance: Arc<Instance>,
    /// Whether it drains.
    pub(super) draining: bool,
    /// How the registry's own probes find it.
    pub(super) fitness: Fitness,
}

/// All instances a registry lists.
pub(super) type Listing = BTreeMap<ServiceName, BTreeMap<InstanceId, Listed>>;

/// What one event tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// This is everything.
    Everything(Listing),
    /// This instance is there, as described.
    Here(Listed),
    /// This instance is not there, or not as anything this callboard understands.
    Gone(ServiceName, InstanceId),
}

/// An event, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Read {
    /// What it tells; `None` when that is not known here.
    pub(super) told: Option<Told>,
    /// Why instances in it were skipped; the first few.
    pub(super) skipped: Vec<String>,
    /// How many more were.
    pub(super) others_skipped: usize,
}

/// Reads an event; missing leases are granted, and others brought within bounds, by `rules`.
///
/// # Errors
/// When it is not what a registry sends.
pub(super) fn read(name: &str, data: &[u8], rules: &Rules) -> Result<Read, serde_json::Error> {
    match name {
        "snapshot" => everything(data, rules),
        "upsert" => here(data, rules),
        "remove" => {
            let Names { service, id } = serde_json::from_slice(data)?;
            Ok(Read::from(Told::Gone(service, id)))
        }
        _ => Ok(Read::default()),
    }
}

fn everything(data: &[u8], rules: &Rules) -> Result<Read, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(data);
    let read = json.deserialize_seq(Everything(rules))?;
    json.end().map(|()| read)
}

/// Reads the items of a list one after the other: whoever sends one of a hundred million nothings is
/// to find no room made for each.
struct Everything<'r>(&'r Rules);

impl<'de> Visitor<'de> for Everything<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Read, A::Error> {
        let mut listing = Listing::new();
        let mut read = Read::default();
        // Each stays where it is in the data until it is read by itself.
        while let Some(item) = items.next_element::<&RawValue>()? {
            match Shown::read(item.get(), self.0) {
                Err(_) if read.skipped.len() == MAX_TOLD => read.others_skipped += 1,
                Err(reason) => read.skipped.push(reason),
                Ok(listed) => add(&mut listing, listed),
            }
        }
        read.told = Some(Told::Everything(listing));
        Ok(read)
    }
}

fn add(listing: &mut Listing, mut listed: Listed) {
    let instance = &listed.instance;
    // All instances of a service share the text of its name.
    let service = listing
        .get_key_value(&instance.service)
        .map_or_else(|| instance.service.clone(), |(service, _)| service.clone());
    if let Some(instance) = Arc::get_mut(&mut listed.instance) {
        instance.service = service.clone();
    }
    let id = listed.instance.id.clone();
    listing.entry(service).or_default().insert(id, listed);
}

fn here(data: &[u8], rules: &Rules) -> Result<Read, serde_json::Error> {
    let item: &RawValue = serde_json::from_slice(data)?;
    match Shown::read(item.get(), rules) {
        Ok(listed) => Ok(Read::from(Told::Here(listed))),
        // Whatever it has become, it is no longer what it was.
        Err(reason) => Ok(Read {
            told: serde_json::from_str(item.get())
                .ok()
                .map(|Names { service, id }| Told::Gone(service, id)),
            skipped: vec![reason],
            others_skipped: 0,
        }),
    }
}

impl From<Told> for Read {
    fn from(told: Told) -> Self {
        Self {
            told: Some(told),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Names {
    service: ServiceName,
    id: InstanceId,
}

#[derive(Deserialize)]
struct Shown {
    service: ServiceName,
    id: InstanceId,
    address: String,
    port: Option<NonZeroU16>,
    #[serde(default)]
    scheme: Scheme,
    weight: u32,
    zone: Option<String>,
    #[serde(default)]
    tags: BTreeSet<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    generation: Option<u64>,
    check: Option<CheckShown>,
    #[serde(default)]
    availability: String,
    #[serde(default)]
    draining: bool,
    lease: Option<LeaseShown>,
}

#[derive(Deserialize)]
struct LeaseShown {
    ttl: DurationText,
}

/// `"off"`, or a check with all its fields.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a check that is neither \"off\" nor an object as expected"
)]
enum CheckShown {
    Word(String),
    Fields(CheckFields),
}

/// A check that asks what is not known here is one whose kind is the service's own.
#[derive(Deserialize)]
struct CheckFields {
    tcp: Option<serde::de::IgnoredAny>,
    http: Option<HttpShown>,
    interval: Option<DurationText>,
    timeout: Option<DurationText>,
    fall: Option<u32>,
    rise: Option<u32>,
}

#[derive(Deserialize)]
struct HttpShown {
    path: String,
    expect: Option<Vec<Statuses>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Statuses {
    One(u16),
    Range(String),
}

impl Shown {
    /// Reads one instance; the error says which one it is, as far as that can be told, and what is
    /// wrong with it.
    fn read(json: &str, rules: &Rules) -> Result<Listed, String> {
        serde_json::from_str::<Self>(json)
            .map_err(|error| error.to_string())
            .and_then(|shown| shown.listed(rules))
            .map_err(|wrong| match serde_json::from_str(json) {
                Ok(Names { service, id }) => format!("{service}/{id}: {wrong}"),
                Err(_) => wrong,
            })
    }

    fn listed(self, rules: &Rules) -> Result<Listed, String> {
        let check = match self.check {
            None => CheckOverride::default(),
            Some(CheckShown::Word(word)) if word == "off" => CheckOverride::off(),
            Some(CheckShown::Word(word)) => return Err(expected("check", &word, "\"off\"")),
            Some(CheckShown::Fields(fields)) => fields.read()?,
        };
        let address = Address::from_parts(&self.address, self.port.map(NonZeroU16::get))
            .map_err(|wrong| format!("address {wrong}"))?
            .to_canonical();
        let ttl = self.lease.map_or(rules.ttl, |lease| lease.ttl.0);
        Ok(Listed {
            draining: self.draining,
            fitness: match self.availability.as_str() {
                // Ejected is who passes its probes and fails the requests of that callboard.
                "ready" | "suspect" | "ejected" => Fitness::Fit,
                "unhealthy" => Fitness::Failing,
                // Of one that drains the probes' findings are not shown.
                _ => Fitness::Unproven,
            },
            instance: Arc::new(Instance {
                service: self.service,
                id: self.id,
                address,
                scheme: self.scheme,
                weight: self.weight,
                zone: self.zone,
                tags: self.tags,
                metadata: self.metadata,
                ttl: Some(ttl.max(rules.min_ttl).min(rules.max_ttl)),
                check,
                generation: self.generation,
            }),
        })
    }
}

impl CheckFields {
    fn read(self) -> Result<CheckOverride, String> {
        let kind = match (self.http, self.tcp) {
            (Some(http), _) => Some(CheckKind::Http(http.read()?)),
            (None, Some(_)) => Some(CheckKind::Tcp),
            (None, None) => None,
        };
        let within = |duration: Option<DurationText>, min: Duration, max| {
            duration.map(|duration| duration.0.clamp(min, max))
        };
        Ok(CheckOverride {
            enabled: Some(true),
            kind,
            interval: within(self.interval, MIN_INTERVAL, MAX_INTERVAL),
            timeout: within(self.timeout, MIN_TIMEOUT, MAX_TIMEOUT),
            fall: self.fall.map(|fall| fall.max(1)),
            rise: self.rise.map(|rise| rise.max(1)),
        })
    }
}

impl HttpShown {
    fn read(self) -> Result<HttpCheck, String> {
        if !HttpCheck::is_path(&self.path) {
            return Err(expected(
                "check.http.path",
                &self.path,
                "a path such as /health",
            ));
        }
        let mut check = HttpCheck::new(self.path);
        if let Some(expect) = self.expect {
            check.expect = expect
                .into_iter()
                .map(Statuses::read)
                .collect::<Result<_, _>>()?;
        }
        Ok(check)
    }
}

impl Statuses {
    fn read(self) -> Result<RangeInclusive<u16>, String> {
        match self {
            Self::One(status) => Ok(status..=status),
            Self::Range(text) => text
                .split_once('-')
                .and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?))
                .ok_or_else(|| expected("check.http.expect", &text, "statuses such as 200-399")),
        }
    }
}

fn expected(field: &str, found: impl fmt::Debug, what: &str) -> String {
    format!("{field} is {found:?} (expected {what})")
}

#[cfg(test)]
mod tests;
