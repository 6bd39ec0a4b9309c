//! `GET /live[?service=NAME][&every=1s]`: the figures of all services as server-sent events.
//!
//! The first event tells of everything, later ones of the services whose figures changed. A reader is
//! one number, that of the last tick it was told of, and the text it is being sent, which it shares
//! with all who know the same: whoever reads slowly is told less often, and nobody waits for it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::Api;
use crate::api::live::PERIOD;
use crate::api::live::tick::Tick;
use crate::api::openapi::replies::LiveProblems;
use crate::api::problem::{Kind, Problem};
use crate::api::query::Query;
use crate::names::ServiceName;

use super::sse;

/// The longest time between two events.
const SELDOM: Duration = Duration::from_secs(60);

/// Follows the figures of services
///
/// Server-sent events, `figures`: the first with every service and the last two minutes, later ones
/// with the services whose figures changed. Rates are per second, over the last second; durations are
/// in seconds. The stream has no end.
#[utoipa::path(
    get,
    path = "/live",
    operation_id = "live",
    tag = "services",
    params(
        ("service" = Option<ServiceName>, Query, description = "Only this service."),
        ("every" = Option<String>, Query, pattern = "^([1-9]s|[1-5][0-9]s|60s|1m)$",
            description = "The time between two events, 1s to 1m; 1s unless given."),
    ),
    responses(
        (status = 200, description = "The events", body = EventSchema,
            content_type = "text/event-stream"),
        LiveProblems,
    )
)]
pub(super) async fn live(State(api): State<Api>, mut query: Query) -> Result<Response, Problem> {
    let only = query.parsed::<ServiceName>("service");
    let every = query.duration("every");
    if every.is_some_and(|every| !(PERIOD..=SELDOM).contains(&every)) {
        query.fault("every", "is out of range (expected 1s to 1m)".to_owned());
    }
    query.finish()?;
    let seat = api.live.seat().ok_or_else(|| {
        let detail = "as many follow the figures as may (expected to come back later)";
        Problem::new(Kind::LimitReached, detail)
    })?;
    let feed = Feed {
        ticks: api.live.follow(),
        every: every.map_or(1, |every| every.as_secs_f64().ceil() as u64),
        told: None,
        api,
        only,
        _seat: seat,
    };
    Ok(sse::reply(feed, Feed::next))
}

/// One reader.
struct Feed {
    api: Api,
    ticks: watch::Receiver<Arc<Tick>>,
    only: Option<ServiceName>,
    /// Ticks from one event to the next.
    every: u64,
    /// The number of the tick it was told of last.
    told: Option<u64>,
    _seat: OwnedSemaphorePermit,
}

impl Feed {
    /// The next event, as soon as there is one; `None` when the process is leaving.
    async fn next(mut self) -> Option<(Result<Bytes, serde_json::Error>, Self)> {
        let closing = self.api.clone();
        let tick = tokio::select! {
            biased;
            () = closing.closed() => return None,
            tick = timeout(sse::SILENCE, self.due()) => tick,
        };
        let Ok(tick) = tick else {
            return Some((Ok(sse::HEARTBEAT), self));
        };
        let text = match &self.only {
            None => tick.tell(self.told),
            Some(service) => {
                let history = match self.told {
                    None => self.api.live.history(service),
                    Some(_) => Vec::new(),
                };
                tick.tell_of(service, self.told, &history)
            }
        };
        self.told = Some(tick.number);
        Some((text, self))
    }

    /// The newest tick, once it is time for it.
    async fn due(&mut self) -> Arc<Tick> {
        // Before the first tick nothing is known yet.
        let due = self.told.map_or(1, |told| told + self.every);
        let newest =
            (self.ticks.wait_for(|tick| tick.number >= due).await).map(|it| Arc::clone(&it));
        match newest {
            Ok(tick) => tick,
            // The sender is in `api`, so there is always another tick to wait for.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Describes an event as its parsed fields: OpenAPI 3.1 knows no streams.
struct EventSchema;

impl PartialSchema for EventSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .property(
                "event",
                sse::field("What is told.").enum_values(Some(["figures"])),
            )
            .property(
                "data",
                sse::field(
                    "JSON: `at`, `index`, `complete` (true in the first, which tells of every service), \
                     `total`, `history` (in the first), `services` and `removed`.",
                ),
            )
            .into()
    }
}

impl ToSchema for EventSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("FiguresEvent")
    }
}
