//! What a run says: a table for each workload as it goes, and README.md's part at the end.

use crate::machine::Machine;
use crate::proxies::{BARE, CALLBOARD, NGINX};
use crate::report::{self, Bar, Chart, Table};
use crate::results::{Entrant, Results, Sample};
use crate::workload::{Field, WORKLOADS, Workload};

/// What stands where there is no figure.
const NONE: &str = "–";
/// What marks a figure of a run in which requests failed.
const MARK: &str = "!";

/// The workload that is looked at from all sides.
const MAIN: &str = WORKLOADS[0].name;

/// Prints what a workload came to.
pub(crate) fn print(results: &Results, workload: &Workload) {
    let name = workload.name;
    println!("\n{name}: {}", workload.title);
    let mut table = Table::new([
        "proxy",
        "µs CPU",
        "± half",
        "× nginx",
        "× bare",
        "req/s",
        "busy",
        "+p50 µs",
        "+p99 µs",
        "MiB",
        "KiB/idle",
        "changes/s",
        "failed",
    ]);
    for entrant in took_part(results, name) {
        let figure = |figure: &dyn Fn(&Sample) -> Option<f64>, digits| {
            shown(results.median(name, entrant.name, figure), digits)
        };
        // It is taken with the main workload alone.
        let latency = |which| match workload.is_main() {
            true => results.added(entrant.name, which),
            false => None,
        };
        let spread = results.spread(name, entrant.name);
        table.row([
            entrant.name.to_owned(),
            figure(&|sample| Some(sample.cost()), 1),
            shown(spread.map(|spread| spread * 50.0), 0) + "%",
            shown(results.ratio(name, entrant.name, NGINX), 2),
            shown(results.ratio(name, entrant.name, BARE), 2),
            figure(&|sample| Some(sample.rate()), 0),
            figure(&|sample| Some(sample.busy() * 100.0), 0) + "%",
            shown(latency(|latency| latency.p50), 0),
            shown(latency(|latency| latency.p99), 0),
            figure(&|sample| Some(sample.memory as f64 / 1_024.0), 1),
            figure(&|sample| sample.idle, 1),
            figure(&|sample| sample.changes, 0),
            results.failed(name, entrant.name).to_string(),
        ]);
    }
    print!("{table}");
    if workload.is_main()
        && let (Some(rate), Some(p50), Some(p99)) = (
            results.rate,
            results.direct(|latency| latency.p50),
            results.direct(|latency| latency.p99),
        )
    {
        println!(
            "latency at {rate:.0} requests a second; without a proxy p50 {p50:.0} µs, p99 {p99:.0} µs"
        );
    }
}

/// Writes README.md's part and the chart beside the other pictures.
pub(crate) fn write(results: &Results, machine: &Machine) {
    report::write_chart("bench.svg", &chart(results).svg());
    report::write("bench", &markdown(results, machine));
}

fn markdown(results: &Results, machine: &Machine) -> String {
    let today = report::today();
    let (main, others) = (main_table(results).markdown(), ratios(results).markdown());
    let rate = results.rate.unwrap_or_default();
    let rounds = results.rounds;
    let busy = busy(results) * 100.0;
    let (idle, changes) = (idle(results), changes(results));
    let marked = match (main.contains(MARK), others.contains(MARK)) {
        (false, false) => "",
        _ => " `!`: some requests failed.",
    };
    format!(
        "![Processor time for a request, by proxy.](docs/bench.svg)\n\n\
         {main}\n\
         A GET of 128 B over 64 kept connections, two endpoints, one worker; the median of {rounds} rounds, \
         ratios within a round. Latency is what a proxy adds at {rate:.0} requests a second. {machine}; \
         each proxy had {busy:.0} % of its processor at least; {today}.{marked}\n\n\
         Processor time for a request as a multiple of nginx's, by what is asked of them:\n\n\
         {others}\n\
         {idle}{changes}"
    )
}

fn main_table(results: &Results) -> Table {
    let mut table = Table::new([
        "proxy",
        "version",
        "CPU µs/request",
        "× nginx",
        "× bare Pingora",
        "requests/s",
        "p50 added, µs",
        "p99 added, µs",
        "memory, MiB",
    ]);
    for entrant in took_part(results, MAIN) {
        let name = entrant.name;
        let cost = results.median(MAIN, name, |sample| Some(sample.cost()));
        let rate = results.median(MAIN, name, |sample| Some(sample.rate()));
        let memory = results.median(MAIN, name, |sample| Some(sample.memory as f64 / 1_024.0));
        table.row([
            entrant.title.to_owned(),
            entrant.version.clone(),
            shown(cost, 1) + mark(results, MAIN, name),
            shown(results.ratio(MAIN, name, NGINX), 2),
            shown(results.ratio(MAIN, name, BARE), 2),
            shown(rate.map(|rate| (rate / 100.0).round() * 100.0), 0),
            shown(results.added(name, |latency| latency.p50), 0),
            shown(results.added(name, |latency| latency.p99), 0),
            shown(memory, 1),
        ]);
    }
    table
}

