//! Differences between readings, a second apart.
//!
//! The time between two readings is what a monotonic clock says it was: after a standstill of the
//! process, what came meanwhile is spread over all of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use foldhash::fast::RandomState;

use crate::cluster::Cluster;
use crate::cluster::clusters::ClusterMap;
use crate::cluster::reading::Census;
use crate::figures::histogram::Reading;
use crate::figures::traffic::Traffic;
use crate::names::ServiceName;
use crate::registry::snapshot::{Revision, Snapshot};

use super::PERIOD;
use super::history::{Point, ROOM, Sparse};
use super::tick::{Figures, Row, Texts, Tick, Total, per_second};

/// The most services whose past is kept at a time: 3.5 KiB each that has requests in every second, so
/// 14 MiB in all.
const PASTS: usize = 4_000;
const _: () = assert!(PASTS * ROOM <= 16 << 20);
/// The most services that left whose counters are remembered, so that one that comes back is not
/// taken for new.
const GONE: usize = 4_096;
/// The most removals that are remembered for readers who were not told yet.
const REMOVED: usize = 1_024;
/// For how many ticks after its last request a service without instances is still shown: whoever asks
/// for it is told that nobody is there, which is worth knowing.
const LINGER: u64 = 30;
/// Where answers with 5xx are in the [classes](crate::figures::traffic::CLASSES).
const FAILED: usize = 4;

/// Where figures come from.
pub(super) struct Surroundings {
    pub(super) clusters: Arc<ClusterMap>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) connections: usize,
}

/// Takes the differences.
pub(super) struct Sampler {
    kept: HashMap<ServiceName, Kept, RandomState>,
    /// The counters of services that left.
    gone: HashMap<ServiceName, Counted, RandomState>,
    /// Whether counters were forgotten, so that whoever comes may have any.
    forgetful: bool,
    pasts: usize,
    last: Option<Instant>,
    tick: Arc<Tick>,
}

/// What is kept of a service from one tick to the next.
struct Kept {
    /// The tick that met it last.
    met: u64,
    /// The last tick at which there were requests; `None` before the first of them.
    busy: Option<u64>,
    counted: Counted,
    /// The index at which its instances were counted.
    index: Option<Revision>,
    census: Census,
    row: Arc<Row>,
    past: Sparse,
}

/// Counters at the last tick.
#[derive(Default)]
struct Counted {
    requests: u64,
    errors: u64,
    retries: u64,
    /// There once there was a request.
    durations: Option<Box<Reading>>,
    /// Whether there were requests in the last second: some may be counted whose durations are not.
    busy: bool,
}

/// How much counters went up.
#[derive(Default)]
struct Gained {
    requests: u64,
    errors: u64,
    retries: u64,
    durations: Option<Reading>,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            kept: HashMap::default(),
            gone: HashMap::default(),
            forgetful: false,
            pasts: 0,
            last: None,
            tick: Arc::new(Tick::none()),
        }
    }

    /// The last sample.
    pub(super) fn tick(&self) -> &Arc<Tick> {
        &self.tick
    }

    /// What the last two minutes were for one service.
    pub(super) fn history(&self, service: &ServiceName) -> Vec<Point> {
        let kept = self.kept.get(service);
        self.tick.history.of(kept.map(|kept| &kept.past))
    }

    /// Takes one sample.
    pub(super) fn sample(
        &mut self,
        around: &Surroundings,
        now: Instant,
        at: SystemTime,
    ) -> &Arc<Tick> {
        let number = self.tick.number + 1;
        let time = (self.last).map_or(PERIOD, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        let mut rows = self.tick.rows.clone();
        let same_index = around.snapshot.revision == self.tick.index;
        let mut total = Total {
            connections: around.connections,
            ..Total::default()
        };
        let (mut sum, mut met) = (Gained::default(), 0);
        for (service, cluster) in around.clusters.iter() {
            if cluster.is_stranger() {
                continue;
            }
            let kept = match self.kept.get_mut(service) {
                Some(kept) => kept,
                None => {
                    if self.is_deserted(cluster, &around.snapshot) {
                        continue;
                    }
                    let counted = self.gone.remove(service).unwrap_or_else(|| {
                        let known = Counted::of(cluster.traffic());
                        if self.forgetful {
                            known
                        } else {
                            Counted::default()
                        }
                    });
                    let fresh = Kept::new(service.clone(), counted);
                    self.kept.entry(service.clone()).or_insert(fresh)
                }
            };
            let gained = kept.counted.advance(cluster.traffic());
            if !same_index || kept.index.is_none() {
                kept.count_again(cluster, &around.snapshot);
            }
            let row = kept.row_of(cluster, &gained, time);
            total.add(&row);
            sum.add(&gained);
            if row.figures.is_busy() {
                kept.busy = Some(number);
            }
            let lingers = kept.busy.is_some_and(|busy| number - busy <= LINGER);
            if row.instances == 0 && !lingers {
                continue;
            }
            let is_new = std::mem::replace(&mut kept.met, number) == 0;
            met += 1;
            if !kept.past.is_empty() || (row.figures.is_busy() && self.pasts < PASTS) {
                let had = !kept.past.is_empty();
                kept.past.push(number, row.figures);
                self.pasts = self.pasts + usize::from(!kept.past.is_empty()) - usize::from(had);
            }
            if is_new || *kept.row != row {
                kept.row = Arc::new(row);
                rows.insert(service.clone(), (number, Arc::clone(&kept.row)));
            }
        }
        let (removed, forgotten) = if met < self.kept.len() {
            self.part(number, &mut rows)
        } else {
            (Arc::clone(&self.tick.removed), self.tick.forgotten)
        };
        let (rate, errors) = (per_second(sum.requests, time), per_second(sum.errors, time));
        let in_flight = total.figures.in_flight;
        total.figures = Figures::new(rate, errors, sum.durations.as_ref(), in_flight);
        total.retries = per_second(sum.retries, time);
        let mut history = self.tick.history.clone();
        let figures = total.figures;
        history.push(number, Point { at, figures });
        self.tick = Arc::new(Tick {
            number,
            at,
            index: around.snapshot.revision,
            total,
            history,
            rows,
            removed,
            forgotten,
            texts: Texts::default(),
        });
        &self.tick
    }

    /// Whether a service that is not shown has nothing to show: no instances, and nobody asks for it.
    fn is_deserted(&self, cluster: &Cluster, snapshot: &Snapshot) -> bool {
        let members = snapshot.members(cluster.name().as_str());
        let counted = match self.gone.get(cluster.name()) {
            Some(counted) => Some(counted.requests),
            None => (!self.forgetful).then_some(0),
        };
        members.is_none_or(|members| members.instances.is_empty())
            && cluster.in_flight() == 0
            && counted.is_none_or(|counted| counted == requests(cluster.traffic())[0])
    }

    /// Lets go of the services that the tick of this number has not met.
    fn part(
        &mut self,
        number: u64,
        rows: &mut imbl::OrdMap<ServiceName, (u64, Arc<Row>)>,
    ) -> (Arc<VecDeque<(u64, ServiceName)>>, u64) {
        let mut removed = VecDeque::clone(&self.tick.removed);
        let mut forgotten = self.tick.forgotten;
        let left: Vec<_> = self.kept.extract_if(|_, kept| kept.met != number).collect();
        for (service, kept) in left {
            rows.remove(&service);
            self.pasts -= usize::from(!kept.past.is_empty());
            if self.gone.len() == GONE {
                self.gone.clear();
                self.forgetful = true;
            }
            self.gone.insert(service.clone(), kept.counted);
            if removed.len() == REMOVED
                && let Some((at, _)) = removed.pop_front()
            {
                forgotten = at;
            }
            removed.push_back((number, service));
        }
        (Arc::new(removed), forgotten)
    }
}

