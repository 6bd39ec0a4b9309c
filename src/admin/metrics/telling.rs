//! What became of the access log and the traces.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::telemetry::Telemetry;

use super::page::Encoder;

/// `callboard_access_log_…` and `callboard_trace_…`.
#[derive(Debug)]
pub(super) struct Telling(pub(super) Arc<Telemetry>);

impl Collector for Telling {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (log, tracer) = (self.0.access_log(), self.0.tracer());
        let counters = [
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
                "Lines of the access log that were dropped: nobody took them in time, or they could \
                 not be written",
                log.dropped(),
            ),
            (
                "trace_spans_exported",
                "Spans that the collector took",
                tracer.exported(),
            ),
            (
                "trace_spans_dropped",
                "Spans that the collector did not take in time",
                tracer.dropped(),
            ),
        ];
        for (name, help, count) in counters {
            encoder.counter(name, None, help)?.counter(&[], count)?;
        }
        Ok(())
    }
}
