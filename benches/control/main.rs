//! The control plane of a whole process, over its sockets and with the journal on, beside what Eureka and
//! Consul document of themselves.
//!
//! `cargo bench --bench control -- [--quick] [--write-readme]`; `CALLBOARD_BIN` names another callboard.
//!
//! callboard has the machine's first processor; the clients, the watchers and the instance they all are
//! about, in this process, share the second. Load goes to this machine's loopback only and is bounded in
//! count and time. Costs are processor time of callboard's own, kernel included.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod crash;
mod documented;
mod heartbeats;
#[path = "../common/lanes.rs"]
mod lanes;
#[path = "../common/listener.rs"]
mod listener;
#[path = "../common/machine.rs"]
mod machine;
mod memory;
#[path = "../common/options.rs"]
mod options;
#[path = "../common/process.rs"]
mod process;
mod published;
mod registrations;
#[path = "../report/mod.rs"]
mod report;
mod restart;
mod routed;
#[path = "../common/spread.rs"]
mod spread;
mod summary;
#[path = "../common/upstream.rs"]
mod upstream;
mod watchers;
mod world;

use std::process::ExitCode;

use clap::Parser;

use machine::Machine;
use options::Options;
use summary::Row;
use world::{Scale, World};

// The lighter the clients, the less they hold callboard up.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let machine = Machine::pin();
    println!("{machine}");
    let scale = Scale::new(options.quick);
    let Some(rows) = machine::run("control", measure(&scale, &machine)) else {
        return ExitCode::FAILURE;
    };
    summary::print(&rows);
    if options.write_readme {
        summary::write(&rows, &scale, &machine);
    }
    ExitCode::SUCCESS
}

async fn measure(scale: &Scale, machine: &Machine) -> Vec<Row> {
    lanes::stay_awake();
    let port = upstream::serve().await;
    let mut rows = Vec::new();
    // It probes all of the instances, so nothing else is measured with it.
    let memory = memory::measure(scale, World::start(machine, world::CHECKED), port).await;
    let mut world = World::start(machine, world::UNCHECKED);
    rows.extend(registrations::measure(scale, &world, port).await);
    rows.extend(heartbeats::measure(scale, &world).await);
    rows.push(routed::measure(scale, &world, port).await);
    rows.push(published::measure(scale, &world, port).await);
    rows.push(watchers::measure(scale, &world, port).await);
    rows.push(memory);
    rows.push(restart::measure(scale, &mut world).await);
    rows.push(crash::measure(scale, &world).await);
    rows
}
