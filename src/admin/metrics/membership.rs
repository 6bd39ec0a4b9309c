//! The registry, as figures.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::pull::status::Report;
use crate::registry::Registry;
use crate::registry::event::Change;
use crate::registry::lease::Lease;
use crate::registry::snapshot::Snapshot;

use super::page::{Encoder, SECONDS};

/// `callboard_registry_…` and `callboard_pull_…` at one moment.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) revision: u64,
    pub(super) services: u64,
    pub(super) instances: u64,
    pub(super) leases: u64,
    /// Those of them that ran out, or have yet to be renewed after a restart.
    pub(super) doubtful: u64,
    pub(super) heartbeats: u64,
    pub(super) changes: Vec<(Change, u64)>,
    pub(super) refused: u64,
    pub(super) is_storing: bool,
    pub(super) followers: u64,
    pub(super) pull: Option<Pull>,
}

#[derive(Debug)]
pub(super) struct Pull {
    pub(super) connected: bool,
    pub(super) stale: Duration,
}

impl Figures {
    pub(super) fn read(registry: &Registry, pull: Option<Report>) -> Self {
        let counted = registry.figures();
        Self {
            heartbeats: counted.heartbeats(),
            changes: counted.changes().collect(),
            refused: counted.refused(),
            is_storing: counted.is_storing(),
            followers: counted.followers(),
            pull: pull.map(|report| Pull {
                connected: report.connected,
                stale: report.stale_for.unwrap_or_default(),
            }),
            ..Self::of(&registry.snapshot())
        }
    }

    fn of(snapshot: &Snapshot) -> Self {
        let services = snapshot.services.values();
        let sizes: Vec<_> = services.map(|members| members.instances.len()).collect();
        let services = snapshot.services.values();
        let members = services.flat_map(|members| members.instances.values());
        let leases = members.filter_map(|member| member.lease.as_deref());
        let (mut held, mut doubtful) = (0, 0);
        for lease in leases {
            held += 1;
            doubtful += u64::from(Lease::is_in_doubt(lease));
        }
        Self {
            revision: snapshot.revision.0,
            services: sizes.iter().filter(|&&size| size > 0).count() as u64,
            instances: sizes.iter().sum::<usize>() as u64,
            leases: held,
            doubtful,
            heartbeats: 0,
            changes: Vec::new(),
            refused: 0,
            is_storing: true,
            followers: 0,
            pull: None,
        }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            (
                "registry_revision",
                "The index of the last change to the membership",
                self.revision,
            ),
            (
                "registry_services",
                "Services that have an instance",
                self.services,
            ),
            (
                "registry_instances",
                "Instances that are registered",
                self.instances,
            ),
            (
                "registry_leases",
                "Instances that have a lease",
                self.leases,
            ),
            (
                "registry_leases_in_doubt",
                "Leases that ran out, or were not renewed since a restart",
                self.doubtful,
            ),
            (
                "registry_watchers",
                "Watches and long polls that are open",
                self.followers,
            ),
            (
                "registry_store_up",
                "Whether the store took the last change (1) or refused it (0)",
                u64::from(self.is_storing),
            ),
        ];
        for (name, help, value) in gauges {
            encoder.gauge(name, None, help)?.gauge(&[], value)?;
        }
        let help = "Heartbeats that renewed a lease";
        let mut heartbeats = encoder.counter("registry_heartbeats", None, help)?;
        heartbeats.counter(&[], self.heartbeats)?;
        let help = "Changes to the membership, by what they did";
        let mut changes = encoder.counter("registry_events", None, help)?;
        for (change, count) in &self.changes {
            changes.counter(&[("event", change.as_str())], *count)?;
        }
        let help = "Changes that the store refused";
        let mut refused = encoder.counter("registry_store_failures", None, help)?;
        refused.counter(&[], self.refused)?;
        let Some(pull) = &self.pull else {
            return Ok(());
        };
        let help = "Whether the changes of the followed registry arrive (1) or not (0)";
        let mut connected = encoder.gauge("pull_connected", None, help)?;
        connected.gauge(&[], u64::from(pull.connected))?;
        let help = "How long nothing was heard of the followed registry; 0 while connected";
        let mut stale = encoder.gauge("pull_stale", Some(&SECONDS), help)?;
        stale.gauge(&[], pull.stale.as_secs_f64())
    }
}
