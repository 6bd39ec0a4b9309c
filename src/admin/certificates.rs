//! When certificates from an ACME server end, as figures.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::acme::Expiries;

/// `callboard_certificate_expiry_seconds`, one for each name.
#[derive(Debug)]
pub(super) struct Certificates(pub(super) Expiries);

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When the certificate of a name ends, in seconds since 1970";
        let name = "certificate_expiry";
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (name, until) in &*self.0.by_name() {
            let since = until.duration_since(SystemTime::UNIX_EPOCH);
            let gauge = ConstGauge::new(since.unwrap_or_default().as_secs());
            let labels = [("name", name.as_str())];
            gauge.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
