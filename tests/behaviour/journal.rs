//! The journal: what changed, when, by whom and why; and who was there at another moment.

use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup, eventually};

async fn get(callboard: &Callboard, path: &str) -> Response {
    let request = callboard.client.get(callboard.api(path));
    request.send().await.unwrap()
}

async fn list(callboard: &Callboard, path: &str) -> Vec<Value> {
    let reply = get(callboard, path).await;
    assert_eq!(reply.status(), 200, "{path}");
    reply.json().await.unwrap()
}

/// The status of a refusal, and the body.
async fn refused(callboard: &Callboard, path: &str) -> (u16, Value) {
    let reply = get(callboard, path).await;
    let status = reply.status().as_u16();
    assert_eq!(
        reply.headers()["content-type"],
        "application/problem+json",
        "{path}"
    );
    (status, reply.json().await.unwrap())
}

fn all<'a>(entries: &'a [Value], field: &str) -> Vec<&'a str> {
    let fields = entries.iter().map(|entry| &entry[field]);
    fields.map(|text| text.as_str().unwrap_or("-")).collect()
}

/// Registers web-1 again and again, each time with another weight, up to `weight`.
async fn weigh(callboard: &Callboard, weights: std::ops::RangeInclusive<u32>) -> Instance {
    let instance = Instance::start("web-1");
    for weight in weights {
        let extra = json!({"weight": weight});
        callboard.register("web", &instance, extra).await;
    }
    instance
}

/// A callboard that keeps the last entries of this process only.
fn forgetful() -> Callboard {
    let setup = Setup::default().registry("admission: trust");
    setup.registry("store: memory").start()
}

#[tokio::test]
async fn every_change_is_there_with_who_and_why_the_newest_first() {
    let callboard = Callboard::trusting();
    let web = weigh(&callboard, 1..=2).await;
    let url = callboard.instance_url("web", &web);
    let drain = format!("{url}/drain");
    let client = &callboard.client;
    let patch = json!({"zone": "b", "metadata": {"build": "8"}});
    client.patch(&url).json(&patch).send().await.unwrap();
    client.put(&drain).send().await.unwrap();
    client.delete(&drain).send().await.unwrap();
    let left = client.delete(format!("{url}?drain=20s")).send().await;
    assert_eq!(left.unwrap().status(), 200);

    let entries = list(&callboard, "/journal").await;
    let changes = [
        "deregistered",
        "drained",
        "undrained",
        "drained",
        "patched",
        "registered",
        "registered",
    ];
    assert_eq!(all(&entries, "change"), changes);
    let whys = [
        "its drain ended",
        "-",
        "-",
        "-",
        "zone none → \"b\", metadata \"build\" none → \"8\"",
        "weight 1 → 2",
        "-",
    ];
    assert_eq!(all(&entries, "why"), whys);
    for entry in &entries {
        let client =
            json!({"actor": "client", "peer": "127.0.0.1", "token": null, "registry": null});
        assert_eq!(entry["by"], client);
        assert_eq!(
            (&entry["service"], &entry["id"]),
            (&json!("web"), &json!("web-1"))
        );
    }
    assert_eq!(entries[1]["instance"]["draining"], true);
    assert_eq!(entries[4]["instance"]["metadata"], json!({"build": "8"}));
    assert_eq!(entries[6]["instance"]["weight"], 1);
    assert_eq!(entries[6]["instance"]["port"], web.port);
}

#[tokio::test]
async fn an_expiry_is_callboards_own_doing() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .registry("lease: {min: 10ms}")
        .start();
    let dead = Instance::dead("web-1");
    let lease = json!({"lease": {"ttl": "50ms"}, "check": "off"});
    callboard.register("web", &dead, lease).await;
    let entries = eventually("the lease has run out", || async {
        let entries = list(&callboard, "/journal?service=web").await;
        (entries.len() == 2).then_some(entries)
    })
    .await;
    assert_eq!(entries[0]["change"], "expired");
    let callboard = json!({"actor": "callboard", "peer": null, "token": null, "registry": null});
    assert_eq!(entries[0]["by"], callboard);
    assert!(!entries[0]["why"].as_str().unwrap().is_empty());
    assert_eq!(entries[0]["instance"]["lease"], json!({"ttl": "50ms"}));
}

#[tokio::test]
async fn it_can_be_narrowed_down() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    callboard.register("web", &one, json!({})).await;
    callboard.register("web", &two, json!({})).await;
    callboard.register("api", &one, json!({})).await;
    let all_of_it = list(&callboard, "/journal").await;
    assert_eq!(all(&all_of_it, "service"), ["api", "web", "web"]);
    let of_web = list(&callboard, "/journal?service=WEB").await;
    assert_eq!(all(&of_web, "id"), ["two", "one"]);
    let of_one = list(&callboard, "/journal?id=one").await;
    assert_eq!(all(&of_one, "service"), ["api", "web"]);
    assert!(list(&callboard, "/journal?service=nobody").await.is_empty());

    let [at_end, at_start] =
        [&all_of_it[0]["at"], &all_of_it[2]["at"]].map(|at| at.as_str().unwrap());
    for path in [
        format!("/journal?since={at_start}"),
        format!("/journal?until={at_end}"),
        "/journal?since=1h".to_owned(),
    ] {
        assert_eq!(list(&callboard, &path).await.len(), 3, "{path}");
    }
    assert!(list(&callboard, "/journal?until=1h").await.is_empty());
}

