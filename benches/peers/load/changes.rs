//! Instances that come and go while there is load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// How many changes a second there are to be.
pub(crate) const RATE: u32 = 100;

/// Changes under way; they stop when dropped.
pub(crate) struct Changes {
    made: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Changes {
    /// Signs an instance in and out again by callboard's API.
    pub(crate) fn start(registry: SocketAddr, instance: SocketAddr) -> Self {
        let made = Arc::new(AtomicU64::new(0));
        let mut task = JoinSet::new();
        task.spawn(change(registry, instance, made.clone()));
        Self { made, _task: task }
    }

    /// How many were acknowledged.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

async fn change(registry: SocketAddr, instance: SocketAddr, made: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(registry).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (address, port) = (instance.ip(), instance.port());
    let body = format!(r#"{{"address":"{address}","port":{port},"lease":null}}"#);
    let mut turns = interval(Duration::from_secs(1) / RATE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut answer = vec![0; 16 << 10];
    loop {
        for (method, body) in [("PUT", body.as_str()), ("DELETE", "")] {
            turns.tick().await;
            let length = body.len();
            let ask = format!(
                "{method} /api/v1/services/web/instances/passing HTTP/1.1\r\nHost: registry\r\n\
                 Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(ask.as_bytes()).await.unwrap();
            let count = stream.read(&mut answer).await.unwrap();
            let said = String::from_utf8_lossy(&answer[..count]);
            assert!(said.starts_with("HTTP/1.1 20"), "{method}: {said}");
            made.fetch_add(1, Ordering::Relaxed);
        }
    }
}
