//! Corners of HTTP/1.1 that clients and instances do use.

use tokio::io::AsyncWriteExt;

use crate::support::Callboard;
use crate::support::scripted::{Scripted, Step};
use crate::support::upgraded::hears;
use crate::support::wire::{assert_refusal, connect, read_all, read_head, read_one, say};

/// What callboard answers to a request for a service nobody has: the connection is still in order.
const PLAIN: &str = "GET /nobody/ HTTP/1.1\r\nHost: a\r\n\r\n";

async fn with_web(steps: impl Into<Vec<Step>>) -> (Callboard, Scripted) {
    let callboard = Callboard::trusting();
    let web = Scripted::always("web-1", steps).await;
    callboard.register_scripted("web", &web).await;
    (callboard, web)
}

/// The head of the answer to `request`, on a connection on which then `body` and nothing else comes
/// before the next answer.
async fn head_before(callboard: &Callboard, request: &str, body: &str) -> String {
    let mut client = connect(callboard).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    hears(&mut client, body.as_bytes()).await;
    client.write_all(PLAIN.as_bytes()).await.unwrap();
    let next = read_one(&mut client).await.unwrap();
    assert!(next.starts_with("HTTP/1.1 404 "), "{request}: {next}");
    head.to_ascii_lowercase()
}

#[tokio::test]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"a\"\r\n\r\n";
    let (callboard, web) = with_web([Step::Say(answer)]).await;
    let request = "HEAD /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = head_before(&callboard, request, "").await;
    assert!(head.contains("\r\ncontent-length: 12345\r\n"), "{head}");
    assert!(head.contains("\r\netag: \"a\"\r\n"), "{head}");
    assert!(web.heads()[0].starts_with("head / http/1.1\r\n"));
}

#[tokio::test]
async fn an_answer_to_head_in_chunks_has_none() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (callboard, _web) = with_web([Step::Say(answer)]).await;
    let request = "HEAD /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = head_before(&callboard, request, "").await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

#[tokio::test]
async fn a_range_is_asked_for_and_answered_in_part() {
    let answer = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\n\
                  Content-Length: 3\r\n\r\ncde";
    let (callboard, web) = with_web([Step::Say(answer)]).await;
    let request = "GET /web/ HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\nIf-Range: \"a\"\r\n\r\n";
    let head = head_before(&callboard, request, "cde").await;
    assert!(head.starts_with("http/1.1 206 "), "{head}");
    assert!(
        head.contains("\r\ncontent-range: bytes 2-4/9\r\n"),
        "{head}"
    );
    for part in ["\r\nrange: bytes=2-4\r\n", "\r\nif-range: \"a\"\r\n"] {
        assert!(web.heads()[0].contains(part), "{:?}", web.heads());
    }
}

#[tokio::test]
async fn answers_without_content_end_with_their_head_whatever_length_they_tell() {
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "304"),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
            "304",
        ),
        (
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
            "205",
        ),
    ] {
        let (callboard, _web) = with_web([Step::Say(answer)]).await;
        let request = "GET /web/ HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a\"\r\n\r\n";
        let head = head_before(&callboard, request, "").await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_keeps_its_connection_only_if_it_asks_to() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (callboard, web) = with_web([Step::Say(answer)]).await;
    let reply = say(&callboard, "GET /web/ HTTP/1.0\r\n\r\n").await;
    assert!(reply.ends_with("\r\n\r\nok"), "{reply}");
    let mut client = connect(&callboard).await;
    for _ in 0..2 {
        let request = b"GET /web/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        client.write_all(request).await.unwrap();
        let reply = read_one(&mut client).await.unwrap();
        let lower = reply.to_ascii_lowercase();
        assert!(lower.contains("\r\nconnection: keep-alive\r\n"), "{reply}");
    }
    client
        .write_all(b"GET /web/ HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let last = read_all(&mut client).await;
    assert!(last.ends_with("\r\n\r\nok"), "{last}");
    assert_eq!(web.hits(), 4);
}

#[tokio::test]
async fn connect_is_refused_whoever_it_is_for() {
    let (callboard, web) = with_web([Step::Close]).await;
    for target in ["web.callboard:80", "127.0.0.1:22", "/web/"] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        let reply = say(&callboard, request).await;
        assert_refusal(&reply, 405, target);
        assert!(reply.contains("\r\nAllow: GET, HEAD, "), "{reply}");
    }
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn an_instance_may_answer_before_it_has_seen_what_it_was_promised() {
    let refusal = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 3\r\n\r\nno\n";
    let (callboard, web) = with_web([Step::Say(refusal), Step::Stall]).await;
    let request = "POST /web/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                   Content-Length: 1000000\r\n\r\n";
    let mut client = connect(&callboard).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    hears(&mut client, b"no\n").await;
    assert!(web.heads()[0].contains("\r\nexpect: 100-continue\r\n"));
}

#[tokio::test]
async fn a_word_to_go_on_comes_from_the_instance_and_only_when_it_says_so() {
    let go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let steps = [Step::Say(go_on), Step::ReadBody, Step::Say(done)];
    let (callboard, web) = with_web(steps).await;
    let request = "POST /web/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                   Content-Length: 5\r\n\r\n";
    let mut client = connect(&callboard).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    assert!(web.bodies().is_empty());
    client.write_all(b"hello").await.unwrap();
    let reply = read_one(&mut client).await.unwrap();
    assert!(reply.ends_with("\r\n\r\nok"), "{reply}");
    assert_eq!(web.bodies(), ["hello"]);
}

#[tokio::test]
async fn trailers_do_not_disturb_what_follows_them() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (callboard, _web) = with_web([Step::Say(answer)]).await;
    let request = "GET /web/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
    let mut client = connect(&callboard).await;
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    hears(&mut client, b"2\r\nok\r\n0\r\n").await;
    client.write_all(PLAIN.as_bytes()).await.unwrap();
    // An HTTP/1.1 client may be spared the trailers (RFC 9110, section 6.5.1).
    let mut rest = read_head(&mut client).await;
    if !rest.starts_with("HTTP/1.1 ") {
        assert!(
            ["\r\n", "X-Sum: 7\r\n\r\n"].contains(&&*rest) || rest.contains("HTTP/1.1 404 "),
            "{rest}"
        );
        if !rest.contains("HTTP/1.1 ") {
            rest = read_head(&mut client).await;
        }
    }
    assert!(rest.contains("HTTP/1.1 404 "), "{rest}");
}

#[tokio::test]
async fn trailers_of_a_request_do_not_become_the_next_request() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (callboard, web) = with_web([Step::Say(answer), Step::Close]).await;
    let mut client = connect(&callboard).await;
    let request = "POST /web/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nhi\r\n0\r\nGET-X: /web/steal HTTP/1.1\r\n\r\n";
    let both = request.to_owned() + PLAIN;
    client.write_all(both.as_bytes()).await.unwrap();
    let reply = read_one(&mut client).await.unwrap();
    assert!(reply.ends_with("\r\n\r\nok"), "{reply}");
    let next = read_one(&mut client).await.unwrap();
    assert!(next.starts_with("HTTP/1.1 404 "), "{next}");
    assert_eq!(web.hits(), 1);
}
