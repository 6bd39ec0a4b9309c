//! What becomes of instances that fall silent: lease, probes and traffic decide together.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, eventually, tally};

const LEASE: &str = "1s";

async fn sign_in(callboard: &Callboard, service: &str, instances: &[Instance]) {
    for instance in instances {
        let lease = json!({"lease": {"ttl": LEASE}});
        callboard.register(service, instance, lease).await;
    }
}

async fn renew(callboard: &Callboard, service: &str, instances: &[Instance]) {
    for instance in instances {
        let lease = callboard.instance_url(service, instance) + "/lease";
        let renewed = callboard.client.put(lease).send().await.unwrap();
        assert_eq!(renewed.status(), 204, "{service}/{}", instance.id);
    }
}

/// Waits until `gone` is out, with `alive` renewing.
async fn outlive(callboard: &Callboard, service: &str, alive: &[Instance], gone: &Instance) {
    eventually(&format!("{} is gone", gone.id), || async {
        renew(callboard, service, alive).await;
        let there = callboard.instance(service, gone).await;
        there.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_late_heartbeat_finds_its_place() {
    let callboard = Callboard::trusting();
    let instances = Instance::several("web", 2);
    sign_in(&callboard, "web", &instances).await;
    callboard.until("web", &instances[0], "suspect").await;
    let now = callboard.instance("web", &instances[0]).await.unwrap();
    let reason = now["reason"].as_str().unwrap();
    assert!(reason.contains("lease ran out"), "{reason}");
    assert_eq!(callboard.get("/web/").await.status(), 200);
    renew(&callboard, "web", &instances).await;
    callboard.until("web", &instances[0], "ready").await;
}

#[tokio::test]
async fn whoever_is_silent_and_answers_still_leaves_in_the_end_and_whoever_is_dead_at_once() {
    let callboard = Callboard::trusting();
    let mut instances = Instance::several("web", 5);
    sign_in(&callboard, "web", &instances).await;
    instances[0].kill();
    let (silent, alive) = instances.split_at(2);
    outlive(&callboard, "web", alive, &silent[0]).await;
    let last = callboard.api("/journal?service=web&limit=1");
    let last = callboard.client.get(last).send().await.unwrap();
    let last: serde_json::Value = last.json().await.unwrap();
    assert_eq!(last[0]["change"], "expired");
    assert_eq!(last[0]["id"], silent[0].id.as_str());
    let why = last[0]["why"].as_str().unwrap();
    assert!(why.starts_with("lease ran out "), "{why}");
    assert!(why.contains("connection refused"), "{why}");
    assert!(callboard.instance("web", &silent[1]).await.is_some());
    outlive(&callboard, "web", alive, &silent[1]).await;
    assert_eq!(tally(callboard.answerers("/web/", 60).await).len(), 3);
}

#[tokio::test]
async fn a_service_that_falls_silent_as_a_whole_stays_for_as_long_as_it_answers() {
    let callboard = Callboard::trusting();
    let mut silent = Instance::several("web", 3);
    sign_in(&callboard, "web", &silent).await;
    // By the time the second of these is out, three times the silent ones' grace has gone by.
    let clock = Instance::several("clock", 5);
    for part in [&clock[..3], &clock[2..]] {
        sign_in(&callboard, "clock", part).await;
        outlive(&callboard, "clock", &part[1..], &part[0]).await;
    }
    for instance in &silent {
        callboard.until("web", instance, "suspect").await;
    }
    assert_eq!(tally(callboard.answerers("/web/", 60).await).len(), 3);

    silent[0].kill();
    eventually("the dead one is gone", || async {
        let there = callboard.instance("web", &silent[0]).await;
        there.is_none().then_some(())
    })
    .await;
    for instance in &silent[1..] {
        callboard.until("web", instance, "suspect").await;
    }
}

#[tokio::test]
async fn without_a_check_a_silent_instance_is_asked_by_connecting() {
    let callboard = Setup::default().top("defaults: {check: off}").start();
    let mut instances = Instance::several("web", 2);
    sign_in(&callboard, "web", &instances).await;
    instances.iter_mut().for_each(Instance::kill);
    eventually("both are gone", || async {
        let services = callboard.api("/services/web/instances");
        let left: serde_json::Value = callboard
            .client
            .get(services)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        left.as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refused_request_gets_its_instance_out_without_waiting_for_more_probes() {
    let callboard = Setup::default()
        .top("defaults: {balance: round_robin, check: {interval: 1h, fall: 1000}}")
        .start();
    let mut instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[0].kill();
    assert_eq!(tally(callboard.answerers("/web/", 3).await).len(), 2);
    callboard.until("web", &instances[0], "unhealthy").await;
}
