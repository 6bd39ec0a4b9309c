//! Certificates from an ACME server, had by the process that serves and by no other.

use std::sync::Arc;

use tokio::sync::watch;

use crate::acme::Certifier;
use crate::admin::health::Readiness;
use crate::config::Config;
use crate::proxy::listener::{Listener, Protocol};

/// What has the certificates that `listeners` ask for; `None` if the configuration names no server.
pub(super) fn certifier(config: &Config, listeners: &[Arc<Listener>]) -> Option<Certifier> {
    let settings = config.proxy.acme.clone()?;
    let servers = listeners.iter().filter_map(|one| one.tls.clone()).collect();
    let is_plain = |one: &Arc<Listener>| one.protocol == Protocol::Http && one.tls.is_none();
    let has_plain = listeners.iter().any(is_plain);
    Some(Certifier::new(settings, servers, has_plain))
}

/// Has certificates from when the process serves until it leaves.
pub(super) async fn run(certifier: Certifier, mut readiness: watch::Receiver<Readiness>) {
    if readiness
        .wait_for(|now| *now == Readiness::Serving)
        .await
        .is_err()
    {
        return;
    }
    tokio::select! {
        () = certifier.run() => {}
        _ = readiness.wait_for(|now| *now == Readiness::Leaving) => {}
    }
}
