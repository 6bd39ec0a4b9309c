//! SIGUSR1: opens the access log anew, for whoever has moved its file away, such as logrotate.

use std::sync::Arc;

use log::error;
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry::Telemetry;

/// Does so on every SIGUSR1, for as long as the process lives. Without an access log there is nothing to
/// do, and the signal does no harm.
pub(super) async fn run(telemetry: Arc<Telemetry>) {
    let mut signals = match signal(SignalKind::user_defined1()) {
        Ok(signals) => signals,
        Err(error) => return error!("SIGUSR1 will not open the access log anew: {error}"),
    };
    while signals.recv().await.is_some() {
        if telemetry.access_log().is_on() {
            telemetry.access_log().reopen();
        }
    }
}
