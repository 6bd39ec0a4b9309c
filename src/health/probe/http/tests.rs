use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;

use super::super::ask::Asker;
use super::super::failure::Failure;
use super::super::testing::{PATIENCE, answer_all, instance, nobody, request};
use super::*;
use crate::instance::check::{Check, CheckKind};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn check_within(timeout: Duration, http: HttpCheck) -> Check {
    Check {
        kind: CheckKind::Http(http),
        timeout,
        ..Check::default()
    }
}

async fn ask(asker: &Asker, address: SocketAddr) -> Result<(), String> {
    ask_within(asker, address, PATIENCE).await
}

async fn ask_within(asker: &Asker, address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let check = check_within(timeout, HttpCheck::new("/health"));
    words(asker.ask(&Target::plain(address), &check).await)
}

fn words(answer: Result<(), Failure>) -> Result<(), String> {
    answer.map_err(|failure| match failure {
        Failure::Instance(reason) => reason,
        Failure::Local(reason) => panic!("a shortage of our own: {reason}"),
    })
}

/// What a probe makes of an instance that sends `answer` to the first request and closes.
async fn verdict_on(answer: impl Into<Vec<u8>>) -> Result<(), String> {
    let answer: Arc<[u8]> = answer.into().into();
    let address = instance(move |mut stream, _| {
        let answer = Arc::clone(&answer);
        async move {
            request(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await;
    ask(&Asker::new(), address)
        .await
        .map_err(|reason| reason.replace(&address.to_string(), "ADDRESS"))
}

#[tokio::test]
async fn the_request_names_its_path_the_address_and_who_asks() {
    let (heads, mut seen) = unbounded_channel();
    let address = instance(move |mut stream, _| {
        let heads = heads.clone();
        async move {
            heads.send(request(&mut stream).await.unwrap()).unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let check = check_within(PATIENCE, HttpCheck::new("/health?deep=1"));
    words(Asker::new().ask(&Target::plain(address), &check).await).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        seen.recv().await.unwrap(),
        format!(
            "GET /health?deep=1 HTTP/1.1\r\nHost: {address}\r\n\
             User-Agent: callboard-check/{version}\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn an_expected_status_passes_and_any_other_says_what_was_expected() {
    assert_eq!(verdict_on("HTTP/1.1 204 No Content\r\n\r\n").await, Ok(()));
    assert_eq!(verdict_on("HTTP/1.0 302 Found\r\n\r\n").await, Ok(()));
    assert_eq!(
        verdict_on("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n").await,
        Err("GET http://ADDRESS/health: status 503 (expected 200-399)".to_owned())
    );
    assert_eq!(list(&[200..=299, 418..=418]), "200-299, 418");
}

#[tokio::test]
async fn a_redirect_is_judged_by_its_status_and_not_followed() {
    let (asked, mut seen) = unbounded_channel();
    let elsewhere = instance(move |_, _| {
        let asked = asked.clone();
        async move {
            let _ = asked.send(());
        }
    })
    .await;
    let answer =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(verdict_on(answer).await, Ok(()));
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn interim_answers_are_passed_over_but_not_for_ever() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(verdict_on(format!("{hints}{hints}{OK}")).await, Ok(()));
    let endless = verdict_on(format!("{}{OK}", hints.repeat(50))).await;
    assert!(endless.unwrap_err().contains("not HTTP"));
    let switched = verdict_on("HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(switched.is_err());
}

#[tokio::test]
async fn whatever_else_an_instance_sends_is_a_failure_in_plain_words() {
    let unreadable =
        "GET http://ADDRESS/health: the answer is not HTTP (expected a status line and headers)";
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    let huge_header = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(2 << 20));
    for garbage in [
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"\0\xff\xfe\x80 \r\n\r\n".repeat(100),
        b"HTTP/1.1 99999 Many\r\n\r\n".to_vec(),
        b"HTTP/1.1 000 Zero\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n".to_vec(),
        many_headers.into_bytes(),
        huge_header.into_bytes(),
    ] {
        let start = garbage[..garbage.len().min(30)].escape_ascii().to_string();
        assert_eq!(
            verdict_on(garbage).await,
            Err(unreadable.to_owned()),
            "{start}"
        );
    }
}

#[tokio::test]
async fn an_instance_that_closes_without_an_answer_fails() {
    let reason = verdict_on("").await.unwrap_err();
    assert_eq!(
        reason,
        "GET http://ADDRESS/health: connection closed without an answer"
    );
    assert!(verdict_on("HTTP/1.1 200 O").await.is_err(), "half a head");
}

#[tokio::test]
async fn a_broken_body_does_not_undo_a_good_status() {
    for body in [
        "Content-Length: 10\r\n\r\nshort",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nZZ\r\nnonsense",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nokXX",
        "Content-Length: 2\r\n\r\nok and more than was announced",
    ] {
        let verdict = verdict_on(format!("HTTP/1.1 200 OK\r\n{body}")).await;
        let unreadable_head = body.contains("9999");
        assert_eq!(verdict.is_err(), unreadable_head, "{body:?}: {verdict:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off_and_passes() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\n",
    ] {
        let address = instance(move |mut stream, _| async move {
            request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        })
        .await;
        assert_eq!(ask(&Asker::new(), address).await, Ok(()));
    }
}

#[tokio::test]
async fn a_body_that_trickles_does_not_hold_up_the_answer() {
    let address = instance(|mut stream, _| async move {
        request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let asker = Asker::new();
    let asked = tokio::time::timeout(PATIENCE / 2, ask(&asker, address));
    assert_eq!(asked.await.expect("waited for the body"), Ok(()));
}

#[tokio::test]
async fn a_silent_instance_times_out_and_a_missing_one_is_refused() {
    let silent = instance(|stream, _| async move {
        let _held_open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let asker = Asker::new();
    assert_eq!(
        ask_within(&asker, silent, Duration::from_millis(150)).await,
        Err(format!("GET http://{silent}/health: timed out after 150ms"))
    );
    let nobody = nobody().await;
    assert_eq!(
        ask(&asker, nobody).await,
        Err(format!("connect to {nobody}: connection refused"))
    );
}

#[tokio::test]
async fn a_clean_connection_is_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let address = instance(move |stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        answer_all(stream, OK)
    })
    .await;
    let asker = Asker::new();
    for _ in 0..5 {
        assert_eq!(ask(&asker, address).await, Ok(()));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_reused_connection_that_was_just_closed_is_replaced_without_a_failure() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let address = instance(move |mut stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            request(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            // Taking the next request before closing is what the race looks like from outside: the
            // connection was alive when the probe chose it.
            request(&mut stream).await;
        }
    })
    .await;
    let asker = Asker::new();
    for _ in 0..5 {
        assert_eq!(ask(&asker, address).await, Ok(()));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_fresh_connection_gets_no_second_chance() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let address = instance(move |mut stream, _| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            request(&mut stream).await;
        }
    })
    .await;
    assert!(ask(&Asker::new(), address).await.is_err());
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_path_that_fits_no_request_fails_without_one() {
    let asker = Asker::new();
    for path in ["health", "/a b", "/a\r\nX: y", ""] {
        let check = check_within(PATIENCE, HttpCheck::new(path));
        let reason = words(asker.ask(&Target::plain(nobody().await), &check).await).unwrap_err();
        assert!(reason.contains("fits no request"), "{reason}");
    }
}

#[tokio::test]
async fn no_mix_of_plausible_and_broken_pieces_breaks_the_reader() {
    const PIECES: [&[u8]; 22] = [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked, x\r\n",
        b"Connection: close, keep-alive\r\n",
        b"Keep-Alive: timeout=99999999999999999999, max=x\r\n",
        b"\x80\xff: \x01\r\n",
        b" folded\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"5;a=b\r\nhello\r\n",
        b"fffffffffffffffe\r\n",
        b"7fffffffffffffff\r\nab",
        b"0\r\nTrailer: x\r\n\r\n",
        b"\0",
    ];
    let address = instance(|mut stream, number| async move {
        let mut rng = fastrand::Rng::with_seed(number as u64);
        while request(&mut stream).await.is_some() {
            for _ in 0..rng.usize(1..10) {
                let piece = PIECES[rng.usize(..PIECES.len())];
                if stream.write_all(piece).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let asker = Asker::new();
    for _ in 0..200 {
        let _pass_or_fail = ask_within(&asker, address, Duration::from_millis(5)).await;
    }
}
