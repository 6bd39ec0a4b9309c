//! `GET /watch[?service=s]`: the membership as server-sent events.
//!
//! First a `snapshot` (a list of instances), then an `upsert` (an instance) or a `remove` (its
//! service and id) for every difference. A reader that comes back with the `Last-Event-ID` it has
//! seen is told the differences since, and gets a fresh `snapshot` only if callboard no longer knows
//! what it missed.
//!
//! The `id` of an event is the index up to which the reader then knows everything. Events that stand
//! for one step carry the index before it, except the last: a reader cut off in the middle is told
//! the whole step again.
//!
//! Nothing is prepared ahead of the connection: the next chunk is made when the one before has been
//! taken. A reader that stops reading therefore costs one chunk, the snapshot it was last told, and
//! at most a pointer for every instance that differs from it, and what it has not taken is replaced
//! by the difference to what is true when it reads on. A step takes in all that has changed; between
//! two steps there is a pause, so that rapid changes do not become as many steps for each of a
//! thousand readers.

use std::borrow::Cow;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::Api;
use crate::api::openapi::replies::ListProblems;
use crate::api::openapi::schemas;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::names::ServiceName;
use crate::registry::snapshot::Revision;
use crate::registry::watch::Follower;

use super::backlog::Backlog;
use super::changes::Seen;
use super::sse;
use super::texts::Texts;
use super::view::Views;

/// The least time between two steps of one reader. Nobody notices, and a thousand readers of a
/// membership that never rests take fifty thousand steps a second and no more.
const PAUSE: Duration = Duration::from_millis(20);

/// Follows the membership
///
/// Server-sent events: first a `snapshot` (a list of instances), then an `upsert` (an instance) or
/// a `remove` (its `service` and `id`) for every difference. The `id` of an event is the index up to
/// which the reader then knows everything. The stream has no end.
#[utoipa::path(
    get,
    path = "/watch",
    operation_id = "watch",
    tag = "services",
    params(
        ("service" = Option<ServiceName>, Query, description = "Only this service."),
        ("Last-Event-ID" = Option<String>, Header,
            description = "Where an earlier stream was cut off. What changed since is told in \
                place of a `snapshot`, if callboard still knows it."),
    ),
    responses(
        (status = 200, description = "The events", body = EventSchema,
            content_type = "text/event-stream"),
        ListProblems,
    )
)]
pub(super) async fn watch(
    State(api): State<Api>,
    mut query: Query,
    headers: HeaderMap,
    Extension(texts): Extension<Texts>,
) -> Result<Response, Problem> {
    let only = query.parsed::<ServiceName>("service");
    query.finish()?;
    let knows = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.trim().parse().ok())
        .map(Revision);
    let feed = Feed::new(api, texts, only, knows);
    Ok(sse::reply(feed, Feed::next))
}

/// One reader.
struct Feed {
    follower: Follower,
    api: Api,
    texts: Texts,
    only: Option<ServiceName>,
    backlog: Backlog,
    /// When the next step may be taken.
    rested: Instant,
}

/// Why a reader that has been told everything is woken.
enum Wake {
    Step,
    Heartbeat,
    Leaving,
}

impl Feed {
    /// A reader that says that it knows everything up to `knows`.
    fn new(api: Api, texts: Texts, only: Option<ServiceName>, knows: Option<Revision>) -> Self {
        let missed = knows.and_then(|knows| api.registry.since(only.as_ref(), knows));
        let backlog = match missed {
            Some(missed) => Backlog::of_missed(&missed, only.as_ref()),
            None => Backlog::everything(Seen::of(&api.registry.snapshot(), only.as_ref())),
        };
        Self {
            follower: api.registry.follow(only.as_ref()),
            api,
            texts,
            only,
            backlog,
            rested: Instant::now(),
        }
    }

    /// The next chunk, as soon as there is one; `None` when the process is leaving.
    async fn next(mut self) -> Option<(Result<Bytes, serde_json::Error>, Self)> {
        loop {
            if *self.api.closing.borrow() {
                return None;
            }
            let chunk = self.backlog.chunk(&self.texts, &Views::new(&self.api));
            if !chunk.as_ref().is_ok_and(Vec::is_empty) {
                return Some((chunk.map(Bytes::from), self));
            }
            match self.wake().await {
                Wake::Step => {}
                Wake::Heartbeat => return Some((Ok(sse::HEARTBEAT), self)),
                Wake::Leaving => return None,
            }
        }
    }

    /// Waits for something to say, and takes the next step if it is about the membership.
    async fn wake(&mut self) -> Wake {
        let changed = async {
            sleep_until(self.rested).await;
            self.follower.passed(self.backlog.index()).await
        };
        let passed = tokio::select! {
            passed = changed => passed,
            () = self.api.closed() => return Wake::Leaving,
            () = sleep(sse::SILENCE) => return Wake::Heartbeat,
        };
        let mut now = Seen::of(&self.api.registry.snapshot(), self.only.as_ref());
        now.index = now.index.max(passed);
        self.backlog.step(now);
        self.rested = Instant::now() + PAUSE;
        Wake::Step
    }
}

/// Describes an event as its parsed fields: OpenAPI 3.1 knows no streams.
struct EventSchema;

impl PartialSchema for EventSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property(
                "event",
                sse::field("What has happened.")
                    .enum_values(Some(["snapshot", "upsert", "remove"])),
            )
            .property("id", sse::field("An index.").pattern(Some("^[0-9]+$")))
            .property(
                "data",
                sse::field("JSON: a list of instances, an instance, or names."),
            )
            .property("retry", schemas::whole(0, u64::MAX))
            .into()
    }
}

impl ToSchema for EventSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Event")
    }
}

#[cfg(test)]
mod tests;
