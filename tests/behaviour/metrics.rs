//! `GET /metrics` says what happened, exactly, and nothing twice.

use std::process::{Command, Stdio};

use bytes::Bytes;
use http::Request;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::grpc::{Maker, Server, frame};
use crate::support::http2::Http2;
use crate::support::scripted::{Scripted, Step};
use crate::support::upgraded::Switching;
use crate::support::wire::{assert_refusal, connect, say};
use crate::support::{Callboard, Instance, Setup, eventually, peers};

fn setup() -> Setup {
    Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, balance: round_robin, outlier: off, retry: off}")
}

async fn page_as(callboard: &Callboard, accept: &str) -> (String, String) {
    let url = format!("{}/metrics", callboard.registry);
    let reply = callboard.client.get(url).header("Accept", accept);
    let reply = reply.send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let media_type = reply.headers()["content-type"].to_str().unwrap().to_owned();
    (media_type, reply.text().await.unwrap())
}

/// The value of a figure with exactly these labels; `None` if it is not on the page.
fn value(page: &str, figure: &str) -> Option<f64> {
    let mut lines = page.lines();
    lines.find_map(|line| line.strip_prefix(figure)?.strip_prefix(' ')?.parse().ok())
}

/// The sum of the figures of this name, whatever their labels.
fn sum(page: &str, name: &str) -> f64 {
    let figures = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.rsplit(' ').next()?;
        rest.starts_with(['{', ' '])
            .then(|| value.parse::<f64>().unwrap())
    });
    figures.sum()
}

/// Waits until `figure` has this value, and gives the page.
async fn until(callboard: &Callboard, figure: &str, expected: f64) -> String {
    eventually(&format!("{figure} is {expected}"), || async {
        let page = callboard.metrics().await;
        (value(&page, figure) == Some(expected)).then_some(page)
    })
    .await
}

/// Waits until so many requests for `web` by the default routes are of this class, and checks that no
/// other was counted of any service or of none.
async fn until_counted(callboard: &Callboard, class: &str, count: f64) -> String {
    let figure = format!(
        "callboard_requests_total{{service=\"web\",route=\"default_routes\",code=\"{class}\"}}"
    );
    let page = until(callboard, &figure, count).await;
    let all = sum(&page, "callboard_requests_total");
    let unrouted = sum(&page, "callboard_requests_unrouted_total");
    assert_eq!((all, unrouted), (count, 0.0), "{page}");
    let timed = "callboard_request_duration_seconds_count{service=\"web\"}";
    assert_eq!(value(&page, timed), Some(count), "{page}");
    page
}

#[tokio::test]
async fn requests_are_counted_by_service_route_and_class() {
    let callboard = setup()
        .top("routes: [{match: {path: /shop/}, service: web, name: shop}]")
        .start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    for (path, status, times) in [
        ("/shop/", 200, 7),
        ("/web/", 201, 3),
        ("/shop/", 404, 2),
        ("/shop/", 500, 1),
    ] {
        instance.set_status(status);
        for _ in 0..times {
            assert_eq!(callboard.get(path).await.status(), status);
        }
    }
    assert_eq!(callboard.get("/nobody/").await.status(), 404);
    let class = |route, class| {
        format!("callboard_requests_total{{service=\"web\",route=\"{route}\",code=\"{class}\"}}")
    };
    until(&callboard, &class("shop", "5xx"), 1.0).await;
    let unrouted = "callboard_requests_unrouted_total{code=\"4xx\"}";
    let page = until(&callboard, unrouted, 1.0).await;
    let read = |figure: &str| value(&page, figure);
    assert_eq!(read(&class("shop", "2xx")), Some(7.0), "{page}");
    assert_eq!(read(&class("default_routes", "2xx")), Some(3.0), "{page}");
    assert_eq!(read(&class("shop", "4xx")), Some(2.0), "{page}");
    assert_eq!(sum(&page, "callboard_requests_total"), 13.0, "{page}");
    for histogram in ["request_duration", "upstream_duration", "added_latency"] {
        let count = format!("callboard_{histogram}_seconds_count{{service=\"web\"}}");
        assert_eq!(read(&count), Some(13.0), "{page}");
        let all = format!("callboard_{histogram}_seconds_bucket{{le=\"+Inf\",service=\"web\"}}");
        assert_eq!(read(&all), Some(13.0), "{page}");
    }
    let one = "callboard_instance_requests_total{service=\"web\",instance=\"web-1\"}";
    assert_eq!(read(one), Some(13.0), "{page}");
    let version = concat!(
        "callboard_build_info{version=\"",
        env!("CARGO_PKG_VERSION"),
        "\"}"
    );
    assert_eq!(read(version), Some(1.0), "{page}");
    for process in ["resident_memory_bytes", "open_fds", "max_fds", "threads"] {
        assert!(read(&format!("process_{process}")) >= Some(1.0), "{page}");
    }
}

