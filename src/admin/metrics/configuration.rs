//! What runs, and by which configuration.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::admin::reloads::Reloads;

use super::page::{Encoder, SECONDS};

/// `callboard_build_info` and `callboard_config_…`.
#[derive(Debug)]
pub(super) struct Configuration(pub(super) Arc<Reloads>);

impl Collector for Configuration {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "What runs; always 1";
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        encoder
            .gauge("build_info", None, help)?
            .gauge(&labels, 1_u64)?;
        let help = "Whether the configuration could be read last time (1) or not (0)";
        let successful = u64::from(!self.0.has_failed());
        let mut gauge = encoder.gauge("config_last_reload_successful", None, help)?;
        gauge.gauge(&[], successful)?;
        let help = "When the configuration in force was read, in seconds since 1970";
        let name = "config_last_reload_success_timestamp";
        let mut gauge = encoder.gauge(name, Some(&SECONDS), help)?;
        gauge.gauge(&[], self.0.in_force_since().as_secs_f64())
    }
}
