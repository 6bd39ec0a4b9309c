//! What a request costs by the protocol that clients and instances speak: a small GET over kept
//! connections, through the whole process, in processor time of callboard's own.
//!
//! `h2load` (Debian's nghttp2-client) is the client and shares the machine's processors, so requests a
//! second say little; the time each takes callboard is read from `/proc`, and every row is set against
//! the first of the same run. Rounds are interleaved and the median of them is shown.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use common::process::{Callboard, Connection, request};

const CONFIG: &str = r#"
proxy:
  threads: 1
  listen:
    - "127.0.0.1:0"
    - {address: "127.0.0.1:0", tls: {cert: cert.pem, key: key.pem}}
registry: {listen: "127.0.0.1:0", store: memory}
defaults: {check: off, tls: {ca: cert.pem, server_name: localhost}}
"#;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 32;
const REQUESTS: usize = 20_000;
const HANDSHAKES: usize = 1_000;

/// What is measured: how clients speak, and the scheme of the instance.
struct Row {
    name: &'static str,
    client: Client,
    instance: &'static str,
    /// One request a connection.
    is_fresh: bool,
}

#[derive(Clone, Copy)]
enum Client {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

const ROWS: &[Row] = &[
    Row::kept("HTTP/1.1 to HTTP/1.1", Client::Http1, "http"),
    Row::kept("HTTP/1.1 over TLS to HTTP/1.1", Client::Http1Tls, "http"),
    Row::kept("HTTP/2 to HTTP/1.1", Client::Http2, "http"),
    Row::kept("HTTP/2 over TLS to HTTP/1.1", Client::Http2Tls, "http"),
    Row::kept("HTTP/1.1 to HTTP/1.1 over TLS", Client::Http1, "https"),
    Row::kept("HTTP/1.1 to HTTP/2", Client::Http1, "h2c"),
    Row::kept("HTTP/2 to HTTP/2", Client::Http2, "h2c"),
    Row::kept("HTTP/2 over TLS to HTTP/2 over TLS", Client::Http2Tls, "h2"),
    Row {
        name: "HTTP/1.1, a TLS connection each",
        client: Client::Http1Tls,
        instance: "http",
        is_fresh: true,
    },
];

impl Row {
    const fn kept(name: &'static str, client: Client, instance: &'static str) -> Self {
        Self {
            name,
            client,
            instance,
            is_fresh: false,
        }
    }

    fn count(&self) -> usize {
        if self.is_fresh { HANDSHAKES } else { REQUESTS }
    }
}

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
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let certified = generate_simple_self_signed(names).unwrap();
    fs::write(folder.path().join("cert.pem"), certified.cert.pem()).unwrap();
    let key = certified.signing_key.serialize_pem();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    fs::write(folder.path().join("proxy.yaml"), CONFIG).unwrap();
    let callboard = Callboard::start(folder.path(), 2);

    let mut control = Connection::open(callboard.registry).await;
    for scheme in ["http", "https", "h2c", "h2"] {
        let tls = matches!(scheme, "https" | "h2").then(|| acceptor(&certified, scheme));
        let port = serve(tls).await.port();
        let body =
            format!(r#"{{"address":"127.0.0.1","port":{port},"scheme":"{scheme}","lease":null}}"#);
        let path = format!("/api/v1/services/{scheme}/instances/1");
        assert_eq!(control.exchange(&request("PUT", &path, &body)).await, 201);
    }

    let mut costs = vec![Vec::new(); ROWS.len()];
    for _ in 0..ROUNDS {
        for (row, costs) in ROWS.iter().zip(&mut costs) {
            let before = callboard.cpu();
            load(row, &callboard).await;
            costs.push((callboard.cpu() - before) / row.count() as u32);
        }
    }
    let medians: Vec<_> = costs.into_iter().map(median).collect();
    println!("{:36}{:>14}{:>10}", "a small GET", "µs of CPU", "ratio");
    for (row, cost) in ROWS.iter().zip(&medians) {
        let ratio = cost.as_secs_f64() / medians[0].as_secs_f64();
        let micros = cost.as_secs_f64() * 1e6;
        println!("{:36}{micros:>14.1}{ratio:>10.2}", row.name);
    }
}

/// Sends a row's requests, all of which must be answered.
async fn load(row: &Row, callboard: &Callboard) {
    let (scheme, listener, h1, streams) = match row.client {
        Client::Http1 => ("http", 0, true, "1"),
        Client::Http1Tls => ("https", 1, true, "1"),
        Client::Http2 => ("http", 0, false, "8"),
        Client::Http2Tls => ("https", 1, false, "8"),
    };
    let connections = if row.is_fresh {
        HANDSHAKES
    } else {
        CONNECTIONS
    };
    let mut command = Command::new("h2load");
    command.args(["-n", &row.count().to_string()]);
    command.args(["-c", &connections.to_string(), "-m", streams]);
    if row.is_fresh {
        // So many at a time that none waits longer than its handshake may take.
        command.args(["--rate", "32", "--rate-period", "20ms"]);
    }
    if h1 {
        command.arg("--h1");
    }
    command.arg(format!(
        "{scheme}://{}/{}/",
        callboard.proxies[listener], row.instance
    ));
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("status codes: {} 2xx", row.count());
    assert!(said.contains(&expected), "{}: {said}", row.name);
}

fn acceptor(certified: &CertifiedKey<rcgen::KeyPair>, scheme: &str) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let protocol = if scheme == "h2" { "h2" } else { "http/1.1" };
    config.alpn_protocols = vec![protocol.into()];
    TlsAcceptor::from(Arc::new(config))
}

/// An instance that answers everything in either version of HTTP, for as long as the measurement
/// lasts.
async fn serve(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async || "here\n");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = TowerToHyperService::new(router.clone());
            let tls = tls.clone();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // Whoever leaves has had its answers.
                let _ = match tls {
                    None => server.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => server.serve_connection(TokioIo::new(stream), service).await,
                        Err(error) => Err(error.into()),
                    },
                };
            });
        }
    });
    address
}

fn median(mut costs: Vec<Duration>) -> Duration {
    costs.sort_unstable();
    costs[costs.len() / 2]
}
