//! HTTP/2 over TLS: lanes that are streams of the same connection.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::{SendRequest, handshake};
use http::Request;
use tokio::sync::Mutex;

use super::{Target, secure};

/// The connection that some lanes share, and how many there were before it.
pub(super) type Shared = Arc<Mutex<(u64, Option<SendRequest<Bytes>>)>>;

/// A lane's hold on it.
pub(super) struct Http2 {
    generation: u64,
    send: SendRequest<Bytes>,
    shared: Shared,
}

impl Http2 {
    pub(super) async fn open(target: &Target, shared: &Shared) -> Result<Self, String> {
        let mut held = shared.lock().await;
        let send = match &held.1 {
            Some(send) => send.clone(),
            None => {
                let opened = handshake(secure(target).await?).await;
                let (send, connection) = opened.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                held.0 += 1;
                held.1 = Some(send.clone());
                send
            }
        };
        Ok(Self {
            generation: held.0,
            send,
            shared: shared.clone(),
        })
    }

    pub(super) async fn exchange(&mut self, target: &Target) -> Result<bool, String> {
        loop {
            match self.ask(target).await {
                Ok(()) => return Ok(true),
                // Who has answered enough on a connection says so, and what it has not taken is asked
                // again on the next.
                Err(error)
                    if error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM) =>
                {
                    self.leave().await;
                    *self = Self::open(target, &self.shared).await?;
                }
                Err(error) => {
                    self.leave().await;
                    return Err(error.to_string());
                }
            }
        }
    }

    async fn ask(&mut self, target: &Target) -> Result<(), h2::Error> {
        let request = Request::get("https://localhost/small").body(()).unwrap();
        let mut ready = self.send.clone().ready().await?;
        let answer = ready.send_request(request, true)?.0.await?;
        let (head, mut body) = answer.into_parts();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            length += piece.len();
        }
        if head.status != 200 || length != target.body {
            return Err(h2::Reason::PROTOCOL_ERROR.into());
        }
        Ok(())
    }

    /// Has the next lane that needs one open another connection, unless one has.
    async fn leave(&self) {
        let mut held = self.shared.lock().await;
        if held.0 == self.generation {
            held.1 = None;
        }
    }
}
