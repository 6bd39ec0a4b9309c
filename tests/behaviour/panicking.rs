//! When too few instances are available for the checks to be right.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, tally};

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
