//! What every behaviour test needs: a callboard, instances to stand behind it, and patience.

pub(crate) mod authority;
mod callboard;
pub(crate) mod commands;
pub(crate) mod grpc;
pub(crate) mod http2;
pub(crate) mod http2_instance;
mod instance;
pub(crate) mod peers;
pub(crate) mod scripted;
pub(crate) mod talker;
pub(crate) mod tokens;
pub(crate) mod upgraded;
pub(crate) mod wire;

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) use callboard::{Callboard, Held, Predecessor, Setup, run_to_end};
pub(crate) use instance::Instance;

/// Longer than anything here takes on a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` gives a value.
pub(crate) async fn eventually<T, F>(what: &str, mut condition: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes a pipe with a name, which nobody writes to.
pub(crate) fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// How often each distinct item occurs, sorted by item.
pub(crate) fn tally<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for item in items {
        *counts.entry(item).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}
