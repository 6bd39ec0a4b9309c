//! The whole process over its sockets, with the journal on: what heartbeats cost in processor time,
//! how long a registration takes to be acknowledged, how soon callboard serves after `kill -9`, and
//! how soon an instance that crashed gets no more requests.
//!
//! Load goes to this machine's loopback only and is bounded in count and time. The client shares the
//! machine's processors with callboard, whose own time is read from `/proc`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use common::process::{Callboard, Connection, request};

const SERVICES: usize = 1_000;
const EACH: usize = 100;
const BATCH: usize = 500;
/// Heartbeats a second.
const RATE: usize = 20_000;
const CONNECTIONS: usize = 64;
const SECONDS: usize = 10;
const REGISTRATIONS: usize = 1_000;
const CRASH_REQUESTS: usize = 20_000;

const CONFIG: &str = r#"
proxy: {listen: ["127.0.0.1:0"]}
registry: {listen: "127.0.0.1:0", store: {sqlite: {path: callboard.db}}}
defaults: {check: off}
"#;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("proxy.yaml"), CONFIG).unwrap();
    let callboard = Callboard::start(folder.path(), 1);
    let live = serve().await;

    let started = Instant::now();
    let mut connection = Connection::open(callboard.registry).await;
    for batch in batches(|service, id| registration(service, id, None)) {
        let body = format!("{{\"instances\":[{}]}}", batch.join(","));
        let request = request("POST", "/api/v1/instances:batch", &body);
        assert_eq!(connection.exchange(&request).await, 200);
    }
    println!(
        "{} instances registered in batches of {BATCH}, journal on: {:.2?}",
        SERVICES * EACH,
        started.elapsed()
    );

    register_one_by_one(&mut connection, live).await;
    heartbeats_one_by_one(&callboard).await;
    heartbeats_in_batches(&callboard).await;
    let callboard = restart(callboard, folder.path()).await;
    crash(&callboard).await;
}

