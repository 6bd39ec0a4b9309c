//! Shares that differ from the registered weights: slow start, reported load, zones.

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup, eventually};

const REQUESTS: usize = 400;

fn unchecked(policy: &str) -> Setup {
    let policy = format!("defaults: {{balance: random, check: off, {policy}}}");
    Setup::default().top(&policy)
}

/// How many of some requests `instance` answers.
async fn hits(callboard: &Callboard, instance: &Instance) -> usize {
    let answerers = callboard.answerers("/web/", REQUESTS).await;
    answerers.iter().filter(|id| **id == instance.id).count()
}

async fn heartbeat(callboard: &Callboard, instance: &Instance, load: Value) -> u16 {
    let url = format!("{}/lease", callboard.instance_url("web", instance));
    let call = callboard.client.put(url).json(&load);
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn newcomers_and_those_who_return_get_less_than_those_who_stayed() {
    let mut callboard = unchecked("slow_start: 10m").start();
    let [stayed, returned, new] = ["stayed", "returned", "new"].map(Instance::start);
    callboard.register("web", &stayed, json!({})).await;
    callboard.register("web", &returned, json!({})).await;
    let together = hits(&callboard, &stayed).await;
    assert!((120..280).contains(&together), "{together} of two alike");

    callboard.crash_and_restart(|_| {});
    let known = hits(&callboard, &stayed).await;
    assert!(
        (120..280).contains(&known),
        "{known} of two that were there"
    );
    callboard.register("web", &new, json!({})).await;
    let drain = format!("{}/drain", callboard.instance_url("web", &returned));
    let drained = callboard.client.put(&drain).send().await.unwrap();
    assert!(drained.status().is_success());
    let resumed = callboard.client.delete(&drain).send().await.unwrap();
    assert!(resumed.status().is_success());
    for instance in [&new, &returned] {
        let shown = callboard.instance("web", instance).await.unwrap();
        assert!(shown["effective_weight"].as_f64().unwrap() < 0.2, "{shown}");
        assert_eq!(shown["weight"], 1);
    }
    let most = hits(&callboard, &stayed).await;
    assert!(most > 260, "{most} of {REQUESTS}, five sixths are due");
}

#[tokio::test]
async fn without_slow_start_a_newcomer_has_its_share_at_once() {
    let mut callboard = unchecked("slow_start: 0s").start();
    let [old, new] = ["old", "new"].map(Instance::start);
    callboard.register("web", &old, json!({})).await;
    callboard.crash_and_restart(|_| {});
    callboard.register("web", &new, json!({})).await;
    let hits = hits(&callboard, &new).await;
    assert!((120..280).contains(&hits), "{hits} of {REQUESTS}");
}

#[tokio::test]
async fn reported_load_is_shown_and_wrong_figures_are_refused() {
    let callboard = Callboard::trusting();
    let instance = Instance::start("web-1");
    let new = callboard.register("web", &instance, json!({})).await;
    assert_eq!(
        (&new["load"], &new["effective_weight"]),
        (&json!(null), &json!(1.0))
    );
    let load = json!({"utilization": 0.5, "qps": 120});
    assert_eq!(heartbeat(&callboard, &instance, load).await, 204);
    let shown = callboard.instance("web", &instance).await.unwrap();
    let expected = json!({"utilization": 0.5, "qps": 120.0, "errors": null, "capacity": null});
    assert_eq!(shown["load"], expected);

    for wrong in [
        json!({"qps": -1}),
        json!({"errors": "few"}),
        json!({"cpu": 1}),
    ] {
        assert_eq!(heartbeat(&callboard, &instance, wrong).await, 422);
    }
    assert_eq!(heartbeat(&callboard, &instance, json!({})).await, 204);
    let shown = callboard.instance("web", &instance).await.unwrap();
    assert_eq!(shown["load"], expected, "nothing new was said");

    let renewals = json!({"leases": [
        {"service": "web", "id": "web-1", "capacity": 300},
        {"service": "web", "id": "web-1", "capacity": -300},
    ]});
    let url = callboard.api("/leases:renew");
    let reply = callboard.client.post(url).json(&renewals).send().await;
    let statuses: Value = reply.unwrap().json().await.unwrap();
    assert_eq!(
        (&statuses[0]["status"], &statuses[1]["status"]),
        (&json!(204), &json!(422))
    );
    let shown = callboard.instance("web", &instance).await.unwrap();
    assert_eq!(shown["load"]["capacity"], 300.0);
}

#[tokio::test]
async fn instances_that_report_to_be_busier_get_less() {
    let callboard = unchecked("load_reports: on").start();
    let [idle, busy] = ["idle", "busy"].map(Instance::start);
    // The lease outlasts the ten seconds after which a report counts.
    let lease = json!({"lease": {"ttl": "5m"}});
    for (instance, utilization) in [(&idle, 0.1), (&busy, 1.0)] {
        callboard.register("web", instance, lease.clone()).await;
        let load = json!({"utilization": utilization, "qps": 100});
        assert_eq!(heartbeat(&callboard, instance, load).await, 204);
    }
    eventually("the reports count", || async {
        let shown = callboard.instance("web", &busy).await?;
        (shown["effective_weight"].as_f64()? < 0.5).then_some(())
    })
    .await;
    let hits = hits(&callboard, &idle).await;
    assert!(hits > 320, "{hits} of {REQUESTS}, ten elevenths are due");
}

fn in_east(rest: &str) -> String {
    format!(
        "proxy: {{listen: [\"127.0.0.1:0\"], zone: east}}\n\
         registry: {{listen: \"127.0.0.1:0\", admission: trust}}\n{rest}"
    )
}

#[tokio::test]
async fn the_proxys_zone_comes_first_until_nobody_there_is_fit() {
    let check = "{http: {path: /health}, interval: 50ms, timeout: 40ms, fall: 2, rise: 1}";
    let callboard = Callboard::start(&in_east(&format!("defaults: {{check: {check}}}")));
    let [near, far, unplaced] = ["near", "far", "unplaced"].map(Instance::start);
    callboard
        .register("web", &far, json!({"zone": "west"}))
        .await;
    callboard.register("web", &unplaced, json!({})).await;
    callboard
        .register("web", &near, json!({"zone": "east"}))
        .await;
    for instance in [&near, &far, &unplaced] {
        callboard.until("web", instance, "ready").await;
    }
    // By weight it would get a third; a check that fails by chance on a busy machine costs it some.
    let hits = hits(&callboard, &near).await;
    assert!(hits > 280, "{hits} of {REQUESTS} stayed");
    near.set_health(500);
    callboard.until("web", &near, "unhealthy").await;
    assert_ne!(callboard.answerer("/web/").await, "near");
}

#[tokio::test]
async fn a_request_leaves_the_zone_when_its_instances_were_tried() {
    let callboard = Callboard::start(&in_east("defaults: {check: off}"));
    let near = ["near-1", "near-2"].map(Instance::dead);
    let far = Instance::start("far");
    callboard
        .register("web", &far, json!({"zone": "west"}))
        .await;
    for instance in &near {
        callboard
            .register("web", instance, json!({"zone": "east"}))
            .await;
    }
    for _ in 0..20 {
        assert_eq!(callboard.answerer("/web/").await, "far");
    }
}

#[tokio::test]
async fn a_reload_turns_the_preference_off_and_says_that_the_zone_stays() {
    let callboard = Callboard::start(&in_east("defaults: {balance: round_robin, check: off}"));
    let [near, far] = ["near", "far"].map(Instance::start);
    callboard
        .register("web", &far, json!({"zone": "west"}))
        .await;
    callboard
        .register("web", &near, json!({"zone": "east"}))
        .await;
    assert_eq!(hits(&callboard, &near).await, REQUESTS);
    let west = in_east("defaults: {balance: round_robin, check: off}").replace("east", "west");
    callboard.rewrite_raw(&west);
    for _ in 0..2 {
        callboard.reload("proxy.zone changed; a restart").await;
    }
    assert_eq!(hits(&callboard, &near).await, REQUESTS);
    let off = in_east("defaults: {balance: round_robin, check: off, prefer_zone: off}");
    callboard.rewrite_raw(&off);
    callboard.reload("configuration reloaded").await;
    assert_eq!(hits(&callboard, &near).await, REQUESTS / 2);
}
