//! What clients may send, and how long they may take to.

use std::time::Duration;

/// The limits on clients' connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// From the first byte of a request's head to its last.
    pub head_timeout: Duration,
    /// How long a kept connection waits for the next request.
    pub idle: Duration,
    /// The largest head of a request, in bytes.
    pub max_head: usize,
    /// The most header fields of a request.
    pub max_headers: usize,
    /// The least bytes a second of a body that is on its way; `None` lets a client take its time.
    pub min_body_rate: Option<u64>,
    /// How many requests of one HTTP/2 connection are served at a time.
    pub max_streams: u32,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            max_head: 64 << 10,
            max_headers: 100,
            min_body_rate: Some(240),
            max_streams: 100,
        }
    }
}
