//! Instances that speak HTTP/2: many requests on one connection, and what becomes of the others when
//! one of them goes wrong.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http2_instance::Http2Instance;
use crate::support::scripted::{Scripted, Step};
use crate::support::{Callboard, Instance, Setup, eventually};

fn callboard(settings: &str) -> Callboard {
    let line = format!("defaults: {{balance: round_robin, check: off, outlier: off, {settings}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&line)
        .start()
}

async fn json(reply: reqwest::Response) -> Value {
    assert_eq!(reply.status(), 200, "{reply:?}");
    reply.json().await.unwrap()
}

fn proxy_status(reply: &reqwest::Response) -> &str {
    reply.headers()["proxy-status"].to_str().unwrap()
}

#[tokio::test]
async fn a_request_of_http_1_reaches_an_instance_of_http_2_with_what_it_says() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let request = callboard.client.post(callboard.url("/web/echo?x=1"));
    let request = request
        .header("Cookie", "a=1; b=2")
        .header("TE", "trailers")
        .header("Connection", "X-Private")
        .header("X-Private", "1");
    let echo = json(request.body("12345").send().await.unwrap()).await;
    assert_eq!(echo["version"], "HTTP/2.0");
    let authority = callboard.proxy.strip_prefix("http://").unwrap();
    assert_eq!(echo["uri"], format!("http://{authority}/echo?x=1"));
    assert_eq!(echo["length"], 5);
    let headers = &echo["headers"];
    assert_eq!(headers["cookie"], "a=1; b=2");
    assert_eq!(headers["content-length"], "5");
    assert!(headers["x-request-id"].is_string());
    for gone in [
        "host",
        "connection",
        "x-private",
        "transfer-encoding",
        "upgrade",
    ] {
        assert_eq!(headers[gone], Value::Null, "{gone}");
    }
}

#[tokio::test]
async fn answers_without_a_body_and_those_with_trailers_end_where_they_should() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let head = callboard.client.head(callboard.url("/web/echo"));
    assert_eq!(head.send().await.unwrap().status(), 200);
    assert_eq!(callboard.get("/web/nothing").await.status(), 204);
    assert_eq!(json(callboard.get("/web/trailers").await).await["id"], "a");
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_sends_its_body() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let head = "POST /web/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let told = async {
        let mut told = vec![0; 25];
        client.read_exact(&mut told).await.unwrap();
        assert_eq!(told, b"HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"ok").await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        assert!(reply.contains("\"length\":2"), "{reply}");
    };
    tokio::time::timeout(Duration::from_secs(20), told)
        .await
        .unwrap();
}

#[tokio::test]
async fn many_requests_share_few_connections_and_posts_do_too() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    callboard.get("/web/echo").await;
    let held = (0..80).map(|_| {
        let post = callboard.client.post(callboard.url("/web/held")).body("x");
        tokio::spawn(post.send())
    });
    let held: Vec<_> = held.collect();
    eventually("all of them are held at once", || async {
        (instance.waiting() == 80).then_some(())
    })
    .await;
    instance.release(80);
    for reply in join_all(held).await {
        assert_eq!(reply.unwrap().unwrap().status(), 200);
    }
    // Of those that come in the same moment, some find the connection in another's hands.
    assert!(instance.connections() <= 40, "{}", instance.connections());
    let before = instance.connections();
    for _ in 0..20 {
        let post = callboard.client.post(callboard.url("/web/echo"));
        assert_eq!(post.body("x").send().await.unwrap().status(), 200);
    }
    assert_eq!(instance.connections(), before);
}

#[tokio::test]
async fn one_that_hangs_is_given_up_and_its_neighbour_goes_on() {
    for (settings, said) in [
        ("first_byte: 300ms", "first_byte of 300ms ran out"),
        ("request: 300ms", "request of 300ms ran out"),
        ("total: 300ms", "total of 300ms ran out"),
    ] {
        let callboard = callboard("retry: off");
        let instance = Http2Instance::clear("a").await;
        callboard.register_http2("web", &instance, "h2c").await;
        callboard.get("/web/echo").await;
        let neighbour = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
        eventually("the neighbour waits", || async {
            (instance.waiting() == 1).then_some(())
        })
        .await;
        callboard.rewrite(
            &Setup::default().registry("admission: trust").top(&format!(
                "defaults: {{balance: round_robin, check: off, outlier: off, retry: off, timeouts: {{{settings}}}}}"
            )),
        );
        callboard.reload("configuration reloaded").await;
        let reply = callboard.get("/web/stuck").await;
        assert_eq!(reply.status(), 504, "{settings}: {reply:?}");
        assert!(proxy_status(&reply).contains(said), "{settings}: {reply:?}");
        eventually("its stream alone is reset", || async {
            (instance.resets() == 1).then_some(())
        })
        .await;
        assert_eq!(instance.waiting(), 1);
        instance.release(1);
        assert_eq!(neighbour.await.unwrap().unwrap().status(), 200);
        assert_eq!(instance.connections(), 1, "{settings}");
    }
}

