//! How long an instance may take for what, and what the client is told when it takes longer.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::scripted::{Scripted, Step};
use crate::support::{Callboard, Setup};

use Step::{Close, Pause, ReadBody, Repeat, Say, Stall};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHORT: Duration = Duration::from_millis(20);

fn callboard(settings: &str) -> Callboard {
    let line = format!("defaults: {{balance: round_robin, check: off, outlier: off, {settings}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&line)
        .start()
}

/// Checks that a reply is a 504 that tells this error and these details.
fn assert_late(reply: &reqwest::Response, error: &str, details: &str) {
    assert_eq!(reply.status(), 504, "{reply:?}");
    let status = reply.headers()["proxy-status"].to_str().unwrap();
    assert!(status.contains(&format!("error={error};")), "{status}");
    assert!(status.contains(details), "{status}");
}

#[tokio::test]
async fn one_that_never_answers_beside_one_that_does_costs_no_get() {
    let retry = "timeouts: {first_byte: 200ms}, retry: {on: [timeout]}";
    let callboard = callboard(retry);
    let silent = Scripted::always("silent", [Stall]).await;
    let healthy = Scripted::always("healthy", [Say(OK)]).await;
    callboard.register_scripted("web", &silent).await;
    callboard.register_scripted("web", &healthy).await;
    for _ in 0..6 {
        assert_eq!(callboard.get("/web/").await.status(), 200);
    }
    assert!((1..=6).contains(&silent.hits()));
    assert_eq!(healthy.hits(), 6);
    let mut late = 0;
    for _ in 0..4 {
        let post = callboard.client.post(callboard.url("/web/"));
        let reply = post.body("x").send().await.unwrap();
        if reply.status() != 200 {
            assert_late(
                &reply,
                "http_response_timeout",
                "first_byte of 200ms ran out",
            );
            late += 1;
        }
    }
    assert_eq!(late, 2);
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_told_with_the_setting_that_ran_out() {
    for (settings, details) in [
        ("first_byte: 200ms", "first_byte of 200ms ran out"),
        ("request: 200ms", "request of 200ms ran out"),
        ("total: 200ms", "total of 200ms ran out"),
    ] {
        let callboard = callboard(&format!("timeouts: {{{settings}}}"));
        for (service, steps) in [
            ("silent", vec![Stall]),
            (
                "trickling",
                vec![Say("HTTP/1.1 200 OK\r\nX: "), Repeat("x", SHORT)],
            ),
            (
                "hinting",
                vec![Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", SHORT)],
            ),
        ] {
            let late = Scripted::always("late", steps).await;
            callboard.register_scripted(service, &late).await;
            let reply = callboard.get(&format!("/{service}/")).await;
            assert_late(&reply, "http_response_timeout", details);
            assert_eq!(late.hits(), 1);
        }
    }
}

#[tokio::test]
async fn all_tries_together_have_the_time_of_the_request() {
    let callboard = callboard(
        "timeouts: {first_byte: 300ms, request: 500ms}, retry: {attempts: 9, on: [timeout]}",
    );
    let mut all = Vec::new();
    for number in 0..4 {
        let silent = Scripted::always(&format!("silent-{number}"), [Stall]).await;
        callboard.register_scripted("web", &silent).await;
        all.push(silent);
    }
    let reply = callboard.get("/web/").await;
    assert_late(&reply, "http_response_timeout", "request of 500ms ran out");
    let mut hits: Vec<_> = all.iter().map(Scripted::hits).collect();
    hits.sort_unstable();
    assert!(hits.iter().sum::<usize>() <= 2 && hits[3] == 1, "{hits:?}");
}

#[tokio::test]
async fn connecting_has_a_time_of_its_own() {
    // Connections beyond those that wait to be accepted are not answered at all.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = "127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap();
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
    }
    for (service, settings, status) in [
        ("refused", "timeouts: {connect: 200ms}, retry: off", 504),
        ("alone", "timeouts: {connect: 200ms}", 504),
        ("helped", "timeouts: {connect: 200ms}", 200),
        (
            "timeout",
            "timeouts: {connect: 200ms}, retry: {on: [timeout]}",
            200,
        ),
    ] {
        let callboard = callboard(settings);
        let url = callboard.api(&format!("/services/{service}/instances/full"));
        let body = json!({"address": "127.0.0.1", "port": address.port()});
        let put = callboard.client.put(url).json(&body).send().await.unwrap();
        assert!(put.status().is_success());
        let other = Scripted::always("other", [ReadBody, Say(OK)]).await;
        if status == 200 {
            callboard.register_scripted(service, &other).await;
        }
        for _ in 0..2 {
            let post = callboard
                .client
                .post(callboard.url(&format!("/{service}/")));
            let reply = post.body("x").send().await.unwrap();
            if status == 504 {
                assert_late(&reply, "connection_timeout", "connect of 200ms ran out");
            }
            assert_eq!(reply.status(), status, "{service}");
        }
    }
}

#[tokio::test]
async fn silence_within_a_response_cuts_it_and_silence_before_it_does_not() {
    let callboard = callboard("timeouts: {between_bytes: 200ms}");
    let pausing = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let endless = "HTTP/1.1 200 OK\r\n\r\nhalf";
    for (service, steps) in [
        ("length", vec![Say(pausing), Stall]),
        ("close", vec![Say(endless), Stall]),
    ] {
        let silent = Scripted::always("silent", steps).await;
        callboard.register_scripted(service, &silent).await;
        let reply = callboard.get(&format!("/{service}/")).await;
        assert_eq!(reply.status(), 200);
        assert!(reply.text().await.is_err(), "{service}");
    }
    let thinking = [Pause(Duration::from_secs(1)), Say(OK)];
    let thinking = Scripted::always("thinking", thinking).await;
    callboard.register_scripted("thinking", &thinking).await;
    assert_eq!(
        callboard.get("/thinking/").await.text().await.unwrap(),
        "ok"
    );
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_the_instances_silence() {
    let callboard = callboard("timeouts: {between_bytes: 1s}");
    // More than fits into what is between the instance and the client.
    let body: &'static str = "x".repeat(32 << 20).leak();
    let head: &'static str =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).leak();
    let large = Scripted::always("large", [Say(head), Say(body)]).await;
    callboard.register_scripted("web", &large).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /web/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = vec![0; 1_000];
    stream.read_exact(&mut reply).await.unwrap();
    // Several times as long as an instance may be silent.
    tokio::time::sleep(Duration::from_secs(4)).await;
    stream.read_to_end(&mut reply).await.unwrap();
    let head_ends = reply
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert_eq!(reply.len() - head_ends, body.len());
}

#[tokio::test]
async fn the_total_cuts_a_stream_that_never_ends() {
    let callboard = callboard("timeouts: {total: 500ms}");
    for (service, head) in [
        (
            "chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("close", "HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let stream = Scripted::always("stream", [Say(head), Repeat("1\r\nx\r\n", SHORT)]).await;
        callboard.register_scripted(service, &stream).await;
        let started = Instant::now();
        let reply = callboard.get(&format!("/{service}/")).await;
        assert_eq!(reply.status(), 200);
        assert!(reply.text().await.is_err(), "{service}");
        assert!(started.elapsed() >= Duration::from_millis(500));
        assert_eq!(stream.hits(), 1);
    }
}

#[tokio::test]
async fn a_body_that_takes_long_to_arrive_is_not_the_instances_delay() {
    let callboard = callboard("timeouts: {request: 1s, first_byte: 900ms}");
    let web = Scripted::always("web-1", [ReadBody, Say(OK), Close]).await;
    callboard.register_scripted("web", &web).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /web/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
    assert_eq!(web.bodies(), ["x".repeat(20)]);
}

#[tokio::test]
async fn a_route_has_limits_of_its_own() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off}")
        .top("routes: [{match: {path: /fast}, service: web, timeouts: {request: 200ms}}]")
        .start();
    let slow = [Pause(Duration::from_secs(1)), Say(OK)];
    let slow = Scripted::always("slow", slow).await;
    callboard.register_scripted("web", &slow).await;
    let late = callboard.get("/fast").await;
    assert_late(&late, "http_response_timeout", "request of 200ms ran out");
    assert_eq!(callboard.get("/web/").await.status(), 200);
}

#[tokio::test]
async fn connections_that_switched_protocols_have_no_limits() {
    let callboard = callboard("timeouts: {total: 300ms, between_bytes: 300ms, request: 300ms}");
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let quiet = Pause(Duration::from_secs(1));
    let socket = Scripted::always("socket", [Say(switching), quiet, Say("hello"), Stall]).await;
    callboard.register_scripted("web", &socket).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "GET /web/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"hello") {
        reply.push(stream.read_u8().await.unwrap());
    }
    assert!(reply.starts_with(b"HTTP/1.1 101 "));
}
