//! What telling of requests costs: a small GET over kept connections, through processes that differ
//! only in what `telemetry` says, in processor time of callboard's own, its writers and exporters
//! included.
//!
//! `h2load` (Debian's nghttp2-client) is the client. Every row is set against the first, with all of it
//! off, in the same round; rounds are interleaved and the median of them is shown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tempfile::TempDir;
use tokio::net::TcpListener;

use common::process::{Callboard, Connection, request};

const ROUNDS: usize = 15;
const CONNECTIONS: &str = "32";
const REQUESTS: u32 = 20_000;

/// What each process tells; `COLLECTOR` is the address of one.
const ROWS: &[(&str, &str)] = &[
    (
        "all off",
        "{metrics: off, access_log: off, traces: off, explain: off}",
    ),
    (
        "metrics",
        "{metrics: {}, access_log: off, traces: off, explain: off}",
    ),
    (
        "explanations of 1%",
        "{metrics: off, access_log: off, traces: off, explain: {}}",
    ),
    (
        "traces, 1% sampled",
        "{metrics: off, access_log: off, traces: \"http://COLLECTOR\", explain: off}",
    ),
    (
        "access log, JSON",
        "{metrics: off, access_log: access.log, traces: off, explain: off}",
    ),
    ("the defaults", "{}"),
    (
        "all on",
        "{access_log: access.log, traces: \"http://COLLECTOR\"}",
    ),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    if Command::new("h2load").arg("--version").output().is_err() {
        return println!("SKIPPED: h2load is missing (make peers)");
    }
    // It answers whatever it is sent, an instance's requests and a collector's.
    let peer = serve().await;
    let mut processes = Vec::new();
    for (_, telemetry) in ROWS {
        processes.push(start(telemetry, peer).await);
    }
    let mut costs = vec![Vec::new(); ROWS.len()];
    for round in 0..ROUNDS {
        for turn in 0..ROWS.len() {
            // Each row is first in its turn, so that none has a better place than the others.
            let row = (turn + round) % ROWS.len();
            let (callboard, _) = &processes[row];
            let before = callboard.cpu();
            load(callboard).await;
            costs[row].push((callboard.cpu() - before).as_secs_f64() / f64::from(REQUESTS));
        }
    }
    let off = costs[0].clone();
    println!("{:24}{:>12}{:>10}", "a small GET", "µs of CPU", "ratio");
    for ((name, _), costs) in ROWS.iter().zip(costs) {
        let ratios = costs.iter().zip(&off).map(|(cost, off)| cost / off);
        let (micros, ratio) = (median(costs.clone()) * 1e6, median(ratios.collect()));
        println!("{name:24}{micros:>12.1}{ratio:>10.3}");
    }
}

async fn start(telemetry: &str, peer: SocketAddr) -> (Callboard, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = telemetry.replace("COLLECTOR", &peer.to_string());
    let config = format!(
        "proxy: {{threads: 1, listen: \"127.0.0.1:0\"}}\n\
         registry: {{listen: \"127.0.0.1:0\", store: memory}}\n\
         telemetry: {telemetry}\n\
         defaults: {{check: off}}\n"
    );
    fs::write(folder.path().join("proxy.yaml"), config).unwrap();
    let callboard = Callboard::start(folder.path(), 1);
    let mut control = Connection::open(callboard.registry).await;
    let port = peer.port();
    let body = format!(r#"{{"address":"127.0.0.1","port":{port},"lease":null}}"#);
    let put = request("PUT", "/api/v1/services/web/instances/1", &body);
    assert_eq!(control.exchange(&put).await, 201);
    (callboard, folder)
}

/// Sends the requests of one round, all of which must be answered.
async fn load(callboard: &Callboard) {
    let url = format!("http://{}/web/", callboard.proxies[0]);
    let mut command = Command::new("h2load");
    command.args(["--h1", "-c", CONNECTIONS, "-n", &REQUESTS.to_string(), &url]);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(&format!("status codes: {REQUESTS} 2xx")),
        "{said}"
    );
}

/// Answers for as long as the measurement lasts.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async || "here\n");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let server = hyper::server::conn::http1::Builder::new();
                // Whoever leaves has had its answers.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_unstable_by(f64::total_cmp);
    costs[costs.len() / 2]
}