#[tokio::test]
async fn figures_outlive_the_instances_they_are_of() {
    let callboard = setup().start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    callboard.answerer("/web/").await;
    let url = callboard.instance_url("web", &instance);
    callboard.client.delete(url).send().await.unwrap();
    until_counted(&callboard, "2xx", 1.0).await;
    callboard.register("web", &instance, json!({})).await;
    callboard.answerer("/web/").await;
    until_counted(&callboard, "2xx", 2.0).await;
}

#[tokio::test]
async fn a_service_that_nobody_serves_has_its_failures_counted_as_its_own() {
    let callboard = setup()
        .top("services: {web: {timeouts: {request: 5s}}}")
        .start();
    assert_eq!(callboard.get("/web/").await.status(), 503);
    let page = until_counted(&callboard, "5xx", 1.0).await;
    let refused = "callboard_requests_refused_total{service=\"web\",reason=\"unavailable\"}";
    assert_eq!(value(&page, refused), Some(1.0), "{page}");
}

#[tokio::test]
async fn names_that_only_requests_know_have_no_figures() {
    let callboard = Setup::default().top("defaults: {hold: 50ms}").start();
    for name in ["a", "b", "c"] {
        assert_eq!(callboard.get(&format!("/{name}/")).await.status(), 404);
    }
    let unrouted = "callboard_requests_unrouted_total{code=\"4xx\"}";
    let page = until(&callboard, unrouted, 3.0).await;
    assert!(!page.contains("service=\""), "{page}");
}

#[tokio::test]
async fn what_instances_have_in_hand_is_shown_while_they_have_it() {
    let callboard = setup().start();
    let instances = Instance::several("web", 1);
    callboard.register("web", &instances[0], json!({})).await;
    let held = callboard.hold("web", &instances, 3).await;
    let in_flight = "callboard_requests_in_flight{service=\"web\"}";
    let page = until(&callboard, in_flight, 3.0).await;
    let one = "callboard_instance_requests_in_flight{service=\"web\",instance=\"web-1\"}";
    assert_eq!(value(&page, one), Some(3.0), "{page}");
    assert_eq!(sum(&page, "callboard_requests_total"), 0.0, "{page}");
    instances[0].release(3);
    for reply in held {
        assert_eq!(reply.await.unwrap().unwrap().status(), 200);
    }
    until(&callboard, in_flight, 0.0).await;
    until_counted(&callboard, "2xx", 3.0).await;
}

#[tokio::test]
async fn those_who_wait_and_those_who_are_refused_are_counted() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, limits: {in_flight: 1, queue: 2, queue_timeout: 20s}}")
        .start();
    let instances = Instance::several("web", 1);
    callboard.register("web", &instances[0], json!({})).await;
    let first = callboard.hold_one("web", &instances[0]).await;
    let waiting = callboard.crowd("/web/", 2).await;
    let page = until(
        &callboard,
        "callboard_requests_refused_total{service=\"web\",reason=\"queue_full\"}",
        1.0,
    )
    .await;
    let queued = "callboard_requests_waiting{service=\"web\",reason=\"queue\"}";
    assert_eq!(value(&page, queued), Some(2.0), "{page}");
    instances[0].release(1);
    for reply in waiting.into_iter().chain([first]) {
        assert_eq!(reply.await.unwrap().unwrap().status(), 200);
    }
    let page = until(&callboard, queued, 0.0).await;
    assert!(sum(&page, "callboard_requests_total") <= 4.0, "{page}");
}

