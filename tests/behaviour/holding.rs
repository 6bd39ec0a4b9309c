//! Requests that wait for an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Callboard, Held, Instance, Setup, eventually};

fn holding(lines: &str) -> Callboard {
    Setup::default()
        .registry("admission: trust")
        .top(lines)
        .start()
}

fn send(callboard: &Callboard, path: &str) -> Held {
    tokio::spawn(callboard.client.get(callboard.url(path)).send())
}

async fn status(held: Held) -> u16 {
    held.await.unwrap().unwrap().status().as_u16()
}

#[tokio::test]
async fn a_registration_answers_all_who_were_held_for_it() {
    for lines in [
        "services: {web: {hold: {timeout: 1h, max: 50}}}\ndefaults: {timeouts: {request: 1h}}",
        "defaults: {hold: {timeout: 1h, max: 50}, timeouts: {request: 1h}}\n\
         routes: [{match: {path: /web}, service: web}]",
    ] {
        let callboard = holding(lines);
        let held = callboard.crowd("/web/", 50).await;
        let web = Instance::start("web-1");
        callboard.register("web", &web, json!({})).await;
        for one in held {
            assert_eq!(status(one).await, 200);
        }
    }
}

/// Whether a reply says that no instance of this service is available, and `why` no longer waited for.
fn assert_refused(reply: &reqwest::Response, service: &str, why: &str) {
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "1");
    let status = reply.headers()["proxy-status"].to_str().unwrap();
    let expected = format!(
        "callboard; error=destination_unavailable; \
         details=\"no instance of service {service} is available, {why}\""
    );
    assert_eq!(status, expected);
}

#[tokio::test]
async fn beyond_max_and_after_the_timeout_the_answer_is_503() {
    let callboard = holding(
        "defaults: {timeouts: {request: 1h}}\n\
         services: {web: {hold: {timeout: 100ms}}, api: {hold: {timeout: 1h, max: 1}}}",
    );
    let reply = callboard.get("/web/").await;
    assert_refused(&reply, "web", "held for 100ms");
    let both = [send(&callboard, "/api/"), send(&callboard, "/api/")];
    let (reply, _, held) = select_all(both).await;
    assert_refused(&reply.unwrap().unwrap(), "api", "hold of 1 full");
    assert!(!held[0].is_finished());
}

#[tokio::test]
async fn what_a_client_sends_while_it_is_held_is_its_next_request() {
    let callboard = holding("services: {web: {hold: 1h, timeouts: {request: 1h}}}");
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    for path in ["/web/one", "/web/two", "/web/three"] {
        let last = if path == "/web/three" {
            "Connection: close\r\n"
        } else {
            ""
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // Another request's round trip gives this one time to arrive by itself.
        assert_eq!(callboard.get("/unknown/").await.status(), 404);
    }
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let mut replies = String::new();
    stream.read_to_string(&mut replies).await.unwrap();
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 3, "{replies}");
    let places = ["/one", "/two", "/three"].map(|path| replies.find(path));
    assert!(places.is_sorted() && places[0].is_some(), "{replies}");
}

#[tokio::test]
async fn a_name_that_only_a_request_knows_is_held_too_and_unknown_in_the_end() {
    let callboard =
        holding("defaults: {hold: 1h, timeouts: {request: 1h}}\nservices: {api: {hold: 50ms}}");
    let held = send(&callboard, "/web/");
    assert_eq!(callboard.get("/api/").await.status(), 503);
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    assert_eq!(status(held).await, 200);

    let short = holding("defaults: {hold: 50ms}");
    let reply = short.get("/nobody/").await;
    assert_eq!(reply.status(), 404);
    assert_eq!(holding("").get("/nobody/").await.status(), 404);
}

#[tokio::test]
async fn restarts_of_the_only_instance_fail_no_request() {
    let callboard = holding("defaults: {hold: 1h, timeouts: {request: 1h}}");
    let mut web = Instance::start("web-0");
    callboard.register("web", &web, json!({})).await;
    let (done, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
            let (client, url) = (callboard.client.clone(), callboard.url("/web/"));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let reply = client.get(&url).send().await.unwrap();
                    assert_eq!(reply.status(), 200, "{:?}", reply.headers());
                    reply.bytes().await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 1..=5 {
        let before = answered.load(Ordering::Relaxed);
        eventually("requests are answered", || async {
            (answered.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
        let leave = format!("{}?drain=30s", callboard.instance_url("web", &web));
        let left = callboard.client.delete(leave).send().await.unwrap();
        assert!(left.status().is_success());
        web.kill();
        web = Instance::start(&format!("web-{round}"));
        callboard.register("web", &web, json!({})).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn an_instance_that_crashed_is_waited_for_until_it_is_back() {
    let callboard = holding(
        "defaults: {hold: {timeout: 1h, max: 20}, timeouts: {request: 1h}, \
         check: {tcp: {}, interval: 1h, fall: 1}}",
    );
    let mut web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    callboard.answerer("/web/").await;
    web.kill();
    let held = callboard.crowd("/web/", 20).await;
    let web = Instance::start_at("web-1", web.port);
    callboard.register("web", &web, json!({})).await;
    for one in held {
        assert_eq!(status(one).await, 200);
    }
}

#[tokio::test]
async fn a_client_that_gives_up_makes_room() {
    let callboard =
        holding("services: {web: {hold: {timeout: 1h, max: 1}, timeouts: {request: 1h}}}");
    for held in callboard.crowd("/web/", 1).await {
        held.abort();
    }
    // Held where the first one was, or refused for as long as that one is there.
    eventually("there is room", || async {
        let probe = callboard.client.get(callboard.url("/web/"));
        let reply = probe.timeout(Duration::from_millis(200)).send().await;
        reply.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn those_who_are_held_when_callboard_leaves_are_answered_before_it_is_gone() {
    let mut callboard = Callboard::start(
        "proxy: {listen: [\"127.0.0.1:0\"], shutdown_grace: 1s}\n\
         registry: {listen: \"127.0.0.1:0\"}\n\
         services: {web: {hold: {timeout: 1h, max: 1}, timeouts: {request: 1h}}}\n",
    );
    let held = callboard.crowd("/web/", 1).await;
    callboard.signal("TERM");
    for one in held {
        assert_eq!(status(one).await, 503);
    }
    assert!(callboard.ended().await.success());
}
