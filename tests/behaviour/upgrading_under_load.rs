//! Ten upgrades while clients call, services register and heartbeats come in: nobody notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Instance, Setup, eventually};

const UPGRADES: usize = 10;
/// How many requests each client must have been answered between two upgrades.
const BETWEEN: usize = 20;
/// The time between two requests of a client: enough for the machine to do something else.
const PACE: Duration = Duration::from_millis(3);

/// What all clients have in common.
#[derive(Clone, Default)]
struct Load {
    stop: Arc<AtomicBool>,
    /// The answers every client has got, each its own counter.
    answered: Arc<[AtomicUsize; 4]>,
}

fn fresh() -> Client {
    Client::builder().pool_max_idle_per_host(0).build().unwrap()
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A client of the data plane; gives what went wrong.
    fn call(
        &self,
        number: usize,
        method: Method,
        url: String,
        client: Client,
    ) -> JoinHandle<Vec<String>> {
        let load = self.clone();
        tokio::spawn(async move {
            let mut failed = Vec::new();
            while load.goes_on() {
                let request = client.request(method.clone(), &url).body("x");
                match request.send().await {
                    Ok(reply) if reply.status() == 200 => match reply.bytes().await {
                        Ok(_) => {}
                        Err(error) => failed.push(format!("{method}: {error:?}")),
                    },
                    Ok(reply) => failed.push(format!("{method}: {reply:?}")),
                    Err(error) => failed.push(format!("{method}: {error:?}")),
                }
                load.answered[number].fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PACE).await;
            }
            failed
        })
    }

    /// Registers one instance after the other; gives those acknowledged, with their indexes.
    fn register(&self, url: String, port: u16) -> JoinHandle<Vec<(String, u64)>> {
        let load = self.clone();
        tokio::spawn(async move {
            let (mut acknowledged, client) = (Vec::new(), fresh());
            while load.goes_on() {
                let id = format!("r-{}", acknowledged.len());
                let body = json!({"address": "127.0.0.1", "port": port, "lease": null});
                let request = client.put(format!("{url}/{id}")).json(&body);
                let reply = request.send().await.expect("a new connection is served");
                assert!(reply.status().is_success(), "{reply:?}");
                let reply: Value = reply.json().await.unwrap();
                acknowledged.push((id, reply["index"].as_u64().unwrap()));
                tokio::time::sleep(PACE).await;
            }
            acknowledged
        })
    }

    /// Sends one heartbeat after the other.
    fn renew(&self, url: String) -> JoinHandle<usize> {
        let load = self.clone();
        tokio::spawn(async move {
            let (mut renewed, client) = (0, fresh());
            while load.goes_on() {
                let reply = client.put(format!("{url}/lease")).send().await;
                let reply = reply.expect("a new connection is served");
                assert_eq!(reply.status(), 204, "{reply:?}");
                renewed += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            renewed
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_ten_upgrades() {
    let mut callboard = Setup::default().registry("admission: trust").start();
    let web = Instance::several("web", 3);
    for instance in &web {
        let lease = json!({"lease": {"ttl": "5s"}});
        callboard.register("web", instance, lease).await;
    }
    let load = Load::default();
    let url = callboard.url("/web/x");
    let clients = [
        load.call(0, Method::GET, url.clone(), fresh()),
        load.call(1, Method::POST, url.clone(), fresh()),
        load.call(2, Method::GET, url.clone(), Client::new()),
        load.call(3, Method::POST, url, Client::new()),
    ];
    let registering = load.register(callboard.api("/services/crowd/instances"), web[0].port);
    let heartbeats: Vec<_> = web
        .iter()
        .map(|instance| load.renew(callboard.instance_url("web", instance)))
        .collect();

    for _ in 0..UPGRADES {
        let before: Vec<_> = load
            .answered
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .collect();
        eventually("every client was answered", || async {
            let each = load.answered.iter().zip(&before);
            let all = each.map(|(now, before)| now.load(Ordering::Relaxed) - before);
            all.min().filter(|least| *least >= BETWEEN)
        })
        .await;
        let mut old = tokio::task::block_in_place(|| callboard.upgrade());
        for _ in 0..2_000 {
            if !old.runs() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!old.runs(), "the process before stays");
    }

    load.stop.store(true, Ordering::Relaxed);
    let mut failed = Vec::new();
    for client in clients {
        failed.extend(client.await.unwrap());
    }
    assert_eq!(failed, Vec::<String>::new());
    for renewed in heartbeats {
        assert!(renewed.await.unwrap() > UPGRADES);
    }
    let acknowledged = registering.await.unwrap();
    assert!(acknowledged.len() > UPGRADES);
    assert!(
        acknowledged.is_sorted_by_key(|(_, index)| *index),
        "an index went back"
    );
    let crowd = callboard.api("/services/crowd/instances");
    let crowd: Vec<Value> = fresh()
        .get(crowd)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(crowd.len(), acknowledged.len());
    for (id, index) in acknowledged {
        let found = crowd.iter().find(|one| one["id"] == *id);
        assert_eq!(found.unwrap()["index"], index, "{id}");
    }
    let web = callboard.api("/services/web/instances");
    let web: Vec<Value> = fresh().get(web).send().await.unwrap().json().await.unwrap();
    assert_eq!(web.len(), 3);
}
