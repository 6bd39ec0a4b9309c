//! One connection of HTTP/1: a request, its answer, the next request.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use log::debug;
use pingora::apps::HttpServerApp;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::proxy::clients::Clients;
use crate::proxy::failure::Failure;
use crate::proxy::lean::{Came, Served};
use crate::proxy::request_id;

use super::Connections;
use super::client::{Client, Parted, Parting};
use super::closing::close;
use super::head::{Head, Refused, Scan};
use super::http2;
use super::http2::preface::{self, Said};

/// Once callboard leaves, how long a kept connection stays open for a request that was sent before its
/// client could know.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take to accept an answer to something that was no request.
const ANSWER: Duration = Duration::from_secs(5);

/// Serves the connection until nothing more of HTTP comes on it, and gives it back then.
pub(super) async fn serve(connections: &Arc<Connections>, stream: Stream) -> Option<Parted> {
    let parting = Parting::default();
    let client = Box::new(Client::new(stream, parting.clone()));
    let newer = converse(connections, client).await;
    let parted = parting.take()?;
    match newer {
        Some(read) => {
            // Boxed as what follows is: a connection that waits makes no room for what it may become.
            Box::pin(http2::resume(connections, parted.stream, read)).await;
            None
        }
        None => Some(parted),
    }
}

/// Takes requests as long as there are any. Whichever way it returns, `client` is dropped; gives what
/// was read of it if it speaks HTTP/2.
async fn converse(connections: &Arc<Connections>, mut client: Box<Client>) -> Option<BytesMut> {
    let mut wait = Wait::new(connections);
    let origin = client.origin();
    loop {
        let settings = connections.settings.load();
        let limits = settings.clients.clone();
        let is_lean = settings.lean_path;
        drop(settings);
        let (head, arrived) = match wait.for_head(&mut client, &limits).await {
            Next::Head(head, arrived) => (head, arrived),
            Next::Http2 => return Some(mem::take(&mut client.buffer)),
            Next::Refused(refused) => {
                Box::pin(answer(connections, client, &refused)).await;
                return None;
            }
            Next::Over => return None,
        };
        let bytes = client.begin(&head, limits.min_body_rate);
        if let Some(plain) = head.plain.as_ref().filter(|_| is_lean) {
            let came = Came::new(plain, &bytes, &origin);
            let lean = &connections.lean;
            if lean.takes(&came) {
                match Box::pin(lean.serve(&mut client, came, arrived)).await {
                    Served::Kept(since) => {
                        (wait.is_first, wait.since) = (false, since);
                        continue;
                    }
                    Served::Over => return None,
                    Served::Passed(context) => client.hand_over(context),
                }
            }
        }
        let mut session = ServerSession::new_http1(client);
        session.set_pipelined_prefix(bytes);
        let served = (connections.proxy).process_new_http(session, &connections.closing);
        let kept = served.await?;
        match kept.consume().0.into_any().downcast::<Client>() {
            Ok(same) if same.is_between_requests() => client = same,
            _ => return None,
        }
        (wait.is_first, wait.since) = (false, Instant::now());
    }
}

/// What comes next on a connection.
enum Next {
    /// A head, the last of which came then.
    Head(Head, Instant),
    Refused(Box<Refused>),
    /// HTTP/2.
    Http2,
    /// Nothing.
    Over,
}

/// Waits for requests.
struct Wait {
    closing: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Since when callboard leaves.
    leaving: Option<Instant>,
    is_first: bool,
    /// Since when nothing else is done.
    since: Instant,
}

/// What ends a wait.
enum Event {
    Read(io::Result<()>),
    Due,
}

impl Wait {
    fn new(connections: &Connections) -> Self {
        let mut closing = connections.closing.clone();
        Self {
            closing: Box::pin(async move {
                // A process whose phases are gone is leaving too.
                let _ = closing.wait_for(|&closing| closing).await;
            }),
            leaving: None,
            is_first: true,
            since: Instant::now(),
        }
    }

