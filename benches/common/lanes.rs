//! Clients: so many lanes, each with one exchange at a time over a connection of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that meets what it did not expect should stop there"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, yield_now};

use super::process::{Callboard, Connection};

/// Connections that stay open between loads.
pub(crate) struct Lanes(Vec<Connection>);

/// What came of a load.
pub(crate) struct Done {
    pub(crate) count: usize,
    pub(crate) took: Duration,
    /// callboard's own.
    pub(crate) cpu: Duration,
}

impl Done {
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// Processor time for each, in µs.
    pub(crate) fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }
}

impl Lanes {
    pub(crate) async fn open(address: SocketAddr, count: usize) -> Self {
        let mut lanes = Vec::with_capacity(count);
        for _ in 0..count {
            lanes.push(Connection::open(address).await);
        }
        Self(lanes)
    }

    /// Has every lane ask again as soon as it is answered, for so long and so often in all. The n-th
    /// request is `ask(n)`, and all have to be answered with `status`.
    pub(crate) async fn load(
        &mut self,
        callboard: &Callboard,
        (span, most): (Duration, usize),
        status: u16,
        ask: impl Fn(usize) -> String + Send + Sync + 'static,
    ) -> Done {
        let (ask, next) = (Arc::new(ask), Arc::new(AtomicUsize::new(0)));
        let mut lanes = JoinSet::new();
        let (cpu, started) = (callboard.cpu(), Instant::now());
        for mut connection in self.0.drain(..) {
            let (ask, next) = (Arc::clone(&ask), Arc::clone(&next));
            lanes.spawn(async move {
                let mut count = 0;
                while started.elapsed() < span {
                    let n = next.fetch_add(1, Relaxed);
                    if n >= most {
                        break;
                    }
                    let answered = connection.exchange(&ask(n)).await;
                    assert_eq!(answered, status, "{}", connection.answer());
                    count += 1;
                }
                (connection, count)
            });
        }
        let mut count = 0;
        while let Some(lane) = lanes.join_next().await {
            let (connection, own) = lane.unwrap();
            self.0.push(connection);
            count += own;
        }
        Done {
            count,
            took: started.elapsed(),
            cpu: callboard.cpu() - cpu,
        }
    }
}

/// Keeps this thread from sleeping: to be woken from another processor takes long, above all in a virtual
/// machine, and who wakes pays for it, which is callboard.
pub(crate) fn stay_awake() {
    tokio::spawn(async {
        loop {
            yield_now().await;
        }
    });
}
