//! One of the two processes is killed at some moment of an upgrade, again and again, while services
//! register: what was acknowledged stays, and whoever is left serves.

use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Callboard, Setup, eventually};

const ROUNDS: usize = 24;
/// The latest moment of an upgrade at which a process is killed. Most upgrades are over by then.
const LATEST: Duration = Duration::from_millis(600);
/// The time between two registrations: enough for the machine to do something else.
const PACE: Duration = Duration::from_millis(3);

fn fresh() -> Client {
    let patient = Client::builder().timeout(Duration::from_secs(30));
    patient.pool_max_idle_per_host(0).build().unwrap()
}

/// Starts a process that takes `callboard`'s place.
fn successor(callboard: &Callboard) -> Child {
    let log = callboard.folder().join("log");
    let log = File::options().append(true).open(log).unwrap();
    let mut command = callboard.beside("upgrade");
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

/// Registers one instance after the other, with ids from `next` on, until told to `stop`; gives those
/// that were acknowledged.
fn register(
    callboard: &Callboard,
    next: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> JoinHandle<Vec<String>> {
    let url = callboard.api("/services/crowd/instances");
    tokio::spawn(async move {
        let (client, mut acknowledged) = (fresh(), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let id = format!("r-{}", next.fetch_add(1, Ordering::Relaxed));
            let body = json!({"address": "127.0.0.1", "port": 9, "lease": null});
            let reply = client.put(format!("{url}/{id}")).json(&body).send().await;
            if reply.is_ok_and(|reply| reply.status().is_success()) {
                acknowledged.push(id);
            }
            tokio::time::sleep(PACE).await;
        }
        acknowledged
    })
}

async fn is_ready(callboard: &Callboard) -> bool {
    let ready = format!("{}/readyz", callboard.registry);
    let reply = fresh().get(ready).send().await;
    reply.is_ok_and(|reply| reply.status() == 200)
}

/// Waits until `callboard`'s process serves; says whether it does, or has ended.
async fn settles(callboard: &mut Callboard) -> bool {
    for _ in 0..2_000 {
        if !callboard.runs() {
            return false;
        }
        // One that is about to end may still answer; one that took over, or back, does so for good.
        if is_ready(callboard).await && callboard.runs() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("neither serving nor ended:\n{}", callboard.log());
}

async fn ids(callboard: &Callboard) -> Vec<String> {
    let url = callboard.api("/services/crowd/instances");
    let crowd: Vec<Value> = fresh().get(url).send().await.unwrap().json().await.unwrap();
    let ids = crowd.iter().map(|one| one["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_killed_no_acknowledged_registration_is_lost() {
    let mut callboard = Setup::default().registry("admission: trust").start();
    let next = Arc::new(AtomicUsize::new(0));
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let log = callboard.log().len();
        let stop = Arc::new(AtomicBool::new(false));
        let registering = register(&callboard, Arc::clone(&next), Arc::clone(&stop));
        let kills_successor = round % 2 == 0;
        let moment = LATEST.mul_f64(fastrand::f64());
        let mut new = successor(&callboard);
        tokio::time::sleep(moment).await;
        let old = if kills_successor {
            new.kill().unwrap();
            new.wait().unwrap();
            None
        } else {
            callboard.crash();
            Some(callboard.adopt(new))
        };
        let serves = settles(&mut callboard).await;
        drop(old);
        stop.store(true, Ordering::Relaxed);
        acknowledged.extend(registering.await.unwrap());
        let said = callboard.log().split_off(log);
        if !serves {
            let why = if kills_successor {
                // The last word was said, and whoever it was said to was killed.
                said.contains(" serves, ")
            } else {
                // There was nobody any more to be asked for the sockets, or to give them.
                said.contains("cannot take over: ")
            };
            assert!(why, "round {round}, {moment:?}: nobody is left:\n{said}");
            callboard.crash_and_restart(|_| ());
        }
        let kept = ids(&callboard).await;
        for id in &acknowledged {
            assert!(
                kept.contains(id),
                "round {round}, {moment:?}: {id} is lost:\n{said}"
            );
        }
    }
    assert!(acknowledged.len() > ROUNDS);
    eventually("it is ready", || async {
        is_ready(&callboard).await.then_some(())
    })
    .await;
}
