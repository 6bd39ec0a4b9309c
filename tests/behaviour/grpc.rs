//! gRPC through callboard, between servers and clients of two makers.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::grpc::{Maker, Server, frame};
use crate::support::{Callboard, Setup, eventually, tally};

const PAIRS: [(Maker, Maker); 2] = [(Maker::Go, Maker::Python), (Maker::Python, Maker::Go)];

fn setup() -> Setup {
    Setup::default().registry("admission: trust")
}

fn unchecked() -> Value {
    json!({"check": "off"})
}

async fn registered(callboard: &Callboard, maker: Maker, test: &str) -> Option<Server> {
    let server = Server::start(maker, "only", test)?;
    server.register(callboard, unchecked()).await;
    Some(server)
}

fn assert_ok(outcome: &Value, messages: &[&str]) {
    assert_eq!(outcome["code"], 0, "{outcome}");
    assert_eq!(outcome["messages"], json!(messages), "{outcome}");
}

#[tokio::test]
async fn every_kind_of_call_passes_with_its_metadata_and_trailers() {
    for (client, maker) in PAIRS {
        let callboard = setup().start();
        let Some(_server) = registered(&callboard, maker, "every kind of call").await else {
            return;
        };
        let call = |arguments: &[&str]| client.call(&callboard, arguments);
        let unary = call(&["-ask", "me", "hello"]);
        assert_ok(&unary, &["hello"]);
        assert_eq!(unary["headers"]["x-served-by"], json!(["only"]));
        assert_eq!(unary["headers"]["x-heard"], json!(["me"]));
        assert_eq!(unary["headers"]["x-heard-bin"], json!(["me"]));
        assert!(unary["headers"]["x-request-id"].is_array(), "{unary}");
        assert_eq!(unary["trailers"]["x-parting"], json!(["bye"]));
        assert_eq!(unary["trailers"]["x-detail-bin"], json!(["\u{0}\u{1}~"]));
        assert_ok(&call(&["-method", "Count", "3"]), &["0", "1", "2"]);
        let collected = call(&["-method", "Collect", "a", "bb", "ccc"]);
        assert_ok(&collected, &["3 messages, 6 bytes"]);
        assert_ok(&call(&["-method", "Chat", "a", "b", "c"]), &["a", "b", "c"]);
        assert_ok(&call(&["@3000000"]), &["3000000 bytes"]);
        assert_ok(&call(&["-gzip", "@300000"]), &["300000 bytes"]);
    }
}

#[tokio::test]
async fn errors_pass_with_their_words_and_details() {
    for (client, maker) in PAIRS {
        let callboard = setup().start();
        let Some(mut server) = registered(&callboard, maker, "errors").await else {
            return;
        };
        let refused = client.call(
            &callboard,
            &["-method", "Fail", "5 no such thing: 100% gone"],
        );
        assert_eq!(refused["code"], 5, "{refused}");
        assert_eq!(refused["message"], "no such thing: 100% gone");
        assert_eq!(refused["trailers"]["x-parting"], json!(["bye"]));
        let late = client.call(&callboard, &["-method", "Late", "8"]);
        assert_eq!(
            (&late["code"], &late["messages"]),
            (&json!(8), &json!(["first"]))
        );
        assert_eq!(late["message"], "after all");
        // None of them is tried again.
        assert_eq!(server.count("calls"), 2);
    }
}

#[tokio::test]
async fn a_deadline_is_passed_on_as_what_is_left_of_it() {
    for (client, maker) in PAIRS {
        let callboard = setup().start();
        let Some(_server) = registered(&callboard, maker, "deadlines").await else {
            return;
        };
        let call = |arguments: &[&str]| {
            let outcome = client.call(&callboard, &[&["-method", "Deadline"], arguments].concat());
            assert_eq!(outcome["code"], 0, "{outcome}");
            outcome["messages"][0].as_str().unwrap().to_owned()
        };
        let left: u64 = call(&["-deadline", "60s", "x"]).parse().unwrap();
        assert!((1..=60_000).contains(&left), "{left}");
        assert_eq!(call(&["x"]), "none");
    }
}

