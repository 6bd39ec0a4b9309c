//! All there is to know of a request that is over.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, Version};

use crate::grpc::Code;
use crate::instance::Instance;

use super::trace;

/// A request and what became of it. Times are counted from its arrival.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What it is called: `X-Request-Id`.
    pub id: &'a str,
    /// When the last of its head came.
    pub arrived: SystemTime,
    /// From then to the end of its answer.
    pub took: Duration,
    /// From then to the head of its answer; `None` if none came.
    pub head: Option<Duration>,
    /// Who sent it, as far as trusted proxies tell.
    pub client: IpAddr,
    /// Where its connection is from; `None` over a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether it came over TLS.
    pub secured: bool,
    /// The method.
    pub method: &'a Method,
    /// The path and query, as they came.
    pub target: &'a str,
    /// So many bytes of the path, from its beginning, instances do not get to see.
    pub stripped: usize,
    /// The host that it named.
    pub host: Option<&'a str>,
    /// The version of HTTP.
    pub version: Version,
    /// Its headers, as they came.
    pub headers: &'a HeaderMap,
    /// What the client was answered; `None` if it left first.
    pub status: Option<StatusCode>,
    /// The headers of that answer.
    pub answer: Option<&'a HeaderMap>,
    /// Bytes of its body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// The route it came by; `None` if there was none.
    pub route: Option<&'a str>,
    /// The service that led to; `None` if there was none.
    pub service: Option<&'a str>,
    /// Why callboard answered it itself, or broke its answer off.
    pub failure: Option<Failure<'a>>,
    /// What it ended with if it is a call of gRPC, as far as that is known.
    pub code: Option<Code>,
    /// Its place in a trace; `None` without traces.
    pub trace: Option<&'a trace::Context>,
    /// The tries, in the order in which they began.
    pub attempts: &'a [Attempt],
    /// Whether the client left before its answer was whole.
    pub client_left: bool,
}

impl Record<'_> {
    /// Whether it failed: in the instance, in callboard, or as its client left.
    pub fn has_failed(&self) -> bool {
        self.client_left
            || self.failure.is_some()
            || self.status.is_none_or(|status| status.is_server_error())
            || self.code.is_some_and(Code::is_fault)
    }
}

/// Why callboard answered a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The error type of RFC 9209.
    pub kind: &'a str,
    /// What happened, for people.
    pub detail: &'a str,
}

/// One try of a request.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The instance that was asked.
    pub instance: Arc<Instance>,
    /// When it was picked.
    pub began: Duration,
    /// When there was a connection, and whether it had been kept from earlier.
    pub connected: Option<(Duration, bool)>,
    /// When its answer's head came, or the try was lost; `None` while neither has happened.
    pub ended: Option<Duration>,
    /// What came of it.
    pub outcome: Outcome,
    /// What the instance sees as its parent in the trace.
    pub span: u64,
}

/// What came of a try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it was given up, as the client left or another try won.
    #[default]
    Cancelled,
    /// The instance left before it was sent anything.
    Withdrawn,
    /// An answer, which was passed on unless it is followed by another try.
    Answered(StatusCode),
    /// It failed.
    Failed {
        /// The error type of RFC 9209.
        kind: &'static str,
        /// What happened, for people.
        detail: String,
    },
}
