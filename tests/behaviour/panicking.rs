//! When too few instances are available for the checks to be right.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, eventually, tally};

/// Three instances behind checks, of which web-1 is ejected and web-2 unhealthy.
async fn with_one_of_three_left(panic: &str) -> (Callboard, Vec<Instance>) {
    let callboard = Setup::default()
        .top(&format!(
            "defaults: {{balance: round_robin, retry: off, outlier: {{base_ejection: 5m}}, \
             panic: {panic}, check: {{http: {{path: /health}}, interval: 100ms, fall: 1}}}}"
        ))
        .start();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[0].set_status(500);
    for _ in 0..20 {
        callboard.get("/web/").await;
    }
    callboard.until("web", &instances[0], "ejected").await;
    instances[0].set_status(200);
    let shares = tally(callboard.answerers("/web/", 20).await);
    assert_eq!(shares.len(), 2, "two of three are enough: {shares:?}");
    instances[1].set_health(500);
    callboard.until("web", &instances[1], "unhealthy").await;
    (callboard, instances)
}

#[tokio::test]
async fn the_ejected_and_the_unhealthy_serve_when_too_few_others_do() {
    let (callboard, _instances) = with_one_of_three_left("spread").await;
    let shares = tally(callboard.answerers("/web/", 30).await);
    assert_eq!(shares.len(), 3, "a third is too few: {shares:?}");
}

#[tokio::test]
async fn with_panic_off_the_checks_are_believed_to_the_last() {
    let (callboard, instances) = with_one_of_three_left("fail").await;
    let shares = tally(callboard.answerers("/web/", 30).await);
    assert_eq!(shares, [("web-3".to_owned(), 30)]);
    instances[2].set_health(500);
    callboard.until("web", &instances[2], "unhealthy").await;
    assert_eq!(callboard.get("/web/").await.status(), 503);
}

#[tokio::test]
async fn with_nobody_left_requests_are_held_until_one_of_them_passes_the_trial() {
    let callboard = Setup::default()
        .top(
            "defaults: {balance: round_robin, retry: off, panic: fail, hold: 1m, \
             timeouts: {request: 1m}, outlier: {base_ejection: 500ms, max_ejection: 500ms}, \
             check: {http: {path: /health}, interval: 100ms, fall: 1}}",
        )
        .start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[0].set_status(500);
    instances[1].set_health(500);
    // Each time it fails its trial the next request waits for the next one.
    eventually("one is ejected and the other unhealthy", || async {
        callboard.get("/web/").await;
        let first = callboard.instance("web", &instances[0]).await?;
        let second = callboard.instance("web", &instances[1]).await?;
        let out = first["availability"] == "ejected" && second["availability"] == "unhealthy";
        out.then_some(())
    })
    .await;
    let url = callboard.url("/web/");
    let held: Vec<_> = (0..20)
        .map(|_| tokio::spawn(callboard.client.get(&url).send()))
        .collect();
    instances[0].set_status(200);
    let mut statuses = Vec::new();
    for one in held {
        statuses.push(one.await.unwrap().unwrap().status().as_u16());
    }
    // Those on trial until it was well again took what it answered.
    let failed = statuses.iter().filter(|status| **status == 500).count();
    assert!(failed <= 2, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 500].contains(status)),
        "{statuses:?}"
    );
    callboard.until("web", &instances[0], "ready").await;
}
