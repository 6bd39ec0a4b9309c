//! TCP listeners: connections are balanced like requests, and what they carry is passed on as it is.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::talker::{Manner, Talker, echo, read_line};
use crate::support::{Callboard, Setup, eventually, tally};

const LISTENER: &str = "protocol: tcp, service: db";

/// A callboard whose second listener is for the service `db`.
fn setup() -> Setup {
    Setup::default()
        .registry("admission: trust")
        .listener(LISTENER)
}

/// `count` connections, and who took each of them.
async fn connect(callboard: &Callboard, count: usize) -> (Vec<TcpStream>, Vec<String>) {
    let (mut streams, mut names) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut stream = callboard.dial(1).await;
        names.push(read_line(&mut stream).await);
        streams.push(stream);
    }
    (streams, names)
}

#[tokio::test]
async fn connections_go_to_the_instance_with_the_fewest_open_ones() {
    let callboard = setup().start();
    let (a, b) = (Talker::start("a").await, Talker::start("b").await);
    callboard.register_talker("db", &a).await;
    callboard.register_talker("db", &b).await;
    let (mut streams, names) = connect(&callboard, 10).await;
    let even = [("a".to_owned(), 5), ("b".to_owned(), 5)];
    assert_eq!(tally(names.clone()), even);
    for stream in &mut streams {
        assert_eq!(echo(stream, "a question").await, "a question");
    }
    // When those of one are closed, it has room for as many.
    let kept: Vec<_> = streams
        .into_iter()
        .zip(&names)
        .filter(|(_, name)| *name == "b")
        .collect();
    eventually("a has no connections left", || async {
        (a.open() == 0).then_some(())
    })
    .await;
    eventually("callboard has noticed", || async {
        let open = "callboard_tcp_connections{service=\"db\",protocol=\"tcp\"} 5\n";
        callboard.metrics().await.contains(open).then_some(())
    })
    .await;
    let (_streams, names) = connect(&callboard, 5).await;
    assert_eq!(tally(names), [("a".to_owned(), 5)]);
    assert_eq!((a.open(), b.open(), kept.len()), (5, 5, 5));
}

#[tokio::test]
async fn an_instance_that_cannot_be_connected_to_is_passed_over() {
    let callboard = setup().start();
    let live = Talker::start("live").await;
    let dead = Talker::start("dead").await;
    callboard.register_talker("db", &live).await;
    callboard.register_talker("db", &dead).await;
    let port = dead.port;
    drop(dead);
    eventually("nobody takes its connections", || async {
        TcpStream::connect(("127.0.0.1", port))
            .await
            .err()
            .map(drop)
    })
    .await;
    let (_streams, names) = connect(&callboard, 8).await;
    assert_eq!(tally(names), [("live".to_owned(), 8)]);
}

#[tokio::test]
async fn an_instance_that_resets_what_it_is_given_is_ejected() {
    let callboard = setup()
        .top("defaults: {outlier: {consecutive_failures: 3}, balance: round_robin}")
        .start();
    let well = Talker::start("well").await;
    let ill = Talker::with_manner("ill", Manner::Resets).await;
    callboard.register_talker("db", &well).await;
    callboard.register_talker("db", &ill).await;
    eventually("it is ejected", || async {
        let mut stream = callboard.dial(1).await;
        stream.write_all(b"x").await.unwrap();
        read_line(&mut stream).await;
        (callboard.availability("db", "ill").await == "ejected").then_some(())
    })
    .await;
    let (_streams, names) = connect(&callboard, 6).await;
    assert_eq!(tally(names), [("well".to_owned(), 6)]);
}

