//! Why a request went where it went: asked for by a client that may, or sampled, and told in the
//! vocabulary of the registry.

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::http2::{
    END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, fields, frame, head,
};
use crate::support::{Callboard, Instance, Setup, eventually};

/// Explains what is asked for, and nothing else.
const ASKED: &str = "telemetry: {explain: {sample: 0%}}";

fn trusting(lines: &str) -> Setup {
    Setup::default()
        .registry("admission: trust")
        .top("defaults: {check: off, outlier: off}")
        .top(lines)
}

async fn with_two(setup: Setup) -> (Callboard, Vec<Instance>) {
    let callboard = setup.start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    (callboard, instances)
}

async fn ask(callboard: &Callboard, path: &str, id: &str) -> Response {
    let request = (callboard.client.get(callboard.url(path)))
        .header("X-Callboard-Explain", "1")
        .header("X-Request-Id", id)
        .header("X-User", "u7");
    request.send().await.unwrap()
}

/// The explanation of a request, which is there a moment after its answer.
async fn explained(callboard: &Callboard, id: &str) -> Value {
    let url = callboard.api(&format!("/explain/{id}"));
    eventually(&format!("{id} is explained"), || async {
        let reply = callboard.client.get(&url).send().await.unwrap();
        match reply.status().as_u16() {
            200 => Some(reply.json().await.unwrap()),
            _ => None,
        }
    })
    .await
}

async fn list(callboard: &Callboard, query: &str) -> Vec<Value> {
    let url = callboard.api(&format!("/explain{query}"));
    let reply = callboard.client.get(url).send().await.unwrap();
    reply.json().await.unwrap()
}

fn candidate<'a>(attempt: &'a Value, id: &str) -> &'a Value {
    let candidates = attempt["candidates"].as_array().unwrap();
    candidates.iter().find(|it| it["instance"] == id).unwrap()
}

#[tokio::test]
async fn a_request_that_asks_is_explained_and_its_header_goes_no_further() {
    let (callboard, _instances) = with_two(trusting(ASKED)).await;
    let reply = ask(&callboard, "/web/a?token=s3cret", "r/1").await;
    let echo: Value = reply.json().await.unwrap();
    assert!(echo["headers"]["x-callboard-explain"].is_null());
    let it = explained(&callboard, "r%2F1").await;
    assert_eq!(it["id"], "r/1");
    assert_eq!(it["why"], "asked for");
    assert_eq!(it["target"], "/web/a?token=*");
    assert_eq!(it["service"], "web");
    assert_eq!(it["route"]["name"], "default_routes");
    assert_eq!(it["route"]["strip"], "/web");
    assert_eq!(it["policy"]["balance"], "least_request");
    let attempt = &it["attempts"][0];
    assert_eq!(attempt["instance"], echo["id"]);
    assert_eq!(attempt["outcome"], "answered");
    assert_eq!(attempt["next"], "passed on");
    assert_eq!(attempt["candidates_total"], 2);
    assert_eq!(
        attempt["because"],
        "the first of 2 drawn by weight, both idle"
    );
    assert_eq!(
        candidate(attempt, echo["id"].as_str().unwrap())["chosen"],
        true
    );
    let listed = list(&callboard, "?service=web&status=200").await;
    assert_eq!(listed[0]["id"], "r/1");
    assert!(list(&callboard, "?status=503").await.is_empty());
}

#[tokio::test]
async fn nobody_else_is_explained_for_the_asking() {
    let setup = trusting("telemetry: {explain: {sample: 0%, clients: [\"10.1.0.0/16\"]}}")
        .proxy("trusted_proxies: [\"127.0.0.0/8\"]");
    let (callboard, _instances) = with_two(setup).await;
    for (client, id) in [("10.2.0.1", "no"), ("10.1.0.1", "yes")] {
        let request = (callboard.client.get(callboard.url("/web/")))
            .header("X-Callboard-Explain", "1")
            .header("X-Forwarded-For", client)
            .header("X-Request-Id", id);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    assert_eq!(explained(&callboard, "yes").await["client"], "10.1.0.1");
    let url = callboard.api("/explain/no");
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 404);
    let problem: Value = reply.json().await.unwrap();
    assert_eq!(problem["type"], "urn:callboard:problem:unknown-request");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("x-callboard-explain: 1")
    );
}

