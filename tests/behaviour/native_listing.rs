//! The native API: who is there, what has changed since, and waiting for it to change.

use std::time::{Duration, Instant as Clock};

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{Callboard, Instance};

async fn get(callboard: &Callboard, path: &str) -> Response {
    let request = callboard.client.get(callboard.api(path));
    request.send().await.unwrap()
}

async fn list(callboard: &Callboard, path: &str) -> Vec<Value> {
    get(callboard, path).await.json().await.unwrap()
}

fn index(reply: &Response) -> u64 {
    let header = reply.headers()["callboard-index"].to_str().unwrap();
    header.parse().unwrap()
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn services_and_instances_are_listed_in_order() {
    let callboard = Callboard::trusting();
    assert!(list(&callboard, "/services").await.is_empty());
    let instances = Instance::several("one", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    callboard.register("api", &instances[0], json!({})).await;
    let drain = format!("{}/drain", callboard.instance_url("web", &instances[0]));
    let reply = callboard.client.put(&drain).send().await.unwrap();
    assert_eq!(reply.status(), 202);
    assert_eq!(
        reply.json::<Value>().await.unwrap()["availability"],
        "draining"
    );

    let services = list(&callboard, "/services").await;
    assert_eq!(services[0]["service"], "api");
    assert_eq!(services[1]["service"], "web");
    assert_eq!(services[1]["instances"], 2);
    assert_eq!(
        services[1]["availability"],
        json!({"draining": 1, "ready": 1})
    );
    let web: Value = get(&callboard, "/services/web").await.json().await.unwrap();
    assert_eq!(web, services[1]);
    let web = list(&callboard, "/services/web/instances").await;
    assert_eq!(ids(&web), ["one-1", "one-2"]);
    assert_eq!(web[0]["availability"], "draining");
    assert!(
        list(&callboard, "/services/nobody/instances")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn instances_are_filtered_by_status_tag_and_zone() {
    let callboard = Callboard::trusting();
    for (id, zone, tags) in [
        ("a", "east", json!(["v1"])),
        ("b", "east", json!(["v1", "v2"])),
        ("c", "west", json!(["v2"])),
    ] {
        let body = json!({"port": 80, "zone": zone, "tags": tags, "check": "off"});
        let url = callboard.api(&format!("/services/web/instances/{id}"));
        callboard.client.put(url).json(&body).send().await.unwrap();
    }
    for (query, expected) in [
        ("tag=v1", &["a", "b"][..]),
        ("tag=v1&tag=v2", &["b"]),
        ("zone=west", &["c"]),
        ("zone=east&tag=v2", &["b"]),
        ("status=ready", &["a", "b", "c"]),
        ("status=draining", &[]),
    ] {
        let found = list(&callboard, &format!("/services/web/instances?{query}")).await;
        assert_eq!(ids(&found), expected, "{query}");
    }
}

#[tokio::test]
async fn a_reader_that_has_the_version_is_told_so() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    callboard.register("web", &one, json!({})).await;
    for path in [
        "/services",
        "/services/web",
        "/services/web/instances",
        "/services/web/instances/one",
    ] {
        let reply = get(&callboard, path).await;
        let tag = reply.headers()["etag"].clone();
        let before = index(&reply);
        let ask = async || {
            let request = callboard.client.get(callboard.api(path));
            let request = request.header("if-none-match", &tag);
            request.send().await.unwrap()
        };
        assert_eq!(ask().await.status(), 304, "{path}");
        let drain = format!("{}/drain", callboard.instance_url("web", &one));
        callboard.client.put(&drain).send().await.unwrap();
        let changed = ask().await;
        assert_eq!(changed.status(), 200, "{path}");
        assert!(index(&changed) > before, "{path}");
        let ended = callboard.client.delete(&drain).send().await.unwrap();
        assert_eq!(ended.status(), 204);
    }
}

#[tokio::test]
async fn a_long_poll_answers_when_its_service_changes_and_not_before() {
    let callboard = Callboard::trusting();
    let [web, other] = ["web-1", "other-1"].map(Instance::start);
    callboard.register("web", &web, json!({})).await;
    let now = index(&get(&callboard, "/services/web/instances").await);

    let path = format!("/services/web/instances?index={now}&wait=15s");
    let poll = get(&callboard, &path);
    let change = async {
        callboard.register("other", &other, json!({})).await;
        let drain = format!("{}/drain", callboard.instance_url("web", &web));
        callboard.client.put(&drain).send().await.unwrap();
    };
    let started = Clock::now();
    let (reply, ()) = tokio::join!(poll, change);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(index(&reply) > now);
    let found: Vec<Value> = reply.json().await.unwrap();
    assert_eq!(found[0]["availability"], "draining");
}

#[tokio::test]
async fn a_long_poll_of_a_service_nobody_has_registered_waits_for_the_first() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    let now = index(&get(&callboard, "/services/web/instances").await);
    let path = format!("/services/web/instances?index={now}&wait=15s");
    let (reply, _) = tokio::join!(
        get(&callboard, &path),
        callboard.register("web", &one, json!({}))
    );
    assert_eq!(reply.json::<Vec<Value>>().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_long_poll_answers_unchanged_at_the_end_and_at_once_from_a_strange_index() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    callboard.register("web", &one, json!({})).await;
    let now = index(&get(&callboard, "/services").await);
    let started = Clock::now();
    let reply = get(&callboard, &format!("/services?index={now}&wait=200ms")).await;
    assert!(started.elapsed() >= Duration::from_millis(200));
    assert_eq!((reply.status().as_u16(), index(&reply)), (200, now));

    let started = Clock::now();
    for strange in [0, now + 1_000, u64::MAX] {
        let reply = get(&callboard, &format!("/services?index={strange}")).await;
        assert_eq!(index(&reply), now);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_wait_in_vain_is_a_304_to_a_reader_that_has_the_version() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    callboard
        .register("web", &one, json!({"check": "off"}))
        .await;
    let now = get(&callboard, "/services/web/instances").await;
    let (tag, now) = (now.headers()["etag"].clone(), index(&now));
    let ask = async |path: &str| {
        let request = callboard.client.get(callboard.api(path));
        let request = request.header("if-none-match", &tag);
        request.send().await.unwrap()
    };
    let path = format!("/services/web/instances?index={now}");
    let reply = ask(&format!("{path}&wait=50ms")).await;
    assert_eq!((reply.status().as_u16(), index(&reply)), (304, now));
    let path = format!("{path}&wait=15s");
    let changing = async {
        let two = Instance::start("two");
        callboard
            .register("web", &two, json!({"check": "off"}))
            .await
    };
    let (reply, _) = tokio::join!(ask(&path), changing);
    assert_eq!(reply.status(), 200);
    assert!(index(&reply) > now);
    let list: Vec<Value> = reply.json().await.unwrap();
    assert_eq!(ids(&list), ["one", "two"]);
}
