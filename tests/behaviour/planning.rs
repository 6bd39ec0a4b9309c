//! `callboard plan` and `POST /api/v1/plan`: what a configuration would change is what a reload then
//! does, and asking changes nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::tokens::{auth, secret};
use crate::support::{Callboard, Instance, Setup, eventually, make_pipe, tally};

fn setup(rest: &str) -> Setup {
    Setup::default().registry("admission: trust").top(rest)
}

async fn post(
    callboard: &Callboard,
    token: Option<&str>,
    text: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let url = format!("{}/api/v1/plan", callboard.registry);
    let mut request = callboard.client.post(url).body(text);
    if let Some(name) = token {
        request = request.bearer_auth(secret(name));
    }
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

/// What the process runs by, with `rest` for what was given to [`setup`].
fn whole(rest: &str) -> String {
    format!(
        "proxy:\n  listen: [\"127.0.0.1:0\"]\nregistry:\n  listen: \"127.0.0.1:0\"\n  admission: trust\n{rest}\n"
    )
}

#[tokio::test]
async fn a_reload_does_what_was_planned() {
    let callboard = setup("defaults: {balance: random, check: off}").start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let new = "defaults: {balance: round_robin, check: off}\nservices: {web: {check: {http: {path: /health}}}}\nroutes: [{match: {path: /api}, service: web}]";
    let (status, plan) = post(&callboard, None, whole(new)).await;
    assert_eq!((status, &plan["valid"]), (200, &json!(true)), "{plan}");
    assert_eq!(plan["restart"], json!([]), "{plan}");
    assert_eq!(plan["routes"]["added"], json!(["path /api: → web"]));
    let web = &plan["services"][0];
    assert_eq!(
        (&web["service"], &web["instances"]),
        (&json!("web"), &json!(2))
    );
    assert_eq!(web["changes"][0], "balance: random → round_robin");
    for (effect, instance) in plan["instances"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["web-1", "web-2"])
    {
        assert_eq!(effect["id"], instance);
        assert!(
            effect["effect"]
                .as_str()
                .unwrap()
                .starts_with("probed by {http: {path: /health")
        );
    }
    // Nothing has come of asking.
    assert_eq!(callboard.log().matches("configuration reloaded").count(), 0);
    let missing = callboard.client.get(format!("{}/api/", callboard.proxy));
    assert_eq!(missing.send().await.unwrap().status(), 404);
    assert_eq!(post(&callboard, None, whole(new)).await.1, plan);

    callboard.rewrite(&setup(new));
    callboard.reload("configuration reloaded").await;
    let shares = tally(callboard.answerers("/api/", 20).await);
    assert_eq!(shares, [("web-1".to_owned(), 10), ("web-2".to_owned(), 10)]);
    instances[0].set_health(500);
    callboard.until("web", &instances[0], "unhealthy").await;
    let after = eventually("the plan is against the new configuration", || async {
        let (_, plan) = post(&callboard, None, whole(new)).await;
        (plan["changes"] == json!([])).then_some(plan)
    });
    let after = after.await;
    assert_eq!(
        (&after["services"], &after["instances"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn a_faulty_configuration_gets_its_errors_and_odd_bodies_an_answer() {
    let callboard = setup("").start();
    let (status, plan) = post(&callboard, None, "defaults:\n  drain: soon\n").await;
    assert_eq!((status, &plan["valid"]), (200, &json!(false)));
    let error = &plan["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&json!(2), &json!(10)));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .starts_with("defaults.drain: ")
    );
    for text in [&b"\xff\xfe"[..], b"[", b"\0", b"&a [*a]", b"7"] {
        let (status, plan) = post(&callboard, None, text).await;
        assert_eq!(
            (status, &plan["valid"]),
            (200, &json!(false)),
            "{text:?}: {plan}"
        );
    }
    assert_eq!(post(&callboard, None, "#".repeat(1 << 20)).await.0, 200);

    let address = callboard.registry.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = (1 << 20) + 1;
    write!(
        stream,
        "POST /api/v1/plan HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        answer.contains("urn:callboard:problem:too-large"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_file_that_nobody_writes_to_holds_up_no_plan() {
    let callboard = setup("").start();
    let pipe = callboard.folder().join("pipe");
    make_pipe(&pipe);
    for named in [
        format!("registry: {{auth: {{tokens: [{{name: a, file: {pipe:?}, scopes: [read]}}]}}}}"),
        format!("defaults: {{tls: {{ca: {pipe:?}}}}}"),
    ] {
        let (status, plan) = post(&callboard, None, named).await;
        assert_eq!((status, &plan["valid"]), (200, &json!(false)), "{plan}");
        let said = plan["errors"].to_string();
        assert!(said.contains("not a regular file"), "{said}");
    }
    assert_eq!(post(&callboard, None, "{}").await.0, 200);
}

#[tokio::test]
async fn only_an_administrator_may_ask() {
    let tokens = [
        ("reader", "read"),
        ("boss", "admin"),
        ("web", "\"register:web\""),
    ];
    let callboard = Setup::default().registry(&auth(&tokens)).start();
    for (token, expected) in [
        (None, 401),
        (Some("reader"), 403),
        (Some("web"), 403),
        (Some("boss"), 200),
    ] {
        assert_eq!(post(&callboard, token, "").await.0, expected, "{token:?}");
    }
}

fn plan(callboard: &Callboard, text: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.yaml");
    fs::write(&file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(["plan", "--config"])
        .arg(&file)
        .args(arguments)
        .env("CALLBOARD_REGISTRY", &callboard.registry)
        .env_remove("CALLBOARD_TOKEN")
        .output()
        .unwrap()
}

#[tokio::test]
async fn the_command_asks_the_running_callboard_and_says_whether_there_are_changes() {
    let callboard = setup("").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let same = plan(&callboard, &whole(""), &["--exit-code"]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    assert!(String::from_utf8_lossy(&same.stdout).starts_with("No changes"));
    let other = plan(
        &callboard,
        &whole("defaults: {drain: 1s}"),
        &["--exit-code"],
    );
    assert_eq!(other.status.code(), Some(4), "{other:?}");
    let text = String::from_utf8(other.stdout).unwrap();
    assert!(text.contains("  ~ defaults.drain: 30s → 1s\n"), "{text}");
    assert!(text.contains("  ~ web (1 instance)\n"), "{text}");
    let quiet = plan(&callboard, &whole("defaults: {drain: 1s}"), &["--json"]);
    assert_eq!(quiet.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&quiet.stdout).unwrap();
    assert_eq!(json["changes"][0]["path"], "defaults.drain");
    let faulty = plan(&callboard, "defaults:\n  drain: soon\n", &[]);
    assert_eq!(faulty.status.code(), Some(2));
    let error = String::from_utf8(faulty.stderr).unwrap();
    assert!(error.contains("new.yaml:2:10: defaults.drain: "), "{error}");
    let nobody = plan(&callboard, "", &["--registry", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");
}
