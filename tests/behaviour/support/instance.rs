//! A real HTTP server that plays one instance of a service.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// One instance. `GET /health` answers with a status the test can change; `/held…` answers when the
/// test lets it; everything else echoes the request as JSON, with a status the test can change.
/// Dropping it closes its port and resets
/// its connections, as a killed process would.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) port: u16,
    state: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    id: String,
    health: AtomicU16,
    status: AtomicU16,
    silent: AtomicBool,
    hits: AtomicUsize,
    holding: AtomicUsize,
    releases: Semaphore,
}

impl Instance {
    /// An instance on a free port.
    pub(crate) fn start(id: &str) -> Self {
        Self::start_at(id, 0)
    }

    /// An instance on this port.
    pub(crate) fn start_at(id: &str, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Shared {
            id: id.to_owned(),
            health: AtomicU16::new(200),
            status: AtomicU16::new(200),
            silent: AtomicBool::new(false),
            hits: AtomicUsize::new(0),
            holding: AtomicUsize::new(0),
            releases: Semaphore::new(0),
        });
        let router = Router::new().fallback(answer).with_state(state.clone());
        // A runtime of its own, so that stopping it takes the connections along.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            id: id.to_owned(),
            port,
            state,
            runtime: Some(runtime),
        }
    }

    /// `count` instances named `{prefix}-1` and so on.
    pub(crate) fn several(prefix: &str, count: usize) -> Vec<Self> {
        (1..=count)
            .map(|number| Self::start(&format!("{prefix}-{number}")))
            .collect()
    }

    /// An id and a port that nobody listens on.
    pub(crate) fn dead(id: &str) -> Self {
        let mut instance = Self::start(id);
        instance.kill();
        instance
    }

    /// Closes the port and resets all connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        // The runtime closes its sockets on a thread of its own.
        while TcpListener::bind(("127.0.0.1", self.port)).is_err() {
            std::thread::yield_now();
        }
    }

    /// What `GET /health` answers from now on.
    pub(crate) fn set_health(&self, status: u16) {
        self.state.health.store(status, Ordering::Relaxed);
    }

    /// What everything but `GET /health` answers with from now on.
    pub(crate) fn set_status(&self, status: u16) {
        self.state.status.store(status, Ordering::Relaxed);
    }

    /// Whether every request but `GET /health` waits as those to `/held` do.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// Requests answered, `/health` apart.
    pub(crate) fn hits(&self) -> usize {
        self.state.hits.load(Ordering::Relaxed)
    }

    /// Requests to `/held` that wait, or were given up while they did.
    pub(crate) fn holding(&self) -> usize {
        self.state.holding.load(Ordering::SeqCst)
    }

    /// Lets `count` requests to `/held` be answered.
    pub(crate) fn release(&self, count: usize) {
        self.state.releases.add_permits(count);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == "/health" {
        let status = state.health.load(Ordering::Relaxed);
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if path.starts_with("/held") || state.silent.load(Ordering::Relaxed) {
        state.holding.fetch_add(1, Ordering::SeqCst);
        state.releases.acquire().await.unwrap().forget();
        state.holding.fetch_sub(1, Ordering::SeqCst);
    }
    state.hits.fetch_add(1, Ordering::Relaxed);
    let headers = [
        ("Keep-Alive", "timeout=9"),
        ("X-Upstream", "yes"),
        ("Connection", "X-Private"),
        ("X-Private", "1"),
    ];
    let echo = echo(&state.id, &head.method, &head.uri, &head.headers, &body);
    let status = StatusCode::from_u16(state.status.load(Ordering::Relaxed)).unwrap();
    (status, headers, axum::Json(echo)).into_response()
}

fn echo(
    id: &str,
    method: &axum::http::Method,
    uri: &axum::http::Uri,
    headers: &HeaderMap,
    body: &Bytes,
) -> serde_json::Value {
    let headers: serde_json::Map<_, _> = headers
        .keys()
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.to_string(), json!(values.join("|")))
        })
        .collect();
    json!({
        "id": id,
        "method": method.as_str(),
        "target": uri.to_string(),
        "headers": headers,
        "body": String::from_utf8_lossy(body),
    })
}
