//! Clients that leave before they have all they asked for, and what becomes of everybody else.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::scripted::{Scripted, Step};
use crate::support::wire::{connect, read_head, read_one};
use crate::support::{Callboard, Setup, eventually};

use Step::{ReadBody, Repeat, Say, Stall};

const GET: &str = "GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
const BEGUN: &str = "POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
const LINE: &str = "and more and more and more and more and more and more and more\n";

/// A callboard that logs what it is asked, with an instance of `web`.
async fn with_web(steps: Vec<Step>) -> (Callboard, Scripted) {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, outlier: {consecutive_failures: 1}}")
        .top("telemetry: {access_log: {path: access.log, format: json}}")
        .start();
    let web = Scripted::always("web-1", steps).await;
    callboard.register_scripted("web", &web).await;
    (callboard, web)
}

/// The lines of the access log, when there are as many.
async fn lines(callboard: &Callboard, count: usize) -> Vec<Value> {
    let path = callboard.folder().join("access.log");
    eventually(&format!("{count} requests are over"), || async {
        let log = std::fs::read_to_string(&path).ok()?;
        let lines: Vec<_> = log.lines().collect();
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        (log.lines().count() == count).then(|| lines.collect())
    })
    .await
}

/// How many requests `web-1` has in hand, and how it stands.
async fn standing(callboard: &Callboard) -> (u64, String) {
    let url = callboard.api("/services/web/instances/web-1");
    let reply = callboard.client.get(url).send().await.unwrap();
    let now: Value = reply.json().await.unwrap();
    let availability = now["availability"].as_str().unwrap().to_owned();
    (now["in_flight"].as_u64().unwrap(), availability)
}

/// Closes the connection, kindly or with a reset.
fn leave(stream: TcpStream, kindly: bool) {
    if !kindly {
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[tokio::test]
async fn who_leaves_is_told_of_and_takes_its_connection_to_the_instance_along() {
    for (what, steps, request, status) in [
        ("before the answer", vec![Stall], GET, 499),
        ("within its body", vec![ReadBody, Stall], BEGUN, 499),
        (
            "within the answer",
            vec![
                Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
                Stall,
            ],
            GET,
            200,
        ),
        (
            "within an answer without end",
            vec![Say("HTTP/1.1 200 OK\r\n\r\n"), Repeat(LINE, Duration::ZERO)],
            GET,
            200,
        ),
    ] {
        let (callboard, web) = with_web(steps).await;
        for (number, kindly) in [true, false].into_iter().enumerate() {
            let mut stream = connect(&callboard).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            eventually("the instance is asked", || async {
                (web.hits() > number).then_some(())
            })
            .await;
            if status == 200 {
                assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
                stream.read_u8().await.unwrap();
            }
            leave(stream, kindly);
            let lines = lines(&callboard, number + 1).await;
            let line = &lines[number];
            assert_eq!(line["status"], status, "{what}: {line}");
            assert_eq!(line["error"], "client_gone", "{what}: {line}");
            assert_eq!(line["attempts"], 1, "{what}: {line}");
        }
        // That one has left says nothing of the instance.
        let ready = (0, "ready".to_owned());
        assert_eq!(standing(&callboard).await, ready, "{what}");
        assert_eq!(web.connections(), 2, "{what}");
        eventually("the instance's connections are closed", || async {
            (web.open() == 0).then_some(())
        })
        .await;
        assert!(!callboard.log().contains("panicked"), "{what}");
    }
}

#[tokio::test]
async fn who_leaves_does_not_disturb_who_stays() {
    let ok = Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (callboard, web) = with_web(vec![ReadBody, ok]).await;
    for number in 0..200 {
        let mut leaving = connect(&callboard).await;
        let request = if number % 3 == 0 { BEGUN } else { GET };
        leaving.write_all(request.as_bytes()).await.unwrap();
        leave(leaving, number % 2 == 0);
        let mut staying = connect(&callboard).await;
        for _ in 0..3 {
            staying.write_all(GET.as_bytes()).await.unwrap();
            let reply = read_one(&mut staying).await.unwrap();
            assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
            assert!(reply.ends_with("\r\n\r\nok"), "{reply}");
        }
    }
    eventually("nothing is in flight", || async {
        (standing(&callboard).await == (0, "ready".to_owned())).then_some(())
    })
    .await;
    assert!(web.open() < 20, "{} connections stay", web.open());
}
