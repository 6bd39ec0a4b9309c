//! The answer to a request, as it goes out on the request's stream.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, Response, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};
use tokio::time::timeout;

use crate::proxy::watchdog;

use super::terms;

/// What says something of a connection of HTTP/1 (RFC 9113, section 8.2.2).
const OF_CONNECTIONS: [&str; 5] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// The answer.
pub(super) struct Outgoing {
    sending: Arc<Mutex<Sending>>,
    head: Option<Box<ResponseHeader>>,
    /// Answers a HEAD.
    is_bare: bool,
    /// How long the client may take to accept a piece of the body.
    pub(super) patience: Option<Duration>,
}

/// The engine's side of it. One task has both the answer and its [`Departure`], and neither holds this
/// for longer than a poll takes, so nobody ever waits for the lock.
struct Sending {
    respond: SendResponse<Bytes>,
    /// There once the head was sent.
    body: Option<SendStream<Bytes>>,
    has_ended: bool,
    sent: usize,
}

/// Notices that the client leaves, whatever else is waited for: while Pingora waits for room at an
/// instance, or for an instance at all, it does not listen to the client.
pub(super) struct Departure(Arc<Mutex<Sending>>);

impl Departure {
    /// Ends when the client resets the stream or its connection ends.
    pub(super) async fn seen(self) -> Box<Error> {
        poll_fn(|context| lock(&self.0).poll_left(context)).await
    }
}

impl Outgoing {
    /// The answer to give with `respond`; `is_bare` keeps its body back.
    pub(super) fn new(respond: SendResponse<Bytes>, is_bare: bool) -> Self {
        Self {
            sending: Arc::new(Mutex::new(Sending {
                respond,
                body: None,
                has_ended: false,
                sent: 0,
            })),
            head: None,
            is_bare,
            patience: None,
        }
    }

    /// What notices that nobody is there to be answered.
    pub(super) fn departure(&self) -> Departure {
        Departure(Arc::clone(&self.sending))
    }

    /// The head that was sent, interim ones aside.
    pub(super) fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_deref()
    }

    /// How much of the body was sent, in bytes.
    pub(super) fn sent(&self) -> usize {
        lock(&self.sending).sent
    }

    /// Sends a head, unless the final one was sent already.
    ///
    /// # Errors
    /// When the stream is gone, or the head has no place in HTTP/2.
    pub(super) fn send_head(&mut self, mut head: Box<ResponseHeader>, ends: bool) -> Result<()> {
        if self.head.is_some() {
            return Ok(());
        }
        for name in OF_CONNECTIONS {
            head.remove_header(name);
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let misplaced = "HTTP/2 has no switching of protocols";
            return Err(Error::explain(ErrorType::InternalError, misplaced));
        }
        let mut sending = lock(&self.sending);
        if head.status.is_informational() {
            let interim = Response::from_parts(head.as_owned_parts(), ());
            // A client that is gone is noticed with the final head.
            let _ = sending.respond.send_informational(interim);
            return Ok(());
        }
        if !head.headers.contains_key(header::DATE) {
            head.insert_header(header::DATE, get_cached_date())?;
        }
        let bodyless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        let ends = ends || self.is_bare || bodyless.contains(&head.status);
        let wire = Response::from_parts(head.as_owned_parts(), ());
        let body = sending.respond.send_response(wire, ends).map_err(broken)?;
        sending.body = Some(body);
        sending.has_ended = ends;
        self.head = Some(head);
        Ok(())
    }

    /// Sends a piece of the body once the client has room for it.
    ///
    /// # Errors
    /// When the stream is gone, the client takes too long, or the time of the request is up.
    pub(super) async fn send_body(&mut self, mut piece: Bytes, ends: bool) -> Result<()> {
        if lock(&self.sending).has_ended {
            return Ok(());
        }
        while !piece.is_empty() {
            let passing =
                poll_fn(|context| lock(&self.sending).poll_pass(&mut piece, ends, context));
            match self.patience {
                Some(patience) => timeout(patience, passing).await.map_err(|_| {
                    let late = "the client does not take the answer";
                    Error::explain(ErrorType::WriteTimedout, late)
                })?,
                None => passing.await,
            }?;
        }
        if ends { self.end() } else { Ok(()) }
    }

    /// Sends what an answer ends with that is known in advance and short, without waiting for room.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(super) fn send_last(&mut self, piece: Bytes) -> Result<()> {
        let mut sending = lock(&self.sending);
        if sending.has_ended {
            return Ok(());
        }
        sending.sent += piece.len();
        terms::note_sent(piece.len());
        sending.has_ended = true;
        sending.body()?.send_data(piece, true).map_err(broken)
    }

    /// Ends the answer with `trailers`.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(super) fn send_trailers(&mut self, mut trailers: HeaderMap) -> Result<()> {
        let mut sending = lock(&self.sending);
        if sending.has_ended {
            return Ok(());
        }
        for name in OF_CONNECTIONS {
            trailers.remove(name);
        }
        sending.body()?.send_trailers(trailers).map_err(broken)?;
        sending.has_ended = true;
        Ok(())
    }

    /// Ends the answer, if it has begun.
    ///
    /// # Errors
    /// When the stream is gone.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.head.is_none() {
            return Ok(());
        }
        self.send_last(Bytes::new())
    }

    /// Breaks the answer off, unless it has ended.
    pub(super) fn reset(&mut self, reason: Reason) {
        let mut sending = lock(&self.sending);
        if !sending.has_ended {
            sending.respond.send_reset(reason);
        }
    }

    /// Ends when the client resets the stream or its connection ends.
    pub(super) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        lock(&self.sending).poll_left(context)
    }
}

impl Sending {
    /// Sends as much of `piece` as the client has room for, which is something.
    fn poll_pass(
        &mut self,
        piece: &mut Bytes,
        ends: bool,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let body = self.body()?;
        body.reserve_capacity(piece.len());
        let room = body.poll_capacity(context);
        watchdog::client_takes(room.is_ready());
        let Poll::Ready(room) = room else {
            return watchdog::poll_overdue(context).map(|timer| {
                let late = format!("{timer:?} ran out while the client took nothing");
                Err(Error::explain(ErrorType::ReadTimedout, late))
            });
        };
        let gone = || Error::explain(ErrorType::WriteError, "the stream is closed");
        let room = room.ok_or_else(gone)?.map_err(broken)?;
        let part = piece.split_to(room.min(piece.len()));
        let (length, ends) = (part.len(), ends && piece.is_empty());
        body.send_data(part, ends).map_err(broken)?;
        self.sent += length;
        terms::note_sent(length);
        self.has_ended = ends;
        Poll::Ready(Ok(()))
    }

    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        let left = match &mut self.body {
            Some(body) => body.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        left.map(|left| match left {
            Ok(reason) => {
                terms::note_reset();
                let why = format!("the client reset the stream: {reason}");
                Error::explain(ErrorType::ConnectionClosed, why)
            }
            Err(error) => Error::because(ErrorType::ConnectionClosed, "the client left", error),
        })
    }

    fn body(&mut self) -> Result<&mut SendStream<Bytes>> {
        let early = || Error::explain(ErrorType::InternalError, "a body before its head");
        self.body.as_mut().ok_or_else(early)
    }
}

fn lock(sending: &Mutex<Sending>) -> MutexGuard<'_, Sending> {
    sending.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What ends a request whose stream broke.
fn broken(error: h2::Error) -> Box<Error> {
    if error.is_reset() && error.is_remote() {
        terms::note_reset();
    }
    Error::because(ErrorType::WriteError, "writing to a stream", error)
}
