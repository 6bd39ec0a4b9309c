//! Requests and answers whose bodies are on their way at the same time.

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::Callboard;
use crate::support::wire::{connect, read_head};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(40);
/// More than all buffers on a way hold, in bytes.
const LARGE: usize = 32 << 20;

const CONFIG: &str = "proxy: {listen: \"127.0.0.1:0\"}\n\
                      registry: {listen: \"127.0.0.1:0\", admission: trust}\n";

/// The same with nothing but the lean path, and another `listen`. Pingora's path reads nothing of a body
/// while its client has something to take.
fn lean(listen: &str) -> String {
    CONFIG.replace("\"127.0.0.1:0\"}", &format!("{listen}, lean_path: on}}"))
}

/// Registers an instance of `web` that serves a connection so once it has read a head of it, which is
/// given in lower case.
async fn register<F>(
    callboard: &Callboard,
    serve: impl Fn(TcpStream, String) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_head(&mut stream).await.to_ascii_lowercase();
            tokio::spawn(serve(stream, head));
        }
    });
    let url = callboard.api("/services/web/instances/web-1");
    let body = json!({"address": "127.0.0.1", "port": port, "check": "off"});
    let reply = callboard.client.put(url).json(&body).send().await.unwrap();
    assert!(reply.status().is_success(), "{reply:?}");
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

fn ok(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n")
}

async fn say(to: &mut (impl AsyncWrite + Unpin), length: usize) -> std::io::Result<u64> {
    tokio::io::copy(&mut tokio::io::repeat(b'x').take(length as u64), to).await
}

/// Reads and forgets so many bytes; gives how many there were.
async fn swallow(from: &mut (impl AsyncRead + Unpin), length: usize) -> std::io::Result<u64> {
    tokio::io::copy(&mut from.take(length as u64), &mut tokio::io::sink()).await
}

/// The head of an answer.
async fn read_start(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn what_an_instance_repeats_while_it_listens_comes_back_whole() {
    let callboard = Callboard::start(&lean("\"127.0.0.1:0\""));
    register(&callboard, |mut stream, _| async move {
        let (mut reads, mut writes) = stream.split();
        writes.write_all(ok(LARGE).as_bytes()).await.unwrap();
        tokio::io::copy(&mut reads, &mut writes).await.unwrap();
    })
    .await;
    let mut client = connect(&callboard).await;
    let request = post("/web/", LARGE);
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut reads, mut writes) = client.split();
    let hearing = async {
        let head = read_start(&mut reads).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        swallow(&mut reads, LARGE).await
    };
    let both = async { tokio::join!(say(&mut writes, LARGE), hearing) };
    let (said, heard) = timeout(PATIENCE, both).await.expect("both wait");
    assert_eq!(
        (said.unwrap(), heard.unwrap()),
        (LARGE as u64, LARGE as u64)
    );
}

#[tokio::test]
async fn an_answer_that_did_not_wait_for_a_large_body_reaches_who_still_sends_it_and_is_the_last() {
    for listens in [true, false] {
        let callboard = Callboard::start(CONFIG);
        register(&callboard, move |mut stream, _| async move {
            let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
            stream.write_all(answer).await.unwrap();
            if listens {
                // It breaks when callboard has no more use for it.
                let _ = swallow(&mut stream, LARGE).await;
            }
        })
        .await;
        let mut client = connect(&callboard).await;
        let request = post("/web/", LARGE);
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut reads, mut writes) = client.split();
        let sending = async {
            let _ = say(&mut writes, LARGE).await;
            pending::<()>().await;
        };
        let mut answer = Vec::new();
        let reading = async {
            while !answer.ends_with(b"\r\n\r\nbig") {
                answer.push(reads.read_u8().await.unwrap());
            }
        };
        let answered = async {
            tokio::select! { () = reading => {}, () = sending => {} }
        };
        timeout(PATIENCE, answered).await.expect("no answer");
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{listens}: {answer}");
        assert!(
            answer.contains("\r\nConnection: close\r\n"),
            "{listens}: {answer}"
        );
    }
}

