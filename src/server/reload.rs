//! SIGHUP: reads the configuration again and puts in force what can change without a restart. A
//! bad file is refused with its errors, and the old configuration stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use log::{error, info, warn};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::address::Address;
use crate::admin::reloads::Reloads;
use crate::cluster::clusters::Clusters;
use crate::config::{Config, ControlPlane, Loaded};
use crate::proxy::Settings;
use crate::proxy::listener::Listener;
use crate::registry::Registry;
use crate::route::splits::Splits;
use crate::telemetry::{Telemetry, Unopened};

use super::entrance::Entrance;
use super::request_settings;

/// What a reload works on.
pub(super) struct Reloader {
    pub(super) running: Config,
    /// The same, for whoever asks.
    pub(super) in_force: Arc<ArcSwap<Config>>,
    pub(super) source: Option<PathBuf>,
    pub(super) clusters: Clusters,
    pub(super) registry: Registry,
    pub(super) entrance: Arc<Entrance>,
    /// Where callboard itself listens.
    pub(super) listeners: Vec<Address>,
    pub(super) splits: Arc<Splits>,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) reloads: Arc<Reloads>,
    /// Who is to hear that listeners may ask for certificates for other names.
    pub(super) names_changed: Option<Arc<Notify>>,
}

impl Reloader {
    /// Reloads on every SIGHUP, for as long as the process lives.
    pub(super) async fn run(mut self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return error!("SIGHUP will not reload the configuration: {error}"),
        };
        while hangups.recv().await.is_some() {
            self.reload();
        }
    }

    fn reload(&mut self) {
        let Some(source) = self.source.clone() else {
            return warn!("nothing to reload: callboard was started without a configuration file");
        };
        if !source.is_file() {
            error!(
                "{} is not a regular file that could be read again",
                source.display()
            );
            return self.refuse(&source);
        }
        match Config::load(&source) {
            Ok(loaded) => {
                if let Err(error) = self.apply(loaded) {
                    error!("{error}");
                    self.refuse(&source);
                }
            }
            Err(findings) => {
                for finding in &findings {
                    error!("{finding}");
                }
                self.refuse(&source);
            }
        }
    }

    fn refuse(&self, source: &Path) {
        self.reloads.failed();
        error!(
            "{} was not reloaded; the configuration in force stays",
            source.display()
        );
    }

    /// # Errors
    /// When the access log cannot be opened. Nothing of the configuration is in force then.
    fn apply(
        &mut self,
        Loaded {
            mut config,
            warnings,
        }: Loaded,
    ) -> Result<(), Unopened> {
        self.telemetry.configure(config.telemetry.clone())?;
        for warning in &warnings {
            warn!("{warning}");
        }
        for setting in self.running.restart_needed(&config) {
            warn!("{setting} changed; a restart will put it in force");
        }
        config.policies.zone.clone_from(&self.running.policies.zone);
        config.registry.store = self.running.registry.store.clone();
        (config.proxy.upgrade_socket).clone_from(&self.running.proxy.upgrade_socket);
        self.entrance.configure(&config.registry);
        let certified = self.names_changed.is_some();
        adopt_certificates(&self.running.proxy.listen, &config.proxy.listen, certified);
        self.registry
            .set_rules(super::rules(&config, &self.listeners));
        self.clusters.configure(config.policies.clone());
        self.splits.configure(config.routing.clone());
        self.settings.store(Arc::new(request_settings(&config)));
        self.running.telemetry = config.telemetry;
        // What needs a restart stays as it is, and is reported again by the next reload.
        self.running.policies = config.policies;
        self.running.routing = config.routing;
        self.running.registry = ControlPlane {
            listen: self.running.registry.listen.clone(),
            tls: self.running.registry.tls.take(),
            store: self.running.registry.store.clone(),
            pull: self.running.registry.pull.take(),
            ..config.registry
        };
        self.running.proxy.trusted_proxies = config.proxy.trusted_proxies;
        self.running.proxy.clients = config.proxy.clients;
        self.in_force.store(Arc::new(self.running.clone()));
        if let Some(changed) = &self.names_changed {
            changed.notify_one();
        }
        self.reloads.succeeded(SystemTime::now());
        info!("configuration reloaded");
        Ok(())
    }
}

/// Has the listeners that run go by the certificates of `new` ones at the same places. Unless this
/// process is `certified` by an ACME server, those that name hosts for one would have none to show, so
/// they wait for the restart that `proxy.acme` needs.
fn adopt_certificates(running: &[Listener], new: &[Listener], certified: bool) {
    for (position, listener) in running.iter().enumerate() {
        let is_same = |other: &&Listener| other.address == listener.address;
        let same = new.get(position).filter(is_same);
        let same = same.or_else(|| new.iter().find(is_same));
        let new = same.and_then(|new| new.tls.as_ref());
        let new = new.filter(|new| certified || new.settings().acme.is_empty());
        if let (Some(tls), Some(new)) = (&listener.tls, new) {
            tls.adopt(new);
        }
    }
}