#[tokio::test]
async fn further_tries_and_those_the_budget_denies_are_counted() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, outlier: off, balance: round_robin}")
        .top("services: {poor: {retry: {on: [503], budget: 0%, budget_min: 0}}}")
        .start();
    let (dead, live) = (Instance::dead("a"), Instance::start("b"));
    callboard.register("web", &dead, json!({})).await;
    callboard.register("web", &live, json!({})).await;
    for _ in 0..10 {
        assert_eq!(callboard.answerer("/web/").await, "b");
    }
    let page = until_counted(&callboard, "2xx", 10.0).await;
    let tried = value(&page, "callboard_request_retries_total{service=\"web\"}");
    assert!((1.0..=10.0).contains(&tried.unwrap()), "{page}");
    let answered = "callboard_upstream_duration_seconds_count{service=\"web\"}";
    assert_eq!(value(&page, answered), Some(10.0), "{page}");

    let instances = Instance::several("poor", 2);
    for instance in &instances {
        instance.set_status(503);
        callboard.register("poor", instance, json!({})).await;
    }
    assert_eq!(callboard.get("/poor/").await.status(), 503);
    let denied = "callboard_request_retries_denied_total{service=\"poor\"}";
    let page = until(&callboard, denied, 1.0).await;
    let retries = "callboard_request_retries_total{service=\"poor\"}";
    assert_eq!(value(&page, retries), Some(0.0), "{page}");
    let allowed = "callboard_retry_budget_allowed{service=\"poor\"}";
    assert_eq!(value(&page, allowed), Some(0.0), "{page}");
}

#[tokio::test]
async fn a_hedged_request_is_one_request() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, outlier: off, balance: round_robin, retry: {hedge: {after: 20ms}}}")
        .start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[1].release(100);
    for _ in 0..4 {
        assert_eq!(callboard.answerer("/web/held").await, "web-2");
    }
    let page = until_counted(&callboard, "2xx", 4.0).await;
    // The one that answers nobody is asked first at least once.
    let hedges = value(&page, "callboard_request_hedges_total{service=\"web\"}").unwrap();
    assert!((1.0..=4.0).contains(&hedges), "{page}");
}

#[tokio::test]
async fn availability_and_ejections_are_shown() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, retry: off, balance: round_robin, panic_threshold: 90%}")
        .start();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let page = callboard.metrics().await;
    let of = |state| format!("callboard_instances{{service=\"web\",availability=\"{state}\"}}");
    assert_eq!(value(&page, &of("ready")), Some(3.0), "{page}");
    assert_eq!(value(&page, "callboard_panic{service=\"web\"}"), Some(0.0));
    instances[0].set_status(500);
    for _ in 0..30 {
        callboard.get("/web/").await;
    }
    callboard.until("web", &instances[0], "ejected").await;
    let page = callboard.metrics().await;
    assert_eq!(value(&page, &of("ready")), Some(2.0), "{page}");
    assert_eq!(value(&page, &of("ejected")), Some(1.0), "{page}");
    let ejections = "callboard_ejections_total{service=\"web\"}";
    assert_eq!(value(&page, ejections), Some(1.0), "{page}");
    let panic = "callboard_panic{service=\"web\"}";
    assert_eq!(value(&page, panic), Some(1.0), "{page}");
}

