//! One connection of HTTP/2: many requests at a time, each a [`stream`] with a task of its own.
//!
//! The `h2` crate is the engine: frames, flow control, and limits of what costs a client little and
//! callboard much. What it has no idea of is [how many requests](budget) may be begun and given up, how
//! long a connection may be idle, and how callboard leaves.
//!
//! The windows bound what one connection holds of bodies that instances do not take: [`WINDOW`] for a
//! stream. The connection's own is as large as all of its streams' together, up to [`MOST_WINDOW`], so
//! that some that stall take nothing from the others.

mod budget;
mod head;
mod incoming;
mod line;
mod outgoing;
pub(super) mod preface;
mod stream;
mod terms;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::{HeaderValue, Method};
use log::debug;
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use pingora::protocols::{Digest, Stream as Wired};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::proxy::asked::Asked;
use crate::proxy::clients::Clients;
use crate::proxy::failure::Failure;
use crate::proxy::request_id;
use crate::proxy::watchdog::watched;
use crate::telemetry::access_log::Refused;

use super::Connections;
use super::alarm::Alarm;
use super::client::Parting;
use super::closing::close;
use super::refusals;
use super::socket::Socket;
use super::wire::Wire;
use budget::Budget;
use line::Line;
use outgoing::Outgoing;
use stream::Stream;

pub(in crate::proxy) use terms::Passed;
pub(super) use terms::{failure, limit_body, passed};

/// How much of a request's body may come before anybody takes it, in bytes.
const WINDOW: u32 = 64 << 10;
/// How much of all bodies of a connection may, in bytes.
const MOST_WINDOW: u32 = 4 << 20;
/// How much of an answer is held for a connection that is busy, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// Requests that are refused before they are one, over a connection's life. As many as Pingora bears.
const MOST_MALFORMED: u32 = 32;
/// Requests that a client may give up at once, and in each second from then on.
const MOST_RESETS: u32 = 1_000;
const RESETS_PER_SECOND: u32 = 100;
/// How often a client is asked whether it is there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(60);
/// How long a connection that is to end is open for requests that were sent before its client could
/// know, and for the client to take note.
const LINGER: Duration = Duration::from_secs(1);

/// Serves the connection until it ends.
pub(super) async fn serve(connections: &Arc<Connections>, stream: Wired) {
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let parting = Parting::default();
    let line = Line::new(stream, parting.clone());
    let mut running = JoinSet::new();
    if let Some(wire) = shake_hands(connections, line).await {
        Conversation::new(connections, wire, digest, &mut running)
            .hold()
            .await;
    }
    if let Some(parted) = parting.take() {
        close(parted).await;
    }
    // Their streams are gone, which they notice by themselves.
    while running.join_next().await.is_some() {}
}

/// Serves a connection of which `unread` was read to find out that it speaks HTTP/2.
pub(super) async fn resume(connections: &Arc<Connections>, stream: Wired, unread: BytesMut) {
    let Ok(mut wire) = stream.into_any().downcast::<Wire<Socket>>() else {
        return debug!("HTTP/2 without agreement is for connections in clear text");
    };
    wire.unread(unread);
    serve(connections, wire).await;
}

async fn shake_hands(connections: &Connections, line: Line) -> Option<Connection<Line, Bytes>> {
    let limits = connections.settings.load().clients.clone();
    let shaking = timeout(limits.head_timeout, options(&limits).handshake(line));
    let leaving = async {
        closing(connections).await;
        sleep(LINGER).await;
    };
    tokio::select! {
        shaken = shaking => match shaken {
            Ok(Ok(wire)) => Some(wire),
            Ok(Err(error)) => {
                debug!("a client does not speak HTTP/2 after all: {error}");
                None
            }
            Err(_) => None,
        },
        () = leaving => None,
    }
}

fn options(limits: &Clients) -> Builder {
    let mut options = Builder::new();
    options
        .initial_window_size(WINDOW)
        .initial_connection_window_size(
            WINDOW
                .saturating_mul(limits.max_streams)
                .clamp(WINDOW, MOST_WINDOW),
        )
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        // Streams that were reset before they were looked at, and those that the client made the engine
        // reset (CVE-2025-8671).
        .max_pending_accept_reset_streams(limits.max_streams.clamp(20, 1_000) as usize)
        .max_local_error_reset_streams(Some(1_024));
    options
}

