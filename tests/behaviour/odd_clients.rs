//! Clients that are broken, hostile or merely unusual: each gets an exact answer, and nobody else
//! notices.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::wire::{assert_refusal, connect, read_all, read_head, read_one, say};
use crate::support::{Callboard, Instance, Setup, eventually};

async fn with_web(setup: Setup) -> (Callboard, Instance) {
    let callboard = setup.registry("admission: trust").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    (callboard, web)
}

#[tokio::test]
async fn what_is_no_request_or_two_is_refused() {
    let (callboard, web) = with_web(Setup::default()).await;
    let get = "GET /web/ HTTP/1.1\r\nHost: a\r\n";
    let post = "POST /web/ HTTP/1.1\r\nHost: a\r\n";
    for (request, status) in [
        ("NONSENSE\r\n\r\n".to_owned(), 400),
        ("\0\u{1}garbage".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}".to_owned(), 400),
        ("GET /web/\r\n".to_owned(), 400),
        ("GET /web/ HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        (format!("{get}X: a\r\n b\r\n\r\n"), 400),
        (format!("{get}X : a\r\n\r\n"), 400),
        (format!("{get}X: a\rb\r\n\r\n"), 400),
        (format!("{get}Host: a\r\n\r\n"), 400),
        ("GET web HTTP/1.1\r\nHost: web\r\n\r\n".to_owned(), 400),
        (
            "GET http://a/web/ HTTP/1.1\r\nHost: b\r\n\r\n".to_owned(),
            400,
        ),
        ("GET /web/ HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(), 400),
        (format!("{post}Content-Length: x\r\n\r\n"), 400),
        (format!("{post}Content-Length: 5, 6\r\n\r\nhello"), 400),
        (
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "POST /web/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
            400,
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\nhello\r\n"),
            400,
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n"),
            400,
        ),
        (format!("{post}Transfer-Encoding: br\r\n\r\n"), 501),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(),
            405,
        ),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), 505),
        ("GET /web/ HTTP/3.0\r\n\r\n".to_owned(), 505),
    ] {
        let reply = say(&callboard, &request).await;
        assert_refusal(&reply, status, &request);
    }
    let now = callboard.instance("web", &web).await.unwrap();
    assert_eq!(now["served"], 2, "those with a head in order: {now}");
    assert_eq!(callboard.answerer("/web/").await, "web-1");
    assert!(!callboard.log().contains("pingora"), "{}", callboard.log());
}

#[tokio::test]
async fn a_refusal_bears_the_id_of_a_request_that_could_be_read_and_none_has_a_body_for_head() {
    let callboard = Callboard::trusting();
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Request-Id: mine-1\r\n\r\n";
    let reply = say(&callboard, request).await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert!(reply.contains("\r\nX-Request-Id: mine-1\r\n"), "{reply}");
    assert!(reply.ends_with("\r\n\r\n"), "{reply}");
    let connect = say(&callboard, "CONNECT a:1 HTTP/1.1\r\n\r\n").await;
    assert!(connect.contains("\r\nAllow: GET, "), "{connect}");
}

