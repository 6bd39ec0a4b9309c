//! `GET /metrics`: figures for a monitoring system, in the
//! [OpenMetrics text format](https://prometheus.io/docs/specs/om/open_metrics_spec/) for those who ask
//! for it, as Prometheus does, and else in the [`classic`] one.
//!
//! What is counted is counted where it happens; everything else is read off what there is when somebody
//! asks, so that it costs nothing in between. Reading takes no lock that a request waits for, but for
//! those of a service's instances, one service at a time.

mod certificates;
mod classic;
mod configuration;
mod connections;
mod membership;
mod page;
mod pieces;
mod process;
mod requests;
mod services;
mod telling;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use utoipa::IntoResponses;
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

use super::Sources;
use certificates::Certificates;
use classic::Classic;
use configuration::Configuration;
use connections::Connections;
use pieces::Pieces;
use requests::Requests;
use services::Services;
use telling::Telling;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Pages that are made at a time: with many services each is large.
static MAKING: Semaphore = Semaphore::const_new(2);

/// Figures for a monitoring system
///
/// In the OpenMetrics text format if the `Accept` header has it, else in Prometheus' classic one.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "callboard",
    responses((status = 200, description = "All of them", content(
            (String = "application/openmetrics-text"), (String = "text/plain"))),
        Refusals,
    )
)]
pub(super) async fn metrics(State(sources): State<Sources>, headers: HeaderMap) -> Response {
    let format = Format::of(&headers);
    let Ok(_making) = MAKING.acquire().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // With many services it takes a while, in which the other callers are served.
    let page = tokio::task::spawn_blocking(move || {
        let mut page = Pieces::default();
        format.write(&registry(sources), &mut page).map(|()| page)
    });
    match page.await {
        Ok(Ok(page)) => {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
                (CONTENT_LENGTH, page.len().into()),
                (VARY, HeaderValue::from_static("Accept")),
            ];
            (headers, page.into_body()).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Classic,
}

impl Format {
    /// What a caller with these `headers` asks for.
    fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter();
        let asks = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let name = parts.next()?;
                let is_refused = |part: &str| {
                    let weight = part.strip_prefix("q=").map(str::parse);
                    matches!(weight, Some(Ok(0.0)))
                };
                let is_it = name.eq_ignore_ascii_case("application/openmetrics-text");
                (is_it && !parts.any(is_refused)).then_some(())
            })
            .count();
        if asks > 0 {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Classic => CLASSIC,
        }
    }

    fn write(self, registry: &Registry, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::OpenMetrics => encode(out, registry),
            Self::Classic => encode(&mut Classic::new(out), registry),
        }
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

