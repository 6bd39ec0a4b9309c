//! Who gets traffic: admission by proof, active checks, leases, drains, panic.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, eventually, tally};

#[tokio::test]
async fn a_trusted_registration_may_get_the_very_next_request() {
    let callboard = Callboard::trusting();
    for round in 0..50 {
        let service = format!("svc-{round}");
        let instance = Instance::start("one");
        let registered = callboard.register(&service, &instance, json!({})).await;
        assert_eq!(registered["availability"], "ready");
        assert_eq!(callboard.answerer(&format!("/{service}/")).await, "one");
    }
}

#[tokio::test]
async fn with_admission_by_proof_an_instance_answers_a_probe_first() {
    let callboard = Setup::default()
        .top("defaults: {check: {tcp: {}, interval: 100ms}}")
        .start();
    let alive = Instance::start("alive");
    let registered = callboard.register("web", &alive, json!({})).await;
    assert_eq!(registered["availability"], "ready", "{registered}");
    assert_eq!(callboard.answerer("/web/").await, "alive");

    let dead = Instance::dead("late");
    let reply = callboard.try_register("web", &dead, json!({})).await;
    assert_eq!(reply.status(), 202);
    let body: serde_json::Value = reply.json().await.unwrap();
    assert_eq!(body["availability"], "starting");
    let reason = format!("connect to 127.0.0.1:{}: connection refused", dead.port);
    assert_eq!(body["reason"], reason);
    assert_eq!(tally(callboard.answerers("/web/", 10).await).len(), 1);

    let late = Instance::start_at("late", dead.port);
    callboard.until("web", &late, "ready").await;
    assert_eq!(tally(callboard.answerers("/web/", 50).await).len(), 2);
}

#[tokio::test]
async fn an_unproven_service_gets_nothing_even_in_panic() {
    let callboard = Setup::default().start();
    let web = Instance::start("web-1");
    web.set_health(503);
    let check = json!({"check": {"http": {"path": "/health"}}});
    let reply = callboard.try_register("web", &web, check).await;
    assert_eq!(reply.status(), 202);
    let reply = callboard.get("/web/").await;
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "1");
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn http_checks_take_an_instance_out_and_bring_it_back() {
    let callboard = Setup::default()
        .top("defaults: {balance: round_robin, check: {http: {path: /health}, interval: 100ms, fall: 2, rise: 2}}")
        .start();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[0].set_health(500);
    callboard.until("web", &instances[0], "unhealthy").await;
    let now = callboard.instance("web", &instances[0]).await.unwrap();
    let reason = now["reason"].as_str().unwrap();
    assert!(reason.contains("status 500"), "{reason}");
    let shares = tally(callboard.answerers("/web/", 20).await);
    assert_eq!(shares, [("web-2".to_owned(), 10), ("web-3".to_owned(), 10)]);
    instances[0].set_health(200);
    callboard.until("web", &instances[0], "ready").await;
    assert_eq!(tally(callboard.answerers("/web/", 30).await).len(), 3);
}

