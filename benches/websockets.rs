//! What callboard keeps in memory: for each WebSocket on which nobody says anything, and while a long
//! body passes.
//!
//! `cargo bench --bench websockets -- [WEBSOCKETS [MEBIBYTES]]`; 10,000 and 1,024 unless given. Clients
//! and the instance are this process, and callboard is another one, so each holds two files for every
//! WebSocket; of those, there are no more than the limit of open files leaves room for.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{env, fs};

use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use common::process::{Callboard, Connection, request};

/// How many WebSockets there are before the first is counted: what is made once is there by then.
const WARM: usize = 200;
/// How many are opened at a time.
const LANES: usize = 16;
/// Files for all else.
const OTHER_FILES: usize = 200;
/// How much of a body is written at once, in bytes.
const PIECE: usize = 64 << 10;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(300);

const CONFIG: &str = r#"
proxy: {listen: ["127.0.0.1:0"]}
registry: {listen: "127.0.0.1:0", admission: trust}
defaults: {check: off}
"#;

const SWITCH: &str = "GET /web/ HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A ping without a payload, as a client sends it, and the pong to it.
const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
const PONG: [u8; 2] = [0x8a, 0];

fn main() {
    let numbers: Vec<usize> = env::args().filter_map(|word| word.parse().ok()).collect();
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("the limit of open files");
    let fit = (files as usize).saturating_sub(OTHER_FILES) / 2 - WARM;
    let count = numbers.first().copied().unwrap_or(10_000).min(fit);
    let body = numbers.get(1).copied().unwrap_or(1_024) << 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure(count, body));
}

async fn measure(count: usize, body: usize) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("proxy.yaml"), CONFIG).unwrap();
    let callboard = Callboard::start(folder.path(), 1);
    let mut control = Connection::open(callboard.registry).await;
    let path = "/api/v1/services/web/instances/web-1";
    let registration = format!(
        r#"{{"port":{},"lease":{{"ttl":"1h"}}}}"#,
        serve().await.port()
    );
    let register = request("PUT", path, &registration);
    assert_eq!(control.exchange(&register).await, 201);

    let proxy = callboard.proxies[0];
    let mut open = websockets(proxy, WARM).await;
    let before = settled(&callboard).await;
    let started = Instant::now();
    open.extend(websockets(proxy, count).await);
    let took = started.elapsed();
    let after = settled(&callboard).await;
    let described = control.ask(&request("GET", path, "")).await;
    let in_flight = format!("\"in_flight\":{}", open.len());
    assert!(described.contains(&in_flight), "{described}");
    println!(
        "{count} idle WebSockets, opened in {took:.1?}: {:.1} KiB each, {} KiB in all",
        (after as f64 - before as f64) / count as f64,
        after
    );
    for websocket in &mut open {
        websocket.write_all(&PING).await.unwrap();
        let mut pong = PONG;
        websocket.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, PONG);
    }
    let spoken = settled(&callboard).await;
    println!(
        "the same after a ping on each: {:.1} KiB each",
        (spoken as f64 - before as f64) / count as f64
    );

    for (way, up, down) in [("up", body, 0), ("down", 0, body)] {
        let before = callboard.resident();
        callboard.forget_peak();
        let started = Instant::now();
        let exchange = timeout(PATIENCE, transfer(proxy, up, down));
        exchange.await.expect("a body takes too long");
        println!(
            "a body of {} MiB {way} in {:.1?}: {} KiB more at most",
            body >> 20,
            started.elapsed(),
            callboard.peak().saturating_sub(before)
        );
    }
}

/// The memory in use once it changes no more.
async fn settled(callboard: &Callboard) -> u64 {
    let mut last = callboard.resident();
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = callboard.resident();
        if now.abs_diff(last) < 64 {
            return now;
        }
        last = now;
    }
}

/// Opens so many WebSockets.
async fn websockets(proxy: SocketAddr, count: usize) -> Vec<TcpStream> {
    let opening = (0..count).map(|_| async move {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        stream.write_all(SWITCH.as_bytes()).await.unwrap();
        let (head, rest) = head(&mut stream).await.expect("callboard closed");
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert_eq!(rest, 0);
        stream
    });
    stream::iter(opening)
        .buffer_unordered(LANES)
        .collect()
        .await
}

/// Sends a request with a body of `up` bytes, and reads an answer of `down`.
async fn transfer(proxy: SocketAddr, up: usize, down: usize) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let method = if up > 0 { "PUT" } else { "GET" };
    let ask =
        format!("{method} /web/{down} HTTP/1.1\r\nHost: bench\r\nContent-Length: {up}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    write(&mut stream, up).await;
    let (head, rest) = head(&mut stream).await.expect("callboard closed");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    read(&mut stream, down - rest).await;
}

/// An instance that agrees to every WebSocket and answers its pings, takes every body, and answers with
/// as many bytes as the path says.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    while let Some((head, rest)) = head(&mut stream).await {
        if head.contains("\r\nupgrade: websocket\r\n") {
            stream.write_all(SWITCHED.as_bytes()).await.unwrap();
            let mut ping = PING;
            while stream.read_exact(&mut ping).await.is_ok() {
                stream.write_all(&PONG).await.unwrap();
            }
            return;
        }
        let up = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        read(&mut stream, up - rest).await;
        let path = head.split(' ').nth(1).unwrap();
        let down: usize = path[1..].parse().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {down}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        write(&mut stream, down).await;
    }
}

/// The next head, in small letters, and how many bytes came after it; nothing if the connection ends.
async fn head(stream: &mut TcpStream) -> Option<(String, usize)> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end + 4]).to_ascii_lowercase();
            return Some((head, read.len() - end - 4));
        }
    }
}

async fn write(stream: &mut TcpStream, mut count: usize) {
    let piece = vec![b'x'; PIECE];
    while count > 0 {
        let length = count.min(PIECE);
        stream.write_all(&piece[..length]).await.unwrap();
        count -= length;
    }
}

async fn read(stream: &mut TcpStream, mut count: usize) {
    let mut piece = vec![0; PIECE];
    while count > 0 {
        let length = count.min(PIECE);
        let read = stream.read(&mut piece[..length]).await.unwrap();
        assert!(read > 0, "a body ends too early");
        count -= read;
    }
}
