//! The connection to a followed registry: made, read, and made again.
//!
//! It stays with the registry it has for as long as that answers, and comes back to it first, because
//! there the stream can be resumed where it broke off. Each registry counts its changes by itself, so
//! the index of one is shown to no other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::registry::Registry;
use crate::sse::{Decoder, Event, TooLarge};

use super::backoff::Backoff;
use super::settings::{Origin, Token};
use super::status::Status;
use super::wire::{self, Read, Told};

/// How long a connection may take to come about.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the head of the answer may take, connecting included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing at all may arrive. A registry sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// How long it may take until the first event is there, which may be a snapshot of 100 MB. One that
/// sends now and then, and never that, is not to be waited for while there are others.
const BEGINNING: Duration = Duration::from_secs(120);
/// How much of a text from elsewhere goes into the log.
const MAX_QUOTED: usize = 200;

/// Something a registry told.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which one.
    pub(super) from: Origin,
    /// How far whoever knows this is; `None` if the registry did not say.
    pub(super) index: Option<u64>,
    /// What.
    pub(super) told: Told,
}

/// Hears what registries tell, one after the other.
pub(super) struct Stream {
    pub(super) client: Client,
    pub(super) origins: Vec<Origin>,
    pub(super) token: Option<Token>,
    /// Whose rules say how leases are granted.
    pub(super) registry: Registry,
    pub(super) status: Status,
    pub(super) heard: mpsc::Sender<Heard>,
}

/// One connection.
#[derive(Debug, Default)]
struct Session {
    /// The stream goes on behind this index of the same registry.
    resumes: Option<u64>,
    /// Since when changes arrive.
    settled: Option<Instant>,
    /// The last index read.
    index: Option<u64>,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("did not answer within {}s", HEAD_TIMEOUT.as_secs())]
    NoAnswer,
    #[error("answered {0} (expected 200 OK{1})")]
    Status(StatusCode, &'static str),
    #[error(
        "answered with {0:?} (expected text/event-stream, as a callboard's control plane does)"
    )]
    ContentType(String),
    #[error("sent nothing for {}s", SILENCE.as_secs())]
    Silent,
    #[error("sent no whole event within {}s", BEGINNING.as_secs())]
    NoEvent,
    #[error("broke off: {0}")]
    Broken(String),
    #[error("closed the stream")]
    Closed,
    #[error("sent {0}")]
    TooLarge(#[from] TooLarge),
    #[error("sent an event {0:?} that cannot be read: {1}")]
    Unreadable(String, String),
    #[error("began with an event {0:?} (expected a snapshot)")]
    NoSnapshot(String),
    #[error("was no longer listened to")]
    Unheard,
}

impl Lost {
    /// Whether it came of what the registry says, and not of the way there.
    fn is_nonsense(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::Unreadable(..))
    }
}

impl Session {
    /// How long to wait for more, `connected` for so long, and what it is not to get any.
    fn patience(&self, connected: Duration) -> (Duration, Lost) {
        let left = BEGINNING.saturating_sub(connected);
        if self.settled.is_some() || left > SILENCE {
            (SILENCE, Lost::Silent)
        } else {
            (left, Lost::NoEvent)
        }
    }
}

