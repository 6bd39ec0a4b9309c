//! One request's part of a connection, in either version of HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::{v1, v2};
use pingora::http::ResponseHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1Session;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use crate::dial;
use crate::proxy::peer;
use crate::telemetry::trace;

use super::Request;

/// Idle connections of each version kept to all instances together.
const POOL: usize = 4_096;

/// The connections of both versions.
pub(super) struct Connectors {
    http1: v1::Connector,
    http2: Arc<v2::Connector>,
}

/// A request and its answer.
pub(super) enum Session {
    Http1(Box<Http1Session>),
    Http2(Box<Stream>),
}

/// A stream of a connection that others share. The connection learns in any case that it is over.
pub(super) struct Stream {
    session: Option<Http2Session>,
    connector: Arc<v2::Connector>,
    peer: HttpPeer,
    idle: Duration,
}

impl Default for Connectors {
    fn default() -> Self {
        let options = || Some(ConnectorOptions::new(POOL));
        Self {
            http1: v1::Connector::new(options()),
            http2: Arc::new(v2::Connector::new(options())),
        }
    }
}

impl Connectors {
    /// A session with `peer`, and whether its connection served another one before.
    pub(super) async fn connect(&self, peer: &HttpPeer, idle: Duration) -> Result<(Session, bool)> {
        if !peer::is_shared(peer) {
            let (session, reused) = self.http1.get_http_session(peer).await?;
            return Ok((Session::Http1(Box::new(session)), reused));
        }
        let stream = |session| {
            Session::Http2(Box::new(Stream {
                session: Some(session),
                connector: Arc::clone(&self.http2),
                peer: peer.clone(),
                idle,
            }))
        };
        if let Some(session) = self.http2.reused_http_session(peer).await? {
            return Ok((stream(session), true));
        }
        match self.http2.new_http_session::<_, ()>(peer).await? {
            HttpSession::H2(session) => Ok((stream(session), false)),
            HttpSession::H1(session) => Ok((Session::Http1(Box::new(session)), false)),
            HttpSession::Custom(()) => Error::err(ErrorType::InternalError),
        }
    }

    /// Keeps the connection of an answer that was read to its end, if it is good for another.
    pub(super) async fn keep(&self, session: Session, peer: &HttpPeer, idle: Duration) {
        if let Session::Http1(session) = session {
            self.http1
                .release_http_session(*session, peer, Some(idle))
                .await;
        }
    }
}

impl Session {
    /// Sends all of `request`, with `parent` as its place in a trace if there is one.
    pub(super) async fn send(
        &mut self,
        request: &Request,
        parent: Option<HeaderValue>,
    ) -> Result<()> {
        let mut head = Box::new(request.head.clone());
        if let Some(parent) = parent {
            head.insert_header(trace::PARENT, parent)?;
        }
        match self {
            Self::Http1(session) => {
                session.write_request_header(head).await?;
                if !request.body.is_empty() {
                    session.write_body(&request.body).await?;
                }
                session.finish_body().await.map(|_| ())
            }
            Self::Http2(stream) => {
                dial::to_http2(&mut head, stream.peer.is_tls())?;
                let ends = request.body.is_empty();
                let session = stream.session()?;
                session.write_request_header(head, ends)?;
                if ends {
                    return Ok(());
                }
                session.write_request_body(request.body.clone(), true).await
            }
        }
    }

    /// The head of the final answer. Interim answers (RFC 9110, section 15.2) are not for anybody
    /// here: no request says that it waits for one.
    pub(super) async fn head(&mut self) -> Result<Box<ResponseHeader>> {
        match self {
            Self::Http1(session) => loop {
                session.read_response().await?;
                match session.resp_header() {
                    Some(head) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                        let unasked = "the instance switched protocols unasked";
                        return Error::e_explain(ErrorType::H1Error, unasked);
                    }
                    Some(head) if !head.status.is_informational() => {
                        return Ok(Box::new(head.clone()));
                    }
                    _ => {}
                }
            },
            Self::Http2(stream) => {
                let session = stream.session()?;
                session.read_response_header().await?;
                let head = session.response_header().cloned();
                let mut head = head.ok_or_else(|| Error::new(ErrorType::H2Error))?;
                // What is spoken with the client is another matter.
                head.set_version(Version::HTTP_11);
                Ok(Box::new(head))
            }
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>> {
        match self {
            Self::Http1(session) => session.read_body_bytes().await,
            Self::Http2(stream) => stream.session()?.read_response_body().await,
        }
    }
}

impl Stream {
    fn session(&mut self) -> Result<&mut Http2Session> {
        let gone = || Error::explain(ErrorType::InternalError, "the stream is over");
        self.session.as_mut().ok_or_else(gone)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.connector
                .release_http_session(session, &self.peer, Some(self.idle));
        }
    }
}
