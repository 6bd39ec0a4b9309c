//! What was found at one moment, and the texts that tell of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use imbl::OrdMap;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::cluster::reading::Census;
use crate::figures::histogram::Reading;
use crate::health::availability::Availability;
use crate::names::ServiceName;
use crate::registry::snapshot::Revision;
use crate::units::moment::format_moment;

use super::history::{History, Point};

/// Texts of one tick that are kept. Readers keep in step, so there are few.
const TEXTS: usize = 16;

/// What went on within one second, of one service or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(in crate::api) struct Figures {
    /// Requests per second.
    pub(super) rate: f64,
    /// Those of them answered with 5xx.
    pub(super) errors: f64,
    /// Percentiles of their durations in seconds; `None` without requests.
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) in_flight: u64,
}

/// One service at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::api) struct Row {
    pub(super) service: ServiceName,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) retries: f64,
    pub(super) instances: u32,
    #[serde(serialize_with = "census")]
    pub(super) availability: Census,
    pub(super) panic: bool,
}

/// All services at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(in crate::api) struct Total {
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) retries: f64,
    pub(super) connections: usize,
    pub(super) services: u32,
    pub(super) instances: u32,
    #[serde(serialize_with = "census")]
    pub(super) availability: Census,
}

/// What was found at one moment.
#[derive(Debug)]
pub(in crate::api) struct Tick {
    /// Counts ticks; before the first it is 0.
    pub(in crate::api) number: u64,
    pub(super) at: SystemTime,
    pub(super) index: Revision,
    pub(super) total: Total,
    pub(super) history: History,
    /// Each with the number of the tick at which it last changed.
    pub(super) rows: OrdMap<ServiceName, (u64, Arc<Row>)>,
    /// Services that left, and the number of the tick that missed them.
    pub(super) removed: Arc<VecDeque<(u64, ServiceName)>>,
    /// Of services that had left by this tick, nothing is known any more.
    pub(super) forgotten: u64,
    pub(super) texts: Texts,
}

/// Texts that several readers are sent, by the tick they know.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Vec<(Option<u64>, Bytes)>>);

#[derive(Serialize)]
struct Event<'a> {
    at: String,
    index: Revision,
    complete: bool,
    total: &'a Total,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<&'a Point>>,
    services: Vec<&'a Row>,
    removed: Vec<&'a ServiceName>,
}

impl Tick {
    /// Before the first.
    pub(super) fn none() -> Self {
        Self {
            number: 0,
            at: SystemTime::now(),
            index: Revision::default(),
            total: Total::default(),
            history: History::default(),
            rows: OrdMap::new(),
            removed: Arc::default(),
            forgotten: 0,
            texts: Texts::default(),
        }
    }

    /// Tells somebody who was told of the tick with the number `knows`, or of none yet, of all
    /// services: a server-sent event, which begins the stream if it is the first.
    ///
    /// # Errors
    /// Never; the types leave it open.
    pub(in crate::api) fn tell(&self, knows: Option<u64>) -> serde_json::Result<Bytes> {
        let knows = knows.filter(|knows| *knows >= self.forgotten);
        // Whoever comes first makes it for all, who wait for it rather than make it too.
        let mut texts = self.texts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = texts.iter().find(|(of, _)| *of == knows) {
            return Ok(text.clone());
        }
        let changed = |at: u64| knows.is_none_or(|knows| at > knows);
        let rows = self.rows.values().filter(|(at, _)| changed(*at));
        let text = framed(&Event {
            history: (knows.is_none()).then(|| self.history.points().collect()),
            services: rows.map(|(_, row)| &**row).collect(),
            removed: match knows {
                Some(knows) => self.left_since(knows).collect(),
                None => Vec::new(),
            },
            ..self.event(knows.is_none())
        })?;
        if texts.len() == TEXTS {
            texts.remove(0);
        }
        texts.push((knows, text.clone()));
        Ok(text)
    }

    /// The same of one service alone, whose past is `history` for somebody who was told of no tick yet.
    ///
    /// # Errors
    /// Never; the types leave it open.
    pub(in crate::api) fn tell_of(
        &self,
        service: &ServiceName,
        knows: Option<u64>,
        history: &[Point],
    ) -> serde_json::Result<Bytes> {
        let row = self.rows.get(service);
        let changed = row.filter(|(at, _)| knows.is_none_or(|knows| *at > knows));
        // One that is not known to have been there may be said to have left; that harms nobody.
        let left = row.is_none()
            && knows.is_some_and(|knows| {
                knows < self.forgotten || self.left_since(knows).any(|name| name == service)
            });
        framed(&Event {
            history: (knows.is_none()).then(|| history.iter().collect()),
            services: changed.map(|(_, row)| &**row).into_iter().collect(),
            removed: left.then_some(service).into_iter().collect(),
            ..self.event(knows.is_none())
        })
    }

    fn event(&self, complete: bool) -> Event<'_> {
        Event {
            at: format_moment(self.at),
            index: self.index,
            complete,
            total: &self.total,
            history: None,
            services: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// The services that left after the tick `knows`, those apart that are back.
    fn left_since(&self, knows: u64) -> impl Iterator<Item = &ServiceName> {
        let left = self.removed.iter().filter(move |(at, _)| *at > knows);
        let left = left.map(|(_, service)| service);
        left.filter(|service| !self.rows.contains_key(*service))
    }
}

impl Figures {
    /// Of so many requests per second, so many of them answered with 5xx, that took this long.
    pub(super) fn new(rate: f64, errors: f64, durations: Option<&Reading>, in_flight: u64) -> Self {
        let quantile = |share| {
            let took = durations?.quantile(share)?;
            Some(took.as_secs_f64())
        };
        Self {
            rate: rounded(rate),
            errors: rounded(errors),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            in_flight,
        }
    }
}

/// The event with its frame. The first one of a stream asks a reader that is cut off to wait a while.
fn framed(event: &Event<'_>) -> serde_json::Result<Bytes> {
    let mut out = Vec::new();
    if event.complete {
        out.extend_from_slice(b"retry: 2000\n");
    }
    out.extend_from_slice(b"event: figures\ndata: ");
    serde_json::to_writer(&mut out, event)?;
    out.extend_from_slice(b"\n\n");
    Ok(out.into())
}

/// So many within `time`, per second, to three places.
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    rounded(count as f64 / time.as_secs_f64().max(0.001))
}

pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Leaves out what there is none of.
fn census<S: Serializer>(census: &Census, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for (availability, count) in Availability::ALL.iter().zip(census) {
        if *count > 0 {
            map.serialize_entry(availability.as_str(), count)?;
        }
    }
    map.end()
}
