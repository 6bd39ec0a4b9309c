//! What bounds calls of gRPC, and that many of them pass at a time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request};
use serde_json::json;

use crate::support::grpc::{Maker, Server, frame};
use crate::support::http2::{Http2, whole};
use crate::support::http2_instance::Http2Instance;
use crate::support::{Callboard, Setup, eventually};

fn started(policy: &str) -> Callboard {
    Setup::default()
        .registry("admission: trust")
        .top(&format!("services: {{peer: {{check: off, {policy}}}}}"))
        .start()
}

fn call(path: &str, deadline: Option<&str>) -> Request<()> {
    let call = Request::post(format!("http://peer.callboard/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let call = match deadline {
        Some(deadline) => call.header("grpc-timeout", deadline),
        None => call,
    };
    call.body(()).unwrap()
}

/// What a call ends with that is answered with nothing else, and how long that took.
async fn ending(client: &Http2, call: Request<()>) -> (HeaderMap, Duration) {
    let began = Instant::now();
    let (reply, mut sending) = client.send(call, false).await.unwrap();
    sending.send_data(frame(b"x").into(), true).unwrap();
    let reply = whole(reply).await.unwrap();
    assert_eq!(reply.status, 200);
    (reply.headers, began.elapsed())
}

#[tokio::test]
async fn a_deadline_counts_while_a_call_is_held_or_queued() {
    for policy in [
        "hold: 20s",
        "limits: {in_flight: 1, queue: 5, queue_timeout: 20s}",
    ] {
        let callboard = started(policy);
        let client = Http2::connect(&callboard).await;
        let instance = Http2Instance::clear("a").await;
        let mut busy = None;
        if policy.starts_with("limits") {
            callboard.register_http2("peer", &instance, "h2c").await;
            busy = Some(client.send(call("stuck", None), false).await.unwrap());
            eventually("the instance is busy", || async {
                (instance.waiting() == 1).then_some(())
            })
            .await;
        }
        let (end, took) = ending(&client, call("echo", Some("300m"))).await;
        assert_eq!(end["grpc-status"], "4", "{end:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop(busy);
    }
}

#[tokio::test]
async fn a_call_without_a_deadline_is_bounded_by_first_byte() {
    let callboard = started("timeouts: {first_byte: 300ms}");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("peer", &instance, "h2c").await;
    let client = Http2::connect(&callboard).await;
    let (end, took) = ending(&client, call("stuck", None)).await;
    assert_eq!(end["grpc-status"], "4", "{end:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_hundred_streams_talk_both_ways_on_one_connection() {
    let callboard = started("");
    let Some(mut server) = Server::start(Maker::Go, "only", "many streams") else {
        return;
    };
    server.register(&callboard, json!({"check": "off"})).await;
    let client = Http2::connect(&callboard).await;
    let chats = (0..100).map(|_| async {
        let chat = call("callboard.test.Peer/Chat", None);
        let (reply, mut sending) = client.send(chat, false).await.unwrap();
        let said: Bytes = frame(b"hello").into();
        sending.send_data(said.clone(), false).unwrap();
        let mut body = reply.await.unwrap().into_body();
        for round in 0..5 {
            let mut heard = Vec::new();
            while heard.len() < said.len() {
                let piece = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                heard.extend_from_slice(&piece);
            }
            assert_eq!(heard, said);
            if round < 4 {
                sending.send_data(said.clone(), false).unwrap();
            }
        }
        sending.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
    join_all(chats).await;
    assert_eq!(server.count("calls"), 100);
}
