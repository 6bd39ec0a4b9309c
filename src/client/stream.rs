//! Server-sent events from a registry, one after the other.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use tokio::time::timeout;

use crate::sse::{Decoder, Event};

use super::{Client, Error};

/// The media type of streams.
pub(super) const KIND: &str = "text/event-stream";
/// How long nothing at all may arrive. A registry sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// A stream of events that has begun.
#[derive(Debug)]
pub struct Stream {
    client: Client,
    response: Response,
    decoder: Decoder,
    rest: Bytes,
}

impl Stream {
    pub(super) async fn open(
        client: &Client,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<Self, Error> {
        let failed = |failure| Error::of(client.name(), &failure);
        let late = |_| Error::Late { url: client.name() };
        let response = timeout(patience, request.send());
        let response = response.await.map_err(late)?.map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let body = timeout(patience, response.bytes());
            let body = body.await.map_err(late)?.map_err(failed)?;
            return Err(client.refused(status, &body));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(KIND.as_bytes())) {
            return Err(client.strange(format!("expected a stream of {KIND}")));
        }
        Ok(Self {
            client: client.clone(),
            response,
            decoder: Decoder::default(),
            rest: Bytes::new(),
        })
    }

    /// The next event; `None` when the registry has ended the stream.
    ///
    /// # Errors
    /// When the connection broke or fell silent, and when what comes is too large for an event.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let mut rest = &self.rest[..];
            let event = self.decoder.next(&mut rest);
            let event = event.map_err(|error| self.client.strange(error.to_string()))?;
            self.rest = self.rest.slice(self.rest.len() - rest.len()..);
            if event.is_some() {
                return Ok(event);
            }
            let url = || self.client.name();
            let chunk = timeout(SILENCE, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| Error::Late { url: url() })?;
            match chunk.map_err(|failure| Error::of(url(), &failure))? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
    }
}