/// Ends when callboard leaves.
async fn closing(connections: &Connections) {
    let mut closing = connections.closing.clone();
    // A process whose phases are gone is leaving too.
    let _ = closing.wait_for(|&closing| closing).await;
}

/// A connection under way.
struct Conversation<'a> {
    connections: &'a Arc<Connections>,
    wire: Connection<Line, Bytes>,
    digest: Arc<Digest>,
    /// The requests under way; each says whether the client gave it up.
    running: &'a mut JoinSet<bool>,
    closing: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    pings: Option<PingPong>,
    alarm: Alarm,
    marks: Marks,
    malformed: u32,
    resets: Budget,
}

/// When what happened that deadlines count from.
struct Marks {
    /// The last ping or its answer.
    ping: Instant,
    awaits_pong: bool,
    /// The last request ended, or the connection began.
    quiet: Instant,
    has_served: bool,
    /// The client was told that the connection ends.
    leaving: Option<Instant>,
}

/// What happens on a connection.
#[allow(
    clippy::large_enum_variant,
    reason = "it is taken apart as soon as it is made, and a request is the usual one"
)]
enum Event {
    Request(http::Request<RecvStream>, SendResponse<Bytes>),
    /// A request ended.
    Done {
        was_reset: bool,
    },
    Pong,
    Closing,
    Due,
    Over,
}

impl<'a> Conversation<'a> {
    fn new(
        connections: &'a Arc<Connections>,
        mut wire: Connection<Line, Bytes>,
        digest: Arc<Digest>,
        running: &'a mut JoinSet<bool>,
    ) -> Self {
        let now = Instant::now();
        Self {
            pings: wire.ping_pong(),
            wire,
            connections,
            digest,
            running,
            closing: Box::pin(closing(connections)),
            alarm: Alarm::default(),
            marks: Marks {
                ping: now,
                awaits_pong: false,
                quiet: now,
                has_served: false,
                leaving: None,
            },
            malformed: 0,
            resets: Budget::new(MOST_RESETS, RESETS_PER_SECOND, now),
        }
    }

    async fn hold(mut self) {
        loop {
            let event = self.next().await;
            let now = Instant::now();
            match event {
                Event::Request(request, respond) => self.begin(request, respond, now),
                Event::Done { was_reset } => {
                    self.marks.quiet = now;
                    if was_reset && !self.resets.spend(now) {
                        self.break_off("it gives up too many requests", now);
                    }
                }
                Event::Pong => {
                    self.marks.awaits_pong = false;
                    self.marks.ping = now;
                }
                Event::Closing => self.leave(now),
                Event::Due if !self.attend(now) => return,
                Event::Due => {}
                Event::Over => return,
            }
        }
    }

    async fn next(&mut self) -> Event {
        let is_told = self.marks.leaving.is_some();
        let deadline = self.deadline();
        tokio::select! {
            biased;
            Some(done) = self.running.join_next() => Event::Done {
                was_reset: done.unwrap_or(false),
            },
            accepted = self.wire.accept() => match accepted {
                Some(Ok((request, respond))) => Event::Request(request, respond),
                Some(Err(error)) => {
                    debug!("a client's connection of HTTP/2 broke: {error}");
                    Event::Over
                }
                None => Event::Over,
            },
            () = &mut self.closing, if !is_told => Event::Closing,
            () = pong(&mut self.pings), if self.marks.awaits_pong => Event::Pong,
            () = poll_fn(|context| self.alarm.poll(deadline, context)) => Event::Due,
        }
    }

    /// When there is something to attend to, if nothing else happens.
    fn deadline(&self) -> Instant {
        let ping = self.marks.ping + PING;
        self.silence().map_or(ping, |silence| silence.min(ping))
    }

    /// Until when a connection without requests is open.
    fn silence(&self) -> Option<Instant> {
        if !self.running.is_empty() {
            return None;
        }
        let marks = &self.marks;
        Some(match marks.leaving {
            Some(leaving) => leaving.max(marks.quiet) + LINGER,
            None => {
                let clients = &self.connections.settings.load().clients;
                let limit = if marks.has_served {
                    clients.idle
                } else {
                    clients.head_timeout
                };
                marks.quiet + limit
            }
        })
    }

