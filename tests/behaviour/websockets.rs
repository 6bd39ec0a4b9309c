//! WebSocket as the `websockets` package for Python speaks it, on both sides.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::support::{Callboard, Setup, eventually, peers};

/// A script of `tests/peers`; killed when dropped.
struct Peer {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// `None` where Python's peers are missing.
    fn start(script: &str, arguments: &[&str], test: &str) -> Option<Self> {
        let mut process = Command::new(peers::python(test)?)
            .arg(peers::script(script))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { process, lines })
    }

    /// The next line; nothing if there is none.
    async fn line(self) -> (String, Self) {
        let read = tokio::task::spawn_blocking(move || {
            let mut peer = self;
            let line = peer.lines.next().and_then(Result::ok);
            (line.unwrap_or_default(), peer)
        });
        read.await.unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A callboard in front of an echo.
async fn with_echo(setup: Setup, test: &str) -> Option<(Callboard, Peer, String)> {
    let echo = Peer::start("websocket_server.py", &[], test)?;
    let callboard = setup.registry("admission: trust").start();
    let (port, echo) = echo.line().await;
    let body = json!({"address": "127.0.0.1", "port": port.parse::<u16>().unwrap()});
    let url = callboard.api("/services/ws/instances/ws-1");
    let reply = callboard.client.put(url).json(&body).send().await.unwrap();
    assert!(reply.status().is_success(), "{reply:?}");
    let url = callboard.url("/ws").replace("http://", "ws://");
    Some((callboard, echo, url))
}

/// A client that has said hello and waits for the end.
async fn waiting(url: &str, test: &str) -> Peer {
    let client = Peer::start("websocket_client.py", &[url, "--wait"], test).unwrap();
    let (hello, client) = client.line().await;
    assert_eq!(hello, "hello");
    client
}

#[tokio::test]
async fn everything_that_a_websocket_can_carry_passes() {
    let test = "everything_that_a_websocket_can_carry_passes";
    let Some((callboard, _echo, url)) = with_echo(Setup::default(), test).await else {
        return;
    };
    let client = Peer::start("websocket_client.py", &[&url], test).unwrap();
    assert_eq!(client.line().await.0, "ok");
    callboard.until_in_flight("ws", "ws-1", 0).await;
    let described = callboard.described("ws", "ws-1").await;
    assert!(described["served"].as_u64().unwrap() >= 200, "{described}");
}

#[tokio::test]
async fn a_drain_is_told_to_client_and_instance() {
    let test = "a_drain_is_told_to_client_and_instance";
    let setup = Setup::default().top("defaults: {drain: 300ms}");
    let Some((callboard, echo, url)) = with_echo(setup, test).await else {
        return;
    };
    let client = waiting(&url, test).await;
    callboard.until_in_flight("ws", "ws-1", 1).await;
    let url = callboard.api("/services/ws/instances/ws-1/drain");
    let reply = callboard.client.put(url).send().await.unwrap();
    assert_eq!(reply.status(), 202);
    assert_eq!(client.line().await.0, "closed 1001");
    assert_eq!(echo.line().await.0, "closed 1001");
    callboard.until_in_flight("ws", "ws-1", 0).await;
}

#[tokio::test]
async fn an_instance_that_is_killed_takes_its_clients_connections_along() {
    let test = "an_instance_that_is_killed_takes_its_clients_connections_along";
    let Some((callboard, echo, url)) = with_echo(Setup::default(), test).await else {
        return;
    };
    let client = waiting(&url, test).await;
    callboard.until_in_flight("ws", "ws-1", 1).await;
    drop(echo);
    assert_eq!(client.line().await.0, "closed 1006");
    eventually("nothing is in flight", || async {
        let now = callboard.described("ws", "ws-1").await;
        (now["in_flight"] != 1).then_some(())
    })
    .await;
}
