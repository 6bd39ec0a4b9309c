//! The machine: its processors, and who runs on which.

use std::fmt;
use std::process::Command;

use procfs::{CpuInfo, Current};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::signal::unix::{SignalKind, signal};

/// What is measured on.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) model: String,
    /// The proxies' processor and the clients', where there are two.
    processors: Option<(usize, usize)>,
}

impl Machine {
    /// Puts this process onto the second of the processors it may use.
    pub(crate) fn pin() -> Self {
        let allowed = sched_getaffinity(None).unwrap();
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|at| allowed.is_set(*at));
        let processors = allowed.next().zip(allowed.next());
        if let Some((_, own)) = processors {
            let mut set = CpuSet::new();
            set.set(own);
            sched_setaffinity(None, &set).unwrap();
        }
        let info = CpuInfo::current().unwrap();
        let model = info.model_name(0).unwrap_or("a processor without a name");
        Self {
            model: model.to_owned(),
            processors,
        }
    }

    /// A command for a proxy's processor.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some((proxies, _)) = self.processors else {
            return Command::new(program);
        };
        let mut command = Command::new("taskset");
        command.args(["-c", &proxies.to_string(), program]);
        command
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, ", self.model)?;
        match self.processors {
            Some((proxies, own)) => write!(
                formatter,
                "the proxy on processor {proxies}, clients and endpoints on {own}"
            ),
            None => write!(formatter, "one processor for all, so nothing is pinned"),
        }
    }
}

/// Runs a measurement called `name` on this thread; `None` if somebody wanted it to end, who is told. What it
/// has started ends with its values, which are dropped then.
pub(crate) fn run<T>(name: &str, measurement: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let measured = runtime.block_on(async {
        tokio::select! {
            measured = measurement => Some(measured),
            () = interrupted() => None,
        }
    });
    if measured.is_none() {
        eprintln!("{name}: interrupted");
    }
    measured
}

/// Waits until somebody wants this to end.
async fn interrupted() {
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
