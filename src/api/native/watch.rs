//! `GET /watch[?service=s]`: the membership as server-sent events
//! ([HTML, 9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! First a `snapshot` (a list of instances), then an `upsert` (an instance) or a `remove` (its
//! service and id) for every difference. Nothing is prepared ahead of the connection: the next event
//! is made when the one before has been taken, so a reader that stops reading costs what it was last
//! told and no more.
//!
//! The `id` of an event is the index up to which the reader then knows everything. Events that stand
//! for one step carry the index before it, except the last: a reader cut off in the middle comes back
//! with an index that is not the current one and gets a fresh `snapshot`; one that comes back with
//! the current index has missed nothing.

use std::collections::VecDeque;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde::Serialize;

use crate::api::Api;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::Revision;
use crate::registry::watch::Follower;

use super::changes::{Change, Seen};
use super::view::Views;

/// Shorter than the idle time of common proxies.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a reader that was cut off is asked to wait before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Answers with the stream.
pub(super) async fn watch(
    State(api): State<Api>,
    mut query: Query,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let only = query.text("service").and_then(|service| {
        let service = service.parse::<ServiceName>();
        query.noted("service", service.map_err(|error| error.to_string()))
    });
    query.finish()?;
    let resumes_at = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.trim().parse().ok())
        .map(Revision);
    let feed = Feed::new(api, only, resumes_at);
    let events = stream::unfold(feed, Feed::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One reader and how far it is.
struct Feed {
    follower: Follower,
    api: Api,
    only: Option<ServiceName>,
    /// What the reader knows once `pending` is sent.
    seen: Seen,
    pending: VecDeque<Change>,
    /// The index of the last step that was sent whole.
    told: Revision,
    opening: Option<Opening>,
}

/// How a stream begins.
#[derive(Clone, Copy)]
enum Opening {
    Snapshot,
    Resumed,
}

#[derive(Serialize)]
struct Removed<'a> {
    service: &'a ServiceName,
    id: &'a InstanceId,
}

impl Feed {
    fn new(api: Api, only: Option<ServiceName>, resumes_at: Option<Revision>) -> Self {
        let seen = Seen::of(&api.registry.snapshot(), only.as_ref());
        let opening = if resumes_at == Some(seen.index) {
            Opening::Resumed
        } else {
            Opening::Snapshot
        };
        Self {
            follower: api.registry.follow(only.as_ref()),
            told: seen.index,
            pending: VecDeque::new(),
            opening: Some(opening),
            seen,
            only,
            api,
        }
    }

    /// The next event, as soon as there is one; `None` when the process is leaving.
    async fn next(mut self) -> Option<(Result<Event, axum::Error>, Self)> {
        if let Some(opening) = self.opening.take() {
            let event = self.open(opening);
            return Some((event, self));
        }
        while self.pending.is_empty() {
            self.advance().await?;
        }
        if *self.api.closing.borrow() {
            return None;
        }
        let change = self.pending.pop_front()?;
        if self.pending.is_empty() {
            self.told = self.seen.index;
        }
        let event = self.event(&change);
        Some((event, self))
    }

    /// Waits for the next step; `None` when the process is leaving.
    async fn advance(&mut self) -> Option<()> {
        let passed = tokio::select! {
            passed = self.follower.passed(self.seen.index) => passed,
            () = self.api.closed() => return None,
        };
        let mut now = Seen::of(&self.api.registry.snapshot(), self.only.as_ref());
        now.index = now.index.max(passed);
        self.pending = self.seen.until(&now);
        self.seen = now;
        Some(())
    }

    fn open(&self, opening: Opening) -> Result<Event, axum::Error> {
        let event = Event::default().retry(RETRY);
        match opening {
            Opening::Resumed => Ok(event.comment("nothing has changed")),
            Opening::Snapshot => {
                let views = Views::new(&self.api);
                let instances: Vec<_> = self.seen.members().map(|m| views.instance(m)).collect();
                self.numbered(event.event("snapshot").json_data(instances))
            }
        }
    }

    fn event(&self, change: &Change) -> Result<Event, axum::Error> {
        let event = Event::default();
        self.numbered(match change {
            Change::Upsert(member) => event
                .event("upsert")
                .json_data(Views::new(&self.api).instance(member)),
            Change::Remove(service, id) => event.event("remove").json_data(Removed { service, id }),
        })
    }

    fn numbered(&self, event: Result<Event, axum::Error>) -> Result<Event, axum::Error> {
        Ok(event?.id(self.told.to_string()))
    }
}