#[tokio::test]
async fn a_request_tried_again_tells_of_both_attempts() {
    let lines = "telemetry: {explain: {sample: 100%}}\nservices: {web: {balance: round_robin}}";
    let (callboard, mut instances) = with_two(trusting(lines)).await;
    instances[0].kill();
    let mut seen = None;
    for number in 0..4 {
        let id = format!("r{number}");
        assert_eq!(ask(&callboard, "/web/", &id).await.status(), 200);
        let it = explained(&callboard, &id).await;
        if it["attempts"].as_array().unwrap().len() == 2 {
            seen = Some(it);
        }
    }
    let it = seen.expect("every second request goes to the dead one first");
    let (first, second) = (&it["attempts"][0], &it["attempts"][1]);
    assert_eq!(first["instance"], "web-1");
    assert_eq!(first["outcome"], "failed");
    assert_eq!(first["error"]["type"], "connection_refused");
    assert_eq!(first["next"], "tried again: connect is in retry.on");
    assert_eq!(second["instance"], "web-2");
    assert_eq!(second["outcome"], "answered");
    assert_eq!(candidate(second, "web-1")["excluded"], "tried before");
}

#[tokio::test]
async fn a_hedged_request_tells_of_both_tries_and_their_connections() {
    let lines = format!(
        "{ASKED}\nservices: {{web: {{balance: round_robin, retry: {{hedge: {{after: 20ms}}}}}}}}"
    );
    let (callboard, instances) = with_two(trusting(&lines)).await;
    instances[1].release(1);
    assert_eq!(ask(&callboard, "/web/held", "r1").await.status(), 200);
    let it = explained(&callboard, "r1").await;
    let (first, second) = (&it["attempts"][0], &it["attempts"][1]);
    let told = |attempt: &Value| {
        ["instance", "outcome", "hedge", "error"].map(|name| attempt[name].clone())
    };
    assert_eq!(
        told(first),
        [
            json!("web-1"),
            json!("cancelled"),
            json!(false),
            json!(null)
        ]
    );
    assert_eq!(
        told(second),
        [json!("web-2"), json!("answered"), json!(true), json!(null)]
    );
    assert_eq!(candidate(second, "web-1")["excluded"], "tried before");
    assert_eq!(second["next"], "passed on");
    for attempt in [first, second] {
        assert_eq!(attempt["connection"]["reused"], false, "{attempt}");
        let times = [
            &attempt["at"],
            &attempt["connection"]["after"],
            &attempt["ended"],
        ]
        .map(|time| time.as_f64().unwrap());
        assert!(times.is_sorted(), "{attempt}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_not_taken_for_the_failure_of_an_earlier_try() {
    let lines = format!("{ASKED}\nservices: {{web: {{balance: round_robin}}}}");
    let (callboard, mut instances) = with_two(trusting(&lines)).await;
    instances[0].kill();
    let request = (callboard.client.get(callboard.url("/web/held")))
        .header("X-Callboard-Explain", "1")
        .header("X-Request-Id", "r1");
    let asked = tokio::spawn(request.send());
    eventually("the second one holds it", || async {
        (instances[1].holding() == 1).then_some(())
    })
    .await;
    asked.abort();
    let it = explained(&callboard, "r1").await;
    assert_eq!(it["attempts"][0]["error"]["type"], "connection_refused");
    let second = &it["attempts"][1];
    assert_eq!(second["outcome"], "cancelled", "{it}");
    assert!(second["error"].is_null(), "{it}");
    assert_eq!(second["next"], "not tried again: the client left");
}

#[tokio::test]
async fn a_request_whose_stream_is_reset_is_explained_too() {
    let (callboard, instances) = with_two(trusting(ASKED)).await;
    let mut frames = Frames::connect(&callboard, &[]).await;
    let asked = [("x-callboard-explain", "1"), ("x-request-id", "r1")];
    let block = [head("GET", "/web/held"), fields(&asked)].concat();
    frames
        .say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block))
        .await;
    eventually("it is held", || async {
        let holding: usize = instances.iter().map(Instance::holding).sum();
        (holding == 1).then_some(())
    })
    .await;
    frames
        .say(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()))
        .await;
    let it = explained(&callboard, "r1").await;
    assert_eq!(it["why"], "asked for");
    assert_eq!(it["service"], "web");
    assert_eq!(it["attempts"][0]["outcome"], "cancelled");
    assert_eq!(it["attempts"][0]["connection"]["reused"], false);
}