impl Stream {
    /// Follows one registry or another until nobody listens any more.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::default();
        let mut at = 0;
        let mut known: Option<(Origin, u64)> = None;
        let mut told: HashMap<Origin, String> = HashMap::new();
        while let Some(origin) = self.origins.get(at) {
            self.status.trying(origin);
            let mut session = Session {
                resumes: known
                    .as_ref()
                    .filter(|(of, _)| of == origin)
                    .map(|(_, index)| *index),
                ..Session::default()
            };
            let Err(error) = self.follow(origin, &mut session).await;
            if matches!(error, Lost::Unheard) {
                return;
            }
            self.status.lost(&error);
            let now = Instant::now();
            if let Some(since) = session.settled {
                known = session.index.map(|index| (origin.clone(), index));
                if now.saturating_duration_since(since) >= Backoff::LASTING {
                    backoff = Backoff::default();
                    told.clear();
                }
            }
            if error.is_nonsense() {
                // Resumed, it would go on with the same.
                known = known.filter(|(of, _)| of != origin);
            }
            if session.settled.is_none() || error.is_nonsense() {
                at = (at + 1) % self.origins.len();
            }
            // Each reason once: an outage is not to fill the log.
            let error = error.to_string();
            if told.get(origin) == Some(&error) {
                debug!("registry {origin} {error}");
            } else {
                warn!("registry {origin} {error}; the last known membership stays");
                told.insert(origin.clone(), error);
            }
            tokio::time::sleep(backoff.wait(fastrand::f64())).await;
        }
    }

    async fn follow(&self, origin: &Origin, session: &mut Session) -> Result<Infallible, Lost> {
        let mut response = self.connect(origin, session.resumes).await?;
        let connected = Instant::now();
        let mut decoder = Decoder::default();
        loop {
            let (patience, impatient) = session.patience(connected.elapsed());
            let chunk = timeout(patience, response.chunk())
                .await
                .map_err(|_| impatient)?
                .map_err(|error| Lost::Broken(causes(error)))?
                .ok_or(Lost::Closed)?;
            if session.resumes.is_some() {
                self.settle(origin, session);
            }
            let mut rest = &chunk[..];
            while let Some(event) = decoder.next(&mut rest)? {
                self.hear(origin, session, event).await?;
            }
            // Until then nothing was heard that says how the membership is.
            if session.settled.is_some() {
                self.status.heard(Instant::now());
            }
        }
    }

    async fn connect(&self, origin: &Origin, resumes: Option<u64>) -> Result<Response, Lost> {
        let mut request = self
            .client
            .get(format!("{origin}/api/v1/watch"))
            .header(ACCEPT, "text/event-stream");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.header());
        }
        if let Some(index) = resumes {
            request = request.header("last-event-id", index);
        }
        let response = timeout(HEAD_TIMEOUT, request.send())
            .await
            .map_err(|_| Lost::NoAnswer)?
            .map_err(|error| Lost::Unreachable(causes(error)))?;
        let hint = match response.status() {
            StatusCode::OK => "",
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "; does registry.pull.token hold a token that may read there?"
            }
            _ => ", as a callboard's control plane does",
        };
        if response.status() != StatusCode::OK {
            return Err(Lost::Status(response.status(), hint));
        }
        let content_type = response.headers().get(CONTENT_TYPE);
        let content_type = content_type.map_or(&b""[..], |value| value.as_bytes());
        if !content_type.starts_with(b"text/event-stream") {
            let shown = String::from_utf8_lossy(content_type);
            return Err(Lost::ContentType(quotable(&shown)));
        }
        Ok(response)
    }

    async fn hear(&self, origin: &Origin, session: &mut Session, event: Event) -> Result<(), Lost> {
        if session.settled.is_none() && event.name != "snapshot" {
            return Err(Lost::NoSnapshot(quotable(&event.name)));
        }
        let index = event.id.parse().ok();
        let Read {
            told,
            skipped,
            others_skipped,
        } = self.read(event).await?;
        for reason in &skipped {
            warn!("registry {origin}: skipped {}", quotable(reason));
        }
        if others_skipped > 0 {
            warn!(
                "registry {origin}: skipped {} instances in all",
                skipped.len() + others_skipped
            );
        }
        self.settle(origin, session);
        session.index = index.or(session.index);
        let Some(told) = told else {
            return Ok(());
        };
        let heard = Heard {
            from: origin.clone(),
            index,
            told,
        };
        self.heard.send(heard).await.map_err(|_| Lost::Unheard)
    }

    /// A large snapshot takes a moment to read, in which others are to have their turn.
    async fn read(&self, event: Event) -> Result<Read, Lost> {
        let rules = self.registry.rules();
        let name = event.name.clone();
        let reading =
            tokio::task::spawn_blocking(move || wire::read(&event.name, event.data(), &rules));
        let read = match reading.await {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        read.map_err(|error| Lost::Unreadable(quotable(&name), quotable(&error)))
    }

    fn settle(&self, origin: &Origin, session: &mut Session) {
        if session.settled.is_none() {
            session.settled = Some(Instant::now());
            // Until it says otherwise, what was known is what is true there.
            session.index = session.resumes;
            self.status.connected();
            info!("following the registry {origin}");
        }
    }
}

/// An error with what caused it. Its URL is left out: the message around it names the registry.
fn causes(error: reqwest::Error) -> String {
    use std::error::Error;
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    quotable(&text)
}

/// A text from elsewhere, shortened when it is long.
fn quotable(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_sends_now_and_then_and_never_an_event_is_given_up() {
        let mut session = Session::default();
        assert!(matches!(
            session.patience(Duration::ZERO),
            (SILENCE, Lost::Silent)
        ));
        let (patience, impatient) = session.patience(BEGINNING - Duration::from_secs(1));
        assert_eq!(patience, Duration::from_secs(1));
        assert!(matches!(impatient, Lost::NoEvent));
        assert_eq!(session.patience(BEGINNING * 2).0, Duration::ZERO);
        session.settled = Some(Instant::now());
        assert!(matches!(
            session.patience(BEGINNING * 2),
            (SILENCE, Lost::Silent)
        ));
    }
}
