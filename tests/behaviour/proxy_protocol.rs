//! The PROXY protocol: from balancers in front, and towards instances.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::talker::{Talker, echo, read_line};
use crate::support::wire::{read_all, read_one};
use crate::support::{Callboard, Instance, Setup, eventually, peers};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A callboard whose second listener speaks HTTP and wants a header.
async fn behind_a_balancer() -> (Callboard, Instance) {
    let callboard = Setup::default()
        .registry("admission: trust")
        .proxy("clients: {head_timeout: 300ms}")
        .listener("proxy_protocol: on")
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    (callboard, web)
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

/// Whom a request behind `header` is forwarded for.
async fn forwarded_for(callboard: &Callboard, header: &[u8]) -> String {
    let mut stream = callboard.dial(1).await;
    // In two parts, and the last of them along with what follows.
    let (first, second) = header.split_at(header.len() / 2);
    stream.write_all(first).await.unwrap();
    let request = b"GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    stream.write_all(&[second, request].concat()).await.unwrap();
    let reply = read_one(&mut stream).await.unwrap();
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    let echo: Value = serde_json::from_str(body).unwrap();
    echo["headers"]["x-forwarded-for"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_address_in_the_header_is_the_client_s() {
    let (callboard, _web) = behind_a_balancer().await;
    let inet = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
    let with_more = [&inet[..], &[3, 0, 4, 0, 0, 0, 0], &[0x20, 0, 2, 1, 2]].concat();
    let mut inet6 = [0; 36];
    inet6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    inet6[15] = 7;
    let text = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    for (header, client) in [
        (text.to_vec(), "203.0.113.7"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &inet), "203.0.113.7"),
        (v2(0x21, 0x11, &with_more), "203.0.113.7"),
        (v2(0x21, 0x21, &inet6), "2001:db8::7"),
        (v2(0x21, 0x31, &[b'x'; 216]), "127.0.0.1"),
        (v2(0x20, 0x00, &[]), "127.0.0.1"),
    ] {
        assert_eq!(
            forwarded_for(&callboard, &header).await,
            client,
            "{header:?}"
        );
    }
}

#[tokio::test]
async fn curl_is_answered_behind_its_header() {
    let Some(curl) = peers::program("curl", "curl_is_answered_behind_its_header") else {
        return;
    };
    let (callboard, _web) = behind_a_balancer().await;
    let url = format!("http://127.0.0.1:{}/web/", callboard.port(1));
    let run = tokio::task::spawn_blocking(move || {
        Command::new(curl)
            .args(["-sS", "--max-time", "20", "--haproxy-protocol", &url])
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let echo: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(echo["headers"]["x-forwarded-for"], "127.0.0.1");
}

#[tokio::test]
async fn without_a_whole_header_in_time_the_connection_is_closed() {
    let (callboard, web) = behind_a_balancer().await;
    let request = b"GET /web/ HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
    for start in [
        &b""[..],
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
        b"PROXY TCP4 203.0.113.7 ::1 1 2\r\n",
        &long,
        &v2(0x21, 0x11, &[0; 3]),
        &v2(0x31, 0x11, &[0; 12]),
        &v2(0x21, 0x00, &[0; 5_000]),
    ] {
        let mut stream = callboard.dial(1).await;
        // It may be closed before all of it is sent.
        let _ = stream.write_all(&[start, request].concat()).await;
        assert_eq!(read_all(&mut stream).await, "", "{start:?}");
    }
    // Who sends a byte now and then does not get more time for it.
    let mut slow = callboard.dial(1).await;
    for &byte in b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n"
        .iter()
        .cycle()
    {
        if slow.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(read_all(&mut slow).await, "");
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn instances_are_told_where_connections_are_from() {
    for version in ["v1", "v2"] {
        let callboard = Setup::default()
            .registry("admission: trust")
            .listener("protocol: tcp, service: db")
            .top(&format!("services: {{db: {{proxy_protocol: {version}}}}}"))
            .start();
        let talker = Talker::start("a").await;
        callboard.register_talker("db", &talker).await;
        let mut stream = callboard.dial(1).await;
        assert_eq!(read_line(&mut stream).await, "a");
        stream.write_all(b"data").await.unwrap();
        let (client, local) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        let header = if version == "v1" {
            let (from, to) = (client.port(), local.port());
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes()
        } else {
            let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
            v2(
                0x21,
                0x11,
                &[&[127, 0, 0, 1, 127, 0, 0, 1][..], &ports].concat(),
            )
        };
        let expected = [&header[..], b"data"].concat();
        eventually("the instance has heard all", || async {
            (talker.heard().len() >= expected.len()).then_some(())
        })
        .await;
        assert_eq!(talker.heard(), expected);
    }
}

#[tokio::test]
async fn what_one_balancer_says_is_passed_on_to_the_next() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .listener("protocol: tcp, service: db, proxy_protocol: on")
        .top("services: {db: {proxy_protocol: v1}}")
        .start();
    let talker = Talker::start("a").await;
    callboard.register_talker("db", &talker).await;
    let header = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 5432\r\n";
    let mut stream = callboard.dial(1).await;
    stream.write_all(header.as_bytes()).await.unwrap();
    assert_eq!(read_line(&mut stream).await, "a");
    assert_eq!(read_line(&mut stream).await, header.trim_end_matches('\n'));
    assert_eq!(echo(&mut stream, "data").await, "data");
    assert_eq!(talker.heard(), format!("{header}data").as_bytes());
}
