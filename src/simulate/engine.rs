//! The run itself: events in the order of their time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::balance::hash;
use crate::cluster::Cluster;
use crate::cluster::budget::RetryPermit;
use crate::cluster::clusters::Clusters;
use crate::cluster::pick::{self, Nobody, Outcome, Pick, Tried};
use crate::cluster::policy::{Admission, Policies, Policy};
use crate::health::availability::Availability;
use crate::health::probe::Prober;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::names::{NameError, ServiceName};
use crate::registry::Observer;
use crate::registry::snapshot::{Members, Revision, Snapshot};

use super::figures::Figures;
use super::report::{InstanceReport, Report};
use super::scenario::{Arrivals, Member, Scenario};
use super::world::{End, Time, Worker, exponential, nanos};

/// The time between two steps of what time alone brings about.
const STEP: Time = 50_000_000;
/// What instances answer that fail a request.
const STATUS: u16 = 503;

/// Runs a scenario from `start`, which is any moment: time passes in the simulation only.
///
/// # Errors
/// None that a scenario could bring about: only when a name that is known to be good is none.
pub fn run(scenario: &Scenario, balance: &str, start: Instant) -> Result<Report, NameError> {
    pick::seed(scenario.seed);
    let mut run = Run::new(scenario, start)?;
    run.begin();
    while let Some(Reverse((now, _, event))) = run.events.pop() {
        if run.is_over() {
            break;
        }
        run.now = now;
        run.happen(event);
    }
    Ok(run.report(balance))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A request comes.
    Arrival,
    /// A try of the request in this place ends.
    End(usize, End),
    /// The request in this place, with this number, has waited long enough.
    GiveUp(usize, u64),
    /// An instance is probed.
    Probe(usize),
    Step,
}

struct Run<'a> {
    scenario: &'a Scenario,
    policy: &'a Policy,
    cluster: Arc<Cluster>,
    clusters: Clusters,
    start: Instant,
    now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    /// How many events there were: those of one moment happen in the order they were made.
    made: u64,
    arrivals: fastrand::Rng,
    chances: fastrand::Rng,
    keys: Vec<f64>,
    hosts: Vec<Host>,
    /// Positions in `hosts` by endpoint.
    by_key: HashMap<u64, usize>,
    places: Vec<Option<Request>>,
    free: Vec<usize>,
    line: VecDeque<(usize, u64)>,
    waiting: usize,
    came: u64,
    done: u64,
    latency: Figures,
    report: Report,
}

/// An instance and what came to it.
struct Host {
    worker: Worker,
    requests: u64,
    errors: u64,
    in_flight: u32,
    max_in_flight: u32,
    ejections: u64,
    is_out: bool,
    latency: Figures,
}