/// A connection of HTTP/2 to the data plane.
async fn connect(callboard: &Callboard) -> SendRequest<Bytes> {
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

fn request(method: &str) -> http::request::Builder {
    Request::post(format!(
        "http://peer.callboard/callboard.test.Peer/{method}"
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
}

/// Sends a call with one message.
async fn send(
    client: SendRequest<Bytes>,
    request: http::request::Builder,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut client = client.ready().await.unwrap();
    let (answer, mut body) = client
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    body.send_data(frame(b"x").into(), true).unwrap();
    (answer, body)
}

/// What a call ended with: the fields of its trailers, be they in the head.
async fn ending(answer: ResponseFuture) -> HeaderMap {
    let (head, mut body): (_, RecvStream) = answer.await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["content-type"], "application/grpc");
    if head.headers.contains_key("grpc-status") {
        assert!(body.is_end_stream(), "{:?}", head.headers);
        return head.headers;
    }
    while let Some(part) = body.data().await {
        part.unwrap();
    }
    body.trailers().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up_and_the_server_hears_of_it() {
    // One sends its head at once, the other with the first message.
    for maker in [Maker::Python, Maker::Go] {
        let callboard = setup().start();
        let Some(mut server) = registered(&callboard, maker, "deadlines").await else {
            return;
        };
        let client = connect(&callboard).await;
        let hang = request("Hang").header("grpc-timeout", "700m");
        let (answer, _body) = send(client.clone(), hang).await;
        // The server knows of it as well, and may say so first.
        let end = ending(answer).await;
        assert_eq!(end["grpc-status"], "4", "{end:?}");
        server.until("cancelled", 1).await;
        // The connection to the instance serves on.
        let (answer, _body) = send(client, request("Echo")).await;
        assert_eq!(ending(answer).await["grpc-status"], "0");
    }
}

#[tokio::test]
async fn total_limits_calls_and_is_passed_on() {
    let callboard = setup().top("defaults: {timeouts: {total: 30s}}").start();
    let Some(_server) = registered(&callboard, Maker::Go, "total").await else {
        return;
    };
    for arguments in [&["x"][..], &["-deadline", "10m", "x"]] {
        let arguments = [&["-method", "Deadline"], arguments].concat();
        let outcome = Maker::Go.call(&callboard, &arguments);
        let left: u64 = outcome["messages"][0].as_str().unwrap().parse().unwrap();
        assert!((1..=30_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn a_server_hears_when_its_call_is_given_up() {
    for maker in [Maker::Python, Maker::Go] {
        let callboard = setup().start();
        let Some(mut server) = registered(&callboard, maker, "cancellation").await else {
            return;
        };
        let client = connect(&callboard).await;
        let (answer, mut body) = send(client, request("Hang")).await;
        server.until("calls", 1).await;
        body.send_reset(h2::Reason::CANCEL);
        drop(answer);
        server.until("cancelled", 1).await;
    }
}

#[tokio::test]
async fn calls_may_be_silent_for_longer_than_requests() {
    for (client, maker) in PAIRS {
        let callboard = setup()
            .top("defaults: {timeouts: {request: 300ms, between_bytes: 300ms}}")
            .start();
        let Some(_server) = registered(&callboard, maker, "silence").await else {
            return;
        };
        let slowly = |method, messages: [&str; 2]| {
            let arguments = [&["-pause", "1s", "-method", method][..], &messages].concat();
            client.call(&callboard, &arguments)
        };
        assert_ok(&slowly("Chat", ["a", "b"]), &["a", "b"]);
        assert_ok(&slowly("Collect", ["a", "b"]), &["2 messages, 2 bytes"]);
    }
}

/// Two servers, of which the first refuses calls with `code`.
async fn two(callboard: &Callboard, code: u32, test: &str) -> Option<[Server; 2]> {
    let mut bad = Server::start(Maker::Go, "bad", test)?;
    let good = Server::start(Maker::Go, "good", test)?;
    bad.tell(&format!("refuse {code}"));
    bad.register(callboard, unchecked()).await;
    good.register(callboard, unchecked()).await;
    Some([bad, good])
}

#[tokio::test]
async fn what_is_unavailable_is_tried_elsewhere() {
    let callboard = setup()
        .top("defaults: {balance: round_robin, outlier: off, retry: {budget: off}}")
        .start();
    let Some([mut bad, mut good]) = two(&callboard, 14, "retries").await else {
        return;
    };
    for client in [Maker::Go, Maker::Python] {
        let arguments = ["-authority", "peer.callboard", "-times", "6", "x"];
        for outcome in client.calls(&callboard, &arguments) {
            assert_ok(&outcome, &["x"]);
        }
    }
    assert_eq!(good.count("calls"), 12);
    assert!(bad.count("calls") >= 4);
    // When nobody does better, the instance's own words are passed on; unless they come before the
    // kept body was sent again, and the stream breaks under it.
    good.tell("refuse 14");
    eventually("the words are passed on", || async {
        let outcome = Maker::Go.call(&callboard, &["x"]);
        assert_eq!(outcome["code"], 14, "{outcome}");
        let words = outcome["message"].as_str().unwrap();
        words.ends_with(" refuses").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_another_instance_does_no_better_is_not_tried_there() {
    let callboard = setup()
        .top("defaults: {balance: round_robin, outlier: off, retry: {budget: off}}")
        .start();
    let Some([mut bad, _good]) = two(&callboard, 13, "retries").await else {
        return;
    };
    let arguments = ["-authority", "peer.callboard", "-times", "6", "x"];
    let codes = Maker::Go.calls(&callboard, &arguments);
    let codes = tally(
        codes
            .iter()
            .map(|outcome| outcome["code"].as_u64().unwrap()),
    );
    assert_eq!(codes, [(0, 3), (13, 3)]);
    assert_eq!(bad.count("calls"), 3);
}

#[tokio::test]
async fn faults_eject_and_refusals_do_not() {
    for (method, code, availability) in [
        ("Fail", "13 broken", "ejected"),
        ("Late", "15", "ejected"),
        ("Fail", "5 not found", "ready"),
        ("Late", "3", "ready"),
    ] {
        let callboard = setup()
            .top(
                "defaults: {balance: round_robin, outlier: {consecutive_failures: 1000, \
                 min_requests: 4, failure_ratio: 30%}}",
            )
            .start();
        let Some([bad, good]) = two(&callboard, 0, "ejection").await else {
            return;
        };
        let arguments = [
            "-authority",
            "peer.callboard",
            "-times",
            "12",
            "-method",
            method,
            code,
        ];
        Maker::Python.calls(&callboard, &arguments);
        if availability == "ejected" {
            eventually("one of them is ejected", || async {
                let views = [bad.view(&callboard).await, good.view(&callboard).await];
                views
                    .iter()
                    .any(|view| view["availability"] == "ejected")
                    .then_some(())
            })
            .await;
        } else {
            for server in [&bad, &good] {
                assert_eq!(server.view(&callboard).await["availability"], "ready");
            }
        }
    }
}

#[tokio::test]
async fn callboards_own_failures_are_statuses_of_grpc() {
    let callboard = setup().top("services: {peer: {max_body: 1KiB}}").start();
    let test = "callboard's failures";
    let Some(server) = registered(&callboard, Maker::Go, test).await else {
        return;
    };
    for client in [Maker::Go, Maker::Python] {
        let unknown = client.calls(&callboard, &["-authority", "nobody.callboard", "x"]);
        assert_eq!(unknown[0]["code"], 12, "{unknown:?}");
        assert_eq!(
            unknown[0]["message"],
            "nobody has registered for service nobody"
        );
        let long = client.call(&callboard, &["@2000"]);
        assert_eq!(long["code"], 8, "{long}");
        assert_ok(&client.call(&callboard, &["x"]), &["x"]);
    }
    let port = server.port;
    drop(server);
    for client in [Maker::Go, Maker::Python] {
        let gone = client.call(&callboard, &["x"]);
        assert_eq!(gone["code"], 14, "{gone}");
        let words = format!("connect to 127.0.0.1:{port}: connection refused");
        assert_eq!(gone["message"], words.as_str());
    }
    let (answer, _body) = send(connect(&callboard).await, request("Echo")).await;
    let head = ending(answer).await;
    let status = head["proxy-status"].to_str().unwrap();
    assert!(
        status.starts_with("callboard; error=connection_refused;"),
        "{status}"
    );
    assert!(head.contains_key("x-request-id"));
}

#[tokio::test]
async fn a_stream_whose_instance_dies_ends_with_unavailable() {
    let callboard = setup().start();
    let Some(mut server) = registered(&callboard, Maker::Python, "broken streams").await else {
        return;
    };
    let (answer, _body) = send(connect(&callboard).await, request("Hang")).await;
    let answer = answer.await.unwrap();
    assert!(!answer.headers().contains_key("grpc-status"));
    server.until("calls", 1).await;
    drop(server);
    let mut body = answer.into_body();
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14", "{trailers:?}");
}

#[tokio::test]
async fn the_calls_of_one_connection_are_spread() {
    let callboard = setup().top("defaults: {balance: round_robin}").start();
    let test = "balancing";
    let Some(servers) = ["a", "b", "c"]
        .map(|id| Server::start(Maker::Go, id, test))
        .into_iter()
        .collect::<Option<Vec<_>>>()
    else {
        return;
    };
    for server in &servers {
        server.register(&callboard, unchecked()).await;
    }
    let arguments = ["-authority", "peer.callboard", "-times", "9", "x"];
    let outcomes = Maker::Go.calls(&callboard, &arguments);
    let served = outcomes
        .iter()
        .map(|outcome| outcome["headers"]["x-served-by"][0].as_str().unwrap());
    assert_eq!(tally(served), [("a", 3), ("b", 3), ("c", 3)]);
}

#[tokio::test]
async fn calls_pass_over_tls_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["peer.callboard".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    for (client, maker) in PAIRS {
        let files = format!("cert: {}, key: {}", cert.display(), key.display());
        let callboard = Callboard::start(&format!(
            "proxy:\n  listen: [{{address: \"127.0.0.1:0\", tls: {{{files}}}}}]\n\
             registry: {{listen: \"127.0.0.1:0\", admission: trust}}\n\
             defaults: {{tls: {{ca: {}}}}}\n",
            cert.display()
        ));
        let Some(server) = Server::secured(maker, "only", &cert, &key, "TLS") else {
            return;
        };
        let scheme = json!({"scheme": "h2", "check": "off"});
        server.register(&callboard, scheme).await;
        let call = |arguments: &[&str]| {
            let secured = ["-ca", cert.to_str().unwrap()];
            client.call(&callboard, &[&secured, arguments].concat())
        };
        assert_ok(&call(&["hello"]), &["hello"]);
        assert_ok(&call(&["-method", "Chat", "a", "b"]), &["a", "b"]);
        assert_eq!(call(&["-method", "Fail", "9 not yet"])["code"], 9);
    }
}