#[tokio::test]
async fn below_the_panic_threshold_checks_are_ignored() {
    let callboard = Setup::default()
        .top("defaults: {balance: round_robin, check: {http: {path: /health}, interval: 100ms, fall: 1}}")
        .start();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    for instance in &instances[..2] {
        instance.set_health(500);
        callboard.until("web", instance, "unhealthy").await;
    }
    let shares = tally(callboard.answerers("/web/", 30).await);
    assert_eq!(shares.len(), 3, "a third is too few: {shares:?}");
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_runs_out() {
    let callboard = Callboard::trusting();
    let instances = Instance::several("web", 2);
    let lease = json!({"lease": {"ttl": "1s"}});
    callboard
        .register("web", &instances[0], lease.clone())
        .await;
    callboard.register("web", &instances[1], lease).await;
    let beat = callboard.instance_url("web", &instances[0]) + "/lease";
    eventually("the silent one is gone", || async {
        let renewed = callboard.client.put(&beat).send().await.unwrap();
        assert_eq!(renewed.status(), 204);
        callboard
            .instance("web", &instances[1])
            .await
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(tally(callboard.answerers("/web/", 10).await).len(), 1);
    let silent = callboard.instance_url("web", &instances[1]) + "/lease";
    let late = callboard.client.put(silent).send().await.unwrap();
    assert_eq!(late.status(), 404, "register again");
}

#[tokio::test]
async fn a_draining_instance_finishes_and_gets_nothing_new() {
    let callboard = Callboard::trusting();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let drained = &instances[0];
    let held = callboard.hold("web", &instances, 20).await;
    let holding = drained.holding();
    assert!(holding > 0);
    let drain = callboard.instance_url("web", drained) + "/drain";
    assert_eq!(
        callboard.client.put(&drain).send().await.unwrap().status(),
        202
    );
    let now = callboard.instance("web", drained).await.unwrap();
    assert_eq!(now["availability"], "draining");
    assert_eq!(now["in_flight"], holding);
    assert_eq!(tally(callboard.answerers("/web/", 30).await).len(), 1);
    instances.iter().for_each(|instance| instance.release(20));
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(
        callboard
            .client
            .delete(&drain)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    assert_eq!(tally(callboard.answerers("/web/", 50).await).len(), 2);
}

#[tokio::test]
async fn leaving_with_a_drain_waits_for_requests_in_flight() {
    let callboard = Callboard::trusting();
    let instances = Instance::several("web", 2);
    callboard.register("web", &instances[0], json!({})).await;
    let held = callboard.hold_one("web", &instances[0]).await;
    callboard.register("web", &instances[1], json!({})).await;
    let url = callboard.instance_url("web", &instances[0]) + "?drain=20s";
    let leaving = tokio::spawn(callboard.client.delete(url).send());
    callboard.until("web", &instances[0], "draining").await;
    assert_eq!(tally(callboard.answerers("/web/", 10).await).len(), 1);
    assert!(!leaving.is_finished());
    instances[0].release(1);
    let left = leaving.await.unwrap().unwrap();
    assert_eq!(left.status(), 200);
    let left: serde_json::Value = left.json().await.unwrap();
    assert_eq!(left, json!({"served": 1, "in_flight": 0, "aborted": 0}));
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    assert!(callboard.instance("web", &instances[0]).await.is_none());
}

#[tokio::test]
async fn an_instance_that_moves_costs_no_request() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off}")
        .start();
    let homes = [Instance::start("web-1"), Instance::start("web-1")];
    callboard.register("web", &homes[0], json!({})).await;
    let (client, url) = (callboard.client.clone(), callboard.url("/web/"));
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let calling = tokio::spawn({
        let moved = moved.clone();
        async move {
            let mut statuses = Vec::new();
            while !moved.load(std::sync::atomic::Ordering::Relaxed) {
                statuses.push(client.get(&url).send().await.unwrap().status().as_u16());
            }
            statuses
        }
    });
    for home in homes.iter().cycle().take(300) {
        callboard.register("web", home, json!({})).await;
    }
    moved.store(true, std::sync::atomic::Ordering::Relaxed);
    let statuses = tally(calling.await.unwrap());
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert_eq!(statuses[0].0, 200);
}

#[tokio::test]
async fn a_drain_that_outlasts_the_lease_still_waits_for_requests_in_flight() {
    let callboard = Callboard::trusting();
    let (leaving, other) = (Instance::start("leaves"), Instance::start("other"));
    let lease = json!({"lease": {"ttl": "1s"}});
    callboard.register("web", &leaving, lease.clone()).await;
    let held = callboard.hold_one("web", &leaving).await;
    let url = callboard.instance_url("web", &leaving) + "?drain=20s";
    let farewell = tokio::spawn(callboard.client.delete(url).send());
    callboard.until("web", &leaving, "draining").await;
    // A second lease of the same length, granted later, runs out first.
    callboard.register("web", &other, lease).await;
    eventually("the other lease has run out", || async {
        let gone = callboard.instance("web", &other).await.is_none();
        gone.then_some(())
    })
    .await;
    assert!(!farewell.is_finished());
    leaving.release(1);
    let farewell = farewell.await.unwrap().unwrap();
    let farewell: serde_json::Value = farewell.json().await.unwrap();
    assert_eq!(farewell["aborted"], 0);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn an_acknowledged_removal_gets_no_further_request() {
    let callboard = Callboard::trusting();
    let (staying, leaving) = (Instance::start("stays"), Instance::start("leaves"));
    callboard.register("web", &staying, json!({})).await;
    for _ in 0..30 {
        callboard.register("web", &leaving, json!({})).await;
        let url = callboard.instance_url("web", &leaving);
        assert_eq!(
            callboard.client.delete(url).send().await.unwrap().status(),
            204
        );
        let before = leaving.hits();
        callboard.answerers("/web/", 4).await;
        assert_eq!(leaving.hits(), before);
    }
}
