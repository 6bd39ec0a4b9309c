//! A proxy's processes: what they cost, and their end.

use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use procfs::process::{Process, all_processes};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process and all that it has started; ended when dropped.
pub(crate) struct Tree(pub(crate) Child);

impl Tree {
    /// The processor time they have used, in user space and in the kernel; known to 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stats = self
            .processes()
            .into_iter()
            .filter_map(|one| one.stat().ok());
        let ticks: u64 = stats.map(|stat| stat.utime + stat.stime).sum();
        Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// The memory they have in use, in KiB: what several share is counted once.
    pub(crate) fn memory(&self) -> u64 {
        let kibibytes = |process: &Process| {
            let maps = process.smaps_rollup().ok()?.memory_map_rollup;
            let bytes = maps.0.first()?.extension.map.get("Pss")?;
            Some(bytes / 1_024)
        };
        self.processes().iter().filter_map(kibibytes).sum()
    }

    /// Whether the first of them has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    fn processes(&self) -> Vec<Process> {
        let mut rest: Vec<_> = all_processes()
            .unwrap()
            .filter_map(|process| {
                let process = process.ok()?;
                let parent = process.stat().ok()?.ppid;
                Some((parent, process))
            })
            .collect();
        let root = self.0.id() as i32;
        let mut tree: Vec<Process> = rest
            .extract_if(.., |(_, process)| process.pid == root)
            .map(|(_, process)| process)
            .collect();
        let mut next = 0;
        while next < tree.len() {
            let parent = tree[next].pid;
            let children = rest.extract_if(.., |(of, _)| *of == parent);
            tree.extend(children.map(|(_, process)| process));
            next += 1;
        }
        tree
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let tree: Vec<_> = self.processes().iter().map(|one| one.pid).collect();
        let tell = |pid: i32, signal| {
            // Whoever has ended by itself need not be told.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
        };
        tell(self.0.id() as i32, Signal::TERM);
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5));
        }
        if !self.has_ended() {
            tree.into_iter().for_each(|pid| tell(pid, Signal::KILL));
            self.0.wait().unwrap();
        }
    }
}
