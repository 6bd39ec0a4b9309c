//! HTTP/2 on both sides while one of them does not take what it is sent, and what its neighbours on
//! the same connections notice of that.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Request;
use serde_json::{Value, json};

use crate::support::http2::{Http2, feed, request, whole};
use crate::support::http2_instance::Http2Instance;
use crate::support::{Callboard, Instance, Setup, eventually};

fn callboard(settings: &str) -> Callboard {
    let line = format!("defaults: {{balance: round_robin, check: off, outlier: off, {settings}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&line)
        .start()
}

async fn with_web(settings: &str) -> (Callboard, Http2Instance) {
    let callboard = callboard(settings);
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    (callboard, instance)
}

/// A call of gRPC without a deadline.
fn call(path: &str) -> Request<()> {
    let mut call = request("POST", path);
    let headers = call.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    headers.insert("te", "trailers".parse().unwrap());
    call
}

async fn in_flight(callboard: &Callboard, count: u64) {
    eventually(&format!("{count} requests are in flight"), || async {
        let url = callboard.api("/services/web/instances/a");
        let view: Value = callboard
            .client
            .get(url)
            .send()
            .await
            .ok()?
            .json()
            .await
            .ok()?;
        (view["in_flight"] == count).then_some(())
    })
    .await;
}

async fn resets(instance: &Http2Instance, count: usize) {
    eventually(&format!("{count} streams are reset"), || async {
        (instance.resets() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_gives_up_what_the_instance_does_not_take_frees_it() {
    let (callboard, instance) = with_web("").await;
    let client = Http2::connect(&callboard).await;
    for round in 1..=2 {
        let begun = client.send(call("/web/deaf"), false).await.unwrap();
        let (reply, mut sending) = begun;
        let feeding = async {
            let _ = feed(&mut sending, vec![b'x'; 1 << 20].into()).await;
        };
        let _ = tokio::time::timeout(Duration::from_millis(300), feeding).await;
        in_flight(&callboard, 1).await;
        if round == 1 {
            sending.send_reset(Reason::CANCEL);
            drop(reply);
        } else {
            drop((reply, sending));
        }
        in_flight(&callboard, 0).await;
        resets(&instance, round).await;
    }
    // So does one whose connection is gone.
    let leaving = Http2::connect(&callboard).await;
    let (reply, mut sending) = leaving.send(call("/web/deaf"), false).await.unwrap();
    let feeding = async {
        let _ = feed(&mut sending, vec![b'x'; 1 << 20].into()).await;
    };
    let _ = tokio::time::timeout(Duration::from_millis(300), feeding).await;
    in_flight(&callboard, 1).await;
    drop((reply, sending, leaving));
    in_flight(&callboard, 0).await;
    assert_eq!(client.get("/web/echo").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_deadline_ends_what_the_instance_does_not_take() {
    let (callboard, instance) = with_web("").await;
    let client = Http2::connect(&callboard).await;
    let mut late = call("/web/deaf");
    late.headers_mut()
        .insert("grpc-timeout", "500m".parse().unwrap());
    let (reply, mut sending) = client.send(late, false).await.unwrap();
    let feeding = feed(&mut sending, vec![b'x'; 1 << 20].into());
    let (reply, _) = tokio::join!(whole(reply), feeding);
    assert_eq!(reply.unwrap().headers["grpc-status"], "4");
    in_flight(&callboard, 0).await;
    resets(&instance, 1).await;
    assert_eq!(client.get("/web/echo").await.unwrap().status, 200);
}

#[tokio::test]
async fn who_leaves_a_queue_makes_room_in_it_body_or_not() {
    let (callboard, instance) =
        with_web("limits: {in_flight: 1, queue: 1, queue_timeout: 60s}").await;
    let client = Http2::connect(&callboard).await;
    let (first, _) = client
        .send(request("GET", "/web/held"), true)
        .await
        .unwrap();
    eventually("the first is held", || async {
        (instance.waiting() == 1).then_some(())
    })
    .await;
    let (second, mut sending) = eventually("the second waits", || async {
        let sent = client.send(call("/web/echo"), false).await;
        let (mut second, sending) = sent.unwrap();
        let refused = tokio::time::timeout(Duration::from_millis(200), &mut second).await;
        refused.is_err().then_some((second, sending))
    })
    .await;
    eventually("the queue is full", || async {
        let reply = tokio::time::timeout(Duration::from_millis(200), client.get("/web/echo"));
        (reply.await.ok()?.unwrap().status == 503).then_some(())
    })
    .await;
    sending.send_reset(Reason::CANCEL);
    drop(second);
    let (third, _) = eventually("there is room", || async {
        let sent = client.send(request("GET", "/web/echo"), true).await;
        let (mut third, sending) = sent.unwrap();
        let refused = tokio::time::timeout(Duration::from_millis(200), &mut third).await;
        refused.is_err().then_some((third, sending))
    })
    .await;
    instance.release(1);
    assert_eq!(whole(first).await.unwrap().status, 200);
    assert_eq!(whole(third).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_time_of_a_request_is_up_whether_its_client_reads_or_not() {
    let (callboard, _instance) = with_web("timeouts: {total: 700ms}").await;
    let client = Http2::connect(&callboard).await;
    let (reply, _) = client
        .send(request("GET", "/web/flood"), true)
        .await
        .unwrap();
    let reply = reply.await.unwrap();
    in_flight(&callboard, 1).await;
    in_flight(&callboard, 0).await;
    drop(reply);
}

#[tokio::test]
async fn a_client_that_reads_slowly_is_not_taken_for_a_silent_instance() {
    let (callboard, instance) = with_web("timeouts: {between_bytes: 200ms}").await;
    let client = Http2::connect(&callboard).await;
    let (reply, _) = client
        .send(request("GET", "/web/flood"), true)
        .await
        .unwrap();
    let mut body = reply.await.unwrap().into_body();
    let before = eventually("the instance can send no more", || async {
        let before = instance.sent();
        tokio::time::sleep(Duration::from_millis(600)).await;
        (before > 0 && instance.sent() == before).then_some(before)
    })
    .await;
    let mut read = 0;
    while read < before + (1 << 20) {
        let piece = body.data().await.unwrap().unwrap();
        read += piece.len();
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
}

#[tokio::test]
async fn the_deadline_of_one_stream_is_nothing_to_its_neighbours() {
    let (callboard, instance) = with_web("").await;
    let client = Http2::connect(&callboard).await;
    let (neighbour, _) = client
        .send(request("GET", "/web/held"), true)
        .await
        .unwrap();
    eventually("the neighbour is held", || async {
        (instance.waiting() == 1).then_some(())
    })
    .await;
    // One after the other: calls that begin at the same moment may get connections of their own, as
    // Pingora's pool gives a connection to one of them at a time.
    for _ in 0..30 {
        let mut late = call("/web/stuck");
        let timeout = "100m".parse().unwrap();
        late.headers_mut().insert("grpc-timeout", timeout);
        let (reply, mut sending) = client.send(late, false).await.unwrap();
        sending.send_data(Bytes::new(), true).unwrap();
        let end = whole(reply).await.unwrap().headers;
        assert_eq!(end["grpc-status"], "4");
        let words = end["grpc-message"].to_str().unwrap();
        assert!(words.ends_with("grpc-timeout of 100ms ran out"), "{words}");
    }
    resets(&instance, 30).await;
    assert_eq!(instance.connections(), 1);
    instance.release(1);
    assert_eq!(whole(neighbour).await.unwrap().status, 200);
    in_flight(&callboard, 0).await;
    assert_eq!(client.get("/web/echo").await.unwrap().status, 200);
    assert_eq!(instance.connections(), 1);
}

#[tokio::test]
async fn who_expects_a_word_gets_it_however_many_instances_are_tried() {
    let (callboard, _instance) = with_web("").await;
    callboard
        .register("web", &Instance::dead("dead"), json!({}))
        .await;
    let client = Http2::connect(&callboard).await;
    for _ in 0..2 {
        let mut expecting = request("POST", "/web/echo");
        let headers = expecting.headers_mut();
        headers.insert("expect", "100-continue".parse().unwrap());
        headers.insert("content-length", "5".parse().unwrap());
        let (mut reply, mut sending) = client.send(expecting, false).await.unwrap();
        let word = std::future::poll_fn(|context| reply.poll_informational(context)).await;
        assert_eq!(word.unwrap().unwrap().status(), 100);
        feed(&mut sending, Bytes::from_static(b"hello"))
            .await
            .unwrap();
        let echo: Value = serde_json::from_slice(&whole(reply).await.unwrap().body).unwrap();
        assert_eq!(echo["length"], 5);
        assert!(echo["headers"]["expect"].is_null());
    }
}

#[tokio::test]
async fn the_word_that_trailers_are_taken_passes_and_so_do_trailers() {
    let (callboard, _instance) = with_web("").await;
    let client = Http2::connect(&callboard).await;
    let (reply, mut sending) = client.send(call("/web/trailers"), false).await.unwrap();
    sending
        .send_data(Bytes::from_static(b"hello"), false)
        .unwrap();
    sending.send_trailers(http::HeaderMap::new()).unwrap();
    let reply = whole(reply).await.unwrap();
    let echo: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(echo["headers"]["te"], "trailers");
    assert_eq!(echo["length"], 5);
    assert_eq!(reply.trailers.unwrap()["x-trailer"], "yes");
}