struct Request {
    number: u64,
    came: Time,
    hash: u64,
    tried: Tried,
    retries: u32,
    pick: Option<(Pick, usize, Time)>,
    permit: Option<RetryPermit>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, start: Instant) -> Result<Self, NameError> {
        let service: ServiceName = "simulated".parse()?;
        let policies = Policies {
            default: scenario.policy.clone(),
            admission: Admission::Trust,
            zone: scenario.zone.clone(),
            ..Policies::default()
        };
        // Nobody takes what it asks for: probes are events here.
        let (prober, _) = Prober::new(1);
        let clusters = Clusters::new(policies, prober, ());
        let members = Members {
            revision: Revision(1),
            instances: (scenario.members.iter())
                .map(|member| (member.id.clone(), Arc::new(signed_in(&service, member))))
                .collect(),
        };
        let snapshot = Snapshot {
            revision: Revision(1),
            services: [(service.clone(), Arc::new(members))].into_iter().collect(),
            forgotten: Revision(0),
        };
        let changed = [service];
        clusters.published(&snapshot, &changed);
        let [service] = changed;
        let cluster = clusters.find(service.as_str());
        let cluster = cluster.ok_or(NameError::Empty)?;
        Ok(Self {
            scenario,
            policy: &scenario.policy,
            cluster,
            clusters,
            start,
            now: 0,
            events: BinaryHeap::new(),
            made: 0,
            arrivals: fastrand::Rng::with_seed(scenario.seed),
            chances: fastrand::Rng::with_seed(scenario.seed ^ 0x5eed),
            keys: cumulated(scenario.load.keys, scenario.load.skew),
            hosts: scenario.members.iter().map(Host::new).collect(),
            by_key: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            line: VecDeque::new(),
            waiting: 0,
            came: 0,
            done: 0,
            latency: Figures::default(),
            report: empty(),
        })
    }

    fn begin(&mut self) {
        match self.scenario.load.arrivals {
            Arrivals::Open(_) => self.expect_arrival(),
            Arrivals::Closed(clients, think) => {
                for _ in 0..clients {
                    // They do not come all at once.
                    let spread = self.arrivals.f64() * think.as_secs_f64();
                    self.at(nanos(spread), Event::Arrival);
                }
            }
        }
        for host in 0..self.hosts.len() {
            if let Some(check) = &self.policy.check {
                let first = nanos(self.chances.f64() * check.interval.as_secs_f64());
                self.at(first, Event::Probe(host));
            }
        }
        self.at(STEP, Event::Step);
    }

    /// Whether no request comes any more and none is on its way.
    fn is_over(&self) -> bool {
        !self.more_come() && self.done == self.came
    }

    fn more_come(&self) -> bool {
        let until = self.scenario.load.until;
        self.came < self.scenario.load.requests
            && until.is_none_or(|until| u128::from(self.now) < until.as_nanos())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::End(place, end) => self.end(place, end),
            Event::GiveUp(place, number) => {
                let waits = |request: &Request| request.number == number && request.pick.is_none();
                if self.places[place].as_ref().is_some_and(waits) {
                    self.waiting -= 1;
                    self.report.turned_away += 1;
                    self.leave(place);
                }
            }
            Event::Probe(host) => self.probe(host),
            Event::Step => {
                self.clusters.tick(self.moment());
                self.serve_line();
                self.after(STEP, Event::Step);
            }
        }
    }

    fn expect_arrival(&mut self) {
        if let Arrivals::Open(rate) = self.scenario.load.arrivals {
            let wait = nanos(exponential(1.0 / rate, &mut self.arrivals));
            self.after(wait, Event::Arrival);
        }
    }

    fn arrive(&mut self) {
        if !self.more_come() {
            return;
        }
        self.expect_arrival();
        self.came += 1;
        let request = Request {
            number: self.came,
            came: self.now,
            hash: self.draw_key(),
            tried: Tried::default(),
            retries: 0,
            pick: None,
            permit: None,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let picked = self
            .cluster
            .pick(request.hash, &request.tried, self.moment());
        self.places[place] = Some(request);
        match picked {
            Ok(pick) => self.give(place, pick),
            Err(Nobody::Full(_)) => self.queue(place),
            Err(_) => {
                self.report.nobody += 1;
                self.leave(place);
            }
        }
    }

    fn queue(&mut self, place: usize) {
        if self.waiting >= self.policy.limits.queue as usize {
            self.report.turned_away += 1;
            return self.leave(place);
        }
        let Some(request) = &self.places[place] else {
            return;
        };
        let number = request.number;
        self.waiting += 1;
        self.report.queued += 1;
        self.line.push_back((place, number));
        let patience = self.policy.limits.queue_timeout;
        self.after(patience.as_nanos() as Time, Event::GiveUp(place, number));
    }

    /// Lets in whoever waits, the first first.
    fn serve_line(&mut self) {
        while let Some(&(place, number)) = self.line.front() {
            let request = self.places[place].as_ref();
            let waits = |request: &&Request| request.number == number && request.pick.is_none();
            let Some(request) = request.filter(waits) else {
                self.line.pop_front();
                continue;
            };
            let picked = self
                .cluster
                .pick(request.hash, &request.tried, self.moment());
            let Ok(pick) = picked else { return };
            self.line.pop_front();
            self.waiting -= 1;
            self.give(place, pick);
        }
    }

    /// Gives a request to the instance that was picked for it.
    fn give(&mut self, place: usize, pick: Pick) {
        let host = self.host_of(&pick);
        let Some(request) = &mut self.places[place] else {
            return;
        };
        request.tried.add(pick.endpoint());
        let one = &mut self.hosts[host];
        one.requests += 1;
        one.in_flight += 1;
        one.max_in_flight = one.max_in_flight.max(one.in_flight);
        let (mut ends, mut end) = one.worker.serve(self.now, &mut self.chances);
        let timeouts = &self.policy.timeouts;
        let limits = [
            Some(request.came + timeouts.request.as_nanos() as Time),
            timeouts
                .first_byte
                .map(|limit| self.now + limit.as_nanos() as Time),
        ];
        if let Some(limit) = limits
            .into_iter()
            .flatten()
            .min()
            .filter(|limit| *limit < ends)
        {
            (ends, end) = (limit.max(self.now), End::Late);
        }
        // Who was tried before is let go only now, so that the request counts throughout.
        request.pick = Some((pick, host, self.now));
        self.at(ends, Event::End(place, end));
    }

    fn host_of(&mut self, pick: &Pick) -> usize {
        let endpoint = pick.endpoint();
        let members = &self.scenario.members;
        *(self.by_key.entry(endpoint.key())).or_insert_with(|| {
            let place = members.binary_search_by(|member| member.id.cmp(&endpoint.instance.id));
            place.unwrap_or_default()
        })
    }

    fn end(&mut self, place: usize, end: End) {
        let now = self.moment();
        let Some(request) = &mut self.places[place] else {
            return;
        };
        let Some((pick, host, since)) = &mut request.pick else {
            return;
        };
        let host = *host;
        let one = &mut self.hosts[host];
        one.in_flight -= 1;
        one.latency.record((self.now - *since) as f64 / 1e9);
        pick.report(outcome(end), now);
        if end != End::Answered {
            one.errors += 1;
        }
        if end != End::Answered || one.is_out {
            let id = &self.scenario.members[host].id;
            let status = self.cluster.status(id.as_str());
            let is_out = status.is_some_and(|status| status.availability == Availability::Ejected);
            one.ejections += u64::from(is_out && !one.is_out);
            one.is_out = is_out;
        }
        if end == End::Answered {
            self.report.answered += 1;
        } else {
            match self.next_try(place, end) {
                Some(pick) => {
                    self.report.retries += 1;
                    self.give(place, pick);
                    return self.serve_line();
                }
                None if end == End::Late => self.report.late += 1,
                None => self.report.failed += 1,
            }
        }
        self.leave(place);
        self.serve_line();
    }

    /// Another instance for a request that failed, as far as the policy tries it again.
    fn next_try(&mut self, place: usize, end: End) -> Option<Pick> {
        let now = self.moment();
        let retry = &self.policy.retry;
        let request = self.places[place].as_mut()?;
        let deadline = request.came + self.policy.timeouts.request.as_nanos() as Time;
        let on = &retry.on;
        let is_cause = match end {
            End::Answered => false,
            End::Faulted => on.statuses.iter().any(|range| range.contains(&STATUS)),
            End::Broken => on.reset,
            End::Refused => on.connect,
            End::Late => on.timeout,
        };
        if !is_cause || self.now >= deadline {
            return None;
        }
        // Nothing was sent to who refused the connection.
        if end != End::Refused {
            if request.retries >= retry.attempts {
                return None;
            }
            request.permit = None;
            request.permit = Some(self.cluster.try_retry()?);
            request.retries += 1;
        }
        self.cluster
            .pick_instead(request.hash, &request.tried, now)
            .ok()
    }

    fn leave(&mut self, place: usize) {
        let Some(request) = self.places[place].take() else {
            return;
        };
        self.free.push(place);
        self.done += 1;
        self.latency.record((self.now - request.came) as f64 / 1e9);
        drop(request);
        if let Arrivals::Closed(_, think) = self.scenario.load.arrivals {
            // Who is turned away at once takes a breath all the same, or time would stand still.
            let breath = think.max(Duration::from_millis(1));
            self.after(breath.as_nanos() as Time, Event::Arrival);
        }
    }

    fn probe(&mut self, host: usize) {
        let Some(check) = &self.policy.check else {
            return;
        };
        let is_down = self.hosts[host].worker.is_down(self.now);
        let answer = match is_down {
            true => Err("connection refused".to_owned()),
            false => Ok(()),
        };
        let id = &self.scenario.members[host].id;
        self.cluster.hear(id, answer, self.moment());
        self.after(check.interval.as_nanos() as Time, Event::Probe(host));
        self.serve_line();
    }

    fn draw_key(&mut self) -> u64 {
        let draw = self.arrivals.f64() * self.keys.last().copied().unwrap_or_default();
        let key = self.keys.partition_point(|&end| end <= draw);
        hash::of(format!("key-{key}").as_bytes())
    }

    fn moment(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    fn after(&mut self, wait: Time, event: Event) {
        self.at(self.now.saturating_add(wait), event);
    }

    fn at(&mut self, time: Time, event: Event) {
        self.made += 1;
        self.events.push(Reverse((time, self.made, event)));
    }

    fn report(self, balance: &str) -> Report {
        let total: u64 = self.hosts.iter().map(|host| host.requests).sum();
        let weights: u64 = self
            .scenario
            .members
            .iter()
            .map(|one| u64::from(one.weight))
            .sum();
        let instances = self.scenario.members.iter().zip(&self.hosts);
        let instances = instances.map(|(member, host)| InstanceReport {
            id: member.id.to_string(),
            weight: member.weight,
            requests: host.requests,
            share: host.requests as f64 / total.max(1) as f64,
            expected: f64::from(member.weight) / weights.max(1) as f64,
            errors: host.errors,
            max_in_flight: host.max_in_flight,
            ejections: host.ejections,
            latency: (&host.latency).into(),
        });
        Report {
            balance: balance.to_owned(),
            simulated: self.now as f64 / 1e9,
            requests: self.came,
            ejections: self.hosts.iter().map(|host| host.ejections).sum(),
            latency: (&self.latency).into(),
            instances: instances.collect(),
            ..self.report
        }
        .weighed()
    }
}

impl Host {
    fn new(member: &Member) -> Self {
        Self {
            worker: Worker::new(member),
            requests: 0,
            errors: 0,
            in_flight: 0,
            max_in_flight: 0,
            ejections: 0,
            is_out: false,
            latency: Figures::default(),
        }
    }
}

fn outcome(end: End) -> Outcome {
    match end {
        End::Answered => Outcome::Answered,
        End::Faulted => Outcome::Faulted { retry_after: None },
        End::Broken | End::Late => Outcome::Failed,
        End::Refused => Outcome::Unreachable,
    }
}

/// The sums of the frequencies of keys (G. K. Zipf's law).
fn cumulated(keys: usize, skew: f64) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-skew);
            sum
        })
        .collect()
}

fn signed_in(service: &ServiceName, member: &Member) -> crate::registry::snapshot::Member {
    let instance = Instance {
        service: service.clone(),
        id: member.id.clone(),
        address: std::net::SocketAddr::from(([127, 0, 0, 1], 9)).into(),
        scheme: Scheme::Http,
        weight: member.weight,
        zone: member.zone.clone(),
        tags: Default::default(),
        metadata: Default::default(),
        ttl: None,
        check: CheckOverride::default(),
        generation: None,
    };
    crate::registry::snapshot::Member {
        instance: Arc::new(instance),
        lease: None,
        draining: false,
        created: Revision(1),
        modified: Revision(1),
        observed: Revision(1),
        registered_at: SystemTime::UNIX_EPOCH,
        owner: None,
        recalled: None,
    }
}

fn empty() -> Report {
    Report {
        balance: String::new(),
        simulated: 0.0,
        requests: 0,
        answered: 0,
        failed: 0,
        late: 0,
        nobody: 0,
        turned_away: 0,
        queued: 0,
        retries: 0,
        ejections: 0,
        latency: (&Figures::default()).into(),
        max_over_mean: 0.0,
        variation: 0.0,
        instances: Vec::new(),
    }
}
