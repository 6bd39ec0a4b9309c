//! `callboard watch`: a line for every change, over outages, until it is interrupted.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::commands::{Running, command, signal, wait};
use crate::support::{Callboard, Instance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_there_is_told_and_then_every_change() {
    let callboard = Callboard::trusting();
    let [web, other] = ["web-1", "other-1"].map(Instance::start);
    callboard.register("web", &web, json!({})).await;
    let watch = Running::start(&callboard.registry, &["watch", "web"]);
    let lines = Running::start(&callboard.registry, &["watch", "--json"]);
    assert!(watch.line().await.starts_with("TIME"));
    let first = watch.line().await;
    assert!(first.contains("Z  web/web-1  ready "), "{first}");
    let snapshot: Value = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!(snapshot["event"], "snapshot");
    assert_eq!(snapshot["data"][0]["id"], "web-1");

    callboard.register("other", &other, json!({})).await;
    let url = callboard.instance_url("web", &web);
    let drain = format!("{url}/drain");
    callboard.client.put(drain).send().await.unwrap();
    let draining = watch.line().await;
    assert!(draining.contains("ready → draining"), "{draining}");
    assert!(draining.ends_with("  drain requested"), "{draining}");
    let patch = json!({"zone": "\u{1b}[2J\u{202e}"});
    callboard
        .client
        .patch(&url)
        .json(&patch)
        .send()
        .await
        .unwrap();
    let hostile = watch.line().await;
    assert!(
        hostile.ends_with("zone none → \\u{1b}[2J\\u{202e}"),
        "{hostile}"
    );
    callboard.client.delete(&url).send().await.unwrap();
    assert!(watch.line().await.contains("  gone "));

    let mut events = Vec::new();
    while events.last() != Some(&("remove".to_owned(), "web-1".to_owned())) {
        let line = lines.line().await;
        assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert!(event["id"].is_u64(), "{event}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        events.push((text(&event["event"]), text(&event["data"]["id"])));
    }
    assert_eq!(events[0], ("upsert".to_owned(), "other-1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_survived_and_nothing_is_told_twice() {
    let mut callboard = Callboard::trusting();
    let [one, two] = ["web-1", "web-2"].map(Instance::start);
    callboard.register("web", &one, json!({})).await;
    let watch = Running::start(&callboard.registry, &["watch", "web"]);
    for expected in ["TIME", "web/web-1"] {
        assert!(watch.line().await.contains(expected));
    }
    let _old = callboard.upgrade();
    callboard.register("web", &two, json!({})).await;
    loop {
        let next = watch.line().await;
        if next.contains("web/web-2") {
            break;
        }
        // What came back from the store is in doubt until it is heard of.
        assert!(next.contains("suspect"), "{next}");
    }
    watch.signal("INT");
    let said = watch.ended().await;
    assert_eq!(said.code, Some(130), "{said:?}");
    assert!(said.err.contains("trying again"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_it_even_when_nobody_reads() {
    let callboard = Callboard::trusting();
    let filler = "x".repeat(500);
    let instances: Vec<_> = (0..400)
        .map(|n| json!({"service": "web", "id": format!("i{n}"), "port": 9, "check": "off", "metadata": {"a": filler}}))
        .collect();
    let request = callboard.client.post(callboard.api("/instances:batch"));
    let reply = request.json(&json!({"instances": instances})).send().await;
    assert_eq!(reply.unwrap().status(), 200);
    // More than a pipe holds.
    let mut watch = command(&callboard.registry, &["watch", "--json"]);
    let mut process = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    let output = process.stdout.as_mut().unwrap();
    tokio::task::block_in_place(|| std::io::Read::read_exact(output, &mut first)).unwrap();
    signal(&process, "INT");
    let status = tokio::task::block_in_place(|| wait(&mut process));
    assert_eq!(status.code(), Some(130));
}
