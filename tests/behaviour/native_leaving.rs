//! The native API: heartbeats, drains, and signing out.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, eventually};

const WEB_1: &str = "/services/web/instances/web-1";

async fn send(
    callboard: &Callboard,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, Value) {
    let request = callboard.client.request(method, callboard.api(path));
    let reply = request.body(body.to_owned()).send().await.unwrap();
    let status = reply.status();
    let text = reply.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// A request that `instance` keeps in hand.
async fn hold(callboard: &Callboard, instance: &Instance) -> tokio::task::JoinHandle<StatusCode> {
    let before = instance.holding();
    let request = callboard.client.get(callboard.url("/web/held"));
    let held = tokio::spawn(async { request.send().await.unwrap().status() });
    eventually("the instance holds the request", || async {
        (instance.holding() > before).then_some(())
    })
    .await;
    held
}

async fn until_draining(callboard: &Callboard, instance: &Instance) {
    callboard.until("web", instance, "draining").await;
}

#[tokio::test]
async fn a_heartbeat_keeps_an_instance_and_an_unknown_one_must_register() {
    let callboard = Callboard::trusting();
    let lease = format!("{WEB_1}/lease");
    assert_eq!(send(&callboard, Method::PUT, &lease, "").await.0, 404);
    let body = r#"{"port":80,"generation":5,"check":"off"}"#;
    send(&callboard, Method::PUT, WEB_1, body).await;
    assert_eq!(send(&callboard, Method::PUT, &lease, "").await.0, 204);
    let load = r#"{"utilization":0.7,"qps":120,"errors":0.5,"capacity":200,"generation":5}"#;
    assert_eq!(send(&callboard, Method::PUT, &lease, load).await.0, 204);
    let (status, problem) = send(&callboard, Method::PUT, &lease, r#"{"qps":-1}"#).await;
    assert_eq!(
        (status.as_u16(), &problem["errors"][0]["field"]),
        (422, &json!("qps"))
    );
    assert_eq!(send(&callboard, Method::PUT, &lease, "{").await.0, 400);
}

#[tokio::test]
async fn no_lease_runs_out_while_the_process_stands_still() {
    let callboard = Callboard::trusting();
    let body = r#"{"port": 9, "lease": {"ttl": "1s"}}"#;
    let (status, _) = send(&callboard, Method::PUT, WEB_1, body).await;
    assert_eq!(status, 201);
    callboard.signal("STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    callboard.signal("CONT");
    let lease = format!("{WEB_1}/lease");
    assert_eq!(send(&callboard, Method::PUT, &lease, "").await.0, 204);
}

#[tokio::test]
async fn an_earlier_life_can_neither_renew_nor_sign_out() {
    let callboard = Callboard::trusting();
    let body = r#"{"port":80,"generation":5,"check":"off"}"#;
    send(&callboard, Method::PUT, WEB_1, body).await;
    for (method, path, body) in [
        (Method::PUT, format!("{WEB_1}/lease?generation=4"), ""),
        (Method::PUT, format!("{WEB_1}/lease"), r#"{"generation":4}"#),
        (Method::DELETE, format!("{WEB_1}?generation=4"), ""),
        (Method::PUT, format!("{WEB_1}/drain?generation=4"), ""),
        (Method::DELETE, format!("{WEB_1}/drain?generation=4"), ""),
        (Method::DELETE, format!("{WEB_1}?generation=4&drain=1s"), ""),
        (
            Method::PUT,
            WEB_1.to_owned(),
            r#"{"port":80,"generation":4}"#,
        ),
    ] {
        let (status, problem) = send(&callboard, method, &path, body).await;
        assert_eq!(status, 409, "{path}");
        assert_eq!(problem["type"], "urn:callboard:problem:fenced");
    }
    let (_, now) = send(&callboard, Method::GET, WEB_1, "").await;
    assert_eq!(now["availability"], "ready", "no drain was started either");
    let path = format!("{WEB_1}?generation=5");
    assert_eq!(send(&callboard, Method::DELETE, &path, "").await.0, 204);
}

#[tokio::test]
async fn who_signs_out_is_gone_and_cannot_do_so_twice() {
    let callboard = Callboard::trusting();
    send(
        &callboard,
        Method::PUT,
        WEB_1,
        r#"{"port":80,"check":"off"}"#,
    )
    .await;
    assert_eq!(send(&callboard, Method::DELETE, WEB_1, "").await.0, 204);
    assert_eq!(send(&callboard, Method::GET, WEB_1, "").await.0, 404);
    assert_eq!(send(&callboard, Method::DELETE, WEB_1, "").await.0, 404);
    let drained = format!("{WEB_1}?drain=1s");
    assert_eq!(send(&callboard, Method::DELETE, &drained, "").await.0, 404);
    let drain = format!("{WEB_1}/drain");
    assert_eq!(send(&callboard, Method::PUT, &drain, "").await.0, 404);
    assert_eq!(send(&callboard, Method::DELETE, &drain, "").await.0, 404);
}

#[tokio::test]
async fn a_drain_can_be_taken_back() {
    let callboard = Callboard::trusting();
    send(
        &callboard,
        Method::PUT,
        WEB_1,
        r#"{"port":80,"check":"off"}"#,
    )
    .await;
    let drain = format!("{WEB_1}/drain");
    for _ in 0..2 {
        let (status, now) = send(&callboard, Method::PUT, &drain, "").await;
        assert_eq!(status, 202);
        assert_eq!(
            (&now["draining"], &now["availability"]),
            (&json!(true), &json!("draining"))
        );
    }
    assert_eq!(send(&callboard, Method::DELETE, &drain, "").await.0, 204);
    let (_, now) = send(&callboard, Method::GET, WEB_1, "").await;
    assert_eq!(now["availability"], "ready");
}

#[tokio::test]
async fn a_drained_sign_out_waits_for_what_is_in_flight() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = hold(&callboard, &web).await;
    let path = format!("{WEB_1}?drain=20s");
    let leaving = send(&callboard, Method::DELETE, &path, "");
    let finishing = async {
        until_draining(&callboard, &web).await;
        let now = callboard.instance("web", &web).await.unwrap();
        assert_eq!(now["in_flight"], 1);
        web.release(1);
    };
    let ((status, farewell), ()) = tokio::join!(leaving, finishing);
    assert_eq!(status, 200);
    assert_eq!(farewell, json!({"served": 1, "in_flight": 0, "aborted": 0}));
    assert_eq!(held.await.unwrap(), 200);
    assert!(callboard.instance("web", &web).await.is_none());
}

#[tokio::test]
async fn a_drained_sign_out_does_not_wait_for_ever() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = hold(&callboard, &web).await;
    let path = format!("{WEB_1}?drain=100ms");
    let (status, farewell) = send(&callboard, Method::DELETE, &path, "").await;
    assert_eq!(status, 200);
    assert_eq!(farewell, json!({"served": 0, "in_flight": 1, "aborted": 1}));
    assert!(callboard.instance("web", &web).await.is_none());
    web.release(1);
    held.await.unwrap();
}

#[tokio::test]
async fn a_drained_sign_out_is_finished_for_a_caller_that_hung_up() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = hold(&callboard, &web).await;
    let url = callboard.api(&format!("{WEB_1}?drain=20s"));
    let impatient = tokio::spawn(reqwest::Client::new().delete(url).send());
    until_draining(&callboard, &web).await;
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    web.release(1);
    assert_eq!(held.await.unwrap(), 200);
    eventually("the instance is signed out", || async {
        callboard
            .instance("web", &web)
            .await
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_comes_back_while_it_drains_stays() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard
        .register("web", &web, json!({"generation": 1}))
        .await;
    let held = hold(&callboard, &web).await;
    let path = format!("{WEB_1}?drain=20s");
    let returning = async {
        until_draining(&callboard, &web).await;
        callboard
            .register("web", &web, json!({"generation": 2}))
            .await;
    };
    let leaving = send(&callboard, Method::DELETE, &path, "");
    let ((status, problem), ()) = tokio::join!(leaving, returning);
    assert_eq!(status, 409);
    assert_eq!(problem["type"], "urn:callboard:problem:drain-ended");
    let now = callboard.instance("web", &web).await.unwrap();
    assert_eq!(
        (&now["availability"], &now["generation"]),
        (&json!("ready"), &json!(2))
    );
    web.release(1);
    held.await.unwrap();
}

#[tokio::test]
async fn an_instance_that_vanishes_while_it_drains_has_left() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let held = hold(&callboard, &web).await;
    let path = format!("{WEB_1}?drain=20s");
    let vanishing = async {
        until_draining(&callboard, &web).await;
        let (status, _) = send(&callboard, Method::DELETE, WEB_1, "").await;
        assert_eq!(status, 204);
    };
    let leaving = send(&callboard, Method::DELETE, &path, "");
    let ((status, farewell), ()) = tokio::join!(leaving, vanishing);
    assert_eq!(status, 200);
    let expected = json!({"served": 0, "in_flight": 1, "aborted": 1});
    assert_eq!(farewell, expected, "as it was when it vanished");
    web.release(1);
    held.await.unwrap();
}
