//! Connections that are HTTP no more: after its handshake, such as WebSocket's (RFC 9110, section
//! 7.8), whatever comes from one side goes to the other, until both have ended.
//!
//! A tunnel lasts for hours and is silent for most of them, so an idle one holds no buffer: pieces are
//! read onto the stack of the thread, and only what the other side does not take at once is kept. It
//! runs in its connection's task, when nothing of HTTP is left there.
//!
//! It counts as in flight, and nothing of the control plane cuts it off before its time: when the
//! drain of its instance is over, or callboard's own, it is [ended](Course::leave) as its protocol wants
//! it to be. For WebSocket, that is a word to both sides (RFC 6455, section 7.1.2).

mod frames;
mod pipe;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use log::debug;
use pingora::protocols::Stream;
use tokio::io::AsyncWriteExt;
use tokio::time::{Interval, interval_at, timeout};

use crate::cluster::pick::Pick;
use crate::dial;

use super::connection::{Alarm, Parted, Passed, close, has_error, is_broken, unbuffered};
use super::gate::{Gate, Inside};
use super::trail::Trail;
use frames::close_frame;
use pipe::Pipe;

/// How long the two sides may take to answer that the tunnel ends.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a WebSocket of which one side has ended may be silent: nobody can say goodbye on it.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// How often it is looked whether a side is gone that is not read, as the other takes nothing.
const LOOK: Duration = Duration::from_secs(5);

/// A connection to an instance that has agreed to switch protocols.
pub(super) struct Tunnel {
    pub(super) instance: dial::Stream,
    /// What the client is to get first: the answer's head, and what followed it.
    pub(super) first: BytesMut,
    /// The instance, held.
    pub(super) pick: Pick,
    pub(super) inside: Inside,
    pub(super) gate: Arc<Gate>,
    /// What is told of it at its end.
    pub(super) trail: Trail,
    /// The longest silence.
    pub(super) silence: Option<Duration>,
    pub(super) is_websocket: bool,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel").finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Carries what comes until the tunnel ends; `client` is the connection that asked for it.
    pub(super) async fn run(self, client: Parted) {
        let Self {
            instance,
            first,
            pick,
            inside,
            gate,
            mut trail,
            silence,
            is_websocket,
        } = self;
        let early = client.unread.len() as u64;
        let stream = match unbuffered(client.stream) {
            Ok(stream) => stream,
            Err(error) => return debug!("a tunnel has no client: {error}"),
        };
        let mut course = Course {
            up: Pipe::new(client.unread, is_websocket),
            down: Pipe::new(first, is_websocket),
            client: stream,
            instance,
            silence,
            is_websocket,
            active: Instant::now(),
            alarm: Alarm::default(),
            look: None,
        };
        let ended = tokio::select! {
            biased;
            () = pick.endpoint().parted() => None,
            () = gate.last_call() => None,
            ended = poll_fn(|context| course.poll(context)) => Some(ended),
        };
        match ended {
            None => course.leave().await,
            Some(Ok(End::Over)) => {}
            Some(Ok(End::Silent)) => debug!("a tunnel to {} fell silent", pick.address()),
            Some(Err(error)) => debug!("a tunnel to {} broke: {error}", pick.address()),
        }
        trail.passed(Passed {
            received: early + course.up.passed(),
            sent: course.down.passed(),
        });
        drop((trail, pick, inside));
        course.close().await;
    }
}

/// How a tunnel ended by itself.
enum End {
    /// Both sides have ended.
    Over,
    /// Nothing came for too long.
    Silent,
}

/// A tunnel under way.
struct Course {
    client: Stream,
    instance: dial::Stream,
    /// From the client to the instance.
    up: Pipe,
    /// From the instance to the client.
    down: Pipe,
    silence: Option<Duration>,
    is_websocket: bool,
    /// When something came last.
    active: Instant,
    alarm: Alarm,
    /// Looks after a tunnel in which one side holds the other up.
    look: Option<Box<Interval>>,
}

impl Course {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<End>> {
        let before = self.progress();
        let over = self.poll_both(context)?;
        if over.is_ready() {
            return Poll::Ready(Ok(End::Over));
        }
        self.poll_look(context)?;
        let after = self.progress();
        if before != after {
            self.active = Instant::now();
        }
        let is_half_open = self.is_websocket && after.1;
        let silence = match self.silence {
            Some(silence) if is_half_open => Some(silence.min(HALF_OPEN)),
            None if is_half_open => Some(HALF_OPEN),
            silence => silence,
        };
        match silence {
            Some(silence) => {
                let rings = self.alarm.poll(self.active + silence, context);
                rings.map(|()| Ok(End::Silent))
            }
            None => Poll::Pending,
        }
    }

    /// How many bytes came, and whether either side has ended.
    fn progress(&self) -> (u64, bool) {
        (
            self.up.passed().wrapping_add(self.down.passed()),
            self.up.has_ended() || self.down.has_ended(),
        )
    }

    /// Looks now and then whether both sides are still there, as long as one holds the other up.
    ///
    /// # Errors
    /// When one is not.
    fn poll_look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.up.is_held_up() && !self.down.is_held_up() {
            self.look = None;
            return Ok(());
        }
        let look = self.look.get_or_insert_with(|| {
            let first = Instant::now() + LOOK;
            Box::new(interval_at(first.into(), LOOK))
        });
        while look.poll_tick(context).is_ready() {
            if is_broken(&self.client) || has_error(&self.instance) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        Ok(())
    }

    /// Ready when both directions are over.
    fn poll_both(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self
            .up
            .poll(&mut self.client, &mut self.instance, context)?;
        let down = self
            .down
            .poll(&mut self.instance, &mut self.client, context)?;
        if up.is_ready() && down.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Ends the tunnel before its time: where a message would begin, both sides are told so if their
    /// protocol has a word for it, and get a moment to answer.
    async fn leave(&mut self) {
        if self.is_websocket {
            // A client masks what it says, and to the instance that is callboard.
            self.up.stop(&close_frame(Some(fastrand::u32(..))));
            self.down.stop(&close_frame(None));
        } else {
            self.up.stop(&[]);
            self.down.stop(&[]);
        }
        let both = poll_fn(|context| self.poll_both(context));
        match timeout(FAREWELL, both).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!("a tunnel broke as it was ended: {error}"),
            Err(_) => debug!("a tunnel was ended without an answer"),
        }
    }

    async fn close(mut self) {
        let instance = timeout(FAREWELL, self.instance.shutdown()).await;
        if !matches!(instance, Ok(Ok(()))) {
            debug!("an instance's end of a tunnel is gone already");
        }
        drop(self.instance);
        let parted = Parted {
            stream: self.client,
            has_ended: self.up.has_ended(),
            unread: BytesMut::new(),
            tunnel: None,
        };
        close(parted).await;
    }
}