    /// Does what is due; says whether the connection goes on.
    fn attend(&mut self, now: Instant) -> bool {
        if self.silence().is_some_and(|silence| silence <= now) {
            if self.marks.leaving.is_some() {
                return false;
            }
            self.leave(now);
        }
        if self.marks.ping + PING <= now {
            if self.marks.awaits_pong {
                debug!("a client does not answer any more");
                return false;
            }
            self.marks.ping = now;
            if let Some(pings) = &mut self.pings {
                self.marks.awaits_pong = pings.send_ping(Ping::opaque()).is_ok();
            }
        }
        true
    }

    /// Tells the client to send no more requests. What is under way is finished.
    fn leave(&mut self, now: Instant) {
        self.marks.leaving.get_or_insert(now);
        self.wire.graceful_shutdown();
    }

    /// Ends the connection of a client that cannot be borne with.
    fn break_off(&mut self, why: &str, now: Instant) {
        debug!("a client's connection of HTTP/2 is ended: {why}");
        self.marks.leaving.get_or_insert(now);
        self.wire.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    }

    fn begin(
        &mut self,
        request: http::Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        now: Instant,
    ) {
        self.marks.has_served = true;
        let limits = &self.connections.settings.load().clients;
        // A stream that was reset is no longer counted by the engine, yet its request may go on for a
        // moment.
        if self.running.len() >= 2 * limits.max_streams.max(1) as usize {
            respond.send_reset(Reason::REFUSED_STREAM);
            if !self.resets.spend(now) {
                self.break_off("it begins too many requests", now);
            }
            return;
        }
        let (head, body) = request.into_parts();
        let mut head = RequestHeader::from(head);
        if let Err(failure) = head::settle(&mut head, limits) {
            self.connections.count_malformed(&failure);
            let id = request_id::of((&head.headers).into());
            let sent = refuse(&failure, &head, &id, respond);
            self.log_refused(&failure, &head, &id, sent);
            self.malformed += 1;
            if self.malformed >= MOST_MALFORMED {
                self.break_off("it sends too many malformed requests", now);
            }
            return;
        }
        let digest = Arc::clone(&self.digest);
        let stream = Stream::new(head, body, respond, digest, limits.min_body_rate);
        let connections = Arc::clone(self.connections);
        let departure = stream.departure();
        let work = async move {
            let session = ServerSession::new_custom(Box::new(stream));
            let served = (connections.proxy).process_new_http(session, &connections.closing);
            tokio::select! {
                biased;
                _ = served => {}
                why = departure.seen() => debug!("a request is dropped: {why}"),
            }
        };
        self.running.spawn(terms::under(watched(work)));
    }
}

impl Conversation<'_> {
    fn log_refused(&self, failure: &Failure, head: &RequestHeader, id: &HeaderValue, sent: usize) {
        let target = head.uri.path_and_query();
        (self.connections.telemetry.access_log()).refused(&Refused {
            id: id.to_str().ok(),
            peer: refusals::peer_of(&self.digest),
            secured: self.digest.ssl_digest.is_some(),
            method: Some(head.method.as_str().as_bytes()),
            target: target.map(|target| target.as_str().as_bytes()),
            host: Asked::of_head(head).host().map(str::as_bytes),
            protocol: Some(b"HTTP/2.0"),
            headers: Some(&head.headers),
            sent: sent as u64,
            ..refusals::of_failure(failure)
        });
    }
}

/// Ends when the last ping is answered.
async fn pong(pings: &mut Option<PingPong>) {
    let answered = poll_fn(|context| match pings {
        Some(pings) => pings.poll_pong(context).map(|pong| pong.is_ok()),
        None => std::task::Poll::Pending,
    });
    if !answered.await {
        // The connection is gone, and whoever reads from it will see.
        std::future::pending::<()>().await;
    }
}

/// Answers what cannot be served; gives the length of the answer's body.
fn refuse(
    failure: &Failure,
    head: &RequestHeader,
    id: &HeaderValue,
    respond: SendResponse<Bytes>,
) -> usize {
    debug!("a client's request is refused: {}", failure.detail());
    let mut outgoing = Outgoing::new(respond, head.method == Method::HEAD);
    let answered = failure.response(id).and_then(|(answer, body)| {
        let length = body.len();
        outgoing.send_head(Box::new(answer), false)?;
        outgoing.send_last(body)?;
        Ok(length)
    });
    answered.unwrap_or_else(|error| {
        debug!("a client did not wait to be told that its request is refused: {error}");
        0
    })
}
