//! Following: a proxy that mirrors another callboard's registry.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup, eventually};

/// A callboard that mirrors those at `urls`.
pub(crate) fn following(urls: &[&str]) -> Callboard {
    let urls = serde_json::to_string(urls).unwrap();
    let setup = Setup::default().registry("admission: trust");
    setup.registry(&format!("pull: {urls}")).start()
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A callboard whose control plane is at this port.
fn registry_at(port: u16) -> Callboard {
    Callboard::start(&format!(
        "proxy: {{listen: \"127.0.0.1:0\"}}\n\
         registry: {{listen: \"127.0.0.1:{port}\", admission: trust}}\n"
    ))
}

/// What `/readyz` says, with its status.
pub(crate) async fn readyz(callboard: &Callboard) -> (u16, Value) {
    let url = format!("{}/readyz", callboard.registry);
    let reply = callboard.client.get(url).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

pub(crate) async fn until_ready(
    callboard: &Callboard,
    what: &str,
    is_so: impl Fn(u16, &Value) -> bool,
) -> Value {
    eventually(what, || async {
        let (status, answer) = readyz(callboard).await;
        is_so(status, &answer).then_some(answer)
    })
    .await
}

async fn until_connected(callboard: &Callboard, connected: bool) -> Value {
    let what = format!("connected is {connected}");
    until_ready(callboard, &what, |_, answer| {
        answer["pull"]["connected"] == connected && answer["pull"]["index"].is_u64()
    })
    .await
}

/// Waits until the proxy has this many instances of a service.
pub(crate) async fn until_count(callboard: &Callboard, service: &str, count: usize) {
    eventually(&format!("{service} has {count} instances"), || async {
        let url = callboard.api(&format!("/services/{service}/instances"));
        let reply = callboard.client.get(url).send().await.unwrap();
        let instances: Value = reply.json().await.unwrap();
        (instances.as_array().unwrap().len() == count).then_some(())
    })
    .await;
}

async fn metrics(callboard: &Callboard) -> String {
    let url = format!("{}/metrics", callboard.registry);
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.text().await.unwrap()
}

#[tokio::test]
async fn what_happens_at_the_registry_happens_at_the_proxy() {
    let registry = Callboard::trusting();
    let proxy = following(&[&registry.registry]);
    let [one, two] = ["one", "two"].map(Instance::start);
    let check = json!({"weight": 3, "tags": ["v2"], "metadata": {"build": "7"}, "check": "off"});
    let there = registry.register("web", &one, check).await;
    proxy.until("web", &one, "ready").await;
    assert_eq!(proxy.answerer("/web/").await, "one");
    let here = proxy.instance("web", &one).await.unwrap();
    for same in [
        "address", "port", "weight", "tags", "metadata", "check", "scheme", "zone",
    ] {
        assert_eq!(here[same], there[same], "{same}");
    }

    registry.register("web", &two, json!({})).await;
    proxy.until("web", &two, "ready").await;
    let drain = format!("{}/drain", registry.instance_url("web", &one));
    registry.client.put(&drain).send().await.unwrap();
    proxy.until("web", &one, "draining").await;
    assert_eq!(proxy.answerers("/web/", 5).await, ["two"; 5]);
    registry.client.delete(&drain).send().await.unwrap();
    proxy.until("web", &one, "ready").await;

    let url = registry.instance_url("web", &two);
    registry.client.delete(url).send().await.unwrap();
    until_count(&proxy, "web", 1).await;
    assert_eq!(proxy.answerers("/web/", 5).await, ["one"; 5]);

    let (status, answer) = readyz(&proxy).await;
    assert_eq!(status, 200);
    let pull = &answer["pull"];
    assert_eq!(pull["from"], registry.registry);
    assert_eq!(
        (&pull["connected"], &pull["stale_for"]),
        (&json!(true), &json!(null))
    );
    let page = metrics(&proxy).await;
    assert!(page.contains("\ncallboard_pull_connected 1"), "{page}");
    assert!(page.contains("\ncallboard_registry_instances 1"), "{page}");
    let page = metrics(&registry).await;
    assert!(page.contains("\ncallboard_registry_services 1"), "{page}");
    assert!(!page.contains("callboard_pull"), "{page}");
}

#[tokio::test]
async fn an_instance_stays_at_the_proxy_for_as_long_as_it_renews_at_the_registry() {
    let registry = Callboard::trusting();
    let proxy = following(&[&registry.registry]);
    let mut one = Instance::start("one");
    let brief = json!({"lease": {"ttl": "2s"}});
    registry.register("web", &one, brief).await;
    proxy.until("web", &one, "ready").await;
    let renewed = format!("{}/lease", registry.instance_url("web", &one));
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        registry.client.put(&renewed).send().await.unwrap();
        assert!(proxy.instance("web", &one).await.is_some());
    }
    one.kill();
    until_count(&registry, "web", 0).await;
    until_count(&proxy, "web", 0).await;
}

#[tokio::test]
async fn a_proxy_takes_no_changes_and_says_who_does() {
    let registry = Callboard::trusting();
    let proxy = following(&[&registry.registry]);
    let one = Instance::start("one");
    registry.register("web", &one, json!({})).await;
    proxy.until("web", &one, "ready").await;
    let url = proxy.instance_url("web", &one);
    let client = &proxy.client;
    let body = json!({"port": one.port});
    for call in [
        client.put(&url).json(&body),
        client.patch(&url).json(&json!({"weight": 2})),
        client.put(format!("{url}/lease")),
        client.put(format!("{url}/drain")),
        client.delete(format!("{url}/drain")),
        client.delete(&url),
        client
            .post(proxy.api("/leases:renew"))
            .json(&json!({"leases": []})),
        client
            .post(proxy.api("/instances:batch"))
            .json(&json!({"instances": []})),
    ] {
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status(), 409, "{}", reply.url());
        let problem: Value = reply.json().await.unwrap();
        assert_eq!(problem["type"], "urn:callboard:problem:read-only");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&registry.registry), "{detail}");
    }
    assert_eq!(proxy.instance("web", &one).await.unwrap()["weight"], 1);
}

