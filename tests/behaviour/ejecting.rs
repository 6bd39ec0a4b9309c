//! Instances that fail the requests they are given are taken out, and come back through one request.

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup, eventually, tally};

/// A callboard that believes its instances, takes turns, and tries nothing twice.
fn ejecting(outlier: &str) -> Callboard {
    setup(&format!("outlier: {{{outlier}}}"))
        .log("info")
        .start()
}

fn setup(rest: &str) -> Setup {
    Setup::default().registry("admission: trust").top(&format!(
        "defaults: {{balance: round_robin, check: off, retry: off, {rest}}}"
    ))
}

async fn several(callboard: &Callboard, count: usize) -> Vec<Instance> {
    let instances = Instance::several("web", count);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances
}

/// The statuses of `count` requests, one after the other.
async fn statuses(callboard: &Callboard, count: usize) -> Vec<(u16, usize)> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(callboard.get("/web/").await.status().as_u16());
    }
    tally(statuses)
}

async fn reason(callboard: &Callboard, instance: &Instance) -> String {
    let now = callboard.instance("web", instance).await.unwrap();
    now["reason"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the reason for an instance's state begins like this.
async fn until_reason(callboard: &Callboard, instance: &Instance, start: &str) {
    eventually(&format!("the reason is {start}"), || async {
        let reason = reason(callboard, instance).await;
        reason.starts_with(start).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_fails_its_requests_gets_five_and_no_more() {
    let callboard = ejecting("base_ejection: 5m");
    let instances = several(&callboard, 3).await;
    instances[0].set_status(500);
    let statuses = statuses(&callboard, 40).await;
    assert_eq!(statuses, [(200, 35), (500, 5)]);
    assert_eq!(instances[0].hits(), 5);

    callboard.until("web", &instances[0], "ejected").await;
    let why = reason(&callboard, &instances[0]).await;
    assert_eq!(why, "ejected for 5m after 5 failed requests in a row");
    let url = callboard.api("/services/web/instances?status=ejected");
    let listed = callboard.client.get(url).send().await.unwrap();
    let listed: Vec<Value> = listed.json().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["id"], "web-1");
    let line = "web/web-1: ready => ejected (ejected for 5m after 5 failed requests in a row)";
    assert_eq!(callboard.log().matches(line).count(), 1);
}

#[tokio::test]
async fn a_success_in_between_starts_the_count_afresh() {
    let callboard = ejecting("consecutive_failures: 3, failure_ratio: off");
    let instances = several(&callboard, 2).await;
    for _ in 0..4 {
        instances[0].set_status(500);
        statuses(&callboard, 4).await;
        instances[0].set_status(200);
        statuses(&callboard, 2).await;
    }
    assert_eq!(instances[0].hits(), 12, "never ejected");
}

#[tokio::test]
async fn a_share_of_failures_ejects_without_a_row_of_them() {
    let callboard = ejecting("interval: 1m, min_requests: 10, failure_ratio: 50%");
    let instances = several(&callboard, 2).await;
    for round in 0..10 {
        instances[0].set_status(if round % 2 == 0 { 200 } else { 500 });
        statuses(&callboard, 2).await;
    }
    assert_eq!(instances[0].hits(), 10);
    callboard.until("web", &instances[0], "ejected").await;
    let why = reason(&callboard, &instances[0]).await;
    let share = "ejected for 30s after 5 of 10 requests failed within 1m";
    assert_eq!(why, share);
}

#[tokio::test]
async fn an_instance_that_refuses_connections_is_ejected() {
    // Without repeating what was sent; off would also keep what was not from going elsewhere.
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "defaults: {balance: round_robin, check: off, retry: {attempts: 0}, \
             outlier: {base_ejection: 5m}}",
        )
        .start();
    let instances = several(&callboard, 2).await;
    let dead = Instance::dead("dead");
    callboard.register("web", &dead, json!({})).await;
    let statuses = statuses(&callboard, 40).await;
    assert_eq!(statuses, [(200, 40)], "nothing was sent, so others serve");
    callboard.until("web", &dead, "ejected").await;
    let why = reason(&callboard, &dead).await;
    assert_eq!(why, "ejected for 5m after 5 unanswered requests in a row");
    drop(instances);
}

#[tokio::test]
async fn an_instance_that_accepts_and_never_answers_gets_five_requests() {
    let callboard = setup("timeouts: {request: 1s}, outlier: {base_ejection: 5m}").start();
    let instances = several(&callboard, 2).await;
    instances[0].set_silent(true);
    eventually("it is ejected", || async {
        callboard.get("/web/").await;
        let now = callboard.instance("web", &instances[0]).await?;
        (now["availability"] == "ejected").then_some(())
    })
    .await;
    statuses(&callboard, 10).await;
    assert_eq!(instances[0].holding(), 5);
}

#[tokio::test]
async fn whoever_is_on_trial_gets_one_request_and_all_of_its_share_once_that_succeeded() {
    let callboard = ejecting("base_ejection: 100ms");
    let instances = several(&callboard, 2).await;
    instances[0].set_status(500);
    statuses(&callboard, 10).await;
    instances[0].set_status(200);
    instances[0].set_silent(true);
    until_reason(&callboard, &instances[0], "on trial").await;

    let url = callboard.url("/web/");
    let trial = eventually("a request is on trial", || async {
        let request = tokio::spawn(callboard.client.get(&url).send());
        eventually("it got to an instance", || async {
            let there = request.is_finished() || instances[0].holding() == 1;
            there.then_some(())
        })
        .await;
        (instances[0].holding() == 1).then_some(request)
    })
    .await;
    let shares = tally(callboard.answerers("/web/", 20).await);
    assert_eq!(shares, [("web-2".to_owned(), 20)]);
    assert_eq!(instances[0].holding(), 1);
    let now = callboard.instance("web", &instances[0]).await.unwrap();
    assert_eq!(now["availability"], "ejected");

    instances[0].set_silent(false);
    instances[0].release(1);
    assert_eq!(trial.await.unwrap().unwrap().status(), 200);
    callboard.until("web", &instances[0], "ready").await;
    assert_eq!(tally(callboard.answerers("/web/", 20).await).len(), 2);
    let log = callboard.log();
    assert!(log.contains("web/web-1: ejected => on trial"), "{log}");
    let line = "web/web-1: ejected => ready (its request on trial succeeded)";
    assert_eq!(log.matches(line).count(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_during_a_trial_leaves_it_to_the_next() {
    let callboard = ejecting("base_ejection: 100ms");
    let instances = several(&callboard, 2).await;
    instances[0].set_status(500);
    statuses(&callboard, 10).await;
    instances[0].set_status(200);
    instances[0].set_silent(true);
    let url = callboard.url("/web/");
    eventually("a request is on trial", || async {
        let request = tokio::spawn(callboard.client.get(&url).send());
        eventually("it got to an instance", || async {
            let there = request.is_finished() || instances[0].holding() == 1;
            there.then_some(())
        })
        .await;
        request.abort();
        (instances[0].holding() == 1).then_some(())
    })
    .await;
    instances[0].set_silent(false);
    eventually("another request brings it back", || async {
        callboard.get("/web/").await;
        let now = callboard.instance("web", &instances[0]).await?;
        (now["availability"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_failed_trial_makes_the_ejection_longer() {
    let callboard = ejecting("base_ejection: 200ms, max_ejection: 400ms");
    let instances = several(&callboard, 2).await;
    instances[0].set_status(500);
    for start in [
        "ejected for 200ms after 5 failed requests in a row",
        "ejected for 400ms after a failed request on trial",
    ] {
        eventually(start, || async {
            statuses(&callboard, 2).await;
            let log = callboard.log();
            log.contains(&format!("=> ejected ({start})")).then_some(())
        })
        .await;
    }
    instances[0].set_status(200);
    eventually("it is back", || async {
        statuses(&callboard, 2).await;
        let now = callboard.instance("web", &instances[0]).await?;
        (now["availability"] == "ready").then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_all_fail_half_are_ejected_and_the_others_answer() {
    let callboard = ejecting("base_ejection: 5m");
    let instances = several(&callboard, 4).await;
    for instance in &instances {
        instance.set_status(500);
    }
    let statuses = statuses(&callboard, 60).await;
    assert_eq!(statuses, [(500, 60)], "the instances' own word");
    let mut states = Vec::new();
    for instance in &instances {
        let now = callboard.instance("web", instance).await.unwrap();
        states.push(now["availability"].as_str().unwrap().to_owned());
    }
    let expected = [("ejected".to_owned(), 2), ("ready".to_owned(), 2)];
    assert_eq!(tally(states), expected);
}

#[tokio::test]
async fn the_only_instance_is_not_ejected() {
    let callboard = ejecting("base_ejection: 5m");
    let instances = several(&callboard, 1).await;
    instances[0].set_status(500);
    assert_eq!(statuses(&callboard, 30).await, [(500, 30)]);
    let now = callboard.instance("web", &instances[0]).await.unwrap();
    assert_eq!(now["availability"], "ready");
}

#[tokio::test]
async fn turning_ejection_off_frees_the_ejected_at_once() {
    let callboard = ejecting("base_ejection: 5m");
    let instances = several(&callboard, 2).await;
    instances[0].set_status(500);
    statuses(&callboard, 20).await;
    callboard.until("web", &instances[0], "ejected").await;
    callboard.rewrite(&setup("outlier: off"));
    callboard.reload("configuration reloaded").await;
    callboard.until("web", &instances[0], "ready").await;
    assert_eq!(statuses(&callboard, 20).await, [(200, 10), (500, 10)]);
    let line = "web/web-1: ejected => ready (ejection was turned off)";
    assert_eq!(callboard.log().matches(line).count(), 1);
}

#[tokio::test]
async fn only_a_new_life_of_the_instance_ends_its_ejection() {
    let callboard = ejecting("base_ejection: 5m");
    let instances = several(&callboard, 2).await;
    let first = json!({"generation": 1});
    callboard
        .register("web", &instances[0], first.clone())
        .await;
    instances[0].set_status(500);
    statuses(&callboard, 20).await;
    callboard.until("web", &instances[0], "ejected").await;
    let again = callboard.try_register("web", &instances[0], first).await;
    assert_eq!(again.status(), 202);
    let again: Value = again.json().await.unwrap();
    assert_eq!(again["availability"], "ejected");
    instances[0].set_status(200);
    let second = json!({"generation": 2});
    let anew = callboard.register("web", &instances[0], second).await;
    assert_eq!(anew["availability"], "ready");
    assert_eq!(tally(callboard.answerers("/web/", 10).await).len(), 2);
}
