//! `callboard simulate`: the pickers over a made-up service.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use crate::cluster::policy::Policy;
use crate::config::Config;
use crate::simulate::{self, EXAMPLE, Report, Scenario};

use super::input;
use super::progress::Progress;
use super::remote::{self, Failure, note};
use super::table::Table;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The scenario; - is standard input
    #[arg(value_name = "FILE", required_unless_present = "example")]
    scenario: Option<PathBuf>,

    /// Print a scenario that explains itself, and end
    #[arg(long)]
    example: bool,

    /// Take the policy from this configuration
    #[arg(long, value_name = "FILE", requires = "service")]
    pub(super) config: Option<PathBuf>,

    /// The service whose policy that is
    #[arg(long, value_name = "NAME", requires = "config")]
    service: Option<String>,

    /// Run it with each of these algorithms, such as round_robin,peak_ewma
    #[arg(long, value_name = "ALGORITHMS")]
    compare: Option<String>,

    /// In place of the scenario's own seed
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// The figures as JSON, a list with an entry for each run
    #[arg(long)]
    json: bool,
}

/// Runs it, and tells what came of it.
pub(super) fn run(asked: &Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let reports = match reports(asked, err) {
        Ok(reports) => reports,
        Err(problem) => {
            note(err, &problem);
            return 2;
        }
    };
    let told = match asked.json {
        _ if asked.example => write!(out, "{EXAMPLE}"),
        true => as_json(&reports, out),
        false => reports.iter().try_for_each(|report| tell(report, out)),
    };
    remote::exit_code(told.map_err(Failure::from), err)
}

fn reports(asked: &Arguments, err: &mut dyn Write) -> Result<Vec<Report>, String> {
    let Some(file) = asked.scenario.as_deref().filter(|_| !asked.example) else {
        return Ok(Vec::new());
    };
    let text = match file == Path::new("-") {
        true => input::text_from(io::stdin()),
        false => input::text(file),
    };
    let text = text.map_err(|error| {
        format!(
            "{}: cannot be read: {error} (expected a scenario: --example shows one)",
            file.display()
        )
    })?;
    let policy = policy(asked)?;
    let scenario = Scenario::parse(&text, policy)
        .map_err(|mistake| format!("{}: {mistake}", file.display()))?;
    let mut scenario = scenario;
    scenario.seed = asked.seed.unwrap_or(scenario.seed);
    let algorithms = match &asked.compare {
        Some(names) => {
            simulate::algorithms(names).map_err(|mistake| format!("--compare: {mistake}"))?
        }
        None => vec![simulate::named(scenario.policy.balance.algorithm)],
    };
    let start = Instant::now();
    let mut progress = Progress::new(err, start);
    let one = |(name, algorithm): (String, _)| {
        scenario.policy.balance.algorithm = algorithm;
        let told = &mut |share| progress.tell(&name, share, Instant::now());
        simulate::run(&scenario, &name, start, told)
            .map_err(|halt| format!("{}: {halt}", file.display()))
    };
    algorithms.into_iter().map(one).collect()
}

fn policy(asked: &Arguments) -> Result<Option<Policy>, String> {
    let (Some(file), Some(service)) = (&asked.config, &asked.service) else {
        return Ok(None);
    };
    let loaded = Config::load(file).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        errors.join("\n")
    })?;
    Ok(Some(loaded.config.policies.of(service).clone()))
}

fn as_json(reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, reports)?;
    writeln!(out)
}

fn tell(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{}: {} requests in {:.1} s, {} answered, {} failed, {} late, {} without an instance, {} turned \
         away ({} queued), {} retries, {} ejections",
        report.balance,
        report.requests,
        report.simulated,
        report.answered,
        report.failed,
        report.late,
        report.nobody,
        report.turned_away,
        report.queued,
        report.retries,
        report.ejections,
    )?;
    let latency = report.latency;
    writeln!(
        out,
        "latency: mean {}, p50 {}, p90 {}, p99 {}, max {}; imbalance: max/mean {:.2}, variation {:.3}\n",
        millis(latency.mean),
        millis(latency.p50),
        millis(latency.p90),
        millis(latency.p99),
        millis(latency.max),
        report.max_over_mean,
        report.variation,
    )?;
    let mut table = Table::new([
        "INSTANCE",
        "WEIGHT",
        "REQUESTS",
        "SHARE",
        "BY WEIGHT",
        "MAX IN FLIGHT",
        "MEAN",
        "P50",
        "P99",
        "ERRORS",
        "EJECTED",
    ]);
    let rows = report.instances.iter().map(|one| {
        [
            one.id.clone(),
            one.weight.to_string(),
            one.requests.to_string(),
            format!("{:.1}%", one.share * 100.0),
            format!("{:.1}%", one.expected * 100.0),
            one.max_in_flight.to_string(),
            millis(one.latency.mean),
            millis(one.latency.p50),
            millis(one.latency.p99),
            one.errors.to_string(),
            one.ejections.to_string(),
        ]
    });
    table.write(out, rows)?;
    writeln!(out)
}

fn millis(seconds: f64) -> String {
    format!("{:.1}ms", seconds * 1e3)
}
