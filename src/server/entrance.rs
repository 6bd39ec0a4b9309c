//! What a reload may change of how the control plane takes callers in.

use std::sync::Arc;

use log::info;

use crate::api::guard::Guard;
use crate::config::ControlPlane;
use crate::tls::Server;

use super::slots::Slots;

/// Who is let in, how many at a time, and behind which certificate.
pub(super) struct Entrance {
    pub(super) guard: Arc<Guard>,
    pub(super) slots: Slots,
    /// What handshakes go by; `None` is plain HTTP.
    pub(super) tls: Option<Arc<Server>>,
    most_connections: usize,
}

impl Entrance {
    /// The entrance that `config` describes. The control plane gets at most half of the
    /// `open_files` that the system allows the process.
    pub(super) fn new(config: &ControlPlane, open_files: u64) -> Self {
        let most_connections = usize::try_from(open_files / 2).unwrap_or(usize::MAX);
        Self {
            guard: Arc::new(Guard::new(config.access.clone(), config.rates)),
            slots: Slots::new(connections(config, most_connections)),
            tls: config.tls.clone(),
            most_connections,
        }
    }

    /// Puts a new configuration in force for callers to come. Whether there is TLS stays as it is.
    pub(super) fn configure(&self, config: &ControlPlane) {
        self.guard.configure(config.access.clone(), config.rates);
        let limit = connections(config, self.most_connections);
        self.slots.set_limit(limit);
        if let (Some(tls), Some(new)) = (&self.tls, &config.tls) {
            tls.adopt(new);
        }
    }
}

/// How many connections `config` allows, and the system.
fn connections(config: &ControlPlane, most: usize) -> usize {
    if config.connections > most {
        info!(
            "the control plane takes at most {most} connections, half of the files the system lets \
             callboard open (expected room for twice the {} of registry.limits.connections; see \
             ulimit -n)",
            config.connections
        );
    }
    config.connections.min(most)
}
