//! What the command line asks for.

use std::time::Duration;

use clap::Parser;

use crate::workload::Workload;

/// Sets callboard beside other proxies.
#[derive(Parser)]
pub(crate) struct Options {
    /// Fewer and shorter rounds, for a first look
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these workloads, by name
    #[arg(long, value_delimiter = ',', value_name = "WORKLOADS")]
    pub(crate) only: Vec<String>,
    /// Only these proxies, by name
    #[arg(long, value_delimiter = ',', value_name = "PROXIES")]
    pub(crate) proxy: Vec<String>,
    /// How many rounds; 5 unless given, 3 with --quick
    #[arg(long)]
    rounds: Option<usize>,
    /// For how many seconds a proxy is measured in each round; 2 for the main workload and 1.5 for the
    /// others unless given, 1 with --quick
    #[arg(long)]
    seconds: Option<f64>,
    /// Writes what was measured into README.md and docs/bench.svg
    #[arg(long)]
    pub(crate) write_readme: bool,
    /// What Cargo tells every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    /// How long a proxy is under load before it is measured, and how long it is measured.
    pub(crate) fn spans(&self, workload: &Workload) -> (Duration, Duration) {
        let seconds = match (self.seconds, self.quick, workload.is_main()) {
            (Some(seconds), ..) => seconds,
            (None, true, _) => 1.0,
            (None, false, true) => 2.0,
            // There are many of these.
            (None, false, false) => 1.5,
        };
        let measured = Duration::from_secs_f64(seconds);
        (measured / 2, measured)
    }

    pub(crate) fn has_workload(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == name)
    }

    pub(crate) fn has_proxy(&self, name: &str) -> bool {
        self.proxy.is_empty() || self.proxy.iter().any(|one| one == name)
    }
}
