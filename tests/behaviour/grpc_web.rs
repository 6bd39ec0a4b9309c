//! gRPC-Web, as a browser sends it over HTTP/1.1, to servers that know nothing of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Response;
use serde_json::json;

use crate::support::grpc::{Maker, Server, frame};
use crate::support::{Callboard, Setup, eventually};

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

async fn started(maker: Maker, test: &str) -> Option<(Callboard, Server)> {
    let callboard = Setup::default().registry("admission: trust").start();
    let server = Server::start(maker, "only", test)?;
    server.register(&callboard, json!({"check": "off"})).await;
    Some((callboard, server))
}

async fn post(callboard: &Callboard, method: &str, kind: &str, body: reqwest::Body) -> Response {
    callboard
        .client
        .post(callboard.url(&format!("/callboard.test.Peer/{method}")))
        .header("host", "peer.callboard")
        .header("content-type", kind)
        .header("x-grpc-web", "1")
        .header("origin", "https://shop.example.com")
        .body(body)
        .send()
        .await
        .unwrap()
}

/// The messages of a body, and the lines of its last frame.
fn read(mut body: &[u8]) -> (Vec<String>, String) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let text = String::from_utf8(rest[..length].to_vec()).unwrap();
        body = &rest[length..];
        if head[0] == 0x80 {
            assert!(body.is_empty(), "something follows the trailers");
            return (messages, text);
        }
        messages.push(text);
    }
    panic!("no trailers after {messages:?}");
}

/// Base64 in padded segments.
fn decode(text: &[u8]) -> Vec<u8> {
    let groups = text.chunks(4);
    groups
        .flat_map(|group| STANDARD.decode(group).unwrap())
        .collect()
}

#[tokio::test]
async fn a_browser_calls_a_server_that_knows_nothing_of_it() {
    for maker in [Maker::Go, Maker::Python] {
        let Some((callboard, _server)) = started(maker, "gRPC-Web").await else {
            return;
        };
        let answer = post(&callboard, "Count", BINARY, frame(b"3").into()).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/grpc-web")
        );
        assert_eq!(answer.headers()["x-served-by"], "only");
        let (messages, trailers) = read(&answer.bytes().await.unwrap());
        assert_eq!(messages, ["0", "1", "2"]);
        assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
        assert!(trailers.contains("x-parting: bye\r\n"), "{trailers}");
    }
}

#[tokio::test]
async fn base64_passes_however_it_is_cut() {
    let Some((callboard, _server)) = started(Maker::Go, "gRPC-Web in base64").await else {
        return;
    };
    let text = STANDARD.encode(frame(&[b'y'; 1_000]));
    for size in [1_usize, 3, 4, 7, 500, 5_000] {
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(size)
            .map(Bytes::copy_from_slice)
            .collect();
        let pieces = futures_util::stream::iter(pieces.into_iter().map(std::io::Result::Ok));
        let body = reqwest::Body::wrap_stream(pieces);
        let answer = post(&callboard, "Echo", TEXT, body).await;
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("application/grpc-web-text")
        );
        let (messages, trailers) = read(&decode(&answer.bytes().await.unwrap()));
        assert_eq!(messages, ["y".repeat(1_000)]);
        assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    }
}

#[tokio::test]
async fn failures_of_the_server_and_of_callboard_reach_the_browser() {
    let Some((callboard, mut server)) = started(Maker::Go, "gRPC-Web's failures").await else {
        return;
    };
    // Trailers alone are in the head, as browsers know them too.
    server.tell("refuse 5");
    let answer = post(&callboard, "Echo", BINARY, frame(b"x").into()).await;
    assert_eq!(answer.headers()["grpc-status"], "5");
    server.tell("refuse 0");
    let answer = post(&callboard, "Late", BINARY, frame(b"8").into()).await;
    let (messages, trailers) = read(&answer.bytes().await.unwrap());
    assert_eq!(messages, ["first"]);
    assert!(trailers.contains("grpc-status: 8\r\n"), "{trailers}");

    let answer = post(&callboard, "Echo", TEXT, "this is no base64".into()).await;
    let (_, trailers) = read(&decode(&answer.bytes().await.unwrap()));
    assert!(trailers.contains("grpc-status: 13\r\n"), "{trailers}");
    assert!(
        trailers.contains("grpc-message: the body is not base64"),
        "{trailers}"
    );

    drop(server);
    for (kind, is_text) in [(BINARY, false), (TEXT, true)] {
        // The first ones may still find the connection that the server had.
        eventually("nobody takes a connection", || async {
            let answer = post(&callboard, "Echo", kind, "".into()).await;
            assert_eq!(answer.status(), 200);
            assert!(answer.headers().contains_key("proxy-status"));
            let body = answer.bytes().await.unwrap();
            let (_, trailers) = read(&if is_text {
                decode(&body)
            } else {
                body.to_vec()
            });
            assert!(trailers.contains("grpc-status: 14\r\n"), "{trailers}");
            trailers.contains("connection refused\r\n").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_stream_whose_instance_dies_ends_with_trailers() {
    let Some((callboard, mut server)) = started(Maker::Python, "broken streams").await else {
        return;
    };
    let answer = post(&callboard, "Hang", BINARY, frame(b"x").into()).await;
    assert_eq!(answer.status(), 200);
    server.until("calls", 1).await;
    drop(server);
    let (messages, trailers) = read(&answer.bytes().await.unwrap());
    assert!(messages.is_empty());
    assert!(trailers.contains("grpc-status: 14\r\n"), "{trailers}");
}

#[tokio::test]
async fn a_preflight_is_the_instances_to_answer() {
    let callboard = Callboard::trusting();
    let instance = crate::support::Instance::start("web");
    callboard.register("peer", &instance, json!({})).await;
    let preflight = callboard
        .client
        .request(reqwest::Method::OPTIONS, callboard.url("/a.B/C"))
        .header("host", "peer.callboard")
        .header("access-control-request-headers", "x-grpc-web");
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.headers()["x-upstream"], "yes");
    // Who speaks HTTP/1.1 and is called in gRPC-Web knows what it is.
    let answer = post(&callboard, "Echo", BINARY, frame(b"x").into()).await;
    let echo: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(echo["headers"]["content-type"], BINARY);
    assert_eq!(echo["body"], "\u{0}\u{0}\u{0}\u{0}\u{1}x");
}
