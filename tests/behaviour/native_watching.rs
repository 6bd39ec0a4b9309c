//! The native API: following changes as server-sent events.

use serde_json::{Value, json};

use crate::support::{Callboard, Instance};

/// One event: its name, the index it carries, and its data.
type Event = (String, u64, Value);

/// A reader of one stream.
struct Watch {
    reply: reqwest::Response,
    buffer: String,
}

impl Watch {
    async fn start(callboard: &Callboard, query: &str, last_event_id: Option<u64>) -> Self {
        let mut request = callboard
            .client
            .get(callboard.api(&format!("/watch{query}")));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        Self {
            reply,
            buffer: String::new(),
        }
    }

    /// The next block of lines; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Some(block);
            }
            let chunk = self.reply.chunk().await.unwrap()?;
            self.buffer += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn next(&mut self) -> Event {
        let block = self.block().await.unwrap();
        let field = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()))
        };
        let data = field("data:").unwrap();
        (
            field("event:").unwrap(),
            field("id:").unwrap().parse().unwrap(),
            serde_json::from_str(&data).unwrap(),
        )
    }
}

#[tokio::test]
async fn a_watch_begins_with_everything_and_goes_on_with_what_changes() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    let first = callboard.register("web", &one, json!({})).await;
    let mut watch = Watch::start(&callboard, "", None).await;
    let (name, id, data) = watch.next().await;
    assert_eq!(
        (name.as_str(), id),
        ("snapshot", first["index"].as_u64().unwrap())
    );
    assert_eq!(data.as_array().unwrap().len(), 1);
    assert_eq!(data[0]["id"], "one");

    let second = callboard.register("api", &two, json!({})).await;
    let (name, id, data) = watch.next().await;
    assert_eq!(
        (name.as_str(), id),
        ("upsert", second["index"].as_u64().unwrap())
    );
    assert_eq!(
        (&data["service"], &data["id"]),
        (&json!("api"), &json!("two"))
    );
    assert_eq!(data["availability"], "ready");

    let url = callboard.instance_url("web", &one);
    callboard
        .client
        .put(format!("{url}/drain"))
        .send()
        .await
        .unwrap();
    let (name, drained, data) = watch.next().await;
    assert_eq!(
        (name.as_str(), &data["availability"]),
        ("upsert", &json!("draining"))
    );
    assert!(drained > id);

    callboard.client.delete(&url).send().await.unwrap();
    let (name, _, data) = watch.next().await;
    assert_eq!(
        (name.as_str(), data),
        ("remove", json!({"service": "web", "id": "one"}))
    );
}

#[tokio::test]
async fn a_watch_of_one_service_hears_of_no_other() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    let mut watch = Watch::start(&callboard, "?service=web", None).await;
    assert_eq!(watch.next().await.2, json!([]));
    callboard.register("api", &one, json!({})).await;
    callboard.register("web", &two, json!({})).await;
    let (name, _, data) = watch.next().await;
    assert_eq!((name.as_str(), &data["service"]), ("upsert", &json!("web")));
}

#[tokio::test]
async fn a_change_of_availability_is_a_change() {
    let callboard = Callboard::trusting();
    let one = Instance::start("one");
    let check = json!({"check": {"http": {"path": "/health"}, "interval": "100ms", "fall": 1}});
    callboard.register("web", &one, check).await;
    let mut watch = Watch::start(&callboard, "?service=web", None).await;
    watch.next().await;
    one.set_health(500);
    loop {
        let (name, _, data) = watch.next().await;
        assert_eq!(name, "upsert");
        if data["availability"] == "unhealthy" {
            let reason = data["reason"].as_str().unwrap();
            assert!(reason.contains("500"), "{reason}");
            break;
        }
    }
}

#[tokio::test]
async fn a_reader_that_comes_back_is_told_what_it_needs() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    callboard
        .register("web", &one, json!({"check": "off"}))
        .await;
    let (_, id, _) = Watch::start(&callboard, "", None).await.next().await;

    let mut resumed = Watch::start(&callboard, "", Some(id)).await;
    let opening = resumed.block().await.unwrap();
    assert!(
        opening.contains("retry:") && !opening.contains("data:"),
        "{opening}"
    );
    callboard
        .register("web", &two, json!({"check": "off"}))
        .await;
    let (name, _, data) = resumed.next().await;
    assert_eq!((name.as_str(), &data["id"]), ("upsert", &json!("two")));

    let mut missed = Watch::start(&callboard, "", Some(id)).await;
    missed.block().await.unwrap();
    let (name, now, data) = missed.next().await;
    assert_eq!((name.as_str(), &data["id"]), ("upsert", &json!("two")));
    assert!(now > id);
    let url = callboard.instance_url("web", &two);
    callboard.client.delete(&url).send().await.unwrap();
    let mut missed = Watch::start(&callboard, "?service=web", Some(now)).await;
    missed.block().await.unwrap();
    assert_eq!(
        missed.next().await.2,
        json!({"service": "web", "id": "two"})
    );

    for unknown in [1, id + 1_000_000_000] {
        let mut watch = Watch::start(&callboard, "", Some(unknown)).await;
        let (name, _, data) = watch.next().await;
        assert_eq!(
            (name.as_str(), data.as_array().unwrap().len()),
            ("snapshot", 1)
        );
    }
}

#[tokio::test]
async fn many_changes_arrive_complete_however_they_are_put_together() {
    let callboard = Callboard::trusting();
    let mut watch = Watch::start(&callboard, "", None).await;
    watch.next().await;
    let instances: Vec<_> = (0..300)
        .map(|n| {
            json!({"service": format!("s{}", n % 7), "id": format!("i{n}"), "port": 80,
            "check": "off"})
        })
        .collect();
    let body = json!({ "instances": instances });
    let url = callboard.api("/instances:batch");
    callboard.client.post(url).json(&body).send().await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut last = 0;
    while seen.len() < 300 {
        let (name, id, data) = watch.next().await;
        assert_eq!(name, "upsert");
        assert!(id >= last, "{id} after {last}");
        last = id;
        seen.insert(data["id"].as_str().unwrap().to_owned());
    }
    let reply = callboard.client.get(callboard.api("/services"));
    let reply = reply.send().await.unwrap();
    assert_eq!(
        reply.headers()["callboard-index"],
        last.to_string().as_str()
    );
}

#[tokio::test]
async fn a_watch_ends_in_order_when_callboard_leaves() {
    let mut callboard = Callboard::trusting();
    let mut watch = Watch::start(&callboard, "", None).await;
    watch.next().await;
    callboard.signal("TERM");
    assert_eq!(watch.block().await, None);
    assert!(callboard.ended().await.success());
}