impl Kept {
    fn new(service: ServiceName, counted: Counted) -> Self {
        Self {
            met: 0,
            busy: None,
            counted,
            index: None,
            census: Census::default(),
            row: Arc::new(Row {
                service,
                figures: Figures::default(),
                retries: 0.0,
                instances: 0,
                availability: Census::default(),
                panic: false,
            }),
            past: Sparse::default(),
        }
    }

    /// Counts its instances again, if something about them changed.
    fn count_again(&mut self, cluster: &Cluster, snapshot: &Snapshot) {
        let index = snapshot.revision_of(self.row.service.as_str());
        if self.index != Some(index) {
            self.index = Some(index);
            self.census = cluster.census();
        }
    }

    /// What to show of the service now, which is mostly what was shown before.
    fn row_of(&self, cluster: &Cluster, gained: &Gained, time: Duration) -> Row {
        Row {
            service: self.row.service.clone(),
            figures: Figures::new(
                per_second(gained.requests, time),
                per_second(gained.errors, time),
                gained.durations.as_ref(),
                cluster.in_flight(),
            ),
            retries: per_second(gained.retries, time),
            instances: self.census.iter().sum(),
            availability: self.census,
            panic: cluster.is_panicking(),
        }
    }
}

impl Counted {
    /// What the counters say, as if it had been so for long.
    fn of(traffic: &Traffic) -> Self {
        let mut counted = Self::default();
        counted.advance(traffic);
        counted.busy = false;
        counted
    }

    /// Goes on to what the counters say now. Those that went back have begun anew.
    fn advance(&mut self, traffic: &Traffic) -> Gained {
        let [requests, errors] = requests(traffic);
        let retries = (traffic.retries).load(std::sync::atomic::Ordering::Relaxed);
        if requests < self.requests {
            *self = Self::default();
        }
        let mut gained = Gained {
            requests: requests - self.requests,
            errors: errors.saturating_sub(self.errors),
            retries: retries.saturating_sub(self.retries),
            durations: None,
        };
        if gained.requests > 0 || self.busy {
            let read = traffic.durations.read();
            let before = self.durations.get_or_insert_default();
            gained.durations = Some(read.since(before));
            **before = read;
        }
        self.busy = gained.requests > 0;
        (self.requests, self.errors, self.retries) = (requests, errors, retries);
        gained
    }
}

/// How many there were, and how many of them were answered with 5xx.
fn requests(traffic: &Traffic) -> [u64; 2] {
    let routes = traffic.routes();
    let classes = routes.iter().map(|(_, counts)| counts.read());
    classes.fold([0, 0], |[all, failed], classes| {
        [all + classes.iter().sum::<u64>(), failed + classes[FAILED]]
    })
}

impl Gained {
    fn add(&mut self, one: &Self) {
        self.requests += one.requests;
        self.errors += one.errors;
        self.retries += one.retries;
        if let Some(durations) = &one.durations {
            let sum = self.durations.get_or_insert_default();
            for (all, one) in sum.buckets.iter_mut().zip(durations.buckets) {
                *all += one;
            }
        }
    }
}

impl Total {
    fn add(&mut self, row: &Row) {
        self.services += u32::from(row.instances > 0);
        self.instances += row.instances;
        self.figures.in_flight += row.figures.in_flight;
        for (all, one) in self.availability.iter_mut().zip(row.availability) {
            *all += one;
        }
    }
}

impl Figures {
    fn is_busy(&self) -> bool {
        *self != Self::default()
    }
}

#[cfg(test)]
mod tests;
