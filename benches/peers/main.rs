//! callboard beside the proxies that people use: the same job, the same load, in one run.
//!
//! `cargo bench --bench peers -- [--quick] [--only WORKLOADS] [--proxy PROXIES] [--write-readme]`, after
//! `scripts/bench-peers.sh` has installed the others; `CALLBOARD_BIN` names another callboard.
//!
//! Every proxy has one worker on the machine's first processor; the clients and what they reach through
//! it, both in this process, share the second. What counts is the processor time that a proxy takes for
//! a request, kernel included: it does not depend on how fast the clients are. Each round starts every
//! proxy anew, in another order, and ratios are those within a round; the median over rounds is shown.
//! Latency is taken at half the rate of the slowest in its slowest round, from the moment a request was
//! due, and set against the same load without a proxy.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod certificate;
#[path = "../common/listener.rs"]
mod listener;
mod load;
#[path = "../common/machine.rs"]
mod machine;
mod measure;
mod options;
mod process;
mod proxies;
#[path = "../report/mod.rs"]
mod report;
mod results;
mod site;
mod summary;
mod turn;
mod upstream;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use machine::Machine;
use options::Options;

// The lighter the clients, the less they hold a fast proxy up.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let machine = Machine::pin();
    println!("{machine}");
    let Some(results) = machine::run("peers", measure::all(&options, &machine)) else {
        return ExitCode::FAILURE;
    };
    if options.write_readme {
        summary::write(&results, &machine);
    }
    match results.missing.as_slice() {
        // Where CI is set nothing may be skipped silently.
        [_, ..] if std::env::var("CI").is_ok_and(|ci| ci == "true") => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
