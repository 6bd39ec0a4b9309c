//! The run itself: events in the order of their time.

mod agenda;
mod demand;
mod halt;
mod host;
mod line;
mod stage;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::cluster::budget::RetryPermit;
use crate::cluster::clusters::Clusters;
use crate::cluster::pick::{self, Nobody, Outcome, Pick, Tried};
use crate::cluster::policy::Policy;
use crate::health::availability::Availability;
use crate::names::NameError;

use super::figures::Figures;
use super::report::Report;
use super::scenario::Scenario;
use super::world::{End, Time, nanos};

use agenda::{Agenda, Event};
use demand::Demand;
use host::Host;
use line::Line;

pub use halt::Halt;

/// The time between two steps of what time alone brings about.
const STEP: Time = 50_000_000;
/// What instances answer that fail a request.
const STATUS: u16 = 503;
/// How often it is told how far a run is, in events.
const TELL_EVERY: u64 = 1 << 16;

/// Runs a scenario from `start`, which is any moment: time passes in the simulation only. `progress` is
/// told now and then which share of it is done, 0 to 1.
///
/// # Errors
/// [`Halt`], when more is in flight than can be borne.
pub fn run(
    scenario: &Scenario,
    balance: &str,
    start: Instant,
    progress: &mut dyn FnMut(f64),
) -> Result<Report, Halt> {
    pick::seed(scenario.seed);
    let mut run = Run::new(scenario, start)?;
    run.begin();
    let mut events = 0_u64;
    while !run.is_over()
        && let Some(event) = run.agenda.pass()
    {
        run.happen(event);
        halt::unless_bearable(run.in_flight(), run.agenda.now())?;
        events += 1;
        if events.is_multiple_of(TELL_EVERY) {
            progress(run.demand.share(run.agenda.now()));
        }
    }
    Ok(run.report(balance))
}

struct Run<'a> {
    scenario: &'a Scenario,
    policy: &'a Policy,
    cluster: Arc<Cluster>,
    clusters: Clusters,
    start: Instant,
    agenda: Agenda,
    demand: Demand<'a>,
    chances: fastrand::Rng,
    hosts: Vec<Host>,
    /// Positions in `hosts` by endpoint.
    by_key: HashMap<u64, usize>,
    places: Vec<Option<Request>>,
    free: Vec<usize>,
    line: Line,
    done: u64,
    latency: Figures,
    report: Report,
}

