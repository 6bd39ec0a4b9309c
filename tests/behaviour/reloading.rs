//! SIGHUP: a good configuration is put in force, a bad one refused, and nothing else is disturbed.

use std::fs;

use serde_json::json;

use crate::support::{Instance, Setup, make_pipe, tally};

fn setup(rest: &str) -> Setup {
    Setup::default().registry("admission: trust").top(rest)
}

#[tokio::test]
async fn new_routes_and_policies_are_in_force_after_a_reload() {
    let callboard = setup("defaults: {balance: random}").start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    callboard.rewrite(&setup(
        "defaults: {balance: round_robin}\nroutes: [{match: {path: /api}, service: web}]",
    ));
    callboard.reload("configuration reloaded").await;
    let shares = tally(callboard.answerers("/api/", 20).await);
    assert_eq!(shares, [("web-1".to_owned(), 10), ("web-2".to_owned(), 10)]);
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_old_configuration_stays() {
    let callboard = setup("routes: [{match: {path: /api}, service: web}]").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    callboard.rewrite_raw("proxy: {listen: 7}\nroutes: nonsense\n");
    callboard.reload("was not reloaded").await;
    let log = callboard.log();
    assert!(log.contains("proxy.yaml:1:"), "{log}");
    assert!(log.contains("proxy.yaml:2:"), "{log}");
    assert_eq!(callboard.answerer("/api/").await, "web-1");
}

#[tokio::test]
async fn a_file_that_nobody_writes_to_is_not_waited_for() {
    let callboard = setup("").start();
    let pipe = callboard.folder().join("secret");
    make_pipe(&pipe);
    let auth = "{tokens: [{name: ops, file: secret, scopes: [admin]}]}";
    callboard.rewrite(&Setup::default().registry(&format!("auth: {auth}")));
    callboard.reload("was not reloaded").await;
    let log = callboard.log();
    assert!(log.contains("not a regular file"), "{log}");
    fs::remove_file(&pipe).unwrap();
    fs::write(&pipe, "a-secret-of-more-than-twenty").unwrap();
    callboard.reload("configuration reloaded").await;
    // Nor is the configuration itself, once it has become a pipe.
    fs::remove_file(callboard.config()).unwrap();
    make_pipe(&callboard.config());
    callboard
        .reload("not a regular file that could be read again")
        .await;
}

#[tokio::test]
async fn a_reload_keeps_requests_in_flight_and_what_is_known_of_instances() {
    let slow = "check: {http: {path: /health}, interval: 1h, fall: 1}";
    let callboard = setup(&format!("defaults: {{{slow}}}")).start();
    let instances = Instance::several("web", 3);
    instances[0].set_health(500);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    callboard.until("web", &instances[0], "unhealthy").await;
    instances[0].set_health(200);
    let held = callboard.hold("web", &instances, 6).await;
    callboard.rewrite(&setup(&format!(
        "defaults: {{{slow}, balance: round_robin}}"
    )));
    for _ in 0..3 {
        callboard.reload("configuration reloaded").await;
    }
    let mut in_flight = 0;
    for instance in &instances {
        let now = callboard.instance("web", instance).await.unwrap();
        in_flight += now["in_flight"].as_u64().unwrap();
    }
    assert_eq!(in_flight, 6);
    callboard.until("web", &instances[0], "unhealthy").await;
    instances.iter().for_each(|instance| instance.release(6));
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_setting_that_needs_a_restart_is_named() {
    let callboard = setup("").start();
    callboard.rewrite_raw("proxy: {listen: [\"127.0.0.1:0\"], threads: 7}\nregistry: {listen: \"127.0.0.1:0\", admission: trust}\n");
    callboard.reload("configuration reloaded").await;
    let log = callboard.log();
    assert!(log.contains("proxy.threads changed"), "{log}");
}

#[tokio::test]
async fn an_instance_made_ready_by_a_reload_is_news_to_watchers() {
    let probed = "check: {http: {path: /health}, interval: 1h, fall: 1}";
    let callboard = setup(&format!("defaults: {{{probed}}}")).start();
    let web = Instance::start("web-1");
    web.set_health(500);
    callboard.register("web", &web, json!({})).await;
    callboard.until("web", &web, "unhealthy").await;
    let list = callboard.api("/services/web/instances");
    let now = callboard.client.get(&list).send().await.unwrap();
    let index = now.headers()["callboard-index"]
        .to_str()
        .unwrap()
        .to_owned();
    let waiting = callboard
        .client
        .get(format!("{list}?index={index}&wait=60s"));
    let waiting = tokio::spawn(waiting.send());
    callboard.rewrite(&setup("defaults: {check: off}"));
    callboard.reload("configuration reloaded").await;
    let news = tokio::time::timeout(std::time::Duration::from_secs(20), waiting);
    let news = news.await.unwrap().unwrap().unwrap();
    let news: serde_json::Value = news.json().await.unwrap();
    assert_eq!(news[0]["availability"], "ready");
}

#[tokio::test]
async fn what_needs_a_restart_is_said_by_every_reload_until_there_is_one() {
    let callboard = setup("").start();
    callboard.rewrite(&setup("").registry("store: memory"));
    for _ in 0..2 {
        callboard.reload("registry.store changed").await;
    }
}