#[tokio::test]
async fn heads_have_a_size_and_a_number_of_fields() {
    let setup = Setup::default().proxy("clients: {max_head: 8KiB, max_headers: 20}");
    let (callboard, web) = with_web(setup).await;
    let start = "GET /web/ HTTP/1.1\r\nHost: a\r\n";
    let fields = |count| format!("{start}{}", "X: y\r\n".repeat(count));
    for (request, status) in [
        (format!("{start}X: {}", "x".repeat(100_000)), 431),
        (fields(100_000), 431),
        (format!("{}\r\n", fields(20)), 431),
        (format!("GET /web/{}", "x".repeat(100_000)), 414),
        ("x".repeat(100_000), 414),
    ] {
        let reply = say(&callboard, &request).await;
        assert_refusal(&reply, status, &request[..40]);
    }
    assert_eq!(web.hits(), 0);
    let close = "Connection: close\r\n\r\n";
    let reply = say(&callboard, format!("{}{close}", fields(18))).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let long = format!("{start}X: {}\r\n{close}", "x".repeat(8_000));
    let reply = say(&callboard, long).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn who_closes_its_sending_side_after_the_request_still_gets_the_answer() {
    let (callboard, web) = with_web(Setup::default()).await;
    for request in [
        "GET /web/held HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /web/held HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let mut stream = connect(&callboard).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        eventually("it is held", || async {
            (web.holding() == 1).then_some(())
        })
        .await;
        // A request of its own shows that callboard has had time to see the end.
        callboard.answerer("/web/").await;
        web.release(1);
        let reply = read_all(&mut stream).await;
        assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
        assert!(reply.contains(r#""target":"/held""#), "{reply}");
    }
}

#[tokio::test]
async fn requests_that_come_all_at_once_are_answered_in_order() {
    let (callboard, web) = with_web(Setup::default()).await;
    let mut stream = connect(&callboard).await;
    let requests = "GET /web/1 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /web/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
         POST /web/3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nGET\r\n2\r\n /\r\n0\r\nTrailer: x\r\n\r\n\r\n\
         GET /web/4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
         GET /web/5 HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    for (target, body) in [("/1", ""), ("/2", "hello"), ("/3", "GET /"), ("/4", "")] {
        let reply = read_one(&mut stream).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{target}: {reply}");
        for part in [
            format!(r#""target":"{target}""#),
            format!(r#""body":"{body}""#),
        ] {
            assert!(reply.contains(&part), "{target}: {reply}");
        }
    }
    assert_eq!(read_all(&mut stream).await, "");
    assert_eq!(web.hits(), 4);
}

#[tokio::test]
async fn requests_of_all_kinds_that_come_at_once_are_answered_in_order() {
    let kinds = |turn: usize| {
        let kinds = [
            ("GET /web/{} HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            (
                "PUT /web/{} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                "hello",
            ),
            (
                "POST /web/{} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nGET\r\n2\r\n /\r\n0\r\n\r\n",
                "GET /",
            ),
            (
                "GET /web/{} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
                "",
            ),
            ("GET http://a/web/{} HTTP/1.1\r\nHost: a\r\n\r\n", ""),
            (
                "POST /web/{} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
              Content-Length: 5\r\n\r\nworld",
                "world",
            ),
            (
                "GET /web/{} HTTP/1.1\r\nHost: a\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\r\n",
                "",
            ),
            ("\r\nDELETE /web/{} HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ];
        kinds[turn * 5 % kinds.len()]
    };
    let (callboard, web) = with_web(Setup::default()).await;
    let mut stream = connect(&callboard).await;
    let requests: String = (0..64)
        .map(|turn| kinds(turn).0.replace("{}", &turn.to_string()))
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    for turn in 0..64 {
        let mut head = read_head(&mut stream).await;
        if head.starts_with("HTTP/1.1 100 ") {
            head = read_head(&mut stream).await;
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{turn}: {head}");
        let length = head.to_ascii_lowercase();
        let length = length.split_once("content-length: ").unwrap().1;
        let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
        stream.read_exact(&mut body).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["target"], format!("/{turn}"), "{head}");
        assert_eq!(body["body"], kinds(turn).1, "{turn}");
    }
    assert_eq!(web.hits(), 64);
}

#[tokio::test]
async fn a_large_body_and_what_follows_it_are_kept_apart() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let mut stream = connect(&callboard).await;
    let body = "x".repeat(300_000);
    let mut requests =
        format!("POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{body}");
    requests += "POST /web/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for piece in body.as_bytes().chunks(70_000) {
        requests += &format!(
            "{:x}\r\n{}\r\n",
            piece.len(),
            str::from_utf8(piece).unwrap()
        );
    }
    requests += "0\r\n\r\nGET /web/last HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut reading, mut writing) = stream.split();
    let sending = async {
        writing.write_all(requests.as_bytes()).await.unwrap();
    };
    let receiving = async {
        let mut replies = Vec::new();
        let mut part = vec![0; 64 << 10];
        while !String::from_utf8_lossy(&replies).contains(r#""target":"/last""#) {
            let length = reading.read(&mut part).await.unwrap();
            assert!(length > 0);
            replies.extend_from_slice(&part[..length]);
        }
        String::from_utf8(replies).unwrap()
    };
    let ((), replies) = tokio::join!(sending, receiving);
    assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 3);
    let whole = format!(r#""body":"{body}""#);
    assert_eq!(replies.matches(&whole).count(), 2);
}

#[tokio::test]
async fn who_vanishes_amid_a_body_is_no_failure_of_the_instance() {
    let (callboard, web) = with_web(Setup::default()).await;
    let in_flight = async |count: u64| {
        eventually(&format!("{count} requests are in flight"), || async {
            let now = callboard.instance("web", &web).await?;
            (now["in_flight"] == count).then_some(())
        })
        .await;
    };
    for framing in [
        "Content-Length: 100\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n64\r\nhello",
    ] {
        let mut stream = connect(&callboard).await;
        let request = format!("POST /web/ HTTP/1.1\r\nHost: a\r\n{framing}");
        stream.write_all(request.as_bytes()).await.unwrap();
        in_flight(1).await;
        drop(stream);
        in_flight(0).await;
    }
    assert_eq!(callboard.answerer("/web/").await, "web-1");
    let now = callboard.instance("web", &web).await.unwrap();
    assert_eq!(now["availability"], "ready");
    assert_eq!(
        callboard.log().matches("ERROR").count(),
        0,
        "{}",
        callboard.log()
    );
}

#[tokio::test]
async fn a_body_may_be_as_long_as_its_service_or_route_allows() {
    let routes = "routes: [{match: {path: /strict}, service: web, max_body: 5}]\n";
    let setup = Setup::default().top(routes).top("defaults: {max_body: 10}");
    let (callboard, web) = with_web(setup).await;
    let close = "Connection: close\r\n";
    let plain = |path: &str, length: usize| {
        let body = "x".repeat(length);
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{close}Content-Length: {length}\r\n\r\n{body}")
    };
    let chunked = |path: &str, length: usize| {
        let chunks = "1\r\nx\r\n".repeat(length);
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\n{close}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    for (path, most) in [("/web/", 10), ("/strict", 5)] {
        for request in [plain(path, most), chunked(path, most)] {
            let reply = say(&callboard, &request).await;
            assert!(reply.starts_with("HTTP/1.1 200 "), "{request}: {reply}");
        }
        for request in [
            plain(path, most + 1),
            plain(path, 1_000_000),
            chunked(path, most + 1),
            chunked(path, 1_000_000),
        ] {
            let reply = say(&callboard, &request).await;
            assert_refusal(&reply, 413, &request[..60]);
        }
    }
    let now = callboard.instance("web", &web).await.unwrap();
    assert_eq!(
        now["served"], 8,
        "a length that is too large is refused at once: {now}"
    );
}

#[tokio::test]
async fn a_client_that_waits_for_a_word_before_it_sends_its_body_gets_it() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let mut stream = connect(&callboard).await;
    let head =
        "POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let word = read_head(&mut stream).await;
    assert!(word.starts_with("HTTP/1.1 100 Continue\r\n"), "{word}");
    stream.write_all(b"hello").await.unwrap();
    let reply = read_one(&mut stream).await.unwrap();
    assert!(reply.contains(r#""body":"hello""#), "{reply}");
}

#[tokio::test]
async fn an_upgraded_connection_belongs_to_client_and_instance() {
    use tokio::io::AsyncReadExt;
    let callboard = Callboard::trusting();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.split();
        tokio::io::copy(&mut reading, &mut writing).await.unwrap();
    });
    let registered = callboard
        .client
        .put(callboard.api("/services/raw/instances/raw-1"))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
    let mut stream = connect(&callboard).await;
    // The first words come before the switch is agreed on.
    let request =
        "GET /raw/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfirst";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream.write_all(b", second").await.unwrap();
    let mut echo = [0; 13];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"first, second");
    stream.shutdown().await.unwrap();
    read_all(&mut stream).await;
}

/// Serves one connection: reads a head, switches protocols and says back what is said.
async fn echo_upgraded(mut stream: tokio::net::TcpStream) {
    read_head(&mut stream).await;
    let answer =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let _ = tokio::io::copy(&mut reading, &mut writing).await;
}

#[tokio::test]
async fn no_handshake_is_answered_too_fast() {
    use tokio::io::AsyncReadExt;
    let callboard = Callboard::trusting();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo_upgraded(stream));
        }
    });
    let registered = callboard
        .client
        .put(callboard.api("/services/raw/instances/raw-1"))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
    let request =
        "GET /raw/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    for number in 0..100 {
        let mut stream = connect(&callboard).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{number}: {head}");
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        let read = stream.read_exact(&mut echo).await;
        assert!(read.is_ok() && &echo == b"hello", "{number}: {read:?}");
    }
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_may_go_on_asking() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let mut stream = connect(&callboard).await;
    let request = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n");
    let requests = [
        request("GET", "/nobody/") + "\r\n",
        request("HEAD", "/nobody/") + "\r\n",
        request("GET", "/web/") + "\r\n",
        request("POST", "/nobody/") + "Content-Length: 5\r\n\r\nhello",
        request("GET", "/web/") + "\r\n",
    ];
    stream
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    let reply = read_one(&mut stream).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 404 "), "{reply}");
    assert!(reply.contains("\r\nConnection: keep-alive\r\n"), "{reply}");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    let reply = read_one(&mut stream).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    // What is left of a body nobody wants is not read.
    let last = read_all(&mut stream).await;
    assert!(last.starts_with("HTTP/1.1 404 "), "{last}");
    assert!(last.contains("\r\nConnection: close\r\n"), "{last}");
    assert_eq!(last.matches("HTTP/1.1 ").count(), 1, "{last}");
}
