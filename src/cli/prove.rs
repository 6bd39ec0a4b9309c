//! `callboard prove`: deploys, crashes and reloads, done under load and counted.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{self, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::prove::report::{Report, Scene, Verdict};
use crate::prove::scenario::Scenario;
use crate::prove::tally::Failure;
use crate::prove::{self, Plan, instance};
use crate::units::{format_duration, parse_duration};

use super::escape;
use super::remote::note;
use super::table::Table;

/// What to prove.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Replace, kill and stop instances, and callboard itself, while clients call; count what fails
    ///
    /// Everything happens on this machine, on free loopback ports and in a temporary folder, with
    /// processes of its own. A request fails when its client sees anything but a 200 with the right
    /// body. Exit code 0: every guarantee was kept. 1: one was not, and what failed is told.
    Deploy(Deploy),
    /// Be an instance of a service
    #[command(hide = true)]
    Instance(Instance),
    /// Run a program so that it ends when its parent does
    #[command(hide = true)]
    Bound(Bound),
}

#[derive(Debug, Args)]
struct Deploy {
    /// How many replacements (kills, reloads, …) there are in each scenario [default: 1000 for
    /// graceful, fewer for the others]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rounds: Option<usize>,

    /// How many clients call a service at a time, each by GET or POST, on one connection or a new one
    /// each time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clients)]
    clients: usize,

    /// Begin no further round of a scenario after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,

    /// Only these scenarios
    #[arg(long, value_name = "SCENARIO", value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,

    /// The callboard to put to the proof [default: this one]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// A few rounds of each: half a minute
    #[arg(long)]
    short: bool,

    /// JSON for programs
    #[arg(long)]
    json: bool,

    /// Sabotage: instances end without signing out, and callboard tries nothing again
    #[arg(long, hide = true)]
    without_drain: bool,
}

#[derive(Debug, Args)]
struct Instance {
    #[arg(long)]
    registry: SocketAddr,
    #[arg(long)]
    service: String,
    #[arg(long)]
    id: String,
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long, default_value = "5s")]
    ttl: String,
    #[arg(long)]
    record: PathBuf,
    #[arg(long, default_value = "5ms", value_parser = parse_duration)]
    work: Duration,
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    listens_after: Duration,
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    ready_after: Duration,
    #[arg(long)]
    abrupt: bool,
}

#[derive(Debug, Args)]
struct Bound {
    #[arg(long)]
    parent: u32,
    #[arg(last = true, required = true)]
    line: Vec<OsString>,
}

/// Carries it out; the process's exit code.
pub(super) fn run(asked: Arguments, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let problem = match asked.what {
        What::Deploy(asked) => match deploy(&asked, out, err) {
            Ok(held) => return u8::from(!held),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
            Err(error) => error.to_string(),
        },
        What::Instance(asked) => match instance::run(asked.into()) {
            Ok(()) => return 0,
            Err(error) => error,
        },
        What::Bound(asked) => match asked.line.split_first() {
            Some((program, rest)) => prove::run_bound(asked.parent, program, rest).to_string(),
            None => "no program is named".to_owned(),
        },
    };
    note(err, &problem);
    1
}

/// Whether every guarantee was kept.
fn deploy(asked: &Deploy, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let program = asked
        .program
        .clone()
        .map_or_else(env::current_exe, path::absolute)?;
    let plan = Plan {
        program,
        only: asked.only.clone(),
        rounds: asked.rounds,
        clients: asked.clients,
        limit: asked.seconds.map(|n| Duration::from_secs(n.into())),
        short: asked.short,
        without_drain: asked.without_drain,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(async {
        let told = |scenario, done: Option<&Scene>| match done {
            None => note(err, &format!("{scenario} …")),
            Some(scene) => note(err, &format!("{scenario}: {}", verdict(scene.verdict))),
        };
        tokio::select! {
            report = prove::deploy(&plan, told) => Ok(report),
            interrupted = ended() => Err(match interrupted {
                Ok(()) => io::Error::other("interrupted, so nothing is proved"),
                Err(error) => error,
            }),
        }
    })?;
    if asked.json {
        let text = serde_json::to_string_pretty(&report).map_err(io::Error::other)?;
        let lines: Vec<_> = text.lines().map(escape::json).collect();
        writeln!(out, "{}", lines.join("\n"))?;
    } else {
        tell(&report, out)?;
    }
    out.flush()?;
    Ok(report.held)
}

/// Waits for SIGINT or SIGTERM.
async fn ended() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

const HEADINGS: [&str; 10] = [
    "SCENARIO", "ROUNDS", "GET", "GET NEW", "POST", "POST NEW", "FAILED", "ALLOWED", "P99",
    "VERDICT",
];

/// The report for people.
fn tell(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    Table::new(HEADINGS).write(out, report.scenarios.iter().map(row))?;
    for scene in &report.scenarios {
        tell_allowed(scene, out)?;
    }
    let broken = |scene: &&Scene| scene.verdict == Verdict::Broken;
    for scene in report.scenarios.iter().filter(broken) {
        tell_broken(scene, out)?;
    }
    if report.held {
        let requests: u64 = report.scenarios.iter().map(all).sum();
        writeln!(out, "\n{requests} requests, and every guarantee was kept")?;
    }
    Ok(())
}

fn tell_allowed(scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
    if scene.allowed.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}: failed and allowed", scene.scenario)?;
    for failure in &scene.allowed {
        let why = failure.explained.as_deref().unwrap_or_default();
        tell_failure(failure, why, out)?;
    }
    more(scene.explained, scene.allowed.len(), out)
}