async fn register_one_by_one(connection: &mut Connection, live: SocketAddr) {
    let mut times = Vec::with_capacity(REGISTRATIONS);
    for n in 0..REGISTRATIONS {
        let path = format!("/api/v1/services/live/instances/live-{n}");
        let body = registration(0, n, Some(live));
        let request = request("PUT", &path, &body);
        let started = Instant::now();
        assert_eq!(connection.exchange(&request).await, 201);
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!(
        "a registration, acknowledged: median {:.2?}, 99th percentile {:.2?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

async fn heartbeats_one_by_one(callboard: &Callboard) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (cpu, started) = (callboard.cpu(), Instant::now());
    let senders = (0..CONNECTIONS).map(|lane| {
        let (sent, registry) = (Arc::clone(&sent), callboard.registry);
        tokio::spawn(async move {
            let mut connection = Connection::open(registry).await;
            let per_lane = RATE / CONNECTIONS;
            for turn in 0..per_lane * SECONDS {
                let due = started + Duration::from_secs(1) * turn as u32 / per_lane as u32;
                tokio::time::sleep_until(due.into()).await;
                let n = (turn * CONNECTIONS + lane) % (SERVICES * EACH);
                let (service, id) = (n / EACH, n % EACH);
                let path = format!("/api/v1/services/s{service}/instances/i{service}-{id}/lease");
                assert_eq!(connection.exchange(&request("PUT", &path, "")).await, 204);
                sent.fetch_add(1, Relaxed);
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    report(
        "one by one",
        sent.load(Relaxed),
        callboard.cpu() - cpu,
        started.elapsed(),
    );
}

async fn heartbeats_in_batches(callboard: &Callboard) {
    let lease = |service, id| format!(r#"{{"service":"s{service}","id":"i{service}-{id}"}}"#);
    let requests: Vec<_> = batches(lease)
        .map(|batch| {
            let body = format!("{{\"leases\":[{}]}}", batch.join(","));
            request("POST", "/api/v1/leases:renew", &body)
        })
        .collect();
    let mut connection = Connection::open(callboard.registry).await;
    let (cpu, started) = (callboard.cpu(), Instant::now());
    let calls = RATE / BATCH * SECONDS;
    for (call, request) in requests.iter().cycle().take(calls).enumerate() {
        let due = started + Duration::from_secs(1) * call as u32 / (RATE / BATCH) as u32;
        tokio::time::sleep_until(due.into()).await;
        assert_eq!(connection.exchange(request).await, 200);
    }
    report(
        "in batches",
        calls * BATCH,
        callboard.cpu() - cpu,
        started.elapsed(),
    );
}

fn report(how: &str, count: usize, cpu: Duration, elapsed: Duration) {
    println!(
        "heartbeats {how}: {:.0}/s for {elapsed:.1?}, {:.2} of one core, {:.1?} each",
        count as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() / elapsed.as_secs_f64(),
        cpu / count as u32
    );
}

async fn restart(callboard: Callboard, folder: &Path) -> Callboard {
    drop(callboard);
    let started = Instant::now();
    let callboard = Callboard::start(folder, 1);
    let mut connection = Connection::open(callboard.proxies[0]).await;
    assert_eq!(
        connection.exchange(&request("GET", "/live/", "")).await,
        200
    );
    println!(
        "after kill -9 with {} instances: first request served in {:.2?}",
        SERVICES * EACH + REGISTRATIONS,
        started.elapsed()
    );
    callboard
}

/// Three instances under load, one of which closes its port and resets its connections.
async fn crash(callboard: &Callboard) {
    let mut instances: Vec<_> = (0..3).map(|_| Instance::start()).collect();
    let mut control = Connection::open(callboard.registry).await;
    for (n, instance) in instances.iter().enumerate() {
        let path = format!("/api/v1/services/crash/instances/crash-{n}");
        let body = format!(
            r#"{{"port":{},"check":{{"tcp":{{}},"interval":"5s"}}}}"#,
            instance.address.port()
        );
        assert_eq!(control.exchange(&request("PUT", &path, &body)).await, 201);
    }
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients = (0..8).map(|_| {
        let (done, failed, proxy) = (Arc::clone(&done), Arc::clone(&failed), callboard.proxies[0]);
        tokio::spawn(async move {
            let mut connection = Connection::open(proxy).await;
            while done.load(Relaxed) < CRASH_REQUESTS {
                let status = connection.exchange(&request("GET", "/crash/", "")).await;
                failed.fetch_add(usize::from(status != 200), Relaxed);
                done.fetch_add(1, Relaxed);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    while done.load(Relaxed) < CRASH_REQUESTS / 4 {
        tokio::task::yield_now().await;
    }
    instances[0].crash();
    let crashed = Instant::now();
    let unhealthy = "/api/v1/services/crash/instances?status=unhealthy";
    while control.ask(&request("GET", unhealthy, "")).await == "[]" {
        tokio::task::yield_now().await;
    }
    let out_after = crashed.elapsed();
    for client in clients {
        client.await.unwrap();
    }
    println!(
        "one of three instances crashed: unhealthy after {out_after:.2?}, {} of {} GETs failed",
        failed.load(Relaxed),
        done.load(Relaxed)
    );
}

/// All instances as `one` writes each, by [`BATCH`].
fn batches(one: impl Fn(usize, usize) -> String) -> impl Iterator<Item = Vec<String>> {
    let all: Vec<_> = (0..SERVICES * EACH)
        .map(|n| one(n / EACH, n % EACH))
        .collect();
    let batches: Vec<_> = all.chunks(BATCH).map(<[String]>::to_vec).collect();
    batches.into_iter()
}

fn registration(service: usize, id: usize, live: Option<SocketAddr>) -> String {
    let lease = r#""zone":"a","tags":["v2"],"metadata":{"build":"7"},"lease":{"ttl":"1h"}"#;
    match live {
        Some(live) => format!(
            r#"{{"address":"{}","port":{},{lease}}}"#,
            live.ip(),
            live.port()
        ),
        None => format!(
            r#"{{"service":"s{service}","id":"i{service}-{id}","address":"127.1.{}.{}","port":8080,{lease}}}"#,
            id / 250,
            id % 250 + 1
        ),
    }
}

/// An instance that answers everything, for as long as the measurement lasts.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async || "here\n");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An instance that can crash.
struct Instance {
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Instance {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let router = axum::Router::new().fallback(async || "here\n");
            axum::serve(listener, router).await
        });
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.crash();
    }
}