struct Request {
    came: Time,
    hash: u64,
    tried: Tried,
    retries: u32,
    pick: Option<(Pick, usize, Time)>,
    permit: Option<RetryPermit>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, start: Instant) -> Result<Self, NameError> {
        let (cluster, clusters) = stage::set(scenario)?;
        Ok(Self {
            scenario,
            policy: &scenario.policy,
            cluster,
            clusters,
            start,
            agenda: Agenda::default(),
            demand: Demand::new(&scenario.load, scenario.seed),
            chances: fastrand::Rng::with_seed(scenario.seed ^ 0x5eed),
            hosts: scenario.members.iter().map(Host::new).collect(),
            by_key: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            line: Line::default(),
            done: 0,
            latency: Figures::default(),
            report: Report::default(),
        })
    }

    fn begin(&mut self) {
        for time in self.demand.first() {
            self.agenda.at(time, Event::Arrival);
        }
        for host in 0..self.hosts.len() {
            if let Some(check) = &self.policy.check {
                let first = nanos(self.chances.f64() * check.interval.as_secs_f64());
                self.agenda.at(first, Event::Probe(host));
            }
        }
        self.agenda.at(STEP, Event::Step);
    }

    fn in_flight(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether no request comes any more and none is on its way.
    fn is_over(&self) -> bool {
        !self.demand.lasts(self.agenda.now()) && self.done == self.demand.came()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.arrive(),
            Event::End(place, end) => self.end(place, end),
            Event::GiveUp => {
                self.line.watched();
                while let Some(place) = self.line.pop_late(self.agenda.now()) {
                    self.report.turned_away += 1;
                    self.leave(place);
                }
                self.watch_line();
            }
            Event::Probe(host) => self.probe(host),
            Event::Step => {
                self.clusters.tick(self.moment());
                self.serve_line();
                self.agenda.after(STEP, Event::Step);
            }
        }
    }

    fn arrive(&mut self) {
        if !self.demand.lasts(self.agenda.now()) {
            return;
        }
        if let Some(wait) = self.demand.until_next() {
            self.agenda.after(wait, Event::Arrival);
        }
        let request = Request {
            came: self.agenda.now(),
            hash: self.demand.draw(),
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
        if self.line.len() >= self.policy.limits.queue as usize {
            self.report.turned_away += 1;
            return self.leave(place);
        }
        self.report.queued += 1;
        let patience = self.policy.limits.queue_timeout.as_nanos() as Time;
        let until = self.agenda.now().saturating_add(patience);
        self.line.join(place, until);
        self.watch_line();
    }

    fn watch_line(&mut self) {
        if let Some(time) = self.line.watch() {
            self.agenda.at(time, Event::GiveUp);
        }
    }

    /// Lets in whoever waits, the first first.
    fn serve_line(&mut self) {
        while let Some(place) = self.line.first() {
            let Some(request) = &self.places[place] else {
                self.line.pop();
                continue;
            };
            let picked = self
                .cluster
                .pick(request.hash, &request.tried, self.moment());
            let Ok(pick) = picked else { return };
            self.line.pop();
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
        let now = self.agenda.now();
        let (mut ends, mut end) = self.hosts[host].begin(now, &mut self.chances);
        let timeouts = &self.policy.timeouts;
        let limits = [
            Some(request.came + timeouts.request.as_nanos() as Time),
            timeouts
                .first_byte
                .map(|limit| now + limit.as_nanos() as Time),
        ];
        if let Some(limit) = limits
            .into_iter()
            .flatten()
            .min()
            .filter(|limit| *limit < ends)
        {
            (ends, end) = (limit.max(now), End::Late);
        }
        // Who was tried before is let go only now, so that the request counts throughout.
        request.pick = Some((pick, host, now));
        self.agenda.at(ends, Event::End(place, end));
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
        one.end(*since, self.agenda.now(), end);
        pick.report(outcome(end), now);
        if one.may_turn(end) {
            let id = &self.scenario.members[host].id;
            let status = self.cluster.status(id.as_str());
            one.turn(status.is_some_and(|it| it.availability == Availability::Ejected));
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
        if !is_cause || self.agenda.now() >= deadline {
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
        self.latency
            .record((self.agenda.now() - request.came) as f64 / 1e9);
        drop(request);
        if let Some(pause) = self.demand.pause() {
            self.agenda.after(pause, Event::Arrival);
        }
    }

    fn probe(&mut self, host: usize) {
        let Some(check) = &self.policy.check else {
            return;
        };
        let is_down = self.hosts[host].is_down(self.agenda.now());
        let answer = match is_down {
            true => Err("connection refused".to_owned()),
            false => Ok(()),
        };
        let id = &self.scenario.members[host].id;
        self.cluster.hear(id, answer, self.moment());
        self.agenda
            .after(check.interval.as_nanos() as Time, Event::Probe(host));
        self.serve_line();
    }

    fn moment(&self) -> Instant {
        self.start + Duration::from_nanos(self.agenda.now())
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
        let instances = instances.map(|(member, host)| host.report(member, total, weights));
        Report {
            balance: balance.to_owned(),
            simulated: self.agenda.now() as f64 / 1e9,
            requests: self.demand.came(),
            ejections: self.hosts.iter().map(|host| host.ejections).sum(),
            latency: (&self.latency).into(),
            instances: instances.collect(),
            ..self.report
        }
        .weighed()
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
