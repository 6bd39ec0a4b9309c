//! What was measured.

use std::collections::BTreeMap;
use std::time::Duration;

/// What stands for no proxy at all.
pub(crate) const DIRECT: &str = "direct";

/// What a proxy did in one round.
#[derive(Clone, Default)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    /// In KiB, after all of it.
    pub(crate) memory: u64,
    /// Of a connection on which nobody says anything, in KiB.
    pub(crate) idle: Option<f64>,
    /// Changes of the membership a second that were acknowledged.
    pub(crate) changes: Option<f64>,
}

/// Latencies, in µs.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Sample {
    /// Processor time for a request, in µs.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// The share of its processor that it used.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// A proxy that took part.
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) version: String,
    pub(crate) is_main: bool,
}

/// The rounds of a workload, by proxy. A round in which a proxy failed is not there.
pub(crate) type Rounds = BTreeMap<&'static str, BTreeMap<usize, Sample>>;

/// All of a run.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) entrants: Vec<Entrant>,
    /// Proxies that could not take part, and why.
    pub(crate) missing: Vec<String>,
    pub(crate) rounds: usize,
    /// Requests a second at which latency was taken.
    pub(crate) rate: Option<f64>,
    /// By proxy and round.
    pub(crate) latencies: BTreeMap<(&'static str, usize), Latency>,
    workloads: BTreeMap<&'static str, Rounds>,
}

impl Results {
    pub(crate) fn keep(&mut self, workload: &'static str, rounds: Rounds) {
        self.workloads.insert(workload, rounds);
    }

    /// A proxy did not do what it was asked for.
    pub(crate) fn miss(&mut self, proxy: &str, workload: &str, error: &str) {
        let missing = format!("{proxy} at {workload}: {error}");
        eprintln!("FAILED: {missing}");
        self.missing.push(missing);
    }

    pub(crate) fn of(&self, workload: &str) -> Option<&Rounds> {
        self.workloads.get(workload)
    }

    /// The median of a figure over the rounds.
    pub(crate) fn median(
        &self,
        workload: &str,
        proxy: &str,
        figure: impl Fn(&Sample) -> Option<f64>,
    ) -> Option<f64> {
        let samples = self.of(workload)?.get(proxy)?.values();
        median(samples.filter_map(figure).collect())
    }

    /// How often the cost of one is that of the other: the median of the rounds' ratios.
    pub(crate) fn ratio(&self, workload: &str, proxy: &str, other: &str) -> Option<f64> {
        let rounds = self.of(workload)?;
        let (own, others) = (rounds.get(proxy)?, rounds.get(other)?);
        let both = own
            .iter()
            .filter_map(|(round, own)| Some((own, others.get(round)?)));
        median(both.map(|(own, other)| own.cost() / other.cost()).collect())
    }

    /// What a proxy adds to a latency, in µs: the median of the rounds' differences.
    pub(crate) fn added(&self, proxy: &str, which: fn(&Latency) -> f64) -> Option<f64> {
        let of = |name, round| self.latencies.get(&(name, round)).map(which);
        let rounds = 0..self.rounds;
        let proxy = self.entrants.iter().find(|one| one.name == proxy)?.name;
        let added = rounds.filter_map(|round| Some(of(proxy, round)? - of(DIRECT, round)?));
        median(added.collect())
    }

    /// A latency without a proxy, in µs.
    pub(crate) fn direct(&self, which: fn(&Latency) -> f64) -> Option<f64> {
        let rounds = 0..self.rounds;
        let direct = rounds.filter_map(|round| self.latencies.get(&(DIRECT, round)));
        median(direct.map(which).collect())
    }

    /// Requests a second of the slowest of these in its slowest round.
    pub(crate) fn slowest(&self, workload: &str, proxies: &[&str]) -> Option<f64> {
        let rounds = self.of(workload)?;
        let rounds = proxies.iter().filter_map(|name| rounds.get(name));
        let rates = rounds.flat_map(|samples| samples.values().map(Sample::rate));
        rates.min_by(f64::total_cmp)
    }

    /// How far the middle half of a proxy's costs spreads, as a share of their median.
    pub(crate) fn spread(&self, workload: &str, proxy: &str) -> Option<f64> {
        let samples = self.of(workload)?.get(proxy)?.values();
        let mut costs: Vec<_> = samples.map(Sample::cost).collect();
        costs.sort_unstable_by(f64::total_cmp);
        let at = |part: usize| costs.get((costs.len().saturating_sub(1)) * part / 4);
        Some((at(3)? - at(1)?) / at(2)?)
    }

    /// How many requests failed in all rounds.
    pub(crate) fn failed(&self, workload: &str, proxy: &str) -> u64 {
        let samples = self.of(workload).and_then(|rounds| rounds.get(proxy));
        samples.map_or(0, |samples| samples.values().map(|one| one.failed).sum())
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 => Some((figures.get(middle.checked_sub(1)?)? + figures.get(middle)?) / 2.0),
        _ => figures.get(middle).copied(),
    }
}