#[tokio::test]
async fn an_answer_that_stops_is_cut_and_its_neighbour_goes_on() {
    let callboard = callboard("timeouts: {between_bytes: 300ms}");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    callboard.get("/web/echo").await;
    let neighbour = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
    eventually("the neighbour waits", || async {
        (instance.waiting() == 1).then_some(())
    })
    .await;
    let cut = callboard.get("/web/half").await;
    assert_eq!(cut.status(), 200);
    assert!(cut.bytes().await.is_err());
    eventually("its stream is reset", || async {
        (instance.resets() == 1).then_some(())
    })
    .await;
    instance.release(1);
    assert_eq!(neighbour.await.unwrap().unwrap().status(), 200);
    assert_eq!(instance.connections(), 1);
}

#[tokio::test]
async fn one_that_hangs_is_tried_again_elsewhere() {
    let callboard = callboard("timeouts: {first_byte: 300ms}, retry: {on: [timeout]}");
    let stuck = Http2Instance::clear("stuck").await;
    callboard.register_http2("web", &stuck, "h2c").await;
    let put = callboard.client.put(callboard.url("/web/held")).body("x");
    let held = tokio::spawn(put.send());
    eventually("it is asked", || async {
        (stuck.hits() == 1).then_some(())
    })
    .await;
    let other = Http2Instance::clear("other").await;
    other.release(1);
    callboard.register_http2("web", &other, "h2c").await;
    let reply = held.await.unwrap().unwrap();
    assert_eq!(json(reply).await["id"], "other");
}

#[tokio::test]
async fn an_upload_that_nobody_takes_ends_in_time_and_requests_after_it_are_served() {
    let callboard = callboard("retry: off, timeouts: {request: 500ms, between_bytes: 500ms}");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    callboard.get("/web/echo").await;
    let upload = callboard.client.post(callboard.url("/web/deaf"));
    let reply = upload.body(vec![b'x'; 4 << 20]).send().await;
    // The client may still have been sending when it was answered.
    if let Ok(reply) = reply {
        assert_eq!(reply.status(), 504, "{reply:?}");
    }
    eventually("its stream is reset", || async {
        (instance.resets() == 1).then_some(())
    })
    .await;
    assert_eq!(callboard.get("/web/echo").await.status(), 200);
}

#[tokio::test]
async fn a_slow_client_is_not_taken_for_a_silent_instance() {
    let callboard = callboard("timeouts: {between_bytes: 200ms}");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let mut reply = callboard.get("/web/flood").await;
    let before = eventually("the instance can send no more", || async {
        let before = instance.sent();
        tokio::time::sleep(Duration::from_millis(600)).await;
        (before > 0 && instance.sent() == before).then_some(before)
    })
    .await;
    let mut read = 0;
    while read < before + (1 << 20) {
        read += reply.chunk().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn what_is_refused_unseen_is_sent_again_whatever_its_method() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let post = callboard.client.post(callboard.url("/web/refused"));
    let echo = json(post.body("12345").send().await.unwrap()).await;
    assert_eq!(echo["length"], 5);
    assert_eq!(instance.hits(), 1);
}

/// Closes the first connection as an instance that leaves does, naming no request as seen, and passes
/// the others on to `port`.
async fn leaving_once(port: u16) -> u16 {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        first.write_all(SETTINGS).await.unwrap();
        let mut came = vec![0; 4096];
        let mut length = 0;
        // A frame of headers (type 1) has come; the preface is 24 bytes long.
        while !has_headers(came.get(24..length).unwrap_or_default()) {
            length += first.read(&mut came[length..]).await.unwrap();
        }
        first.write_all(GOAWAY).await.unwrap();
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
        drop(first);
    });
    own
}

fn has_headers(mut frames: &[u8]) -> bool {
    while let [a, b, c, kind, ..] = frames {
        if *kind == 1 {
            return true;
        }
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        frames = frames.get(9 + length..).unwrap_or_default();
    }
    false
}