/// Whatever is between callboard and such a client takes a part of the answer. The lengths differ by less
/// than is read at once, so one answer at least is all there but for a part that the client has to take.
#[tokio::test]
async fn who_takes_nothing_before_it_has_sent_everything_is_read_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let listen = format!("[\"127.0.0.1:0\", \"unix:{}\"]", path.display());
    let callboard = Callboard::start(&lean(&listen));
    register(&callboard, |mut stream, head| async move {
        let length = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        stream.write_all(ok(length).as_bytes()).await.unwrap();
        say(&mut stream, length).await.unwrap();
        let _ = swallow(&mut stream, LARGE).await;
    })
    .await;
    let calls = (64..512).step_by(8).map(|kib| take_last(&path, kib << 10));
    timeout(PATIENCE, join_all(calls))
        .await
        .expect("callboard and a client wait for each other");
}

/// Sends all of a request for so many bytes before it takes any.
async fn take_last(path: &Path, length: usize) {
    const BODY: usize = 2 << 20;
    let mut client = UnixStream::connect(path).await.unwrap();
    let request = post(&format!("/web/{length}"), BODY);
    client.write_all(request.as_bytes()).await.unwrap();
    // The answer's beginning is there, so the rest is on its way.
    client.readable().await.unwrap();
    assert_eq!(say(&mut client, BODY).await.unwrap(), BODY as u64);
    let head = read_start(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(swallow(&mut client, length).await.unwrap(), length as u64);
}

/// One thread serves them all, so there is always more to read of each of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_kept_waiting_by_a_body_that_comes_faster_than_it_can_be_passed_on() {
    const CLIENTS: usize = 8;
    const PIECE: usize = 1 << 20;
    let callboard = Callboard::start(&lean("\"127.0.0.1:0\", threads: 1"));
    let latest = Arc::new(AtomicUsize::new(0));
    let late = Arc::clone(&latest);
    register(&callboard, move |mut stream, _| {
        let late = Arc::clone(&late);
        async move {
            swallow(&mut stream, LARGE).await.unwrap();
            stream.write_all(ok(1).as_bytes()).await.unwrap();
            let (mut length, mut piece) = (0, vec![0; PIECE]);
            while let Ok(more @ 1..) = stream.read(&mut piece).await
                && length < 4 * LARGE
            {
                length += more;
            }
            late.fetch_max(length, Ordering::SeqCst);
        }
    })
    .await;
    let mut calls = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mut reads, mut writes) = connect(&callboard).await.into_split();
        let sending = tokio::spawn(async move {
            let request = post("/web/", 1 << 40);
            writes.write_all(request.as_bytes()).await.unwrap();
            let piece = vec![b'x'; PIECE];
            while writes.write_all(&piece).await.is_ok() {}
        });
        calls.spawn(async move {
            let first = reads.read_u8().await.unwrap();
            sending.abort();
            first
        });
    }
    let answered = timeout(PATIENCE, calls.join_all()).await;
    assert_eq!(answered.expect("no answer"), [b'H'; CLIENTS]);
    let latest = latest.load(Ordering::SeqCst);
    assert!(latest < 4 * LARGE, "{latest} bytes before the answer");
}

/// The client takes several times as long as an instance may be silent.
#[tokio::test]
async fn an_answer_that_begins_early_may_wait_for_what_its_client_still_sends() {
    const LENGTH: usize = 12;
    let limits = "defaults: {timeouts: {between_bytes: 400ms}}\n";
    let callboard = Callboard::start(&format!("{CONFIG}{limits}"));
    register(&callboard, |mut stream, _| async move {
        let begins = ok(2) + "x";
        stream.write_all(begins.as_bytes()).await.unwrap();
        swallow(&mut stream, LENGTH).await.unwrap();
        stream.write_all(b"y").await.unwrap();
    })
    .await;
    let mut client = connect(&callboard).await;
    let request = post("/web/", LENGTH);
    client.write_all(request.as_bytes()).await.unwrap();
    for _ in 0..LENGTH {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(b"x").await.unwrap();
    }
    let head = timeout(PATIENCE, read_start(&mut client)).await;
    let head = head.expect("no answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut body = [0; 2];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"xy");
}
