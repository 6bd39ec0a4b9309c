//! Bodies that come bit by bit, or that are larger than the memory they may take.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use serde_json::json;

use crate::support::upgraded::hears;
use crate::support::wire::{connect, read_head, read_one};
use crate::support::{Callboard, Setup};

/// The most that bodies of any length may add to the memory in use, in bytes.
const ROOM: usize = 48 << 20;
/// As much as no buffer on the way holds, in bytes.
const LARGE: usize = 256 << 20;

/// A listener that is an instance of `web`.
async fn with_web(callboard: &Callboard) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = callboard.api("/services/web/instances/web-1");
    let body = json!({"address": "127.0.0.1", "port": port, "check": "off"});
    let reply = callboard.client.put(url).json(&body).send().await.unwrap();
    assert!(reply.status().is_success(), "{reply:?}");
    listener
}

/// A request of a client, and the connection on which the instance got its head.
async fn asked(callboard: &Callboard, web: &TcpListener, head: &str) -> (TcpStream, TcpStream) {
    let mut client = connect(callboard).await;
    client.write_all(head.as_bytes()).await.unwrap();
    let (mut instance, _) = web.accept().await.unwrap();
    read_head(&mut instance).await;
    (client, instance)
}

/// A piece of a chunked body.
fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn each_event_is_seen_before_the_next_one_is_sent() {
    let callboard = Callboard::trusting();
    let web = with_web(&callboard).await;
    let head = "GET /web/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n";
    let (mut client, mut instance) = asked(&callboard, &web, head).await;
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
    instance.write_all(start.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for number in 0..20 {
        let event = chunk(&format!("id: {number}\ndata: {}\n\n", "x".repeat(number)));
        instance.write_all(event.as_bytes()).await.unwrap();
        hears(&mut client, event.as_bytes()).await;
    }
    instance.write_all(b"0\r\n\r\n").await.unwrap();
    hears(&mut client, b"0\r\n\r\n").await;
}

#[tokio::test]
async fn an_answer_that_only_its_connection_ends_comes_as_it_is_said() {
    let callboard = Callboard::trusting();
    let web = with_web(&callboard).await;
    let head = "GET /web/events HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut client, mut instance) = asked(&callboard, &web, head).await;
    let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    instance.write_all(start.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        instance.write_all(event.as_bytes()).await.unwrap();
        hears(&mut client, chunk(&event).as_bytes()).await;
    }
    drop(instance);
    hears(&mut client, b"0\r\n\r\n").await;
}

#[tokio::test]
async fn each_piece_of_a_request_reaches_the_instance_before_the_next_one_is_sent() {
    let callboard = Callboard::trusting();
    let web = with_web(&callboard).await;
    let head = "POST /web/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut client, mut instance) = asked(&callboard, &web, head).await;
    for number in 0..5 {
        let piece = chunk(&format!("piece {number}"));
        client.write_all(piece.as_bytes()).await.unwrap();
        hears(&mut instance, piece.as_bytes()).await;
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    hears(&mut instance, b"0\r\n\r\n").await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    instance.write_all(answer).await.unwrap();
    assert!(read_one(&mut client).await.unwrap().ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn a_stream_is_cut_by_silence_and_not_by_its_length() {
    let setup = Setup::default().registry("admission: trust");
    let callboard = setup
        .top("defaults: {timeouts: {request: 1s, between_bytes: 2s}}")
        .start();
    let web = with_web(&callboard).await;
    let head = "GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut client, mut instance) = asked(&callboard, &web, head).await;
    let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    instance.write_all(start).await.unwrap();
    read_head(&mut client).await;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        passes_chunk(&mut instance, &mut client).await;
    }
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(40), client.read_to_end(&mut rest));
    let _ = ended.await.expect("silence has no end");
    assert!(rest.is_empty(), "cut off, not ended: {rest:?}");
}

async fn passes_chunk(instance: &mut TcpStream, client: &mut TcpStream) {
    instance.write_all(b"1\r\nx\r\n").await.unwrap();
    hears(client, b"1\r\nx\r\n").await;
}

#[tokio::test]
async fn bodies_of_any_length_take_no_memory() {
    let callboard = Callboard::trusting();
    let web = with_web(&callboard).await;
    let before = callboard.resident();
    let head = format!("POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    let (client, instance) = asked(&callboard, &web, &head).await;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut instance_reads, mut instance_writes) = instance.into_split();
    let up = tokio::spawn(async move { say(&mut client_writes).await.map(|()| client_writes) });
    swallow(&mut instance_reads, &callboard, before).await;
    let _open = up.await.unwrap().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    instance_writes.write_all(head.as_bytes()).await.unwrap();
    let down =
        tokio::spawn(async move { say(&mut instance_writes).await.map(|()| instance_writes) });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client_reads.read_u8().await.unwrap());
    }
    swallow(&mut client_reads, &callboard, before).await;
    let _open = down.await.unwrap().unwrap();
}

async fn say(to: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..LARGE / piece.len() {
        to.write_all(&piece).await?;
    }
    Ok(())
}

/// Reads a whole body, and looks at the memory meanwhile.
async fn swallow(from: &mut (impl AsyncReadExt + Unpin), callboard: &Callboard, before: usize) {
    let mut piece = vec![0; 1 << 20];
    let (mut length, mut looked) = (0, 0);
    while length < LARGE {
        let read = timeout(Duration::from_secs(40), from.read(&mut piece));
        let read = read.await.expect("nothing comes").unwrap();
        assert!(read > 0, "it ends after {length} bytes");
        length += read;
        if length - looked >= 16 << 20 {
            looked = length;
            let now = callboard.resident();
            assert!(now < before + ROOM, "{before} bytes before, {now} now");
        }
    }
    assert_eq!(length, LARGE);
}
