//! `GET /api/v1/live`: the figures of services, second by second.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::tokens::{auth, call, outcome};
use crate::support::{Callboard, Instance, Setup, eventually};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reader of one stream.
struct Live {
    reply: reqwest::Response,
    buffer: String,
}

impl Live {
    async fn start(callboard: &Callboard, query: &str) -> Self {
        let url = callboard.api(&format!("/live{query}"));
        Self::of(callboard.client.get(url).send().await.unwrap())
    }

    fn of(reply: reqwest::Response) -> Self {
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        Self {
            reply,
            buffer: String::new(),
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                if let Some((_, data)) = block.split_once("event: figures\ndata: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.reply.chunk());
            let chunk = chunk.await.expect("an event in time").ok()??;
            self.buffer += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The first event from here on in which `find` finds something.
    async fn until<T>(&mut self, find: impl Fn(&Value) -> Option<T>) -> T {
        let started = std::time::Instant::now();
        loop {
            let event = self.next().await.expect("another event");
            if let Some(found) = find(&event) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain: {event}");
        }
    }
}

fn row<'a>(event: &'a Value, service: &str) -> Option<&'a Value> {
    let rows = event["services"].as_array().unwrap();
    rows.iter().find(|row| row["service"] == service)
}

#[tokio::test]
async fn the_first_event_tells_of_every_service_and_later_ones_of_what_changes() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    callboard.register("web", &one, json!({})).await;
    callboard.register("api", &two, json!({})).await;
    let first = eventually("both services are there", async || {
        let event = Live::start(&callboard, "").await.next().await.unwrap();
        (event["services"].as_array().unwrap().len() == 2).then_some(event)
    })
    .await;
    assert_eq!(first["complete"], json!(true));
    assert_eq!(first["removed"], json!([]));
    assert!(first["history"].as_array().unwrap().len() <= 120);
    let web = row(&first, "web").unwrap();
    assert_eq!(web["availability"], json!({"ready": 1}));
    assert_eq!((&web["rate"], &web["p50"]), (&json!(0.0), &Value::Null));
    assert_eq!(web["panic"], json!(false));

    let mut live = Live::start(&callboard, "").await;
    let first = live.next().await.unwrap();
    assert_eq!(first["total"]["instances"], json!(2));
    let second = live.next().await.unwrap();
    assert_eq!(second["complete"], json!(false));
    assert!(second.get("history").is_none(), "{second}");
    one.set_status(500);
    for _ in 0..20 {
        let url = callboard.url("/web/x");
        callboard.client.get(url).send().await.unwrap();
    }
    let busy = live.until(|event| row(event, "web").filter(|row| row["rate"] != 0.0).cloned());
    let busy = busy.await;
    assert!(busy["rate"].as_f64().unwrap() > 0.0);
    assert!(busy["errors"].as_f64().unwrap() > 0.0);
    assert!(busy["p99"].as_f64().unwrap() >= busy["p50"].as_f64().unwrap());
    let quiet = live.until(|event| row(event, "web").filter(|row| row["rate"] == 0.0).cloned());
    assert_eq!(quiet.await["p50"], Value::Null);

    let url = callboard.instance_url("api", &two);
    callboard.client.delete(url).send().await.unwrap();
    let gone = live.until(|event| (event["removed"] == json!(["api"])).then(|| event.clone()));
    assert_eq!(gone.await["total"]["instances"], json!(1));
}

#[tokio::test]
async fn what_an_instance_is_now_shows_without_a_request() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    callboard.register("web", &one, json!({})).await;
    let mut live = Live::start(&callboard, "?service=web").await;
    let url = callboard.instance_url("web", &one);
    let drain = callboard.client.put(format!("{url}/drain"));
    drain.send().await.unwrap();
    live.until(|event| {
        let row = row(event, "web")?;
        (row["availability"] == json!({"draining": 1})).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_service_is_told_of_alone_and_may_come_later() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    let mut live = Live::start(&callboard, "?service=web").await;
    let first = live.next().await.unwrap();
    assert_eq!(
        (&first["services"], &first["complete"]),
        (&json!([]), &json!(true))
    );
    callboard.register("api", &one, json!({})).await;
    callboard.register("web", &two, json!({})).await;
    let came = live.until(|event| {
        let rows = event["services"].as_array().unwrap();
        (!rows.is_empty()).then(|| rows.clone())
    });
    let came = came.await;
    assert_eq!((came.len(), &came[0]["service"]), (1, &json!("web")));
}

#[tokio::test]
async fn requests_in_flight_and_connections_are_those_of_now() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    callboard.register("web", &one, json!({})).await;
    let mut live = Live::start(&callboard, "").await;
    let idle = live.next().await.unwrap();
    assert_eq!(idle["total"]["connections"], json!(0), "{idle}");
    let held = callboard.client.get(callboard.url("/web/held")).send();
    let held = tokio::spawn(held);
    live.until(|event| (row(event, "web")?["in_flight"] == 1).then_some(()))
        .await;
    live.until(|event| (event["total"]["connections"] == 1).then_some(()))
        .await;
    one.release(1);
    held.await.unwrap().unwrap();
    live.until(|event| (event["total"]["in_flight"] == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn wrong_parameters_are_named() {
    let callboard = Callboard::trusting();
    for (query, field) in [
        ("every=0s", "every"),
        ("every=61s", "every"),
        ("every=soon", "every"),
        ("service=a%2Fb", "service"),
        ("since=1m", "since"),
    ] {
        let url = callboard.api(&format!("/live?{query}"));
        let reply = callboard.client.get(url).send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        let problem: Value = reply.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], field, "{query}");
    }
}

#[tokio::test]
async fn it_takes_the_scope_to_read_and_ends_when_that_is_taken_away() {
    let tokens = auth(&[("reader", "read"), ("writer", "\"register:web\"")]);
    let callboard = Setup::default().registry(&tokens).start();
    let live = ("GET", "/api/v1/live", Value::Null);
    let (status, _) = outcome(&callboard, None, live.clone()).await;
    assert_eq!(status, 401);
    let (status, _) = outcome(&callboard, Some("writer"), live.clone()).await;
    assert_eq!(status, 403);
    let mut reader = Live::of(call(&callboard, Some("reader"), live).await);
    reader.next().await.unwrap();

    let without = auth(&[("writer", "\"register:web\"")]);
    callboard.rewrite(&Setup::default().registry(&without));
    callboard.signal("HUP");
    while reader.next().await.is_some() {}
}

#[tokio::test]
async fn a_process_that_leaves_ends_the_stream() {
    let callboard = Callboard::trusting();
    let mut live = Live::start(&callboard, "?every=1m").await;
    live.next().await.unwrap();
    callboard.signal("TERM");
    assert_eq!(live.next().await, None);
}

#[tokio::test]
async fn readers_that_never_read_hold_up_nobody_and_there_is_an_end_to_them() {
    let callboard = Callboard::trusting();
    let mut stalled = Vec::new();
    let refused = loop {
        let request = callboard.client.get(callboard.api("/live"));
        let reply = request.send().await.unwrap();
        if reply.status() != StatusCode::OK {
            break reply;
        }
        stalled.push(reply);
        assert!(stalled.len() <= 1_024);
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    stalled.pop();
    let mut live = eventually("a place is free again", async || {
        let request = callboard.client.get(callboard.api("/live"));
        let reply = request.send().await.unwrap();
        (reply.status() == StatusCode::OK).then(|| Live::of(reply))
    })
    .await;
    live.next().await.unwrap();
    live.next().await.unwrap();
}
