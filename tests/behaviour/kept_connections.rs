//! Connections to instances that are kept from one request to the next, and may be closed just then.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::scripted::{Scripted, Step};
use crate::support::wire::read_head;
use crate::support::{Callboard, Setup, eventually};

use Step::{Close, Pause, ReadBody, Reset, Say};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn callboard(more: &str) -> Callboard {
    let line = format!("defaults: {{check: off, outlier: off{more}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&line)
        .start()
}

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn an_instance_that_closes_right_after_its_answer_costs_no_request() {
    let callboard = callboard(", retry: off");
    let closing = Scripted::always("closing", [ReadBody, Say(OK), Close]).await;
    callboard.register_scripted("web", &closing).await;
    let url = callboard.url("/web/");
    for _ in 0..1_000 {
        assert_eq!(status(callboard.client.get(&url)).await, 200);
        assert_eq!(status(callboard.client.post(&url).body("x")).await, 200);
    }
}

/// Answers the first request of each connection and breaks it at the second, so that every use of a
/// kept connection fails.
async fn breaking(step: Step) -> Scripted {
    Scripted::start("breaking", move |number| match number {
        0 => vec![ReadBody, Say(OK)],
        _ => vec![ReadBody, step.clone()],
    })
    .await
}

#[tokio::test]
async fn a_kept_connection_that_breaks_under_a_request_costs_none() {
    for step in [Close, Reset] {
        let callboard = callboard(", retry: off");
        let breaking = breaking(step).await;
        callboard.register_scripted("web", &breaking).await;
        let url = callboard.url("/web/");
        for _ in 0..20 {
            assert_eq!(status(callboard.client.get(&url)).await, 200);
            assert_eq!(status(callboard.client.put(&url).body("x")).await, 200);
            assert_eq!(status(callboard.client.post(&url).body("x")).await, 200);
            let long = "x".repeat(100_000);
            assert_eq!(status(callboard.client.put(&url).body(long)).await, 200);
        }
        let kept = |head: &&String| !head.contains("connection: close");
        assert!(breaking.heads().iter().filter(kept).count() >= 30);
    }
}

/// The instance closes some connections just about when they are used again, kindly or with a reset.
#[tokio::test]
async fn requests_that_meet_a_closing_connection_are_answered_and_none_that_must_not_be_is_repeated()
 {
    let callboard = callboard(", retry: off");
    let closing = Scripted::start("closing", |number| {
        let pause = Pause(Duration::from_micros(fastrand::u64(..2_000)));
        match number {
            0 | 1 => vec![ReadBody, Say(OK)],
            _ if fastrand::bool() => vec![ReadBody, Say(OK), pause, Close],
            _ => vec![ReadBody, Say(OK), pause, Reset],
        }
    })
    .await;
    callboard.register_scripted("web", &closing).await;
    let url = callboard.url("/web/");
    let calls = (0..4).map(async |caller| {
        for number in 0..150 {
            let id = format!("{caller}-{number}");
            let request = match fastrand::u8(..3) {
                0 => callboard.client.get(&url),
                1 => callboard.client.put(&url).body("x"),
                _ => callboard.client.post(&url).body("x"),
            };
            assert_eq!(status(request.header("x-id", &id)).await, 200, "{id}");
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
        }
    });
    futures_util::future::join_all(calls).await;
    let mut posts: Vec<_> = (closing.heads().into_iter())
        .filter(|head| head.starts_with("post "))
        .map(|head| {
            head.split_once("x-id: ")
                .unwrap()
                .1
                .lines()
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    let count = posts.len();
    posts.sort();
    posts.dedup();
    assert_eq!(posts.len(), count, "a POST was sent twice");
}

#[tokio::test]
async fn a_connection_on_which_an_instance_speaks_unasked_is_closed() {
    let callboard = callboard("");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = json!({"address": "127.0.0.1", "port": port, "check": "off"});
    let url = callboard.api("/services/web/instances/web-1");
    let registered = callboard.client.put(url).json(&body).send().await.unwrap();
    assert!(registered.status().is_success());
    for _ in 0..2 {
        let answered = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            stream
        };
        let (reply, mut stream) = tokio::join!(callboard.get("/web/"), answered);
        assert_eq!(reply.text().await.unwrap(), "ok");
        let unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        stream.write_all(unasked).await.unwrap();
        // With a reset, since not all of it was read.
        let ended = timeout(Duration::from_secs(20), stream.read_u8());
        assert!(ended.await.expect("it stays open").is_err());
    }
}

#[tokio::test]
async fn what_must_not_be_repeated_has_a_connection_of_its_own_unless_told_otherwise() {
    for (reuse, connections) in [("safe", 3), ("always", 1)] {
        let callboard = callboard(&format!(", reuse: {reuse}"));
        let web = Scripted::always("web-1", [ReadBody, Say(OK)]).await;
        callboard.register_scripted("web", &web).await;
        let url = callboard.url("/web/");
        for _ in 0..3 {
            assert_eq!(status(callboard.client.post(&url).body("x")).await, 200);
        }
        assert_eq!(web.connections(), connections, "{reuse}");
        let close = |head: &String| head.contains("connection: close");
        assert_eq!(web.heads().iter().all(close), reuse == "safe", "{reuse}");
        // A GET finds none that was kept after a POST of its own.
        for _ in 0..3 {
            assert_eq!(status(callboard.client.get(&url)).await, 200);
        }
        let more = usize::from(reuse == "safe");
        assert_eq!(web.connections(), connections + more, "{reuse}");
    }
}

#[tokio::test]
async fn a_broken_kept_connection_is_no_reason_to_repeat_what_must_not_be() {
    let callboard = callboard(", reuse: always");
    let breaking = breaking(Reset).await;
    callboard.register_scripted("web", &breaking).await;
    let url = callboard.url("/web/");
    assert_eq!(status(callboard.client.post(&url).body("x")).await, 200);
    let reply = callboard.client.post(&url).body("x").send().await.unwrap();
    assert_eq!(reply.status(), 502);
    let told = reply.headers()["proxy-status"].to_str().unwrap().to_owned();
    assert!(told.contains("error=connection_terminated;"), "{told}");
    assert_eq!(breaking.hits(), 2);
}

#[tokio::test]
async fn connections_are_kept_shorter_than_the_instance_says_it_does() {
    let callboard = callboard("");
    let hasty = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok";
    let hasty = Scripted::always("hasty", [Say(hasty)]).await;
    callboard.register_scripted("web", &hasty).await;
    let url = callboard.url("/web/");
    eventually("a connection was not kept", || async {
        assert_eq!(status(callboard.client.get(&url)).await, 200);
        (hasty.connections() > 1).then_some(())
    })
    .await;
    let patient = Scripted::always("patient", [Say(OK)]).await;
    callboard.register_scripted("patient", &patient).await;
    for _ in 0..10 {
        assert_eq!(
            status(callboard.client.get(callboard.url("/patient/"))).await,
            200
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(patient.connections(), 1);
}