#[tokio::test]
async fn one_that_drains_is_excluded_and_a_key_has_its_owner() {
    let lines =
        format!("{ASKED}\nservices: {{web: {{balance: maglev, hash_on: 'header:X-User'}}}}");
    let (callboard, instances) = with_two(trusting(&lines)).await;
    let drain = format!("{}/drain", callboard.instance_url("web", &instances[0]));
    assert!(
        callboard
            .client
            .put(drain)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
    ask(&callboard, "/web/", "r1").await;
    let it = explained(&callboard, "r1").await;
    assert_eq!(it["policy"]["hash_on"], "header:x-user");
    assert_eq!(it["policy"]["hash_is_chance"], false);
    assert_eq!(it["policy"]["hash"].as_str().unwrap().len(), 16);
    let attempt = &it["attempts"][0];
    assert_eq!(attempt["instance"], "web-2");
    assert_eq!(
        candidate(attempt, "web-1")["excluded"],
        "draining: drain requested"
    );
}

#[tokio::test]
async fn routes_say_what_was_not_met_and_splits_what_decided() {
    let lines = format!(
        "{ASKED}\nroutes:\n- {{match: {{path: /x, headers: {{X-Canary: '1'}}}}, name: beta, service: \
         web}}\n- {{match: {{path: /shop}}, name: shop, split_on: 'header:X-User', split: [{{service: \
         web, weight: 90}}, {{service: next, weight: 0}}]}}\ndefault_routes: off"
    );
    let (callboard, _instances) = with_two(trusting(&lines)).await;
    ask(&callboard, "/shop/", "r1").await;
    let route = explained(&callboard, "r1").await["route"].clone();
    assert_eq!(route["name"], "shop");
    assert_eq!(route["matched"], json!(["path /shop (a prefix of /shop/)"]));
    assert_eq!(route["split"]["side"], "web");
    assert_eq!(route["split"]["by"], "header:x-user");
    assert_eq!(ask(&callboard, "/x/", "r2").await.status(), 404);
    let it = explained(&callboard, "r2").await;
    assert_eq!(it["error"]["type"], "destination_not_found");
    assert!(it["service"].is_null());
    let passed = &it["route"]["passed_over"];
    let because = "header x-canary is absent (expected 1)";
    assert_eq!(passed[0], json!({"route": "beta", "because": because}));
    assert_eq!(passed[2]["because"], "they are off");
}

#[tokio::test]
async fn a_request_that_is_refused_tells_who_was_full_and_one_that_waited_for_what() {
    let lines = format!(
        "{ASKED}\nservices: {{web: {{limits: {{in_flight_per_instance: 1, queue: 1, queue_timeout: \
         30s}}}}}}"
    );
    let callboard = trusting(&lines).start();
    let instance = Instance::start("web-1");
    callboard.register("web", &instance, json!({})).await;
    let held = callboard.hold_one("web", &instance).await;
    let url = callboard.url("/web/");
    // One of these has to wait, and the other finds no place.
    let asked = ["r1", "r2"].map(|id| {
        let request = (callboard.client.get(&url))
            .header("X-Callboard-Explain", "1")
            .header("X-Request-Id", id);
        tokio::spawn(request.send())
    });
    let refused = eventually("one is refused", || async {
        list(&callboard, "?status=503").await.into_iter().next()
    })
    .await;
    let refused = refused["id"].as_str().unwrap().to_owned();
    let it = explained(&callboard, &refused).await;
    let candidate = &it["refused"]["candidates"][0];
    assert_eq!(candidate["excluded"], "at its limit of 1 in flight");
    assert_eq!(candidate["chosen"], false);
    instance.release(1);
    held.await.unwrap().unwrap();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    let waited = if refused == "r1" { "r2" } else { "r1" };
    let it = explained(&callboard, waited).await;
    let wait = &it["attempts"][0]["waited"];
    assert_eq!(
        wait["because"],
        "in the queue: limits.in_flight_per_instance of 1 reached"
    );
    assert!(wait["time"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn no_more_are_kept_than_the_configuration_says_and_none_when_it_is_off() {
    let lines = "telemetry: {explain: {sample: 100%, kept: 5}}";
    let (callboard, _instances) = with_two(trusting(lines)).await;
    for number in 0..12 {
        let id = format!("r{number}");
        ask(&callboard, "/web/", &id).await;
        explained(&callboard, &id).await;
    }
    let ids: Vec<_> = list(&callboard, "")
        .await
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(ids, ["r11", "r10", "r9", "r8", "r7"]);
    callboard.rewrite(&trusting("telemetry: {explain: off}"));
    callboard.reload("configuration reloaded").await;
    assert!(list(&callboard, "").await.is_empty());
    assert_eq!(ask(&callboard, "/web/", "late").await.status(), 200);
    assert!(list(&callboard, "").await.is_empty());
}
