//! An instance that is down is no reason for a request to fail.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup};

#[tokio::test]
async fn requests_pass_by_instances_that_refuse_connections() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {balance: round_robin, check: off}")
        .start();
    let alive = Instance::start("alive");
    let dead = ["dead-1", "dead-2", "dead-3"].map(Instance::dead);
    callboard.register("web", &alive, json!({})).await;
    for instance in &dead {
        callboard.register("web", instance, json!({})).await;
    }
    for _ in 0..20 {
        assert_eq!(callboard.answerer("/web/").await, "alive");
        let post = callboard
            .client
            .post(callboard.url("/web/"))
            .body("x".repeat(100_000));
        assert_eq!(post.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_killed_instance_costs_no_request() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {balance: round_robin}")
        .start();
    let mut instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    callboard.answerers("/web/", 9).await;
    instances[1].kill();
    let answerers = callboard.answerers("/web/", 60).await;
    assert!(!answerers.contains(&"web-2".to_owned()));
}

#[tokio::test]
async fn with_every_instance_down_the_answer_is_502_and_says_why() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off}")
        .start();
    let dead = ["dead-1", "dead-2"].map(Instance::dead);
    for instance in &dead {
        callboard.register("web", instance, json!({})).await;
    }
    let reply = callboard.get("/web/").await;
    assert_eq!(reply.status(), 502);
    let status = reply.headers()["proxy-status"].to_str().unwrap();
    assert!(status.contains("error=connection_refused"), "{status}");
    assert!(status.contains("connect to 127.0.0.1:"), "{status}");
}

#[tokio::test]
async fn an_instance_that_never_answers_times_out_with_504() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("services: {web: {timeouts: {request: 300ms}}}")
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let reply = callboard.get("/web/held").await;
    assert_eq!(reply.status(), 504);
    let status = reply.headers()["proxy-status"].to_str().unwrap();
    assert!(status.contains("error=http_response_timeout"), "{status}");
    assert!(status.contains("300ms"), "{status}");
    web.release(1);
}

#[tokio::test]
async fn a_dead_instance_is_noticed_by_the_request_that_met_it() {
    let callboard = Callboard::start(
        "proxy: {listen: [\"127.0.0.1:0\"]}\n\
         registry: {listen: \"127.0.0.1:0\", admission: trust}\n\
         defaults: {balance: round_robin, check: {tcp: {}, interval: 1h, fall: 1}}\n",
    );
    let alive = Instance::start("alive");
    let mut dying = Instance::start("dying");
    callboard.register("web", &alive, json!({})).await;
    callboard.register("web", &dying, json!({})).await;
    callboard.answerers("/web/", 4).await;
    dying.kill();
    callboard.answerers("/web/", 4).await;
    callboard.until("web", &dying, "unhealthy").await;
}
