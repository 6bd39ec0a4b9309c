//! Limits, and who waits at them: nobody gets more than it is said to take.

use std::sync::Arc;

use serde_json::json;

use crate::support::{Callboard, Held, Instance, Setup, eventually};

async fn limited(limits: &str, instances: &[Instance]) -> Callboard {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(&format!("defaults: {{limits: {{{limits}}}}}"))
        .start();
    for instance in instances {
        callboard.register("web", instance, json!({})).await;
    }
    callboard
}

/// Sends a GET of `/web/held`, and does not wait for anything.
fn send(callboard: &Callboard) -> Held {
    let url = callboard.url("/web/held");
    tokio::spawn(callboard.client.get(url).send())
}

/// Whether so many requests are in the queue.
async fn waiting(callboard: &Callboard, count: usize) -> Option<()> {
    let queued = "callboard_requests_waiting{service=\"web\",reason=\"queue\"}";
    let metrics = callboard.metrics().await;
    metrics
        .contains(&format!("{queued} {count}\n"))
        .then_some(())
}

async fn status(held: Held) -> u16 {
    held.await.unwrap().unwrap().status().as_u16()
}

/// The `details` of the reply that refuses a request at a limit.
async fn refused(callboard: &Callboard) -> String {
    let reply = callboard.get("/web/held").await;
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "1");
    let status = reply.headers()["proxy-status"].to_str().unwrap().to_owned();
    let details = status.strip_prefix("callboard; error=connection_limit_reached; details=");
    details.unwrap_or_else(|| panic!("{status}")).to_owned()
}

#[tokio::test]
async fn at_the_limit_the_next_one_waits_until_one_is_done() {
    let web = [Instance::start("web-1")];
    let callboard = limited("in_flight: 2, queue: 1, queue_timeout: 1h", &web).await;
    let held = callboard.hold("web", &web, 2).await;
    let waiting = callboard.crowd("/web/held", 1).await;
    assert_eq!(web[0].holding(), 2);
    web[0].release(1);
    eventually("the third is held", || async {
        (web[0].holding() == 2 && web[0].hits() == 1).then_some(())
    })
    .await;
    web[0].release(2);
    for one in held.into_iter().chain(waiting) {
        assert_eq!(status(one).await, 200);
    }
}

#[tokio::test]
async fn with_the_queue_full_the_answer_is_503_at_once_and_names_the_limit() {
    let web = [Instance::start("web-1")];
    let callboard = limited("in_flight: 1, queue: 0, queue_timeout: 1h", &web).await;
    let held = callboard.hold_one("web", &web[0]).await;
    let details = refused(&callboard).await;
    assert_eq!(
        details,
        r#""limits.in_flight of 1 reached, queue of 0 full""#
    );
    web[0].release(1);
    assert_eq!(status(held).await, 200);
    assert_eq!(callboard.answerer("/web/").await, "web-1");
}

#[tokio::test]
async fn who_waited_in_vain_is_told_how_long() {
    let web = [Instance::start("web-1")];
    let callboard = limited("in_flight_per_instance: 1, queue_timeout: 50ms", &web).await;
    let held = callboard.hold_one("web", &web[0]).await;
    let details = refused(&callboard).await;
    let expected = r#""limits.in_flight_per_instance of 1 reached, 50ms in the queue""#;
    assert_eq!(details, expected);
    assert_eq!(web[0].holding(), 1);
    web[0].release(1);
    assert_eq!(status(held).await, 200);
}

#[tokio::test]
async fn an_instance_at_its_limit_is_passed_by() {
    let web = Instance::several("web", 2);
    let callboard = limited("in_flight_per_instance: 2, queue: 0", &web).await;
    let held = callboard.hold("web", &web, 4).await;
    assert_eq!((web[0].holding(), web[1].holding()), (2, 2));
    refused(&callboard).await;
    web[1].release(1);
    eventually("one is done", || async {
        (web[1].hits() == 1).then_some(())
    })
    .await;
    eventually("the other instance answers", || async {
        let reply = callboard.get("/web/").await;
        (reply.status() == 200).then_some(())
    })
    .await;
    assert_eq!(web[0].hits(), 0);
    web[0].release(2);
    web[1].release(1);
    for one in held {
        assert_eq!(status(one).await, 200);
    }
}

#[tokio::test]
async fn a_crowd_is_let_through_a_few_at_a_time_and_all_of_it() {
    let web = Arc::new(Instance::start("web-1"));
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "defaults: {limits: {in_flight: 5, queue: 1000, queue_timeout: 1h}, \
             timeouts: {request: 1h}}",
        )
        .start();
    callboard
        .register("web", &web, json!({"lease": null}))
        .await;
    let crowd: Vec<_> = (0..200).map(|_| send(&callboard)).collect();
    eventually("as many as may are held", || async {
        (web.holding() >= 5).then_some(())
    })
    .await;
    let releasing = std::thread::spawn({
        let web = Arc::clone(&web);
        move || {
            let (mut released, mut most) = (0, 0);
            while released < 200 {
                let (answered, holding) = (web.hits(), web.holding());
                most = holding.max(most);
                if released < answered + holding {
                    web.release(1);
                    released += 1;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            most
        }
    });
    for one in crowd {
        assert_eq!(status(one).await, 200);
    }
    assert_eq!(releasing.join().unwrap(), 5);
    assert_eq!(web.hits(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_makes_room() {
    let web = [Instance::start("web-1")];
    let callboard = limited("in_flight: 1, queue: 1, queue_timeout: 1h", &web).await;
    let held = callboard.hold_one("web", &web[0]).await;
    for request in callboard.crowd("/web/held", 1).await {
        eventually("it waits", || waiting(&callboard, 1)).await;
        request.abort();
    }
    // While the one who left is in the queue, everybody else is refused.
    eventually("there is room", || waiting(&callboard, 0)).await;
    let last = send(&callboard);
    eventually("it waits", || waiting(&callboard, 1)).await;
    for _ in 0..5 {
        assert_eq!(callboard.get("/web/held").await.status(), 503);
    }
    web[0].release(2);
    assert_eq!(status(held).await, 200);
    assert_eq!(status(last).await, 200);
}

#[tokio::test]
async fn at_the_limit_a_request_takes_its_place_along_to_another_instance() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "defaults: {balance: round_robin, outlier: off, check: off, retry: {budget: off}, \
             limits: {in_flight: 1}}",
        )
        .start();
    let (good, bad) = (Instance::start("good"), Instance::start("bad"));
    bad.set_status(503);
    callboard.register("web", &good, json!({})).await;
    callboard.register("web", &bad, json!({})).await;
    assert_eq!(callboard.answerers("/web/", 10).await, ["good"; 10]);
    assert!(bad.hits() > 0);
}
