//! Another process takes callboard's place.

use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Predecessor, Setup, eventually};

async fn has_ended(predecessor: &mut Predecessor) {
    let predecessor = std::cell::RefCell::new(predecessor);
    eventually("the process before has ended", || async {
        (!predecessor.borrow_mut().runs()).then_some(())
    })
    .await;
}

async fn ids(callboard: &Callboard, service: &str) -> Vec<Value> {
    let url = callboard.api(&format!("/services/{service}/instances"));
    // One that was kept may be to the process before.
    let client = reqwest::Client::new();
    let instances: Vec<Value> = client.get(url).send().await.unwrap().json().await.unwrap();
    let ids = instances.into_iter().map(|mut one| one["id"].take());
    ids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_has_the_registrations_and_serves_them_at_once() {
    let mut callboard = Callboard::start(
        "proxy: {listen: 127.0.0.1:0}\nregistry: {listen: 127.0.0.1:0}\n\
         defaults: {check: {interval: 1h}}",
    );
    let [a, b] = ["a", "b"].map(Instance::start);
    callboard
        .register("web", &a, json!({"lease": {"ttl": "60s"}}))
        .await;
    callboard.register("web", &b, json!({"lease": null})).await;
    for instance in [&a, &b] {
        callboard.until("web", instance, "ready").await;
    }
    let mut old = callboard.upgrade();
    let new = reqwest::Client::new();
    let reply = new.get(callboard.url("/web/")).send().await.unwrap();
    assert_eq!(reply.status(), 200, "no probe was waited for");
    has_ended(&mut old).await;
    assert_eq!(ids(&callboard, "web").await, ["a", "b"]);
    let ready = format!("{}/readyz", callboard.registry);
    assert_eq!(new.get(ready).send().await.unwrap().status(), 200);
    let journal = callboard.api("/journal?service=web");
    let journal = new.get(journal).send().await.unwrap().text().await.unwrap();
    assert!(!journal.contains("expired"), "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_finished_by_the_process_that_took_them() {
    let mut callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = callboard.hold_one("web", &web).await;
    let watch = callboard.client.get(callboard.api("/watch"));
    let stream = watch.send().await.unwrap();
    let mut old = callboard.upgrade();
    assert_eq!(
        stream.text().await.map(|text| text.is_empty()).ok(),
        Some(false)
    );
    let new = reqwest::Client::new();
    let reply = new.get(callboard.url("/web/")).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert!(old.runs());
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    has_ended(&mut old).await;
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!callboard.folder().join("data/callboard.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_in_memory_passes_over_as_well() {
    let mut callboard = Callboard::start(
        "proxy: {listen: 127.0.0.1:0, upgrade_socket: c.sock}\n\
         registry: {listen: 127.0.0.1:0, store: memory}\ndefaults: {check: {interval: 1h}}\n\
         routes: [{match: {path: /shop}, name: shop, split: [{service: web, weight: 9}, \
         {service: next, weight: 1}]}]",
    );
    let split =
        json!({"split": [{"service": "web", "weight": 1}, {"service": "next", "weight": 3}]});
    let shop = callboard.api("/routes/shop/split");
    let set = callboard
        .client
        .put(&shop)
        .json(&split)
        .send()
        .await
        .unwrap();
    assert_eq!(set.status(), 200);
    let set: Value = set.json().await.unwrap();
    let [a, b] = ["a", "b"].map(Instance::start);
    callboard.register("web", &a, json!({"tags": ["v2"]})).await;
    callboard.until("web", &a, "ready").await;
    let before = callboard.register("web", &b, json!({})).await;
    for _ in 0..2 {
        has_ended(&mut callboard.upgrade()).await;
        assert_eq!(ids(&callboard, "web").await, ["a", "b"]);
        let new = reqwest::Client::new();
        let reply = new.get(callboard.url("/web/")).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let url = callboard.instance_url("web", &b);
        let after: Value = new.get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!(after["registered_at"], before["registered_at"]);
        let kept: Value = new.get(&shop).send().await.unwrap().json().await.unwrap();
        assert_eq!(kept, set, "the split that was set");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_background_it_returns_when_the_new_process_serves_and_tells_the_service_manager() {
    let mut callboard = Setup::default().registry("admission: trust").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let manager = UnixDatagram::bind(callboard.folder().join("notify")).unwrap();
    let mut command = callboard.beside("upgrade");
    // What runs on in the background would keep a pipe open.
    let log = std::fs::File::create(callboard.folder().join("detached")).unwrap();
    command
        .arg("--detach")
        .env("NOTIFY_SOCKET", "notify")
        .stderr(log);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let done = done.await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("registry listening on "));
    let mut heard = [0; 64];
    let length = manager.recv(&mut heard).unwrap();
    let told = String::from_utf8_lossy(&heard[..length]).into_owned();
    let pid = told.strip_prefix("READY=1\nMAINPID=").unwrap().trim();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    assert!(callboard.ended().await.success());
    let new = reqwest::Client::new();
    let reply = new.get(callboard.url("/web/")).send().await;
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(reply.unwrap().status(), 200);
    eventually("it has ended", || async {
        new.get(callboard.url("/web/")).send().await.err()
    })
    .await;
}
