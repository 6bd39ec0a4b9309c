//! `GET /metrics`: figures for a monitoring system, in the
//! [OpenMetrics text format](https://prometheus.io/docs/specs/om/open_metrics_spec/).
//!
//! All of them are read off what there is when somebody asks, so that nothing is counted twice and
//! nothing costs anything in between.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use crate::acme::Expiries;
use crate::proxy::tcp::counts::Counts;
use crate::pull::status::Report;
use crate::registry::snapshot::Snapshot;

use super::Sources;
use super::certificates::Certificates;
use super::connections::Connections;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Figures for a monitoring system
///
/// In the OpenMetrics text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "callboard",
    responses((status = 200, description = "All of them", body = String,
        content_type = "application/openmetrics-text"),
        Refusals,
    )
)]
pub(super) async fn metrics(State(sources): State<Sources>) -> Response {
    let snapshot = sources.registry.snapshot();
    let report = sources.pull.map(|pull| pull.report(Instant::now()));
    let figures = Figures::new(&snapshot, report.as_ref());
    let page = page(figures, sources.connections, sources.certificates);
    match page {
        Ok(page) => ([(CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Describes why a caller may get no figures; the API's guard sees to it.
struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        [
            ("401", "It needs a token"),
            ("403", "The token may not read"),
            ("429", "Too many calls"),
        ]
        .map(|(status, description)| {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", problem)
                .build();
            (status.to_owned(), response.into())
        })
        .into()
    }
}

fn page(
    figures: Figures,
    connections: Arc<Counts>,
    certificates: Option<Expiries>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("callboard");
    registry.register_collector(Box::new(figures));
    registry.register_collector(Box::new(Connections(connections)));
    if let Some(certificates) = certificates {
        registry.register_collector(Box::new(Certificates(certificates)));
    }
    let mut page = String::new();
    encode(&mut page, &registry)?;
    Ok(page)
}

/// All figures at one moment.
#[derive(Debug)]
struct Figures {
    revision: u64,
    services: u64,
    instances: u64,
    pull: Option<Pull>,
}

#[derive(Debug)]
struct Pull {
    connected: bool,
    stale: Duration,
}

impl Figures {
    fn new(snapshot: &Snapshot, report: Option<&Report>) -> Self {
        let services = snapshot.services.values();
        let sizes: Vec<_> = services.map(|members| members.instances.len()).collect();
        Self {
            revision: snapshot.revision.0,
            services: sizes.iter().filter(|&&size| size > 0).count() as u64,
            instances: sizes.iter().sum::<usize>() as u64,
            pull: report.map(|report| Pull {
                connected: report.connected,
                stale: report.stale_for.unwrap_or_default(),
            }),
        }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut count = |name: &str, help: &str, count: u64| {
            let gauge = ConstGauge::new(count);
            let kind = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)
        };
        let revision = "The index of the last change to the membership";
        count("registry_revision", revision, self.revision)?;
        let services = "Services that have an instance";
        count("registry_services", services, self.services)?;
        let instances = "Instances that are registered";
        count("registry_instances", instances, self.instances)?;
        let Some(pull) = &self.pull else {
            return Ok(());
        };
        let connected = "Whether the changes of the followed registry arrive (1) or not (0)";
        count("pull_connected", connected, u64::from(pull.connected))?;
        let help = "How long nothing was heard of the followed registry; 0 while connected";
        let stale = ConstGauge::new(pull.stale.as_secs_f64());
        let (unit, kind) = (Unit::Seconds, stale.metric_type());
        stale.encode(encoder.encode_descriptor("pull_stale", help, Some(&unit), kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_how_much_there_is_and_how_following_goes() {
        let figures = |pull| Figures {
            revision: 1_795_360_215_363,
            services: 2,
            instances: 5,
            pull,
        };
        insta::assert_snapshot!(page(figures(None), Arc::default(), None).unwrap(), @r#"
        # HELP callboard_registry_revision The index of the last change to the membership
        # TYPE callboard_registry_revision gauge
        callboard_registry_revision 1795360215363
        # HELP callboard_registry_services Services that have an instance
        # TYPE callboard_registry_services gauge
        callboard_registry_services 2
        # HELP callboard_registry_instances Instances that are registered
        # TYPE callboard_registry_instances gauge
        callboard_registry_instances 5
        # HELP callboard_connections Connections of clients that are open
        # TYPE callboard_connections gauge
        callboard_connections{protocol="http"} 0
        callboard_connections{protocol="https"} 0
        callboard_connections{protocol="tcp"} 0
        callboard_connections{protocol="tls"} 0
        # HELP callboard_connections_accepted Connections of clients that were accepted
        # TYPE callboard_connections_accepted counter
        callboard_connections_accepted_total{protocol="http"} 0
        callboard_connections_accepted_total{protocol="https"} 0
        callboard_connections_accepted_total{protocol="tcp"} 0
        callboard_connections_accepted_total{protocol="tls"} 0
        # HELP callboard_tcp_connections Connections of TCP listeners that are open
        # TYPE callboard_tcp_connections gauge
        # HELP callboard_tcp_connections_accepted Connections of TCP listeners for a service
        # TYPE callboard_tcp_connections_accepted counter
        # HELP callboard_tcp_received_bytes Bytes from clients of TCP listeners
        # TYPE callboard_tcp_received_bytes counter
        # HELP callboard_tcp_sent_bytes Bytes to clients of TCP listeners
        # TYPE callboard_tcp_sent_bytes counter
        # HELP callboard_tcp_failures Connections of TCP listeners that reached no instance
        # TYPE callboard_tcp_failures counter
        callboard_tcp_failures_total{reason="no_route"} 0
        # EOF
        "#);
        let pull = Pull {
            connected: false,
            stale: Duration::from_millis(12_300),
        };
        let page = page(figures(Some(pull)), Arc::default(), None).unwrap();
        assert!(page.contains("\ncallboard_pull_connected 0\n"), "{page}");
        assert!(
            page.contains("\ncallboard_pull_stale_seconds 12.3\n"),
            "{page}"
        );
    }
}