/// Everything that is shown, as it is now.
fn registry(sources: Sources) -> Registry {
    let settings = sources.telemetry.settings().metrics;
    let report = sources.pull.map(|pull| pull.report(Instant::now()));
    let mut all = Registry::default();
    let figures = all.sub_registry_with_prefix("callboard");
    figures.register_collector(Box::new(Configuration(sources.reloads)));
    figures.register_collector(Box::new(membership::Figures::read(
        &sources.registry,
        report,
    )));
    figures.register_collector(Box::new(Connections(sources.connections)));
    if let Some(certificates) = sources.certificates {
        figures.register_collector(Box::new(Certificates(certificates)));
    }
    let telling = Telling(Arc::clone(&sources.telemetry));
    figures.register_collector(Box::new(telling));
    let traffic = sources.clusters.traffic_by_service();
    figures.register_collector(Box::new(Requests::new(traffic, sources.telemetry)));
    let services = Services::read(&sources.clusters, settings.instances);
    figures.register_collector(Box::new(services));
    all.register_collector(Box::new(process::Figures::read()));
    all
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use prometheus_client::collector::Collector;

    use super::*;
    use crate::figures::traffic::{Refused, Traffic};
    use crate::telemetry::Telemetry;

    fn page(format: Format, figures: impl Collector + 'static) -> String {
        let mut registry = Registry::with_prefix("callboard");
        registry.register_collector(Box::new(figures));
        let mut page = String::new();
        format.write(&registry, &mut page).unwrap();
        page
    }

    fn membership(pull: Option<membership::Pull>) -> membership::Figures {
        membership::Figures {
            revision: 1_795_360_215_363,
            services: 2,
            instances: 5,
            leases: 4,
            doubtful: 1,
            heartbeats: 70,
            changes: vec![(crate::registry::event::Change::Expired, 3)],
            refused: 0,
            is_storing: true,
            followers: 2,
            pull,
        }
    }

    #[test]
    fn the_page_says_how_much_there_is_and_how_following_goes() {
        insta::assert_snapshot!(page(Format::OpenMetrics, membership(None)), @r#"
        # HELP callboard_registry_revision The index of the last change to the membership
        # TYPE callboard_registry_revision gauge
        callboard_registry_revision 1795360215363
        # HELP callboard_registry_services Services that have an instance
        # TYPE callboard_registry_services gauge
        callboard_registry_services 2
        # HELP callboard_registry_instances Instances that are registered
        # TYPE callboard_registry_instances gauge
        callboard_registry_instances 5
        # HELP callboard_registry_leases Instances that have a lease
        # TYPE callboard_registry_leases gauge
        callboard_registry_leases 4
        # HELP callboard_registry_leases_in_doubt Leases that ran out, or were not renewed since a restart
        # TYPE callboard_registry_leases_in_doubt gauge
        callboard_registry_leases_in_doubt 1
        # HELP callboard_registry_watchers Watches and long polls that are open
        # TYPE callboard_registry_watchers gauge
        callboard_registry_watchers 2
        # HELP callboard_registry_store_up Whether the store took the last change (1) or refused it (0)
        # TYPE callboard_registry_store_up gauge
        callboard_registry_store_up 1
        # HELP callboard_registry_heartbeats Heartbeats that renewed a lease
        # TYPE callboard_registry_heartbeats counter
        callboard_registry_heartbeats_total 70
        # HELP callboard_registry_events Changes to the membership, by what they did
        # TYPE callboard_registry_events counter
        callboard_registry_events_total{event="expired"} 3
        # HELP callboard_registry_store_failures Changes that the store refused
        # TYPE callboard_registry_store_failures counter
        callboard_registry_store_failures_total 0
        # EOF
        "#);
        let pull = membership::Pull {
            connected: false,
            stale: Duration::from_millis(12_300),
        };
        let page = page(Format::OpenMetrics, membership(Some(pull)));
        assert!(page.contains("\ncallboard_pull_connected 0\n"), "{page}");
        let stale = "\ncallboard_pull_stale_seconds 12.3\n";
        assert!(page.contains(stale), "{page}");
    }

    #[test]
    fn requests_are_shown_for_services_that_had_some() {
        let busy = Traffic::default();
        let route = Arc::from("say \"hi\"\\");
        busy.requests(&route).count(Some(StatusCode::OK));
        busy.requests(&route).count(None);
        busy.durations.record(Duration::from_millis(2));
        busy.durations.record(Duration::from_secs(1_000));
        busy.retries.store(4, Ordering::Relaxed);
        busy.refuse(Refused::QueueFull);
        busy.call(14);
        let services = vec![
            ("idle".parse().unwrap(), Arc::default()),
            ("web".parse().unwrap(), Arc::new(busy)),
        ];
        let telemetry = Arc::new(Telemetry::new(Default::default()).unwrap());
        telemetry.malformed().count(StatusCode::BAD_REQUEST);
        let requests = Requests::new(services, telemetry);
        insta::assert_snapshot!(page(Format::Classic, requests), @r#"
        # HELP callboard_requests_total Requests, by the class of the status their client was told; none if it left first
        # TYPE callboard_requests_total counter
        callboard_requests_total{service="web",route="say \"hi\"\\",code="2xx"} 1
        callboard_requests_total{service="web",route="say \"hi\"\\",code="none"} 1
        # HELP callboard_request_duration_seconds From a request's arrival to the end of its answer
        # TYPE callboard_request_duration_seconds histogram
        callboard_request_duration_seconds_sum{service="web"} 1000.002
        callboard_request_duration_seconds_count{service="web"} 2
        callboard_request_duration_seconds_bucket{le="0.0001",service="web"} 0
        callboard_request_duration_seconds_bucket{le="0.00025",service="web"} 0
        callboard_request_duration_seconds_bucket{le="0.0005",service="web"} 0
        callboard_request_duration_seconds_bucket{le="0.001",service="web"} 0
        callboard_request_duration_seconds_bucket{le="0.0025",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.005",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.01",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.025",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.05",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.1",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.25",service="web"} 1
        callboard_request_duration_seconds_bucket{le="0.5",service="web"} 1
        callboard_request_duration_seconds_bucket{le="1.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="2.5",service="web"} 1
        callboard_request_duration_seconds_bucket{le="5.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="10.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="25.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="50.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="100.0",service="web"} 1
        callboard_request_duration_seconds_bucket{le="+Inf",service="web"} 2
        # HELP callboard_upstream_duration_seconds From the beginning of a try to the head of its instance's answer
        # TYPE callboard_upstream_duration_seconds histogram
        # HELP callboard_added_latency_seconds From a request's arrival to the head of its answer, less the try that won: what callboard, waiting for an instance and tries that failed have added
        # TYPE callboard_added_latency_seconds histogram
        # HELP callboard_request_retries_total Further tries of requests that a try has failed
        # TYPE callboard_request_retries_total counter
        callboard_request_retries_total{service="web"} 4
        # HELP callboard_request_retries_denied_total Further tries that were not made because the retry budget was used up
        # TYPE callboard_request_retries_denied_total counter
        callboard_request_retries_denied_total{service="web"} 0
        # HELP callboard_request_hedges_total Requests of which a second instance was asked because the first took long
        # TYPE callboard_request_hedges_total counter
        callboard_request_hedges_total{service="web"} 0
        # HELP callboard_ejections_total Ejections of instances that failed their requests
        # TYPE callboard_ejections_total counter
        callboard_ejections_total{service="web"} 0
        # HELP callboard_requests_refused_total Requests that got no instance, by what kept them from one
        # TYPE callboard_requests_refused_total counter
        callboard_requests_refused_total{service="web",reason="queue_full"} 1
        callboard_requests_refused_total{service="web",reason="queue_timeout"} 0
        callboard_requests_refused_total{service="web",reason="hold_full"} 0
        callboard_requests_refused_total{service="web",reason="hold_timeout"} 0
        callboard_requests_refused_total{service="web",reason="unavailable"} 0
        # HELP callboard_grpc_responses_total Calls of gRPC, by the status they ended with; CANCELLED if their client left
        # TYPE callboard_grpc_responses_total counter
        callboard_grpc_responses_total{service="web",grpc_code="UNAVAILABLE"} 1
        # HELP callboard_requests_unrouted_total Requests that led to no service, by the class of their status
        # TYPE callboard_requests_unrouted_total counter
        callboard_requests_unrouted_total{code="4xx"} 0
        # HELP callboard_requests_malformed_total What was refused before it was a request, by the status it was answered with
        # TYPE callboard_requests_malformed_total counter
        callboard_requests_malformed_total{code="400"} 1
        # HELP callboard_mirrors_dropped_total Copies of requests for mirrors that were to be made and were not
        # TYPE callboard_mirrors_dropped_total counter
        callboard_mirrors_dropped_total 0
        "#);
    }

    #[test]
    fn whoever_asks_for_openmetrics_gets_it_and_everybody_else_the_classic_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        for (accept, format) in [
            (Some(prometheus), Format::OpenMetrics),
            (
                Some("text/html, Application/OpenMetrics-Text"),
                Format::OpenMetrics,
            ),
            (
                Some("application/openmetrics-text; q=0, */*"),
                Format::Classic,
            ),
            (Some("text/plain"), Format::Classic),
            (Some("*/*"), Format::Classic),
            (None, Format::Classic),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Format::of(&headers), format, "{accept:?}");
        }
    }
}
