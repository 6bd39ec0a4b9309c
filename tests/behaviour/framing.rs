//! Where messages begin and end, between clients and instances of any age and manners.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Callboard, Instance, eventually};

/// An instance of the service `raw` that gives the same bytes in answer to every request and then
/// closes.
async fn answering(callboard: &Callboard, answer: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let registered = callboard
        .client
        .put(callboard.api("/services/raw/instances/raw-1"))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
}

async fn connect(callboard: &Callboard) -> TcpStream {
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Sends bytes and gives what comes back until it ends in `end`, or in full if that is empty.
async fn exchange(stream: &mut TcpStream, request: &str, end: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        loop {
            let length = stream.read(&mut part).await.unwrap_or(0);
            reply.extend_from_slice(&part[..length]);
            let ended = !end.is_empty() && reply.ends_with(end.as_bytes());
            if length == 0 || ended {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
    let reply = String::from_utf8_lossy(&reply).into_owned();
    assert!(in_time.is_ok(), "{request:?}: {reply:?}");
    reply
}

#[tokio::test]
async fn an_http_1_0_client_gets_neither_chunks_nor_interim_answers() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    answering(&callboard, answer).await;
    let mut stream = connect(&callboard).await;
    let request = "GET /raw/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let reply = exchange(&mut stream, request, "").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(!reply.contains("chunked"), "{reply}");
    // The end of the connection is all that ends the body.
    assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
    assert!(reply.ends_with("\r\n\r\nhello"), "{reply}");

    let mut stream = connect(&callboard).await;
    let request = "GET /raw/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let reply = exchange(&mut stream, request, "\r\n0\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 103 "), "{reply}");
    assert!(reply.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{reply}");
}

#[tokio::test]
async fn a_repeated_length_is_passed_on_once() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello";
    answering(&callboard, answer).await;
    let mut stream = connect(&callboard).await;
    let request = "GET /raw/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let reply = exchange(&mut stream, request, "hello").await;
    assert_eq!(reply.matches("Content-Length: 5").count(), 1, "{reply}");

    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    for length in ["5, 5", "5\r\nContent-Length: 5"] {
        let mut stream = connect(&callboard).await;
        let request =
            format!("POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello");
        let reply = exchange(&mut stream, &request, "}").await;
        assert!(reply.contains(r#""content-length":"5""#), "{reply}");
    }
}

#[tokio::test]
async fn every_instance_is_told_a_host_and_http_1_1_must_name_a_proper_one() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let host_of = async |request: &str| {
        let mut stream = connect(&callboard).await;
        let reply = exchange(&mut stream, request, "").await;
        let body = reply.split("\r\n\r\n").nth(1).unwrap().to_owned();
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["headers"]["host"].clone()
    };
    let own = format!("127.0.0.1:{}", web.port);
    assert_eq!(host_of("GET /web/ HTTP/1.0\r\n\r\n").await, own);
    for header in ["", "Host: a b\r\n", "Host: a/b\r\n"] {
        let mut stream = connect(&callboard).await;
        let request = format!("GET /web/ HTTP/1.1\r\n{header}\r\n");
        let reply = exchange(&mut stream, &request, "}").await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{header:?}: {reply}");
    }
    assert_eq!(web.hits(), 1);
}

#[tokio::test]
async fn a_body_in_a_coding_nobody_here_can_undo_is_refused() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let mut stream = connect(&callboard).await;
    let request = "POST /web/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    let reply = exchange(&mut stream, request, "}").await;
    assert!(reply.starts_with("HTTP/1.1 501 "), "{reply}");
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn a_request_sent_before_the_answer_to_the_last_one_costs_neither() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let mut stream = connect(&callboard).await;
    let request = "GET /web/held HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("the first is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    let next = "GET /web/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(next.as_bytes()).await.unwrap();
    // A request of its own shows that callboard has had time to see what was sent before it.
    callboard.answerer("/web/").await;
    web.release(1);
    let replies = exchange(&mut stream, "", "").await;
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 2, "{replies}");
    let held = replies.find(r#""target":"/held""#);
    assert!(
        held.is_some() && held < replies.find(r#""target":"/next""#),
        "{replies}"
    );
}

#[tokio::test]
async fn a_target_in_absolute_form_reaches_the_instance_in_origin_form() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let mut stream = connect(&callboard).await;
    let request = "GET http://web.callboard/a?b HTTP/1.1\r\nHost: web.callboard\r\n\r\n";
    let reply = exchange(&mut stream, request, "}").await;
    assert!(reply.contains(r#""target":"/a?b""#), "{reply}");
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_refused() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    answering(&callboard, answer).await;
    let reply = callboard.get("/raw/").await;
    assert_eq!(reply.status(), 502);
    let status = reply.headers()["proxy-status"].to_str().unwrap();
    assert!(status.contains("http_protocol_error"), "{status}");
}

#[tokio::test]
async fn an_answer_without_content_has_no_length() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
    answering(&callboard, answer).await;
    let reply = callboard.get("/raw/").await;
    assert_eq!(reply.status(), 204);
    assert!(!reply.headers().contains_key("content-length"));
}
