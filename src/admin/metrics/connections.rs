//! Clients' connections, as figures.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::proxy::tcp::counts::{Counts, Figures};

use super::page::Encoder;

/// `callboard_connections`, by what listeners speak, and `callboard_tcp_…`, by service.
#[derive(Debug)]
pub(super) struct Connections(pub(super) Arc<Counts>);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let by_scheme: Vec<_> = self.0.by_scheme().collect();
        let help = "Connections of clients that are open";
        let mut open = encoder.gauge("connections", None, help)?;
        for (scheme, connections) in &by_scheme {
            open.gauge(&[("protocol", scheme)], connections.open)?;
        }
        let help = "Connections of clients that were accepted";
        let mut accepted = encoder.counter("connections_accepted", None, help)?;
        for (scheme, connections) in &by_scheme {
            accepted.counter(&[("protocol", scheme)], connections.accepted)?;
        }
        self.encode_services(&mut encoder)
    }
}

impl Connections {
    fn encode_services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.0.services();
        let help = "Connections of TCP listeners that are open";
        let mut open = encoder.gauge("tcp_connections", None, help)?;
        for figures in &services {
            open.gauge(&labels(figures), figures.connections.open)?;
        }
        type Of = fn(&Figures) -> u64;
        let counters: [(&str, &str, Of); 3] = [
            (
                "tcp_connections_accepted",
                "Connections of TCP listeners for a service",
                |figures| figures.connections.accepted,
            ),
            (
                "tcp_received_bytes",
                "Bytes from clients of TCP listeners",
                |figures| figures.received,
            ),
            (
                "tcp_sent_bytes",
                "Bytes to clients of TCP listeners",
                |figures| figures.sent,
            ),
        ];
        for (name, help, of) in counters {
            let mut all = encoder.counter(name, None, help)?;
            for figures in &services {
                all.counter(&labels(figures), of(figures))?;
            }
        }
        let help = "Connections of TCP listeners that reached no instance";
        let mut failed = encoder.counter("tcp_failures", None, help)?;
        failed.counter(&[("reason", "no_route")], self.0.unrouted())?;
        for figures in &services {
            for (reason, count) in figures.failed {
                let [service, protocol] = labels(figures);
                let labels = [("reason", reason.as_str()), service, protocol];
                failed.counter(&labels, count)?;
            }
        }
        Ok(())
    }
}

fn labels(figures: &Figures) -> [(&'static str, &str); 2] {
    [
        ("service", figures.service.as_str()),
        ("protocol", figures.protocol),
    ]
}
