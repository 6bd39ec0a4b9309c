//! The HTTP probe: a GET whose status decides.
//!
//! Pingora's own `HttpHealthCheck` owns a connector (a TLS context and a pool) and one fixed request,
//! so every different path would need a checker of its own. Here one connector serves all paths of
//! all instances, on the same HTTP/1 client session.
//!
//! Connections are reused: a probe every few seconds to thousands of instances is mostly handshakes
//! otherwise. What comes with it: an instance may close an idle connection in the same moment that the
//! next request is under way on it. That is no failure of the instance, so a reused connection that
//! breaks before the head of an answer is replaced once by a fresh one.
//!
//! Nothing here trusts the answer. The head is bounded by Pingora (256 headers, about 1 MiB), interim
//! answers and the body by the limits below, and everything by the check's timeout.

mod http2;

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use pingora::connectors::http::v2::Connector as Http2Connector;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::{HttpPeer, Peer};
use pingora::{Error, ErrorType};
use tokio::time::{Instant, timeout_at};

use super::ask::Deadline;
use super::failure::Failure;
use crate::address::Address;
use crate::dial::Target;
use crate::instance::check::HttpCheck;

const USER_AGENT: &str = concat!("callboard-check/", env!("CARGO_PKG_VERSION"));
/// How many idle connections are kept for the next probe; each costs a file descriptor.
const KEPT_CONNECTIONS: usize = 1024;
/// How long one is kept. A check with a longer interval connects anew each time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many 1xx answers may come before the real one.
const MOST_INTERIM_ANSWERS: usize = 8;
/// How much of a body is read to get the connection back; past this a new one is cheaper.
const MOST_BODY: usize = 64 * 1024;
/// How long to wait for the rest of a body. The status has decided by then; a stream that never
/// ends must not hold up the answer.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Sends GETs on connections that all checks share.
pub(super) struct HttpAsker {
    connector: TransportConnector,
    http2: OnceLock<Http2Connector>,
}

impl HttpAsker {
    pub(super) fn new() -> Self {
        Self {
            connector: TransportConnector::new(Some(ConnectorOptions::new(KEPT_CONNECTIONS))),
            http2: OnceLock::new(),
        }
    }

    /// Connects to `target` and hangs up, once they have shaken hands if it speaks TLS.
    pub(super) async fn connect(&self, target: &Target) -> pingora::Result<()> {
        self.connector.new_stream(&target.peer()).await.map(drop)
    }

    /// Asks `target` for the check's path and judges the status.
    pub(super) async fn get(
        &self,
        target: &Target,
        check: &HttpCheck,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let address = &target.address;
        let scheme = if target.scheme.is_tls() {
            "https"
        } else {
            "http"
        };
        let act = format!("GET {scheme}://{address}{}", check.path);
        let request = request(address, &check.path).ok_or_else(|| {
            Failure::Instance(format!(
                "{act}: this path fits no request (expected one that starts with / and has no \
                 spaces or control characters)"
            ))
        })?;
        let peer = target.peer();
        if target.scheme.is_http2() {
            let connector = (self.http2)
                .get_or_init(|| Http2Connector::new(Some(ConnectorOptions::new(KEPT_CONNECTIONS))));
            let answer = http2::get(connector, &peer, request, IDLE_TIMEOUT);
            return judge(&act, deadline.bound(&act, answer).await?, check);
        }

        let reused = async { Ok(self.exchange_on_reused(&peer, &request).await) };
        let answer = match deadline.bound(&act, reused).await? {
            Some(answer) => answer,
            None => {
                let connecting = self.connector.new_stream(&peer);
                let stream = deadline
                    .bound(&format!("connect to {address}"), connecting)
                    .await?;
                deadline
                    .bound(&act, exchange(stream, &peer, &request))
                    .await?
            }
        };

        let status = answer.status;
        self.reclaim(answer, &peer, deadline).await;
        judge(&act, status, check)
    }

    /// An exchange on an idle connection; `None` if there is none, or it turns out to be dead.
    async fn exchange_on_reused(&self, peer: &HttpPeer, request: &RequestHeader) -> Option<Answer> {
        let stream = self.connector.reused_stream(peer).await?;
        exchange(stream, peer, request).await.ok()
    }

    /// Reads what is left of an answer to get its connection back for the next probe, unless that
    /// takes more than a new one would.
    async fn reclaim(&self, answer: Answer, peer: &HttpPeer, deadline: Deadline) {
        let patience = deadline.at().min(Instant::now() + BODY_PATIENCE);
        let mut session = answer.session;
        let drained = timeout_at(patience, drain(&mut session)).await;
        if !drained.unwrap_or(false) {
            return;
        }
        session.respect_keepalive();
        if let Some(stream) = session.reuse().await {
            self.connector
                .release_stream(stream, peer.reuse_hash(), Some(IDLE_TIMEOUT));
        }
    }
}

/// The head of an answer, and the session to read the rest from.
struct Answer {
    session: HttpSession,
    status: u16,
}

fn judge(act: &str, status: u16, check: &HttpCheck) -> Result<(), Failure> {
    if check.accepts(status) {
        return Ok(());
    }
    let expected = list(&check.expect);
    Err(Failure::Instance(format!(
        "{act}: status {status} (expected {expected})"
    )))
}

/// The GET to send; `None` if `path` cannot be part of one.
fn request(address: &Address, path: &str) -> Option<RequestHeader> {
    let target = path
        .starts_with('/')
        .then(|| PathAndQuery::try_from(path).ok())??;
    let mut request = RequestHeader::build(Method::GET, b"/", Some(2)).ok()?;
    request.set_uri(target.into());
    request.insert_header("Host", address.authority()).ok()?;
    request.insert_header("User-Agent", USER_AGENT).ok()?;
    Some(request)
}

/// Sends `request` and reads the head of the answer, past any interim ones.
async fn exchange(
    stream: Stream,
    peer: &HttpPeer,
    request: &RequestHeader,
) -> pingora::Result<Answer> {
    let mut session = HttpSession::new_with_options(stream, peer);
    session
        .write_request_header(Box::new(request.clone()))
        .await?;
    for _ in 0..=MOST_INTERIM_ANSWERS {
        session.read_response().await?;
        match session.get_status() {
            Some(StatusCode::SWITCHING_PROTOCOLS) | None => break,
            Some(interim) if interim.is_informational() => continue,
            Some(status) => {
                let status = status.as_u16();
                return Ok(Answer { session, status });
            }
        }
    }
    Error::e_explain(
        ErrorType::InvalidHTTPHeader,
        "no final answer to the request",
    )
}

/// Reads the rest of the body; says whether it ended within the limit.
async fn drain(session: &mut HttpSession) -> bool {
    let mut left = MOST_BODY;
    loop {
        match session.read_body_ref().await {
            Ok(None) => return true,
            Ok(Some(part)) if part.len() <= left => left -= part.len(),
            Ok(Some(_)) | Err(_) => return false,
        }
    }
}

/// Statuses as people write them: `200-399, 418`.
fn list(ranges: &[RangeInclusive<u16>]) -> String {
    let ranges: Vec<String> = ranges
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        })
        .collect();
    ranges.join(", ")
}

#[cfg(test)]
mod tests;