#[tokio::test]
async fn pages_lead_to_the_first_entry_with_none_twice() {
    let callboard = Callboard::trusting();
    let _web = weigh(&callboard, 1..=5).await;
    let mut weights = Vec::new();
    let mut path = "/journal?service=web&limit=2".to_owned();
    loop {
        let reply = get(&callboard, &path).await;
        let link = reply.headers().get("link").cloned();
        let entries: Vec<Value> = reply.json().await.unwrap();
        weights.extend(
            entries
                .iter()
                .map(|entry| entry["instance"]["weight"].as_u64().unwrap()),
        );
        let Some(link) = link else { break };
        let link = link.to_str().unwrap().strip_prefix("</api/v1").unwrap();
        path = link.strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(weights, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_long_poll_waits_for_the_next_entry() {
    let callboard = Callboard::trusting();
    let web = weigh(&callboard, 1..=1).await;
    let now = get(&callboard, "/journal?service=web").await;
    let now = now.headers()["callboard-index"]
        .to_str()
        .unwrap()
        .to_owned();
    let path = format!("/journal?service=web&index={now}&wait=15s&limit=1");
    let (entries, _) = tokio::join!(
        list(&callboard, &path),
        callboard.register("web", &web, json!({"weight": 9}))
    );
    assert_eq!(entries[0]["why"], "weight 1 → 9");
}

#[tokio::test]
async fn the_members_at_a_moment_are_as_they_were_then() {
    let callboard = Callboard::trusting();
    let web = weigh(&callboard, 1..=1).await;
    let other = Instance::start("web-0");
    callboard
        .register("web", &other, json!({"zone": "b"}))
        .await;
    let then = list(&callboard, "/journal?limit=1").await[0]["at"].clone();
    let then = then.as_str().unwrap();
    // Moments are told by the millisecond, and what comes next is to be in another one.
    eventually("the clock has moved on", || async {
        let now = humantime::format_rfc3339_millis(std::time::SystemTime::now());
        (*now.to_string() > *then).then_some(())
    })
    .await;
    callboard.register("web", &web, json!({"weight": 7})).await;
    let url = callboard.instance_url("web", &other);
    callboard.client.delete(url).send().await.unwrap();

    let path = format!("/services/web/instances?at={then}");
    let members = list(&callboard, &path).await;
    assert_eq!(all(&members, "id"), ["web-0", "web-1"]);
    assert_eq!(
        (&members[0]["zone"], &members[1]["weight"]),
        (&json!("b"), &json!(1))
    );
    for present in ["availability", "in_flight", "reason", "served"] {
        assert_eq!(members[0].get(present), None, "{present}");
    }
    let in_b = list(&callboard, &format!("{path}&zone=b")).await;
    assert_eq!(all(&in_b, "id"), ["web-0"]);
    let now = list(&callboard, "/services/web/instances?at=0s").await;
    assert_eq!((now.len(), &now[0]["weight"]), (1, &json!(7)));
}

#[tokio::test]
async fn a_moment_that_cannot_be_told_of_is_refused() {
    let callboard = forgetful();
    let _web = weigh(&callboard, 1..=1).await;
    let (status, problem) = refused(&callboard, "/services/web/instances?at=1h").await;
    assert_eq!(status, 410);
    assert_eq!(problem["type"], "urn:callboard:problem:forgotten");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("the journal reaches back to 20"),
        "{detail}"
    );

    for (query, field) in [
        ("at=9999-01-01T00:00:00Z", "at"),
        ("at=noon", "at"),
        ("at=0s&index=7", "index"),
        ("at=0s&wait=1s", "wait"),
        ("at=0s&status=ready", "status"),
    ] {
        let path = format!("/services/web/instances?{query}");
        let (status, problem) = refused(&callboard, &path).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (422, &json!(field)),
            "{query}"
        );
    }
    let (status, _) = refused(&callboard, "/journal?limit=1001").await;
    assert_eq!(status, 422);
}

#[tokio::test]
async fn the_oldest_entries_make_room_and_their_moments_are_forgotten() {
    let callboard = forgetful();
    let register = async |weight: u32| {
        let instances: Vec<_> = (0..500)
            .map(|n| {
                json!({"service": "web", "id": format!("web-{n}"), "address": "127.0.0.1",
                "port": 9, "check": "off", "weight": weight})
            })
            .collect();
        let url = callboard.api("/instances:batch");
        let batch = json!({"instances": instances});
        let reply = callboard
            .client
            .post(url)
            .json(&batch)
            .send()
            .await
            .unwrap();
        assert_eq!(reply.status(), 200);
    };
    register(0).await;
    let first = list(&callboard, "/journal?limit=1").await[0]["at"].clone();
    let path = format!("/services/web/instances?at={}", first.as_str().unwrap());
    assert_eq!(list(&callboard, &path).await.len(), 500);
    for weight in 1..=21 {
        register(weight).await;
    }
    assert_eq!(refused(&callboard, &path).await.0, 410);
    let now = list(&callboard, "/services/web/instances?at=0s").await;
    assert_eq!((now.len(), &now[0]["weight"]), (500, &json!(21)));
}
