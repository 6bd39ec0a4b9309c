//! What becomes of each cost as there are ten times as many services, instances, routes and connections.
//!
//! `cargo bench --bench growth -- [--quick] [--write-readme]`; `CALLBOARD_BIN` names another callboard for
//! what is measured through a process.
//!
//! The worlds of all sizes stand side by side and are measured in turns, so that whatever else the machine
//! does meets all of them; the median of the turns is shown. callboard has the machine's first processor,
//! everything else the second, which is this process's. Costs of a process are processor time, kernel
//! included.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

#[path = "../common/mod.rs"]
mod common;
mod inside;
#[path = "../common/machine.rs"]
mod machine;
#[path = "../common/options.rs"]
mod options;
mod reload;
#[path = "../report/mod.rs"]
mod report;
mod requests;
mod routes;
mod series;
mod site;
#[path = "../common/spread.rs"]
mod spread;
mod summary;

use std::process::ExitCode;

use clap::Parser;

use machine::Machine;
use options::Options;
use series::{Scale, Series};
use site::Axis;

/// Callboard's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let machine = Machine::pin();
    println!("{machine}");
    let scale = Scale::new(options.quick);
    let mut all = inside::measure(&scale);
    all.extend(routes::measure(&scale));
    let Some(measured) = machine::run("growth", through_processes(&scale, &machine)) else {
        return ExitCode::FAILURE;
    };
    all.extend(measured);
    summary::print(&all, &scale);
    if options.write_readme {
        summary::write(&all, &scale, &machine);
    }
    ExitCode::SUCCESS
}

async fn through_processes(scale: &Scale, machine: &Machine) -> Vec<Series> {
    common::lanes::stay_awake();
    let port = common::upstream::serve().await;
    let mut all = Vec::new();
    for axis in Axis::ALL {
        all.extend(requests::measure(axis, scale, machine, port).await);
    }
    for axis in [Axis::Services, Axis::Instances, Axis::Hosts] {
        all.push(reload::measure(axis, scale, machine, port).await);
    }
    all
}