#[tokio::test]
async fn the_registrys_doings_are_counted() {
    let callboard = Callboard::trusting();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    let lease = format!("{}/lease", callboard.instance_url("web", &instance));
    for _ in 0..5 {
        let renewed = callboard.client.put(&lease).send().await.unwrap();
        assert_eq!(renewed.status(), 204);
    }
    let dead = Instance::dead("web-2");
    let short = json!({"lease": {"ttl": "1s"}});
    callboard.register("web", &dead, short).await;
    let expired = "callboard_registry_events_total{event=\"expired\"}";
    let page = until(&callboard, expired, 1.0).await;
    let events = |event| format!("callboard_registry_events_total{{event=\"{event}\"}}");
    assert_eq!(value(&page, &events("registered")), Some(2.0), "{page}");
    assert_eq!(value(&page, &events("deregistered")), Some(0.0), "{page}");
    let heartbeats = "callboard_registry_heartbeats_total";
    assert_eq!(value(&page, heartbeats), Some(5.0), "{page}");
    assert_eq!(
        value(&page, "callboard_registry_leases"),
        Some(1.0),
        "{page}"
    );
    assert_eq!(
        value(&page, "callboard_registry_store_up"),
        Some(1.0),
        "{page}"
    );

    let services = callboard.api("/services/web/instances");
    let now = callboard.client.get(&services).send().await.unwrap();
    let index = now.headers()["callboard-index"]
        .to_str()
        .unwrap()
        .to_owned();
    let poll = format!("{services}?index={index}&wait=60s");
    let waiting = tokio::spawn(callboard.client.get(poll).send());
    until(&callboard, "callboard_registry_watchers", 1.0).await;
    let url = callboard.instance_url("web", &instance);
    callboard.client.delete(url).send().await.unwrap();
    waiting.await.unwrap().unwrap();
    let page = until(&callboard, "callboard_registry_watchers", 0.0).await;
    assert_eq!(value(&page, &events("deregistered")), Some(1.0), "{page}");
}

#[tokio::test]
async fn requests_are_not_counted_where_that_is_off() {
    let callboard = setup().top("telemetry: {metrics: off}").start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    for path in ["/web/", "/web/", "/nobody/"] {
        callboard.get(path).await;
    }
    say(&callboard, "NONSENSE\r\n\r\n").await;
    // These are the cluster's own.
    let one = "callboard_instance_requests_total{service=\"web\",instance=\"web-1\"}";
    let page = until(&callboard, one, 2.0).await;
    for name in [
        "callboard_requests_total",
        "callboard_requests_unrouted_total",
        "callboard_requests_malformed_total",
        "callboard_upstream_duration_seconds_count",
        "callboard_request_duration_seconds_count",
    ] {
        assert_eq!(sum(&page, name), 0.0, "{page}");
    }
    callboard.rewrite(&setup());
    callboard.reload("configuration reloaded").await;
    callboard.answerer("/web/").await;
    until_counted(&callboard, "2xx", 1.0).await;
}

#[tokio::test]
async fn a_reload_that_fails_is_shown_until_one_succeeds() {
    let callboard = setup().start();
    let good = "callboard_config_last_reload_successful";
    let since = "callboard_config_last_reload_success_timestamp_seconds";
    let first = until(&callboard, good, 1.0).await;
    callboard.rewrite_raw("proxy: 7");
    callboard.reload("was not reloaded").await;
    let failed = until(&callboard, good, 0.0).await;
    assert_eq!(value(&first, since), value(&failed, since));
    callboard.rewrite(&setup());
    callboard.reload("configuration reloaded").await;
    let after = until(&callboard, good, 1.0).await;
    assert!(value(&after, since) > value(&first, since));
}