#[tokio::test]
async fn what_is_said_after_the_other_side_has_ended_arrives() {
    let callboard = setup().start();
    let counter = Talker::with_manner("counter", Manner::Counts).await;
    callboard.register_talker("db", &counter).await;
    let mut stream = callboard.dial(1).await;
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "100000");
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let callboard = setup().start();
    let ill = Talker::with_manner("ill", Manner::Resets).await;
    callboard.register_talker("db", &ill).await;
    let mut stream = callboard.dial(1).await;
    stream.write_all(b"x").await.unwrap();
    let error = stream.read_u8().await.unwrap_err().kind();
    assert_eq!(error, std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn connections_that_nobody_takes_are_closed_and_logged_once_a_minute() {
    let callboard = setup().start();
    for _ in 0..5 {
        assert_eq!(read_line(&mut callboard.dial(1).await).await, "");
    }
    let said = "db: a TCP connection is closed unserved: no instance is available";
    assert_eq!(callboard.log().matches(said).count(), 1);
    let failures = "callboard_tcp_failures_total{reason=\"unavailable\",service=\"db\",\
                    protocol=\"tcp\"} 5\n";
    let metrics = callboard.metrics().await;
    assert!(metrics.contains(failures), "{metrics}");
}

#[tokio::test]
async fn a_connection_is_held_until_there_is_an_instance() {
    let callboard = setup().top("services: {db: {hold: 20s}}").start();
    let late = Talker::start("late").await;
    let mut stream = callboard.dial(1).await;
    eventually("it is accepted", || async {
        let open = "callboard_tcp_connections{service=\"db\",protocol=\"tcp\"} 1\n";
        callboard.metrics().await.contains(open).then_some(())
    })
    .await;
    callboard.register_talker("db", &late).await;
    assert_eq!(read_line(&mut stream).await, "late");
}

#[tokio::test]
async fn more_connections_than_an_instance_may_have_are_closed() {
    let limits = "limits: {in_flight_per_instance: 1, queue: 0}";
    let callboard = setup()
        .top(&format!("services: {{db: {{{limits}}}}}"))
        .start();
    let only = Talker::start("only").await;
    callboard.register_talker("db", &only).await;
    let (_first, names) = connect(&callboard, 1).await;
    assert_eq!(names, ["only"]);
    assert_eq!(read_line(&mut callboard.dial(1).await).await, "");
    assert!(
        callboard
            .metrics()
            .await
            .contains("{reason=\"over_limit\",service=\"db\",protocol=\"tcp\"} 1\n")
    );
}

#[tokio::test]
async fn silence_ends_a_connection_when_the_settings_say_so() {
    let callboard = setup()
        .top("services: {db: {timeouts: {tunnel: 200ms}}}")
        .start();
    let talker = Talker::start("a").await;
    callboard.register_talker("db", &talker).await;
    let mut stream = callboard.dial(1).await;
    assert_eq!(read_line(&mut stream).await, "a");
    assert_eq!(read_line(&mut stream).await, "");
    eventually("the instance's side is closed too", || async {
        (talker.open() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn clients_are_hashed_by_their_address() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .listener("protocol: tcp, service: db, proxy_protocol: on")
        .top("services: {db: {balance: maglev, bounded_load: off}}")
        .start();
    let talkers = [
        Talker::start("a").await,
        Talker::start("b").await,
        Talker::start("c").await,
    ];
    for talker in &talkers {
        callboard.register_talker("db", talker).await;
    }
    let mut names = Vec::new();
    for client in 0..20 {
        let mut of_client = Vec::new();
        for port in 1..4 {
            let mut stream = callboard.dial(1).await;
            let header = format!("PROXY TCP4 10.0.0.{client} 10.1.0.1 {port} 80\r\n");
            stream.write_all(header.as_bytes()).await.unwrap();
            of_client.push(read_line(&mut stream).await);
        }
        assert_eq!(tally(of_client.clone()).len(), 1, "{of_client:?}");
        names.extend(of_client.pop());
    }
    assert_eq!(tally(names).len(), 3);
}

#[tokio::test]
async fn much_passes_through_without_being_kept() {
    const SIZE: usize = 200 << 20;
    const CHUNK: usize = 1 << 20;
    let callboard = setup().start();
    let talker = Talker::start("a").await;
    callboard.register_talker("db", &talker).await;
    let mut stream = callboard.dial(1).await;
    assert_eq!(read_line(&mut stream).await, "a");
    let before = callboard.resident();
    let (mut reader, mut writer) = stream.into_split();
    let writing = tokio::spawn(async move {
        let chunk: Vec<u8> = (0..CHUNK).map(|n| (n % 251) as u8).collect();
        for _ in 0..SIZE / CHUNK {
            writer.write_all(&chunk).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    let mut chunk = vec![0; CHUNK];
    let mut most = 0;
    for _ in 0..SIZE / CHUNK {
        reader.read_exact(&mut chunk).await.unwrap();
        assert!((chunk.iter().enumerate()).all(|(n, &byte)| byte == (n % 251) as u8));
        most = most.max(callboard.resident());
    }
    assert_eq!(reader.read(&mut chunk).await.unwrap(), 0);
    writing.await.unwrap();
    assert!(most < before + (16 << 20), "{before} bytes became {most}");
    let metrics = callboard.metrics().await;
    let received =
        format!("callboard_tcp_received_bytes_total{{service=\"db\",protocol=\"tcp\"}} {SIZE}\n");
    assert!(metrics.contains(&received), "{metrics}");
}

#[tokio::test]
async fn instances_say_that_they_speak_tcp_or_tls_and_are_checked_by_connecting() {
    let callboard = Setup::default().listener(LISTENER).start();
    let talker = Talker::start("a").await;
    callboard
        .register_port("db", "a", talker.port, json!({"check": null}))
        .await;
    eventually("its probe has passed", || async {
        (callboard.availability("db", "a").await == "ready").then_some(())
    })
    .await;
    assert_eq!(read_line(&mut callboard.dial(1).await).await, "a");
}