fn tell_broken(scene: &Scene, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{}: BROKEN ({})", scene.scenario, scene.guarantee)?;
    for breach in &scene.breaches {
        writeln!(out, "  {}", escape::for_terminal(breach))?;
    }
    for failure in &scene.unexpected {
        tell_failure(failure, &failure.saw, out)?;
    }
    let unexpected = scene.failures - scene.explained;
    more(unexpected, scene.unexpected.len(), out)
}

fn tell_failure(failure: &Failure, what: &str, out: &mut dyn Write) -> io::Result<()> {
    let Failure { kind, phase, .. } = failure;
    let at = format_duration(Duration::from_millis(failure.at_ms));
    let line = format!("{at}, {phase}: {kind}: {what}");
    writeln!(out, "  {}", escape::for_terminal(&line))
}

fn more(all: u64, told: usize, out: &mut dyn Write) -> io::Result<()> {
    match all.saturating_sub(told as u64) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn all(scene: &Scene) -> u64 {
    let requests = scene.requests;
    requests.get + requests.get_new + requests.post + requests.post_new
}

fn row(scene: &Scene) -> [String; HEADINGS.len()] {
    let requests = scene.requests;
    [
        scene.scenario.to_string(),
        scene.replacements.to_string(),
        requests.get.to_string(),
        requests.get_new.to_string(),
        requests.post.to_string(),
        requests.post_new.to_string(),
        scene.failures.to_string(),
        scene.explained.to_string(),
        format!("{}ms", scene.p99_ms),
        verdict(scene.verdict).to_owned(),
    ]
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "kept",
        Verdict::Broken => "BROKEN",
        Verdict::NotAvailable => "not available",
    }
}

impl From<Instance> for instance::Settings {
    fn from(asked: Instance) -> Self {
        Self {
            registry: asked.registry,
            service: asked.service,
            id: asked.id,
            port: asked.port,
            ttl: asked.ttl,
            record: asked.record,
            work: asked.work,
            listens_after: asked.listens_after,
            ready_after: asked.ready_after,
            abrupt: asked.abrupt,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "expected a number from 1".to_owned())
}

/// Fewer could not send all kinds of request, and more would measure the machine.
fn clients(text: &str) -> Result<usize, String> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (4..=1_000).contains(count));
    count.ok_or_else(|| "expected a number from 4 to 1000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        prove: Arguments,
    }

    fn parse(line: &str) -> Result<Deploy, String> {
        let words = std::iter::once("prove").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        match line.prove.what {
            What::Deploy(asked) => Ok(asked),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scenarios_are_named_in_one_list() {
        let asked = parse("deploy --only slow-start,upgrade --rounds 3").unwrap();
        assert_eq!(asked.only, [Scenario::SlowStart, Scenario::Upgrade]);
        assert_eq!((asked.rounds, asked.clients), (Some(3), 8));
    }

    #[test]
    fn wrong_arguments_say_what_was_expected() {
        for (line, expected) in [
            ("deploy --only sudden", "possible values: graceful"),
            ("deploy --rounds 0", "expected a number from 1"),
            ("deploy --clients 3", "expected a number from 4 to 1000"),
            ("deploy --seconds 0", "0 is not in 1.."),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn the_report_tells_every_failure_and_whether_it_is_allowed() {
        let failure = |explained: Option<&str>| Failure {
            at_ms: 1_250,
            kind: crate::prove::tally::Kind::Post,
            tag: 7,
            saw: "502 callboard\u{1b}".to_owned(),
            phase: "web-1 was killed".to_owned(),
            explained: explained.map(str::to_owned),
        };
        let scene = Scene {
            scenario: Scenario::Killed,
            guarantee: "no GET fails",
            verdict: Verdict::Broken,
            replacements: 2,
            requests: Default::default(),
            failures: 5,
            explained: 1,
            closed_connections: 0,
            p99_ms: 1.5,
            seconds: 2.0,
            breaches: vec!["a POST was sent twice".to_owned()],
            unexpected: vec![failure(None)],
            allowed: vec![failure(Some("it had been sent to web-1"))],
        };
        let mut out = Vec::new();
        tell(&Report::new(vec![scene]), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "SCENARIO  ROUNDS  GET  GET NEW  POST  POST NEW  FAILED  ALLOWED  P99    VERDICT\n\
             killed    2       0    0        0     0         5       1        1.5ms  BROKEN\n\
             \n\
             killed: failed and allowed\n\
             \x20 1.25s, web-1 was killed: POST: it had been sent to web-1\n\
             \n\
             killed: BROKEN (no GET fails)\n\
             \x20 a POST was sent twice\n\
             \x20 1.25s, web-1 was killed: POST: 502 callboard\\u{1b}\n\
             \x20 and 3 more\n"
        );
    }
}
