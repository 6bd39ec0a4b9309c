//! Instances that listen on Unix sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::serve::ListenerExt;
use reqwest::Response;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::support::{Callboard, Setup, eventually, wire};

/// A server at a path that answers everything with its `Host`; gone when dropped.
struct Server {
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    fn at(path: &Path) -> Self {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let listener = UnixListener::bind(path).unwrap().tap_io(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let host = |headers: HeaderMap| async move {
            headers["host"].to_str().unwrap_or_default().to_owned()
        };
        let router = Router::new().fallback(host);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { connections, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A folder for sockets, and a callboard that takes those in it.
fn allowing(setup: Setup) -> (tempfile::TempDir, PathBuf, Callboard) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let allow = format!(
        "allow: [\"0.0.0.0/0\", \"unix:{}/\"]",
        folder.path().display()
    );
    let callboard = setup.registry(&allow).start();
    (folder, path, callboard)
}

fn address(path: &Path) -> String {
    format!("unix:{}", path.display())
}

async fn register(callboard: &Callboard, body: &Value) -> Response {
    let url = callboard.api("/services/web/instances/web-1");
    callboard.client.put(url).json(body).send().await.unwrap()
}

/// The field that is refused, and why.
async fn refusal(callboard: &Callboard, body: &Value) -> (String, String) {
    let reply = register(callboard, body).await;
    assert_eq!(reply.status(), 422);
    let problem: Value = reply.json().await.unwrap();
    let error = &problem["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("field"), text("detail"))
}

async fn shown(callboard: &Callboard) -> Value {
    let url = callboard.api("/services/web/instances/web-1");
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.json().await.unwrap()
}

async fn until(callboard: &Callboard, availability: &str) {
    eventually(&format!("it is {availability}"), || async {
        (shown(callboard).await["availability"] == availability).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_go_to_the_socket_over_connections_that_are_kept() {
    let (_folder, path, callboard) = allowing(Setup::default().proxy("threads: 1"));
    let server = Server::at(&path);
    let body = json!({"address": address(&path), "check": "off"});
    assert_eq!(register(&callboard, &body).await.status(), 201);
    for _ in 0..50 {
        let reply = callboard.get("/web/x").await;
        assert_eq!(reply.status(), 200);
        assert!(reply.text().await.unwrap().starts_with("127.0.0.1:"));
    }
    let connections = server.connections();
    assert!(connections < 25, "{connections} for 50 requests");
    let log = callboard.log();
    assert!(!log.contains("mismatch"), "{log}");

    // Whoever names no host asks for that of the machine.
    let old = "GET /web/x HTTP/1.0\r\n\r\n";
    let answer = wire::say(&callboard, old).await;
    assert!(answer.ends_with("localhost"), "{answer}");
}

#[tokio::test]
async fn probes_tell_whether_somebody_listens_at_the_path() {
    for check in [json!({"tcp": {}}), json!({"http": {"path": "/health"}})] {
        let (_folder, path, callboard) = allowing(Setup::default());
        let server = Server::at(&path);
        let mut check = check;
        check["interval"] = json!("100ms");
        check["rise"] = json!(1);
        let body = json!({"address": address(&path), "check": check});
        assert_eq!(register(&callboard, &body).await.status(), 201);
        until(&callboard, "ready").await;
        drop(server);
        until(&callboard, "unhealthy").await;
        let reason = shown(&callboard).await["reason"].clone();
        let reason = reason.as_str().unwrap();
        assert!(reason.contains(path.to_str().unwrap()), "{reason}");
        fs::remove_file(&path).unwrap();
        let _server = Server::at(&path);
        until(&callboard, "ready").await;
        assert_eq!(callboard.get("/web/x").await.status(), 200);
    }
}

#[tokio::test]
async fn a_socket_that_is_gone_is_told_of_by_its_path() {
    let (_folder, path, callboard) = allowing(Setup::default());
    let body = json!({"address": address(&path), "check": "off"});
    assert_eq!(register(&callboard, &body).await.status(), 201);
    let reply = callboard.get("/web/x").await;
    assert_eq!(reply.status(), 502);
    let problem = reply.text().await.unwrap();
    assert!(problem.contains(path.to_str().unwrap()), "{problem}");
}

#[tokio::test]
async fn only_what_the_operator_named_may_be_registered() {
    let callboard = Callboard::trusting();
    let (field, detail) = refusal(&callboard, &json!({"address": "unix:/run/docker.sock"})).await;
    assert_eq!(field, "address");
    assert!(detail.contains("that is not allowed"), "{detail}");

    let (folder, path, callboard) = allowing(Setup::default());
    let folder = folder.path().display();
    for (wrong, why) in [
        (format!("unix:{folder}/../docker.sock"), "without . and .."),
        (format!("unix:{folder}2/a.sock"), "that is not allowed"),
        (format!("unix:{folder}"), "that is not allowed"),
        ("unix:a.sock".to_owned(), "a Unix socket such as"),
    ] {
        let (field, detail) = refusal(&callboard, &json!({ "address": wrong })).await;
        assert_eq!(field, "address");
        assert!(detail.contains(why), "{detail}");
    }
    let both = json!({"address": address(&path), "port": 80});
    assert_eq!(refusal(&callboard, &both).await.0, "port");
}

#[tokio::test]
async fn callboards_own_sockets_are_no_instances() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let callboard = Callboard::start(&format!(
        "proxy: {{listen: [\"127.0.0.1:0\", \"{}\"]}}\n\
         registry: {{listen: \"127.0.0.1:0\", allow: [\"unix:/\"], admission: trust}}\n",
        address(&path)
    ));
    let upgrade = callboard.folder().join("data/callboard.sock");
    for own in [path, upgrade] {
        assert!(own.exists());
        let (field, detail) = refusal(&callboard, &json!({"address": address(&own)})).await;
        assert_eq!(field, "address");
        assert!(detail.contains("callboard's own"), "{detail}");
    }
}

#[tokio::test]
async fn it_is_shown_everywhere_and_survives() {
    let (_folder, path, mut callboard) = allowing(Setup::default().registry("admission: trust"));
    let server = Server::at(&path);
    let plain = json!({"port": 1, "lease": null, "check": "off"});
    assert_eq!(register(&callboard, &plain).await.status(), 201);
    let version = |callboard: &Callboard| -> i32 {
        let db = Connection::open(callboard.folder().join("data/callboard.db")).unwrap();
        db.pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    // What an earlier callboard understands is left to it.
    assert_eq!(version(&callboard), 1);

    let place = address(&path);
    let body = json!({"address": place, "lease": null, "check": "off"});
    let reply: Value = register(&callboard, &body).await.json().await.unwrap();
    assert_eq!(
        (&reply["address"], &reply["port"]),
        (&json!(place), &Value::Null)
    );
    assert_eq!(version(&callboard), 2);
    let journal = callboard.api("/journal");
    let journal: Value = (callboard.client.get(journal).send().await.unwrap())
        .json()
        .await
        .unwrap();
    let journal = journal.to_string();
    assert!(
        journal.contains(&place) && journal.contains("\"port\":null"),
        "{journal}"
    );
    let told = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(["journal", "--registry", &callboard.registry])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&place), "{told}");

    callboard.crash_and_restart(|_| {});
    assert_eq!(shown(&callboard).await["address"], place);
    assert_eq!(callboard.get("/web/x").await.status(), 200);
    drop(server);
}

#[tokio::test]
async fn a_mirror_on_the_same_machine_has_it_where_it_is_allowed() {
    let (folder, path, origin) = allowing(Setup::default().registry("admission: trust"));
    let _server = Server::at(&path);
    let body = json!({"address": address(&path), "check": "off"});
    assert_eq!(register(&origin, &body).await.status(), 201);
    let pull = format!("pull: [\"{}\"]", origin.registry);
    let allow = format!("allow: [\"unix:{}/\"]", folder.path().display());
    let mirror = Setup::default().registry(&pull).registry(&allow).start();
    eventually("the mirror passes requests on", || async {
        (mirror.get("/web/x").await.status() == 200).then_some(())
    })
    .await;
    let narrow = Setup::default().registry(&pull).start();
    eventually("the other says why it does not", || async {
        let log = narrow.log();
        (log.contains("skipped web/web-1") && log.contains("that is not allowed")).then_some(())
    })
    .await;
    assert_eq!(narrow.get("/web/x").await.status(), 404);
}

/// Answers every request to switch protocols at once, then echoes.
async fn echoes(listener: UnixListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let switched = "HTTP/1.1 101 Switching Protocols\r\n\
                            Connection: upgrade\r\nUpgrade: websocket\r\n\r\n";
            stream.write_all(switched.as_bytes()).await?;
            let (mut reading, mut writing) = stream.split();
            tokio::io::copy(&mut reading, &mut writing).await
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_is_spoken_over_the_socket() {
    let (_folder, path, callboard) = allowing(Setup::default());
    let server = tokio::spawn(echoes(UnixListener::bind(&path).unwrap()));
    let body = json!({"address": address(&path), "check": "off"});
    assert_eq!(register(&callboard, &body).await.status(), 201);
    for round in 0..100 {
        let mut stream = wire::connect(&callboard).await;
        let asked =
            "GET /web/x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(asked.as_bytes()).await.unwrap();
        let head = wire::read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{round}: {head}");
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello", "{round}");
    }
    server.abort();
}
