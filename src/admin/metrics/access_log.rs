//! The access log, as figures.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::telemetry::Telemetry;

/// `callboard_access_log_…`.
#[derive(Debug)]
pub(super) struct AccessLog(pub(super) Arc<Telemetry>);

impl Collector for AccessLog {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let log = self.0.access_log();
        for (name, help, count) in [
            (
                "access_log_lines",
                "Lines of the access log that were written",
                log.lines(),
            ),
            (
                "access_log_bytes",
                "Bytes of the access log that were written",
                log.bytes(),
            ),
            (
                "access_log_dropped",
                "Lines of the access log that came too fast or could not be written",
                log.dropped(),
            ),
        ] {
            let counter = ConstCounter::new(count);
            let kind = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
    }
}