    async fn for_head(&mut self, client: &mut Client, limits: &Clients) -> Next {
        let since = self.since;
        let silence = if self.is_first {
            limits.head_timeout
        } else {
            limits.idle
        };
        let mut began = None;
        let mut scan = Scan::default();
        loop {
            if !client.buffer.is_empty() {
                let now = Instant::now();
                began.get_or_insert(now);
                match self.said(client) {
                    Said::Http2 => return Next::Http2,
                    Said::TooLittle => {}
                    Said::Other => match scan.advance(&mut client.buffer, limits) {
                        Ok(None) => {}
                        Ok(Some(head)) => return Next::Head(head, now),
                        Err(refused) => return Next::Refused(refused),
                    },
                }
            }
            if client.has_ended {
                return Next::Over;
            }
            let deadline = began.map_or(since + silence, |began| began + limits.head_timeout);
            match self.event(client, began.is_none(), deadline).await {
                Event::Read(Ok(())) => {}
                Event::Read(Err(error)) => {
                    debug!("a client's connection broke: {error}");
                    client.has_ended = true;
                    return Next::Over;
                }
                Event::Due if client.buffer.is_empty() => return Next::Over,
                Event::Due => {
                    let failure = Failure::slow_head(limits.head_timeout);
                    return Next::Refused(Box::new(Refused {
                        failure,
                        is_head: client.buffer.starts_with(b"HEAD "),
                        request_id: None,
                    }));
                }
            }
        }
    }

    /// What the client has said of its protocol, which over TLS was agreed upon.
    fn said(&self, client: &Client) -> Said {
        if self.is_first && !client.is_secured() {
            preface::look_at(&client.buffer)
        } else {
            Said::Other
        }
    }

    /// The next thing that happens until `deadline`, which comes sooner for an idle connection of a
    /// callboard that leaves.
    async fn event(&mut self, client: &mut Client, is_idle: bool, deadline: Instant) -> Event {
        poll_fn(|context| {
            if let Poll::Ready(read) = client.poll_fill(context) {
                return Poll::Ready(Event::Read(read));
            }
            if self.leaving.is_none() && self.closing.as_mut().poll(context).is_ready() {
                self.leaving = Some(Instant::now());
            }
            let deadline = match self.leaving {
                Some(leaving) if is_idle => deadline.min(leaving + LINGER),
                _ => deadline,
            };
            client.alarm.poll(deadline, context).map(|()| Event::Due)
        })
        .await
    }
}

/// Answers `failure` to whatever the client has to say, and ends the connection.
pub(super) async fn refuse(connections: &Connections, stream: Stream, failure: Failure) {
    let parting = Parting::default();
    let refused = Refused {
        failure,
        is_head: false,
        request_id: None,
    };
    let client = Box::new(Client::new(stream, parting.clone()));
    answer(connections, client, &refused).await;
    if let Some(parted) = parting.take() {
        close(parted).await;
    }
}

/// Answers what cannot be served.
async fn answer(connections: &Connections, mut client: Box<Client>, refused: &Refused) {
    connections.count_malformed(&refused.failure);
    debug!(
        "a client's request is refused: {}",
        refused.failure.detail()
    );
    let id = request_id::of_fragment(refused.request_id.as_deref());
    let Ok(wire) = refused.failure.to_wire(&id, refused.is_head, false) else {
        return;
    };
    let body = memchr::memmem::find(&wire, b"\r\n\r\n").map_or(0, |end| wire.len() - end - 4);
    let name = id.to_str().unwrap_or_default();
    connections.log_refused(&client, &refused.failure, name, body);
    let sent = timeout(ANSWER, async {
        client.write_all(&wire).await?;
        client.flush().await
    });
    if !matches!(sent.await, Ok(Ok(()))) {
        debug!("a client did not wait to be told that its request is refused");
    }
}
