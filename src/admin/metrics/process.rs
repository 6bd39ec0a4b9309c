//! The process, by the names that Prometheus' clients of all languages have for it
//! ([process metrics](https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics)).

use std::fmt;
use std::time::Duration;

use procfs::WithCurrentSystemInfo;
use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::page::{BYTES, Encoder, SECONDS};

/// What the system says of this process; whatever it does not say is left out.
#[derive(Debug, Default)]
pub(super) struct Figures {
    cpu: Option<Duration>,
    resident: Option<u64>,
    virtual_: Option<u64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
    threads: Option<u64>,
    /// Seconds since 1970.
    started: Option<f64>,
}

impl Figures {
    /// What it says now.
    pub(super) fn read() -> Self {
        let Ok(process) = Process::myself() else {
            return Self::default();
        };
        let stat = process.stat().ok();
        let stat = stat.as_ref();
        let ticks = procfs::ticks_per_second();
        let limits = process.limits().ok();
        Self {
            cpu: stat.map(|stat| {
                Duration::from_secs_f64((stat.utime + stat.stime) as f64 / ticks as f64)
            }),
            resident: stat.map(|stat| stat.rss_bytes().get()),
            virtual_: stat.map(|stat| stat.vsize),
            open_files: process.fd_count().ok().map(|count| count as u64),
            max_files: limits.and_then(|limits| match limits.max_open_files.soft_limit {
                LimitValue::Value(most) => Some(most),
                LimitValue::Unlimited => None,
            }),
            threads: stat.and_then(|stat| u64::try_from(stat.num_threads).ok()),
            started: stat.and_then(|stat| {
                let booted = procfs::boot_time_secs().ok()?;
                Some(booted as f64 + stat.starttime as f64 / ticks as f64)
            }),
        }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(time) = self.cpu {
            let help = "Time on processors, of users and of the system";
            encoder
                .counter("process_cpu", Some(&SECONDS), help)?
                .total(time)?;
        }
        let gauges = [
            (
                "process_resident_memory",
                Some(&BYTES),
                "Memory in use",
                self.resident,
            ),
            (
                "process_virtual_memory",
                Some(&BYTES),
                "Memory that is mapped",
                self.virtual_,
            ),
            (
                "process_open_fds",
                None,
                "Files and sockets that are open",
                self.open_files,
            ),
            (
                "process_max_fds",
                None,
                "Files and sockets that may be open",
                self.max_files,
            ),
            ("process_threads", None, "Threads", self.threads),
        ];
        for (name, unit, help, value) in gauges {
            if let Some(value) = value {
                encoder.gauge(name, unit, help)?.gauge(&[], value)?;
            }
        }
        if let Some(started) = self.started {
            let help = "When the process started, in seconds since 1970";
            let mut gauge = encoder.gauge("process_start_time", Some(&SECONDS), help)?;
            gauge.gauge(&[], started)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_all_of_it() {
        let figures = Figures::read();
        assert!(figures.cpu.is_some());
        assert!(figures.resident.is_some_and(|bytes| bytes > 1 << 20));
        assert!(figures.virtual_ >= figures.resident);
        assert!(figures.open_files.is_some_and(|count| count >= 3));
        assert!(figures.threads.is_some_and(|count| count >= 1));
        assert!(figures.started.is_some_and(|at| at > 1.6e9));
    }
}
