//! SIGTERM: nothing new, everything begun is finished, and then gone at once.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Callboard, Instance, eventually};

#[tokio::test]
async fn an_idle_callboard_leaves_at_once() {
    for signal in ["TERM", "INT"] {
        let mut callboard = Callboard::trusting();
        let web = Instance::start("web-1");
        callboard.register("web", &web, json!({})).await;
        callboard.answerer("/web/").await;
        let watch = callboard.client.get(callboard.api("/watch"));
        let _stream = watch.send().await.unwrap();
        let told = Instant::now();
        callboard.signal(signal);
        assert!(callboard.ended().await.success());
        assert!(
            told.elapsed() < Duration::from_secs(10),
            "{:?}",
            told.elapsed()
        );
    }
}

#[tokio::test]
async fn a_leaving_callboard_finishes_what_it_has_and_takes_nothing_new() {
    let mut callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = callboard.hold_one("web", &web).await;
    callboard.signal("TERM");
    let ready = format!("{}/readyz", callboard.registry);
    eventually("it is no longer ready", || async {
        let status = callboard.client.get(&ready).send().await.unwrap().status();
        (status == 503).then_some(())
    })
    .await;
    let stranger = reqwest::Client::new();
    eventually("the data plane is closed", || async {
        stranger.get(callboard.url("/web/")).send().await.err()
    })
    .await;
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert!(callboard.ended().await.success());
}

#[tokio::test]
async fn told_twice_it_leaves_whatever_is_in_flight() {
    let mut callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = callboard.hold_one("web", &web).await;
    callboard.signal("TERM");
    eventually("it is leaving", || async {
        callboard
            .log()
            .contains("leaving: 1 requests in flight")
            .then_some(())
    })
    .await;
    callboard.signal("TERM");
    callboard.ended().await;
    assert!(held.await.unwrap().is_err());
}

#[tokio::test]
async fn the_last_answer_on_a_connection_says_that_it_is_the_last() {
    let mut callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let request = b"GET /web/held HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request).await.unwrap();
    eventually("one is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    callboard.signal("TERM");
    eventually("the data plane is closed", || async {
        TcpStream::connect(&address).await.err()
    })
    .await;
    web.release(1);
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
    assert!(callboard.ended().await.success());
}
