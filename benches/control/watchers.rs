//! One change, and everybody who follows the service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::documented;
use crate::process::request;
use crate::spread::{percentiles, thousands};
use crate::summary::Row;
use crate::world::{BATCH, Scale, World, batch};

/// Longer than a watcher is left alone between two changes.
const REST: Duration = Duration::from_millis(30);

/// How long it may take until all are told.
const PATIENCE: Duration = Duration::from_secs(30);
/// How the last line of every event begins.
const LAST_LINE: &[u8] = b"\nid: ";

/// From sending the change until the last watcher has its bytes, each over a socket of its own.
pub(crate) async fn measure(scale: &Scale, world: &World, port: u16) -> Row {
    let mut control = world.control().await;
    let call = batch(0, "watched", BATCH, port);
    assert_eq!(control.exchange(&call).await, 200);
    let (told, mut watchers) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..scale.watchers {
        let stream = TcpStream::connect(world.callboard().registry)
            .await
            .unwrap();
        watchers.spawn(follow(stream, Arc::clone(&told)));
    }
    // Everybody knows all that there is.
    wait_for(&told, scale.watchers).await;
    let mut times = Vec::with_capacity(scale.changes);
    let cpu = world.callboard().cpu();
    for n in 1..=scale.changes {
        sleep(REST).await;
        let body = format!(r#"{{"metadata":{{"build":"change {n}"}}}}"#);
        let path = format!("/api/v1/services/watched0/instances/watched-{}", n % BATCH);
        let change = request("PATCH", &path, &body);
        let started = Instant::now();
        let changed = async { assert_eq!(control.exchange(&change).await, 200) };
        tokio::join!(changed, wait_for(&told, scale.watchers * (n + 1)));
        times.push(started.elapsed());
    }
    let cpu = (world.callboard().cpu() - cpu).as_secs_f64() * 1e6;
    Row::new(
        format!(
            "change → the last of {} watchers has it",
            thousands(scale.watchers as f64)
        ),
        format!(
            "{}, {:.1} µs CPU a watcher",
            percentiles(&mut times),
            cpu / (scale.changes * scale.watchers) as f64
        ),
        documented::WATCHERS,
    )
}

async fn wait_for(told: &AtomicUsize, count: usize) {
    let all = async {
        while told.load(Relaxed) < count {
            yield_now().await;
        }
    };
    timeout(PATIENCE, all)
        .await
        .expect("not every watcher is told");
    assert_eq!(told.load(Relaxed), count, "somebody was told too often");
}

/// Counts the events; the first is all that there is, and each change is another one.
async fn follow(mut stream: TcpStream, told: Arc<AtomicUsize>) {
    let ask = request("GET", "/api/v1/watch?service=watched0", "");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let (mut buffer, mut kept) = (vec![0; 64 << 10], 0);
    loop {
        let count = stream.read(&mut buffer[kept..]).await.unwrap();
        assert!(count > 0, "callboard closed a watch");
        let filled = kept + count;
        let events = memmem::find_iter(&buffer[..filled], LAST_LINE).count();
        told.fetch_add(events, Relaxed);
        // What may be the beginning of the next one.
        kept = filled.min(LAST_LINE.len() - 1);
        buffer.copy_within(filled - kept..filled, 0);
    }
}