#[tokio::test]
async fn a_proxy_goes_on_without_its_registry_and_when_that_comes_back_empty() {
    let port = free_port();
    let registry = registry_at(port);
    let proxy = following(&[&registry.registry]);
    let instances = Instance::several("web", 4);
    let brief = json!({"lease": {"ttl": "4s"}});
    for instance in &instances {
        registry.register("web", instance, brief.clone()).await;
    }
    until_count(&proxy, "web", 4).await;

    drop(registry);
    let away = until_connected(&proxy, false).await;
    assert_eq!(away["ready"], true);
    assert!(away["pull"]["last_error"].is_string(), "{away}");
    assert!(away["pull"]["stale_for"].is_string(), "{away}");
    let registry = registry_at(port);
    until_connected(&proxy, true).await;
    // They were doubted, and are not once they are listed again.
    for instance in &instances[..3] {
        registry
            .register("web", instance, json!({"lease": null}))
            .await;
    }
    until_count(&proxy, "web", 3).await;
    assert!(proxy.instance("web", &instances[3]).await.is_none());
    assert_eq!(proxy.get("/web/").await.status(), 200);
    assert!(
        proxy
            .log()
            .contains("no longer lists 4 of web's 4 instances")
    );
}

#[tokio::test]
async fn nothing_runs_out_while_the_registry_is_away() {
    let registry = Callboard::trusting();
    let proxy = following(&[&registry.registry]);
    let one = Instance::start("one");
    registry
        .register("web", &one, json!({"lease": {"ttl": "2s"}}))
        .await;
    proxy.until("web", &one, "ready").await;
    drop(registry);
    let stale = |answer: &Value| {
        let text = answer["pull"]["stale_for"].as_str()?.strip_suffix('s')?;
        text.parse::<f64>().ok()
    };
    until_ready(&proxy, "nothing was heard for two leases", |_, answer| {
        stale(answer).is_some_and(|seconds| seconds > 4.0)
    })
    .await;
    assert_eq!(readyz(&proxy).await.0, 200);
    assert_eq!(proxy.answerer("/web/").await, "one");
    let page = metrics(&proxy).await;
    assert!(page.contains("\ncallboard_pull_connected 0"), "{page}");
}

#[tokio::test]
async fn when_one_registry_is_gone_the_next_is_followed() {
    let [first, second] = [Callboard::trusting(), Callboard::trusting()];
    let proxy = following(&[&first.registry, &second.registry]);
    let [one, two] = ["one", "two"].map(Instance::start);
    first.register("web", &one, json!({})).await;
    for registry in [&first, &second] {
        registry.register("api", &two, json!({})).await;
    }
    proxy.until("web", &one, "ready").await;
    proxy.until("api", &two, "ready").await;
    drop(first);
    let next = second.registry.clone();
    until_ready(&proxy, "the second is followed", |_, answer| {
        answer["pull"]["from"] == next && answer["pull"]["connected"] == true
    })
    .await;
    let three = Instance::start("three");
    second.register("web", &three, json!({})).await;
    proxy.until("web", &three, "ready").await;
    assert_eq!(proxy.answerer("/api/").await, "two");
}

#[tokio::test]
async fn one_that_has_heard_of_no_registry_is_not_ready_until_it_has() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let proxy = following(&[&url]);
    let answer = until_ready(&proxy, "it was tried", |_, answer| {
        answer["pull"]["last_error"].is_string()
    })
    .await;
    assert_eq!(readyz(&proxy).await.0, 503);
    let reason = answer["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains(&url) && reason.contains("refused"),
        "{reason}"
    );
    let _registry = registry_at(port);
    until_ready(&proxy, "it is ready", |status, _| status == 200).await;
}
