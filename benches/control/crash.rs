//! How soon an instance that crashed gets no more requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};

use crate::documented;
use crate::process::{Connection, request};
use crate::spread::{shown, thousands};
use crate::summary::Row;
use crate::world::{Scale, World};

/// How many clients there are meanwhile.
const CLIENTS: usize = 8;

/// Three instances under load, one of which closes its port and resets its connections.
pub(crate) async fn measure(scale: &Scale, world: &World) -> Row {
    let mut instances: Vec<_> = (0..3).map(|_| Instance::start()).collect();
    let mut control = world.control().await;
    for (n, instance) in instances.iter().enumerate() {
        let path = format!("/api/v1/services/crash/instances/crash-{n}");
        let port = instance.port;
        let body = format!(r#"{{"port":{port},"check":{{"tcp":{{}},"interval":"5s"}}}}"#);
        assert_eq!(control.exchange(&request("PUT", &path, &body)).await, 201);
    }
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (requests, mut clients) = (scale.requests, JoinSet::new());
    for _ in 0..CLIENTS {
        let (done, failed) = (Arc::clone(&done), Arc::clone(&failed));
        let mut connection: Connection = world.proxy().await;
        clients.spawn(async move {
            while done.load(Relaxed) < requests {
                let ask = request("GET", "/crash/", "");
                let status = connection.exchange_anew(&ask).await;
                failed.fetch_add(usize::from(status != Some(200)), Relaxed);
                done.fetch_add(1, Relaxed);
            }
        });
    }
    while done.load(Relaxed) < requests / 4 {
        yield_now().await;
    }
    instances[0].crash();
    let crashed = Instant::now();
    let unhealthy = request(
        "GET",
        "/api/v1/services/crash/instances?status=unhealthy",
        "",
    );
    while control.ask(&unhealthy).await == "[]" {}
    let out_after = crashed.elapsed();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    let failed = match failed.load(Relaxed) {
        0 => "none".to_owned(),
        failed => failed.to_string(),
    };
    Row::new(
        "one of three instances crashes under load → out",
        format!(
            "{}, {failed} of {} GETs failed",
            shown(out_after),
            thousands(done.load(Relaxed) as f64)
        ),
        documented::CRASH,
    )
}

/// An instance that can crash.
struct Instance {
    port: u16,
    runtime: Option<Runtime>,
}

impl Instance {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let router = axum::Router::new().fallback(async || "here\n");
            axum::serve(listener, router).await
        });
        Self {
            port,
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
