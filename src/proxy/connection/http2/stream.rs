//! One request and its answer, as Pingora knows sessions.
//!
//! Pingora has a session for HTTP/2 of its own. This one is there for what that lacks: limits of a
//! body's length and pace, interim answers, and an end of waiting for the client when a deadline passes
//! that cannot be enforced on the instance's connection, because other requests share it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::Stream as Messages;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Method};
use log::debug;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v1::client::http_req_header_to_wire;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout;

use crate::proxy::watchdog;

use super::incoming::Incoming;
use super::outgoing::{Departure, Outgoing};

/// The request and its answer.
pub(super) struct Stream {
    head: RequestHeader,
    incoming: Incoming,
    outgoing: Outgoing,
    connection: Arc<Digest>,
    drain: Option<Duration>,
}

impl Stream {
    /// The request with `head`, whose body comes at no less than `rate` bytes a second.
    pub(super) fn new(
        head: RequestHeader,
        body: RecvStream,
        respond: SendResponse<Bytes>,
        connection: Arc<Digest>,
        rate: Option<u64>,
    ) -> Self {
        Self {
            incoming: Incoming::new(body, &head, rate),
            outgoing: Outgoing::new(respond, head.method == Method::HEAD),
            head,
            connection,
            drain: None,
        }
    }

    /// What notices that the client leaves.
    pub(super) fn departure(&self) -> Departure {
        self.outgoing.departure()
    }
}

type CustomMessages = Box<dyn Messages<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

fn no_messages<T>() -> Result<T> {
    let none = "HTTP/2 has no messages beside the body";
    Err(Error::explain(ErrorType::InternalError, none))
}

#[async_trait]
impl Session for Stream {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.incoming.poll(context)).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        let limit = self.drain;
        let draining = async {
            while self.read_body_bytes().await?.is_some() {}
            Ok(())
        };
        match limit {
            Some(limit) => timeout(limit, draining).await.unwrap_or_else(|_| {
                let late = "the rest of the body did not come in time";
                Err(Error::explain(ErrorType::ReadTimedout, late))
            }),
            None => draining.await,
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, ends: bool) -> Result<()> {
        self.incoming.has_been_told();
        self.outgoing.send_head(head, ends)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, ends: bool) -> Result<()> {
        (self.write_response_header(Box::new(head.clone()), ends)).await
    }

    async fn write_body(&mut self, data: Bytes, ends: bool) -> Result<()> {
        self.outgoing.send_body(data, ends).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.outgoing.send_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut has_ended = false;
        for task in tasks {
            has_ended |= match task {
                HttpTask::Header(head, ends) => {
                    (self.write_response_header(head, ends).await).map_err(Error::into_down)?;
                    ends
                }
                HttpTask::Body(data, ends) => {
                    if let Some(data) = data.filter(|data| !data.is_empty()) {
                        let sent = self.outgoing.send_body(data, ends).await;
                        sent.map_err(Error::into_down)?;
                    }
                    ends
                }
                HttpTask::Trailer(Some(trailers)) => {
                    let sent = self.outgoing.send_trailers(*trailers);
                    sent.map_err(Error::into_down)?;
                    true
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::UpgradedBody(..) => {
                    let misplaced = "HTTP/2 has no switching of protocols";
                    return Err(Error::explain(ErrorType::InternalError, misplaced));
                }
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if has_ended {
            self.outgoing.end().map_err(Error::into_down)?;
        }
        Ok(has_ended)
    }

    /// A body has its own idea of how long it may take.
    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.outgoing.patience = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.outgoing.patience
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.head.method, self.head.uri)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.outgoing.head()
    }

    async fn shutdown(&mut self, _: u32, why: &str) {
        debug!("a stream is given up: {why}");
        self.outgoing.reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.incoming.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.outgoing.end()
    }

    fn is_body_empty(&mut self) -> bool {
        self.incoming.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let idles = no_body_expected || self.incoming.is_done();
        let listening = poll_fn(|context| {
            if idles {
                self.outgoing.poll_left(context).map(Err)
            } else {
                self.incoming.poll(context)
            }
        });
        tokio::select! {
            biased;
            came = listening => came,
            timer = watchdog::overdue() => {
                Err(Error::explain(ErrorType::ReadTimedout, format!("{timer:?} ran out")))
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.outgoing.sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.incoming.read()
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.connection)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.connection)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.connection.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.connection.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.head).map_or_else(Bytes::new, BytesMut::freeze)
    }

    fn enable_retry_buffering(&mut self) {
        self.incoming.keep();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.incoming.outgrew()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.incoming.kept()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<CustomMessages> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: CustomMessages) -> Result<()> {
        no_messages()
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        no_messages()
    }
}
