//! Clients that take their time, or everybody else's.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::wire::{assert_refusal, connect, read_all, read_head, read_one};
use crate::support::{Callboard, Instance, Setup};

async fn with_web(clients: &str) -> (Callboard, Instance) {
    let callboard = Setup::default()
        .proxy(&format!("clients: {{{clients}}}"))
        .registry("admission: trust")
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    (callboard, web)
}

/// Sends a byte every now and then until the connection ends; gives what came back.
async fn trickle(stream: &mut TcpStream, byte: u8) -> String {
    let (mut reading, mut writing) = stream.split();
    let mut reply = String::new();
    let sending = async {
        while writing.write_all(&[byte]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Whoever goes on sending may be told so with a reset once the answer is out.
        _ = reading.read_to_string(&mut reply) => {}
        () = sending => {}
        () = tokio::time::sleep(Duration::from_secs(40)) => panic!("never ends: {reply}"),
    }
    reply
}

#[tokio::test]
async fn a_head_has_its_time_however_it_trickles() {
    let (callboard, web) = with_web("head_timeout: 1s").await;
    let mut stream = connect(&callboard).await;
    stream
        .write_all(b"GET /web/ HTTP/1.1\r\nX: ")
        .await
        .unwrap();
    assert_refusal(&trickle(&mut stream, b'x').await, 408, "a trickle");

    let mut stream = connect(&callboard).await;
    stream.write_all(b"GET /web/ HT").await.unwrap();
    assert_refusal(&read_all(&mut stream).await, 408, "a stall");

    // Bytes that came with the request before are as slow as any.
    let mut stream = connect(&callboard).await;
    let requests = b"GET /web/ HTTP/1.1\r\nHost: a\r\n\r\nGET /web/ HTTP/1.1\r\nHo";
    stream.write_all(requests).await.unwrap();
    let first = read_one(&mut stream).await.unwrap();
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert_refusal(&read_all(&mut stream).await, 408, "a second head");
    assert_eq!(web.hits(), 1);
}

#[tokio::test]
async fn silence_ends_a_connection_without_a_word() {
    let (callboard, _web) = with_web("head_timeout: 1s, idle: 1s").await;
    let mut silent = connect(&callboard).await;
    assert_eq!(read_all(&mut silent).await, "");
    let mut blank = connect(&callboard).await;
    blank.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(read_all(&mut blank).await, "");
    let mut kept = connect(&callboard).await;
    let request = b"GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    kept.write_all(request).await.unwrap();
    assert!(read_one(&mut kept).await.is_some());
    assert_eq!(read_all(&mut kept).await, "");
}

#[tokio::test]
async fn a_body_that_stalls_or_trickles_is_refused() {
    let (callboard, web) = with_web("min_body_rate: 1KiB/s").await;
    let head = "POST /web/ HTTP/1.1\r\nHost: a\r\n";
    let stalling = async |framing: &str| {
        let mut stream = connect(&callboard).await;
        let request = format!("{head}{framing}");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_refusal(&read_all(&mut stream).await, 408, framing);
    };
    let trickling = async {
        let mut stream = connect(&callboard).await;
        let request = format!("{head}Content-Length: 100000\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_refusal(&trickle(&mut stream, b'x').await, 408, "a trickle");
    };
    tokio::join!(
        stalling("Content-Length: 100\r\n\r\nhello"),
        stalling("Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        trickling,
    );
    let now = callboard.instance("web", &web).await.unwrap();
    assert_eq!(now["availability"], "ready");
}

/// The instance reads nothing for longer than a client is given grace, so its wait must be a real one.
#[tokio::test]
async fn a_client_is_not_blamed_for_an_instance_that_does_not_take_the_body() {
    let (callboard, _web) = with_web("min_body_rate: 1MiB/s").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = vec![b'x'; 24 << 20];
    let length = body.len();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        let mut left = length;
        let mut part = vec![0; 64 << 10];
        while left > 0 {
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0);
            left -= read;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    });
    let registered = callboard
        .client
        .put(callboard.api("/services/lazy/instances/lazy-1"))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
    let mut stream = connect(&callboard).await;
    let head = format!("POST /lazy/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let reply = read_one(&mut stream).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_crowd_of_slow_and_silent_clients_neither_stops_others_nor_fills_the_log() {
    let (callboard, _web) = with_web("head_timeout: 2s").await;
    let mut crowd = Vec::new();
    for number in 0..400 {
        let mut stream = connect(&callboard).await;
        let sent: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET /web/ HTTP/1.1\r\nX: y",
            2 => b"\x16\x03\x01\x02",
            _ => b"POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
        };
        stream.write_all(sent).await.unwrap();
        crowd.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(callboard.answerer("/web/").await, "web-1");
    }
    let half = crowd.split_off(200);
    drop(half);
    for (number, mut stream) in crowd.into_iter().enumerate().filter(|(n, _)| n % 4 < 3) {
        let reply = read_all(&mut stream).await;
        let expected = ["", "HTTP/1.1 408 ", "HTTP/1.1 400 "][number % 4];
        assert!(reply.starts_with(expected), "{number}: {reply}");
    }
    assert_eq!(callboard.answerer("/web/").await, "web-1");
    let log = callboard.log();
    assert!(!log.contains("pingora") && !log.contains("ERROR"), "{log}");
}