#[tokio::test]
async fn only_the_busiest_instances_have_figures_of_their_own() {
    let callboard = setup().top("telemetry: {metrics: {instances: 1}}").start();
    let (idle, busy) = (Instance::start("a"), Instance::start("b"));
    callboard.register("idle", &idle, json!({})).await;
    callboard.register("web", &busy, json!({})).await;
    callboard.answerer("/web/").await;
    let one = "callboard_instance_requests_total{service=\"web\",instance=\"b\"}";
    let page = until(&callboard, one, 1.0).await;
    assert!(!page.contains("instance=\"a\""), "{page}");
    assert_eq!(
        value(&page, "callboard_instances_without_figures"),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_once_over_http_1() {
    let callboard = setup().start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    let mut client = connect(&callboard).await;
    let request = b"GET /web/held HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    eventually("it is held", || async {
        (instance.holding() == 1).then_some(())
    })
    .await;
    drop(client);
    until_counted(&callboard, "none", 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_once_over_http_2() {
    let callboard = setup().start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    let client = Http2::connect(&callboard).await;
    let held = tokio::spawn(async move { client.get("/web/held").await.map(drop) });
    eventually("it is held", || async {
        (instance.holding() == 1).then_some(())
    })
    .await;
    held.abort();
    until_counted(&callboard, "none", 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_an_answer_was_told_its_status() {
    let callboard = setup().start();
    let endless = vec![
        Step::Say("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nbegun"),
        Step::Stall,
    ];
    let instance = Scripted::always("web-1", endless).await;
    callboard.register_scripted("web", &instance).await;
    for speaks_http2 in [false, true] {
        if speaks_http2 {
            let client = Http2::connect(&callboard).await;
            let request = Request::get("http://a/web/").body(()).unwrap();
            let (reply, _) = client.send(request, true).await.unwrap();
            assert_eq!(reply.await.unwrap().status(), 200);
        } else {
            let reply = callboard.get("/web/").await;
            assert_eq!(reply.status(), 200);
        }
        let count = if speaks_http2 { 2.0 } else { 1.0 };
        until_counted(&callboard, "2xx", count).await;
    }
}

#[tokio::test]
async fn a_switch_of_protocols_is_a_request_of_its_own_class() {
    let callboard = setup().start();
    let instance = Switching::start(&callboard, "web", "web-1").await;
    let (client, server) = instance.switch(&callboard, "web", "echo").await;
    let page = until_counted(&callboard, "1xx", 1.0).await;
    let in_flight = "callboard_requests_in_flight{service=\"web\"}";
    assert_eq!(value(&page, in_flight), Some(1.0), "{page}");
    drop((client, server));
    until(&callboard, in_flight, 0.0).await;
    until_counted(&callboard, "1xx", 1.0).await;
}

#[tokio::test]
async fn what_is_no_request_is_counted_by_the_status_it_is_answered_with() {
    let callboard = setup().start();
    assert_refusal(&say(&callboard, "NONSENSE\r\n\r\n").await, 400, "nonsense");
    let unknown = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n";
    assert_refusal(&say(&callboard, unknown).await, 501, "an unknown coding");
    let malformed = |code| format!("callboard_requests_malformed_total{{code=\"{code}\"}}");
    until(&callboard, &malformed(501), 1.0).await;
    let page = until(&callboard, &malformed(400), 1.0).await;
    assert_eq!(
        sum(&page, "callboard_requests_malformed_total"),
        2.0,
        "{page}"
    );
    assert_eq!(
        sum(&page, "callboard_requests_unrouted_total"),
        0.0,
        "{page}"
    );

    let client = Http2::connect(&callboard).await;
    let bad = Request::get("http://a/web/")
        .header("connection", "close")
        .body(())
        .unwrap();
    // The engine may refuse the field itself, and then nothing was answered.
    if let Ok((reply, _)) = client.send(bad, true).await
        && let Ok(reply) = reply.await
        && reply.status() == 400
    {
        until(&callboard, &malformed(400), 2.0).await;
    }
}

#[tokio::test]
async fn a_call_of_grpc_is_counted_by_its_status() {
    let callboard = setup().start();
    let dead = Instance::dead("web-1");
    callboard.register("web", &dead, json!({})).await;
    let client = Http2::connect(&callboard).await;
    let request = Request::post("http://web.callboard/test.Peer/Echo")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (reply, mut sending) = client.send(request, false).await.unwrap();
    // It may be answered before.
    let _ = sending.send_data(Bytes::from(frame(b"hello")), true);
    assert_eq!(reply.await.unwrap().headers()["grpc-status"], "14");
    let page = until_counted(&callboard, "2xx", 1.0).await;
    let unavailable = "callboard_grpc_responses_total{service=\"web\",grpc_code=\"UNAVAILABLE\"}";
    assert_eq!(value(&page, unavailable), Some(1.0), "{page}");
    assert_eq!(sum(&page, "callboard_grpc_responses_total"), 1.0, "{page}");

    let Some(server) = Server::start(Maker::Go, "only", "statuses of gRPC") else {
        return;
    };
    server.register(&callboard, json!({"check": "off"})).await;
    let call = |arguments: &[&str]| Maker::Go.call(&callboard, arguments);
    call(&["hello"]);
    call(&["-method", "Fail", "5 no such thing"]);
    call(&["-method", "Late", "8"]);
    call(&["-method", "Count", "3"]);
    let code =
        |code| format!("callboard_grpc_responses_total{{service=\"peer\",grpc_code=\"{code}\"}}");
    let page = until(&callboard, &code("OK"), 2.0).await;
    assert_eq!(value(&page, &code("NOT_FOUND")), Some(1.0), "{page}");
    assert_eq!(
        value(&page, &code("RESOURCE_EXHAUSTED")),
        Some(1.0),
        "{page}"
    );
    assert_eq!(sum(&page, "callboard_grpc_responses_total"), 5.0, "{page}");
}

/// A page on which there is something of everything.
async fn busy_page() -> (Callboard, Instance) {
    let callboard = setup()
        .listener("protocol: tcp, service: db")
        .top("telemetry: {metrics: {instances: 5}}")
        .start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    callboard.answerer("/web/").await;
    callboard.get("/nobody/").await;
    say(&callboard, "NONSENSE\r\n\r\n").await;
    drop(callboard.dial(1).await);
    until(
        &callboard,
        "callboard_requests_malformed_total{code=\"400\"}",
        1.0,
    )
    .await;
    until_class(&callboard).await;
    (callboard, instance)
}

async fn until_class(callboard: &Callboard) {
    let web = "callboard_requests_total{service=\"web\",route=\"default_routes\",code=\"2xx\"}";
    until(callboard, web, 1.0).await;
}

#[tokio::test]
async fn prometheus_own_tool_has_nothing_to_say_about_the_page() {
    let Some(promtool) = peers::program("promtool", "what promtool says of /metrics") else {
        return;
    };
    let (callboard, _instance) = busy_page().await;
    let (media_type, page) = page_as(&callboard, "*/*").await;
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    let mut command = Command::new(promtool);
    let mut check = command
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), page.as_bytes()).unwrap();
    let done = check.wait_with_output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(
        done.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[tokio::test]
async fn both_formats_hold_the_same_figures() {
    let (callboard, _instance) = busy_page().await;
    let (media_type, page) = page_as(&callboard, "application/openmetrics-text").await;
    assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(page.ends_with("# EOF\n"));
    let (_, classic) = page_as(&callboard, "text/plain").await;
    let names = |page: &str| -> Vec<String> {
        let figures = page.lines().filter(|line| !line.starts_with('#'));
        let named = figures.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
        named.collect()
    };
    assert_eq!(names(&page), names(&classic));
    // Every figure belongs to a family that is described.
    for name in names(&classic) {
        let name = name.split('{').next().unwrap();
        let family = (name.strip_suffix("_bucket"))
            .or_else(|| name.strip_suffix("_sum"))
            .or_else(|| name.strip_suffix("_count"));
        let described = |name: &str| classic.contains(&format!("# TYPE {name} "));
        assert!(described(name) || family.is_some_and(described), "{name}");
    }
}

/// The names of callboard's figures in this text.
fn figures_named(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names: Vec<_> = words
        .filter(|word| word.starts_with("callboard_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test]
async fn every_figure_that_the_dashboard_and_the_alerts_want_is_there() {
    let (callboard, _instance) = busy_page().await;
    let page = callboard.metrics().await;
    let mut wanted = figures_named(include_str!("../../conf/grafana/callboard.json"));
    let alerts = include_str!("../../conf/prometheus/alerts.yml");
    wanted.extend(figures_named(alerts));
    assert!(wanted.len() > 40, "{wanted:?}");
    for name in wanted {
        let family = name.strip_suffix("_bucket").unwrap_or(&name);
        // Whether there are any depends on the configuration.
        let elsewhere = [
            "callboard_pull_stale_seconds",
            "callboard_certificate_expiry_seconds",
        ];
        let described = page.contains(&format!("# TYPE {family} "));
        assert!(described || elsewhere.contains(&family), "{name}");
    }
}

#[test]
fn the_alerts_fire_on_what_they_are_for() {
    let Some(promtool) = peers::program("promtool", "the alert rules") else {
        return;
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/prometheus");
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut command = Command::new(&promtool);
        let done = command
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stdout)
        );
    }
    let tests = include_str!("../../conf/prometheus/alerts_test.yml");
    let alerts = include_str!("../../conf/prometheus/alerts.yml");
    for alert in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert} has no test"
        );
    }
}
