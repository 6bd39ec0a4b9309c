//! What was acknowledged survives: restarts, crashes in mid-change, and a full disk.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup, eventually};

async fn instances(callboard: &Callboard, service: &str) -> Vec<Value> {
    let url = callboard.api(&format!("/services/{service}/instances"));
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.json().await.unwrap()
}

async fn index_of(callboard: &Callboard, path: &str) -> u64 {
    let reply = callboard.client.get(callboard.api(path)).send().await;
    let reply = reply.unwrap();
    let header = reply.headers()["callboard-index"].to_str().unwrap();
    header.parse().unwrap()
}

async fn drain(callboard: &Callboard, service: &str, instance: &Instance) {
    let url = format!("{}/drain", callboard.instance_url(service, instance));
    let reply = callboard.client.put(url).send().await.unwrap();
    assert_eq!(reply.status(), 202);
}

/// What a restart has to bring back of an instance: all but what time and traffic change.
fn lasting(mut instance: Value) -> Value {
    for passing in ["lease", "availability", "reason", "in_flight", "served"] {
        instance.as_object_mut().unwrap().remove(passing);
    }
    instance
}

#[tokio::test]
async fn a_restart_brings_back_who_is_in_as_they_were() {
    let mut callboard = Callboard::trusting();
    let [a, b, c] = ["a", "b", "c"].map(Instance::start);
    let full = json!({
        "weight": 7, "zone": "z", "tags": ["v2", "eu"], "metadata": {"build": "1"},
        "lease": {"ttl": "90s"}, "generation": 12,
        "check": {"http": {"path": "/health"}, "interval": "2s"},
    });
    callboard.register("web", &a, full).await;
    callboard.register("web", &b, json!({"lease": null})).await;
    callboard.register("web", &c, json!({})).await;
    drain(&callboard, "web", &b).await;
    let url = callboard.instance_url("web", &c);
    callboard.client.delete(url).send().await.unwrap();
    let before: Vec<_> = instances(&callboard, "web").await;
    let indexes = [
        index_of(&callboard, "/services").await,
        index_of(&callboard, "/services/web/instances").await,
        index_of(&callboard, "/services/nobody/instances").await,
    ];

    for _ in 0..2 {
        callboard.crash_and_restart(|_| {});
        let after = instances(&callboard, "web").await;
        assert_eq!(after.len(), 2);
        assert_eq!(after[1]["availability"], "draining");
        assert_eq!(after[0]["lease"]["ttl"], "90s");
        let [after, before] = [after, before.clone()].map(|instances| {
            let lasting = instances.into_iter().map(lasting);
            lasting.collect::<Vec<_>>()
        });
        assert_eq!(after, before);
        for (path, before) in [
            "services",
            "services/web/instances",
            "services/nobody/instances",
        ]
        .iter()
        .zip(indexes)
        {
            let after = index_of(&callboard, &format!("/{path}")).await;
            assert!(after > before, "{path}: {after} follows {before}");
        }
        eventually("requests go to who is left", || async {
            let reply = callboard.get("/web/").await;
            (reply.status() == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_registration_that_is_repeated_after_a_restart_changes_nothing() {
    let mut callboard = Callboard::trusting();
    let a = Instance::start("a");
    let before = callboard.register("web", &a, json!({})).await;
    callboard.crash_and_restart(|_| {});
    let reply = callboard.try_register("web", &a, json!({})).await;
    assert_eq!(reply.status(), 200);
    let after: Value = reply.json().await.unwrap();
    assert_eq!(lasting(after), lasting(before));
}

#[tokio::test]
async fn with_the_memory_store_a_restart_forgets_everybody() {
    let setup = Setup::default().registry("admission: trust");
    let mut callboard = setup.registry("store: memory").start();
    callboard
        .register("web", &Instance::start("a"), json!({}))
        .await;
    callboard.crash_and_restart(|folder| assert!(!folder.join("data").exists()));
    assert!(instances(&callboard, "web").await.is_empty());
}

/// What one client has done to its instance, which is its own alone.
#[derive(Clone, Debug, Default)]
struct Deed {
    /// The last state that was acknowledged: the weight and whether it drains; `None` is absent.
    acknowledged: Option<(u64, bool)>,
    /// What was under way when the connection broke.
    attempted: Option<Option<(u64, bool)>>,
}

/// Registers, drains and deregisters an instance over and over until the server is gone.
async fn busy(
    client: reqwest::Client,
    url: String,
    round: u64,
    stop: Arc<AtomicBool>,
    mut deed: Deed,
) -> Deed {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let weight = round * 1_000 + number % 1_000 + 1;
        let (request, state) = match (number % 5, deed.acknowledged) {
            (3, Some((weight, _))) => (client.put(format!("{url}/drain")), Some((weight, true))),
            (4, Some(_)) => (client.delete(&url), None),
            _ => {
                let body = json!({"address": "127.0.0.1", "port": 9, "weight": weight,
                                  "lease": null, "check": "off"});
                (client.put(&url).json(&body), Some((weight, false)))
            }
        };
        deed.attempted = Some(state);
        match request.send().await {
            Ok(reply) => {
                assert!(reply.status().is_success(), "{reply:?}");
                deed.acknowledged = state;
                deed.attempted = None;
            }
            Err(_) => break,
        }
    }
    deed
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_being_killed_and_nothing_is_made_up() {
    const CLIENTS: usize = 8;
    let mut callboard = Callboard::trusting();
    let mut deeds = vec![Deed::default(); CLIENTS];
    let mut changes = 0;
    for round in 1..=15 {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = deeds
            .into_iter()
            .enumerate()
            .map(|(id, deed)| {
                let url = callboard.api(&format!("/services/web/instances/{id}"));
                let client = callboard.client.clone();
                tokio::spawn(busy(client, url, round, stop.clone(), deed))
            })
            .collect();
        let started = index_of(&callboard, "/services").await;
        // Some of them are always under way; how many changes went before differs each time.
        let enough = started + 20 + round * 7;
        eventually("some changes are made", || async {
            (index_of(&callboard, "/services").await > enough).then_some(())
        })
        .await;
        callboard.crash_and_restart(|_| stop.store(true, Ordering::Relaxed));
        deeds = Vec::new();
        for client in clients {
            deeds.push(client.await.unwrap());
        }
        let mut found: BTreeMap<String, (u64, bool)> = BTreeMap::new();
        for instance in instances(&callboard, "web").await {
            let id = instance["id"].as_str().unwrap().to_owned();
            let weight = instance["weight"].as_u64().unwrap();
            found.insert(id, (weight, instance["draining"].as_bool().unwrap()));
        }
        for (id, deed) in deeds.iter_mut().enumerate() {
            let now = found.remove(&id.to_string());
            let possible = now == deed.acknowledged || Some(now) == deed.attempted;
            assert!(
                possible,
                "round {round}, instance {id}: {now:?} after {deed:?}"
            );
            changes += usize::from(now.is_some());
            *deed = Deed {
                acknowledged: now,
                attempted: None,
            };
        }
        assert!(found.is_empty(), "{found:?}");
    }
    assert!(changes > 15, "the clients were hardly busy");
}

#[tokio::test]
async fn on_a_full_disk_changes_are_refused_and_everything_else_goes_on() {
    let callboard = limitable();
    let first = Instance::start("first");
    let registered = callboard.register("web", &first, json!({})).await;

    let url = |id: &str| callboard.api(&format!("/services/web/instances/{id}"));
    let put = |id: &'static str| {
        let body = json!({"address": "127.0.0.1", "port": 9});
        callboard.client.put(url(id)).json(&body).send()
    };
    allow_growth(&callboard, 0);
    for _ in 0..2 {
        let refused = put("second").await.unwrap();
        assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "urn:callboard:problem:storage-full");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("callboard.db"), "{detail}");
    }
    let refused = callboard.client.delete(url("first")).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    let beat = callboard.client.put(format!("{}/lease", url("first")));
    assert_eq!(beat.send().await.unwrap().status(), 204);
    assert_eq!(callboard.answerer("/web/").await, "first");
    let listed = instances(&callboard, "web").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(lasting(listed[0].clone()), lasting(registered));

    allow_growth(&callboard, u64::MAX);
    assert_eq!(put("second").await.unwrap().status(), 201);
    let mut callboard = callboard;
    callboard.crash_and_restart(|_| {});
    let ids: Vec<_> = instances(&callboard, "web").await;
    let ids: Vec<_> = ids.iter().map(|instance| &instance["id"]).collect();
    assert_eq!(ids, ["first", "second"]);
}

#[tokio::test]
async fn the_log_is_used_anew_before_a_change_is_refused_for_want_of_room() {
    let callboard = limitable();
    let a = Instance::start("a");
    callboard.register("web", &a, json!({})).await;
    // Far less than these changes write, and far more than they come to.
    allow_growth(&callboard, 300 * 1_024);
    for weight in 1..=100 {
        callboard
            .register("web", &a, json!({"weight": weight}))
            .await;
    }
    let log = callboard.folder().join("data/callboard.db-wal");
    assert!(std::fs::metadata(log).unwrap().len() > 200 * 1_024);
}

/// A callboard to use [`allow_growth`] on. Any of its files that would grow beyond the limit is
/// refused the write, as on a full disk; without the trap it would get a signal.
fn limitable() -> Callboard {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "proxy: {listen: \"127.0.0.1:0\"}\n\
                registry: {listen: \"127.0.0.1:0\", admission: trust}\n";
    std::fs::write(folder.path().join("proxy.yaml"), yaml).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" run --config proxy.yaml"])
        .arg(env!("CARGO_BIN_EXE_callboard"));
    Callboard::start_in(folder, command)
}

/// Sets how long the process's files may become.
fn allow_growth(callboard: &Callboard, bytes: u64) {
    use rlimit::{Resource, prlimit};
    let process = i32::try_from(callboard.id()).unwrap();
    let (mut soft, mut hard) = (0, 0);
    prlimit(process, Resource::FSIZE, None, Some((&mut soft, &mut hard))).unwrap();
    prlimit(
        process,
        Resource::FSIZE,
        Some((bytes.min(hard), hard)),
        None,
    )
    .unwrap();
}
