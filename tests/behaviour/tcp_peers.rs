//! Brokers and databases behind TCP listeners, with clients of their own.

use std::fs;
use std::process::Command;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::peers::{self, Server};
use crate::support::{Callboard, Setup, eventually, tally};

/// A Redis, and the folder it runs in.
struct Redis {
    server: Server,
    port: u16,
    _folder: tempfile::TempDir,
}

/// A Redis whose key `id` says `id`; `None` without a Redis on this machine.
async fn redis(id: &str, test: &str) -> Option<Redis> {
    let program = peers::program("redis-server", test)?;
    let folder = tempfile::tempdir().unwrap();
    let port = peers::free_port();
    let server = Server::start(
        Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(folder.path()),
    );
    eventually("Redis listens", || async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        let said = ask(&mut stream, &format!("SET id {id}")).await?;
        (said == "+OK").then_some(())
    })
    .await;
    Some(Redis {
        server,
        port,
        _folder: folder,
    })
}

/// The last line of the answer to an inline command; `None` when the connection has ended.
async fn ask(stream: &mut TcpStream, command: &str) -> Option<String> {
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = Vec::new();
    loop {
        answer.push(stream.read_u8().await.ok()?);
        let text = String::from_utf8_lossy(&answer);
        let lines = if text.starts_with('$') { 2 } else { 1 };
        if text.ends_with('\n') && text.lines().count() == lines {
            return text.lines().last().map(str::to_owned);
        }
    }
}

/// Runs a script of `tests/peers` against the second listener.
async fn run(callboard: &Callboard, script: &str, test: &str) {
    let Some(python) = peers::python(test) else {
        return;
    };
    let mut command = Command::new(python);
    command
        .arg(peers::script(script))
        .arg(callboard.port(1).to_string());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn setup() -> Setup {
    Setup::default()
        .registry("admission: trust")
        .listener("protocol: tcp, service: broker")
}

#[tokio::test]
async fn redis_clients_pipeline_store_and_subscribe() {
    let test = "redis_clients_pipeline_store_and_subscribe";
    let Some(redis) = redis("only", test).await else {
        return;
    };
    let callboard = setup().start();
    callboard
        .register_port("broker", "only", redis.port, json!({}))
        .await;
    run(&callboard, "redis_client.py", test).await;
}

#[tokio::test]
async fn connections_to_a_redis_that_is_killed_break_and_new_ones_go_elsewhere() {
    let test = "connections_to_a_redis_that_is_killed_break_and_new_ones_go_elsewhere";
    let callboard = setup().start();
    let mut servers = Vec::new();
    for id in ["one", "two"] {
        let Some(redis) = redis(id, test).await else {
            return;
        };
        callboard
            .register_port("broker", id, redis.port, json!({}))
            .await;
        servers.push(redis);
    }
    let mut held = Vec::new();
    for _ in 0..10 {
        let mut stream = callboard.dial(1).await;
        let id = ask(&mut stream, "GET id").await.unwrap();
        held.push((id, stream));
    }
    let ids = held.iter().map(|(id, _)| id.clone());
    assert_eq!(tally(ids), [("one".to_owned(), 5), ("two".to_owned(), 5)]);
    servers[0].server.kill();
    for (id, stream) in &mut held {
        let answer = ask(stream, "GET id").await;
        let expected = (id == "two").then(|| "two".to_owned());
        assert_eq!(answer, expected);
    }
    for _ in 0..10 {
        let answer = ask(&mut callboard.dial(1).await, "GET id").await;
        assert_eq!(answer.as_deref(), Some("two"));
    }
}

#[tokio::test]
async fn mqtt_clients_publish_and_subscribe() {
    let test = "mqtt_clients_publish_and_subscribe";
    let Some(program) = peers::program("mosquitto", test) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let port = peers::free_port();
    let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\n");
    fs::write(folder.path().join("mosquitto.conf"), config).unwrap();
    let _server = Server::start(
        Command::new(program)
            .args(["-c", "mosquitto.conf"])
            .current_dir(folder.path()),
    );
    eventually("the broker listens", || async {
        TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let callboard = setup().start();
    callboard
        .register_port("broker", "only", port, json!({}))
        .await;
    run(&callboard, "mqtt_client.py", test).await;
}
