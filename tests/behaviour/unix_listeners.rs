//! Clients that connect over Unix sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Predecessor, eventually, peers, run_to_end};

/// The configuration of a callboard that also listens as `socket` says.
fn yaml(socket: &str, proxy: &str) -> String {
    format!(
        "proxy:\n  listen: [\"127.0.0.1:0\", {socket}]\n{proxy}\
         registry:\n  listen: \"127.0.0.1:0\"\n  admission: trust\n"
    )
}

fn at(path: &Path) -> String {
    format!("\"unix:{}\"", path.display())
}

/// Calls over the socket at `path`, each on a connection of its own.
fn client(path: &Path) -> Client {
    Client::builder()
        .unix_socket(path)
        .pool_max_idle_per_host(0)
        .build()
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Waits until the process whose place was taken has left.
async fn left(old: &mut Predecessor) {
    for _ in 0..2_000 {
        if !old.runs() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the process before stays");
}

/// The headers of a request for `/web/x` over the socket, as the instance got them.
async fn headers(path: &Path, told: &[(&str, &str)]) -> Value {
    let mut request = client(path).get("http://shop.example.com/web/x");
    for (name, value) in told {
        request = request.header(*name, *value);
    }
    let reply: Value = request.send().await.unwrap().json().await.unwrap();
    reply["headers"].clone()
}

#[tokio::test]
async fn requests_come_over_a_socket_that_only_those_may_use_who_should() {
    let folder = tempfile::tempdir().unwrap();
    let (open, closed) = (folder.path().join("a.sock"), folder.path().join("b.sock"));
    let both = format!("{}, {{address: {}, mode: \"600\"}}", at(&open), at(&closed));
    let callboard = Callboard::start(&yaml(&both, ""));
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    assert_eq!((mode(&open), mode(&closed)), (0o660, 0o600));
    for path in [&open, &closed] {
        let reply = client(path).get("http://localhost/web/x").send().await;
        assert_eq!(reply.unwrap().status(), 200);
    }
    let Some(curl) = peers::program("curl", "requests over a Unix socket") else {
        return;
    };
    let called = Command::new(curl)
        .args(["-sS", "--max-time", "20", "--unix-socket"])
        .arg(&open)
        .args(["http://localhost/web/1", "http://localhost/web/2"])
        .output()
        .unwrap();
    let answers = String::from_utf8(called.stdout).unwrap();
    assert_eq!(answers.matches("\"id\":\"web-1\"").count(), 2, "{answers}");
}

#[tokio::test]
async fn a_path_is_taken_from_the_dead_and_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mut callboard = Callboard::start(&yaml(&at(&path), ""));
    assert!(client(&path).get("http://a/").send().await.is_ok());

    let config = folder.path().join("second.yaml");
    let refused = |socket: &str| {
        let yaml = yaml(socket, "  upgrade_socket: off\n") + "  store: memory\n";
        fs::write(&config, yaml).unwrap();
        let ended = run_to_end(&["run", "--config", config.to_str().unwrap()]);
        assert!(!ended.status.success());
        String::from_utf8(ended.stderr).unwrap()
    };
    let told = refused(&at(&path));
    assert!(told.contains("(proxy.listen)"), "{told}");
    assert!(told.contains("another process listens there"), "{told}");
    assert!(client(&path).get("http://a/").send().await.is_ok());
    let told = refused(&at(&folder.path().join("missing/a.sock")));
    assert!(told.contains("there is no folder"), "{told}");

    callboard.crash_and_restart(|_| assert!(path.exists()));
    assert!(client(&path).get("http://a/").send().await.is_ok());
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!path.exists());
}

#[tokio::test]
async fn a_request_that_came_before_the_end_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut callboard = Callboard::start(&yaml(&at(&path), ""));
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = tokio::spawn(client(&path).get("http://a/web/held").send());
    eventually("it is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    callboard.signal("TERM");
    eventually("the file is gone", || async {
        (!path.exists()).then_some(())
    })
    .await;
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert!(callboard.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_upgrades() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut callboard = Callboard::start(&yaml(&at(&path), ""));
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let calling = tokio::spawn({
        let (stop, answered, path) = (stop.clone(), answered.clone(), path.clone());
        async move {
            let mut failed = Vec::new();
            let client = client(&path);
            while !stop.load(Ordering::Relaxed) {
                match client.post("http://a/web/x").body("x").send().await {
                    Ok(reply) if reply.status() == 200 => {}
                    other => failed.push(format!("{other:?}")),
                }
                answered.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            failed
        }
    });
    for _ in 0..3 {
        let before = answered.load(Ordering::Relaxed);
        eventually("requests were answered", || async {
            (answered.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
        let mut old = tokio::task::block_in_place(|| callboard.upgrade());
        left(&mut old).await;
        assert!(path.exists());
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(calling.await.unwrap(), Vec::<String>::new());
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_may_add_drop_and_change_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] =
        ["a.sock", "b.sock", "c.sock"].map(|name| folder.path().join(name));
    let mut callboard = Callboard::start(&yaml(&format!("{}, {}", at(&first), at(&second)), ""));
    let both = format!(
        "{{address: {}, mode: \"666\"}}, {}",
        at(&second),
        at(&third)
    );
    callboard.rewrite_raw(&yaml(&both, ""));
    let mut old = tokio::task::block_in_place(|| callboard.upgrade());
    left(&mut old).await;
    eventually("what nobody listens at is gone", || async {
        (!first.exists() && mode(&second) == 0o666).then_some(())
    })
    .await;
    for path in [&second, &third] {
        assert!(client(path).get("http://a/").send().await.is_ok());
    }
}

#[tokio::test]
async fn a_client_without_an_address_is_believed_only_if_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let told = [
        ("X-Forwarded-For", "198.51.100.9"),
        ("Forwarded", "for=198.51.100.9"),
        ("X-Forwarded-Proto", "https"),
    ];
    for (trusted, forwarded_for, forwarded, proto) in [
        ("", Value::Null, "for=unknown", "http"),
        (
            "  trusted_proxies: [unix]\n",
            json!("198.51.100.9"),
            "for=198.51.100.9, for=unknown",
            "https",
        ),
    ] {
        let callboard = Callboard::start(&yaml(&at(&path), trusted));
        let web = Instance::start("web-1");
        callboard.register("web", &web, json!({})).await;
        let headers = headers(&path, &told).await;
        assert_eq!(headers["x-forwarded-for"], forwarded_for);
        let start = headers["forwarded"].as_str().unwrap();
        assert!(start.starts_with(forwarded), "{start}");
        assert_eq!(headers["x-forwarded-proto"], proto);
    }
}

#[tokio::test]
async fn the_control_plane_may_be_at_a_path_where_callers_are_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("board.sock");
    let yaml = format!(
        "proxy: {{listen: \"127.0.0.1:0\"}}\nregistry:\n  listen: {}\n  admission: trust\n",
        at(&path)
    );
    let mut callboard = Callboard::start(&yaml);
    assert_eq!(callboard.registry, format!("unix:{}", path.display()));
    assert_eq!(mode(&path), 0o660);
    let web = Instance::start("web-1");
    let reply = client(&path)
        .put("http://localhost/api/v1/services/web/instances/web-1")
        .json(&json!({"port": web.port}))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 201);
    let reply: Value = reply.json().await.unwrap();
    assert_eq!(reply["address"], "127.0.0.1");
    assert_eq!(callboard.answerer("/web/x").await, "web-1");
    let told = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(["journal", "--registry", &callboard.registry])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("web/web-1"), "{told}");
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!path.exists());
}
