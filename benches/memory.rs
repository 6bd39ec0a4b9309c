//! How much memory 100,000 registered instances take: the resident size before and after.

mod common;

use std::fs;
use std::process::Command;

use callboard::cluster::policy::Policy;
use callboard::registry::Registry;
use callboard::registry::command::Command::Register;

/// Callboard's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The usual size of a page on the machines callboard runs on.
const PAGE: u64 = 4_096;

/// Each measurement has a process of its own, or it would find memory that another has left.
fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("registry") => measure("the registry alone", &common::empty()),
        Some("all") => {
            let (registry, _clusters) = common::with_clusters(Policy::default());
            measure("registry, clusters and probes", &registry);
        }
        _ => ["registry", "all"].into_iter().for_each(measure_apart),
    }
}

fn measure_apart(what: &str) {
    let itself = std::env::current_exe();
    let status = itself.and_then(|itself| Command::new(itself).arg(what).status());
    assert!(status.is_ok_and(|status| status.success()), "{what} failed");
}

/// Registers the instances in batches and prints what that added to the resident size.
fn measure(what: &str, registry: &Registry) {
    let before = resident();
    for service in 0..1_000 {
        let instances = (0..100).map(|id| common::instance(service, id));
        let commands = instances.map(Register).collect();
        common::fill(registry, vec![commands]);
    }
    let (after, count) = (resident(), 100_000);
    let services = registry.snapshot().services.len();
    match (before, after) {
        (Some(before), Some(after)) => {
            let grown = after.saturating_sub(before);
            println!(
                "{what}: {count} instances of {services} services: {:.1} MiB resident, {} bytes each",
                grown as f64 / f64::from(1 << 20),
                grown / count
            );
        }
        _ => println!("no /proc/self/statm here: resident memory is not known"),
    }
}

/// The resident bytes of this process, if the system tells.
fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}
