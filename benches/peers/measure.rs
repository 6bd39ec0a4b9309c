//! The rounds.

use crate::certificate::Certificate;
use crate::machine::Machine;
use crate::options::Options;
use crate::proxies::{self, Proxy};
use crate::results::{DIRECT, Entrant, Results, Rounds};
use crate::summary;
use crate::turn::Bench;
use crate::upstream;
use crate::workload::{WORKLOADS, Workload};

/// The share of what the slowest of the main proxies did in its slowest round at which latency is
/// taken.
const SHARE: f64 = 0.5;

/// Measures what `options` ask for, and prints each workload's table when it is done.
pub(crate) async fn all(options: &Options, machine: &Machine) -> Results {
    let bench = Bench {
        options,
        machine,
        port: upstream::serve().await,
        certificate: Certificate::new(),
    };
    let mut results = Results::default();
    results.rounds = options.rounds();
    let proxies = present(options, &mut results);
    let is_asked_for = |one: &&Workload| options.has_workload(one.name);
    for workload in WORKLOADS.iter().filter(is_asked_for) {
        let entrants: Vec<&dyn Proxy> = (proxies.iter().map(AsRef::as_ref))
            .filter(|one| one.does(workload))
            .collect();
        if entrants.is_empty() {
            continue;
        }
        let mut rounds = Rounds::new();
        for (round, proxy) in turns(&entrants, options.rounds()) {
            match bench.saturated(proxy, workload).await {
                Ok(sample) => {
                    let samples = rounds.entry(proxy.name()).or_default();
                    samples.insert(round, sample);
                }
                Err(error) => results.miss(proxy.name(), workload.name, &error),
            }
        }
        results.keep(workload.name, rounds);
        if workload.is_main() {
            latencies(&bench, &entrants, workload, &mut results).await;
        }
        summary::print(&results, workload);
    }
    results
}

/// How long requests take at a rate that all of the main proxies can do.
async fn latencies(
    bench: &Bench<'_>,
    entrants: &[&dyn Proxy],
    workload: &Workload,
    results: &mut Results,
) {
    let entrants: Vec<_> = (entrants.iter().copied())
        .filter(|one| one.is_main())
        .collect();
    let names: Vec<_> = entrants.iter().map(|one| one.name()).collect();
    let Some(slowest) = results.slowest(workload.name, &names) else {
        return;
    };
    let rate = (slowest * SHARE).round();
    results.rate = Some(rate);
    for (round, proxy) in turns(&entrants, results.rounds) {
        if !results.latencies.contains_key(&(DIRECT, round)) {
            let direct = bench.direct(workload, rate).await;
            (results.latencies).extend(direct.map(|latency| ((DIRECT, round), latency)));
        }
        match bench.paced(proxy, workload, rate).await {
            Ok(latency) => {
                let latency = latency.map(|latency| ((proxy.name(), round), latency));
                results.latencies.extend(latency);
            }
            Err(error) => results.miss(proxy.name(), workload.name, &error),
        }
    }
}

/// Everybody's turn in each round. Each is first in its turn, so that none has a better place than the
/// others.
fn turns<'a>(
    entrants: &'a [&'a dyn Proxy],
    rounds: usize,
) -> impl Iterator<Item = (usize, &'a dyn Proxy)> {
    (0..rounds).flat_map(move |round| {
        let turns = 0..entrants.len();
        turns.map(move |turn| (round, entrants[(turn + round) % entrants.len()]))
    })
}

/// The proxies that are asked for and there.
fn present(options: &Options, results: &mut Results) -> Vec<Box<dyn Proxy>> {
    let mut proxies = proxies::all();
    proxies.retain(|proxy| {
        if !options.has_proxy(proxy.name()) {
            return false;
        }
        match proxy.version() {
            Ok(version) => results.entrants.push(Entrant {
                name: proxy.name(),
                title: proxy.title(),
                version,
                is_main: proxy.is_main(),
            }),
            Err(reason) => {
                println!("SKIPPED: {}: {reason}", proxy.name());
                results.missing.push(format!("{}: {reason}", proxy.name()));
                return false;
            }
        }
        true
    });
    proxies
}