/// What the proxies had of their processor, the least of them: less than all of it if others used the
/// machine, or if the clients were too slow.
fn busy(results: &Results) -> f64 {
    let shares = took_part(results, MAIN)
        .filter_map(|one| results.median(MAIN, one.name, |sample| Some(sample.busy())));
    shares.fold(1.0, f64::min)
}

/// Workloads by proxies.
fn ratios(results: &Results) -> Table {
    let columns: Vec<_> = results.entrants.iter().filter(|one| one.is_main).collect();
    let titles = columns.iter().map(|one| one.title);
    let mut table = Table::new(std::iter::once("").chain(titles));
    let is_compared = |one: &&Workload| one.field != Field::Callboard;
    for workload in WORKLOADS.iter().filter(is_compared) {
        if results.of(workload.name).is_none() {
            continue;
        }
        let cell = |proxy: &str| {
            let ratio = results.ratio(workload.name, proxy, NGINX);
            shown(ratio, 2) + mark(results, workload.name, proxy)
        };
        let cells = columns.iter().map(|one| cell(one.name));
        table.row(std::iter::once(workload.title.to_owned()).chain(cells));
        // Another way for callboard to do the same. Those of the main workload are told of already.
        for variant in took_part(results, workload.name) {
            if variant.name.starts_with(CALLBOARD) && !variant.is_main && !workload.is_main() {
                let cells = columns.iter().map(|one| match one.name {
                    CALLBOARD => cell(variant.name),
                    _ => NONE.to_owned(),
                });
                let title = format!("the same {}", variant.title);
                table.row(std::iter::once(title).chain(cells));
            }
        }
    }
    table
}

/// What an idle connection takes.
fn idle(results: &Results) -> String {
    let each = (results.entrants.iter()).filter_map(|one| {
        let kibibytes = results.median("idle", one.name, |sample| sample.idle)?;
        Some(format!("{} {kibibytes:.1}", one.title))
    });
    let each: Vec<_> = each.collect();
    match each.is_empty() {
        true => String::new(),
        false => format!(
            "Memory of an idle connection, in KiB: {}.\n",
            each.join(", ")
        ),
    }
}

/// What membership changes cost, which the others cannot make as often.
fn changes(results: &Results) -> String {
    let changing = "callboard-changes";
    let ratio = results.ratio("changes", changing, CALLBOARD);
    let rate = results.median("changes", changing, |sample| sample.changes);
    let (Some(ratio), Some(rate)) = (ratio, rate) else {
        return String::new();
    };
    format!(
        "\nWith {rate:.0} membership changes a second, each kept on the disk before it is acknowledged, \
         callboard takes {ratio:.2} times the processor time for a request that it takes without, and {} \
         requests fail. The others have no way to change as often: nginx and HAProxy reload.\n",
        match results.failed("changes", changing) {
            0 => "no".to_owned(),
            failed => failed.to_string(),
        }
    )
}

fn chart(results: &Results) -> Chart {
    let bars = took_part(results, MAIN)
        .filter(|one| one.is_main)
        .filter_map(|one| {
            let length = results.median(MAIN, one.name, |sample| Some(sample.cost()))?;
            Some(Bar {
                name: one.title.replace('*', ""),
                length,
                figure: format!("{length:.1} µs"),
                is_own: one.name == CALLBOARD,
            })
        });
    Chart {
        title: "Processor time for a request".to_owned(),
        note: "GET of 128 B over kept connections, one worker; shorter is better".to_owned(),
        bars: bars.collect(),
    }
}

fn took_part<'a>(results: &'a Results, workload: &str) -> impl Iterator<Item = &'a Entrant> {
    let rounds = results.of(workload);
    let has_rounds = move |one: &&Entrant| rounds.is_some_and(|all| all.contains_key(one.name));
    results.entrants.iter().filter(has_rounds)
}

fn mark(results: &Results, workload: &str, proxy: &str) -> &'static str {
    if results.failed(workload, proxy) > 0 {
        MARK
    } else {
        ""
    }
}

fn shown(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| NONE.to_owned(), |figure| format!("{figure:.digits$}"))
}