#[tokio::test]
async fn a_request_that_crosses_a_goodbye_is_sent_again_and_nobody_is_blamed() {
    let callboard = callboard("retry: off");
    let mut instance = Http2Instance::clear("a").await;
    instance.port = leaving_once(instance.port).await;
    callboard.register_http2("web", &instance, "h2c").await;
    let post = callboard.client.post(callboard.url("/web/echo"));
    let echo = json(post.body("12345").send().await.unwrap()).await;
    assert_eq!(echo["length"], 5);
}

#[tokio::test]
async fn a_connection_that_leaves_finishes_what_it_carries() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let held = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
    eventually("it is held", || async {
        (instance.waiting() == 1).then_some(())
    })
    .await;
    instance.leave();
    for _ in 0..5 {
        assert_eq!(callboard.get("/web/echo").await.status(), 200);
    }
    instance.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_instance_that_drains_finishes_what_it_has() {
    let callboard = callboard("");
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let held = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
    eventually("it is held", || async {
        (instance.waiting() == 1).then_some(())
    })
    .await;
    let drain = callboard.api("/services/web/instances/a/drain");
    let drained = callboard.client.put(drain).send().await.unwrap();
    assert!(drained.status().is_success());
    assert_eq!(callboard.get("/web/echo").await.status(), 503);
    instance.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_killed_instance_costs_no_get_when_there_is_another() {
    let callboard = callboard("");
    let (first, second) = (
        Http2Instance::clear("first").await,
        Http2Instance::clear("second").await,
    );
    for instance in [&first, &second] {
        callboard.register_http2("web", instance, "h2c").await;
    }
    for _ in 0..4 {
        assert_eq!(callboard.get("/web/echo").await.status(), 200);
    }
    first.kill();
    for _ in 0..10 {
        assert_eq!(callboard.get("/web/echo").await.status(), 200);
    }
}

#[tokio::test]
async fn one_that_speaks_otherwise_than_it_says_is_told_so() {
    let callboard = callboard("");
    let plain = Instance::start("plain");
    let old = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let older = Scripted::always("older", [Step::Say(old)]).await;
    let url = callboard.instance_url("web", &plain);
    for (scheme, port, said) in [
        ("h2c", older.port, "its answer is not valid HTTP/2"),
        ("tcp", plain.port, "registered with scheme tcp"),
        ("https", plain.port, "it does not speak TLS"),
    ] {
        let body = serde_json::json!({"address": "127.0.0.1", "port": port, "scheme": scheme});
        let put = callboard.client.put(&url).json(&body).send().await.unwrap();
        assert!(put.status().is_success());
        let reply = callboard.get("/web/").await;
        assert_eq!(reply.status(), 502, "{scheme}");
        assert!(proxy_status(&reply).contains(said), "{reply:?}");
    }
}

#[tokio::test]
async fn probes_speak_http_2_too() {
    let check = "defaults: {check: {http: {path: /echo}, interval: 200ms, timeout: 200ms}}";
    let callboard = Setup::default().top(check).start();
    let instance = Http2Instance::clear("a").await;
    callboard.register_http2("web", &instance, "h2c").await;
    let echo = json(callboard.get("/web/echo").await).await;
    assert_eq!(echo["id"], "a");
    eventually("it was probed some times", || async {
        (instance.hits() >= 4).then_some(())
    })
    .await;
    // One for probes, and one for requests.
    assert_eq!(instance.connections(), 2);
}

#[tokio::test]
async fn requests_are_hedged_and_mirrored_over_http_2_too() {
    let routes = "routes: [{match: {path: /}, service: web, mirror: {service: copies}}]";
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {balance: round_robin, check: off, outlier: off}")
        .top("services: {web: {retry: {hedge: {after: 100ms}, budget: 100%}}}")
        .top(routes)
        .start();
    let (slow, fast, copies) = (
        Http2Instance::clear("slow").await,
        Http2Instance::clear("fast").await,
        Http2Instance::clear("copies").await,
    );
    callboard.register_http2("web", &slow, "h2c").await;
    callboard.register_http2("copies", &copies, "h2c").await;
    assert_eq!(json(callboard.get("/echo").await).await["id"], "slow");
    let held = tokio::spawn(callboard.client.get(callboard.url("/held")).send());
    eventually("it is held", || async {
        (slow.waiting() >= 1).then_some(())
    })
    .await;
    callboard.register_http2("web", &fast, "h2c").await;
    fast.release(10);
    for _ in 0..4 {
        let answered = json(callboard.get("/held").await).await;
        assert_eq!(answered["id"], "fast");
    }
    eventually("the copies come", || async {
        (copies.hits() >= 5).then_some(())
    })
    .await;
    slow.release(10);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert!(slow.connections() <= 2);
}
