//! `GET /journal[?service=&id=&since=&until=&before=&limit=]`: what changed, when, by whom and why,
//! newest first.
//!
//! A page that is full names the next one in a `Link` header
//! ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)). Pages are cut by index, which never repeats,
//! so that nothing is shown twice or left out however much is added meanwhile. With `index` and
//! `wait` it is a long poll as the lists are (`poll`): whoever follows the journal asks again with
//! the `Callboard-Index` of the last reply.

mod entry;

use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use crate::api::Api;
use crate::api::openapi::replies::JournalProblems;
use crate::api::openapi::{params, schemas};
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::names::{InstanceId, ServiceName};
use crate::registry::event::Event;
use crate::registry::journal;
use crate::registry::snapshot::Revision;
use crate::units::moment::format_moment;

use super::history;
use super::past::whole_millisecond;
use super::poll::Poll;
use super::version::CALLBOARD_INDEX;
use entry::Entry;

/// How many entries a page has unless it is said.
const DEFAULT_LIMIT: u64 = 100;
/// How many it can have.
const MAX_LIMIT: u64 = 1_000;

/// What has changed
///
/// The changes of the membership, newest first: when, by whom and why. A page that is full names the
/// next one in its `Link` header.
#[utoipa::path(
    get,
    path = "/journal",
    operation_id = "readJournal",
    tag = "services",
    params(Wanted, Poll),
    responses(
        (status = 200, description = "One page", body = Vec<Entry<'_>>,
            headers(
                ("Callboard-Index" = Revision, description = "Up to which index it tells."),
                ("Link" = String, description = "The next page, if this one is full."),
            )),
        JournalProblems,
    )
)]
pub(super) async fn journal(State(api): State<Api>, mut query: Query) -> Result<Response, Problem> {
    let poll = Poll::take(&mut query);
    let wanted = take(&mut query, SystemTime::now());
    query.finish()?;
    let service = wanted.service.clone();
    poll.wait(&api, service.as_ref()).await;
    // Taken before the entries are: those that come in between are told again rather than never.
    let snapshot = api.registry.snapshot();
    let index = service.map_or(snapshot.revision, |service| {
        snapshot.revision_of(service.as_str())
    });
    history::read(&api, move |journal| {
        let events = journal.events(&wanted)?;
        let entries: Vec<_> = events.iter().map(Entry::of).collect();
        let mut response = Json(entries).into_response();
        let headers = response.headers_mut();
        headers.insert(CALLBOARD_INDEX.clone(), index.0.into());
        if let Some(link) = next_page(&wanted, &events) {
            headers.insert(header::LINK, link);
        }
        Ok(response)
    })
    .await
}

/// Describes the parameters that say which events to tell of.
struct Wanted;

impl IntoParams for Wanted {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            params::query("service", ServiceName::schema(), "Of this service only."),
            params::query(
                "id",
                InstanceId::schema(),
                "Of instances with this id only.",
            ),
            params::query("since", schemas::moment(), "Not before this moment."),
            params::query("until", schemas::moment(), "Not after this moment."),
            params::query(
                "before",
                Revision::schema(),
                "Of earlier indexes only: that of the last entry of the page before.",
            ),
            params::query(
                "limit",
                schemas::whole(1, MAX_LIMIT),
                "At most so many entries: 100 unless given.",
            ),
        ]
    }
}

/// Takes out of a query which events it asks for.
fn take(query: &mut Query, now: SystemTime) -> journal::Query {
    let service = query.parsed("service");
    let id = query.parsed("id");
    let since = query.moment("since", now);
    let until = query.moment("until", now).map(whole_millisecond);
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        let detail = "is later than until (expected the earlier of the two)";
        query.fault("since", detail.to_owned());
    }
    let before = query.number("before").map(Revision);
    let limit = query.number("limit").unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("is {limit} (expected 1 to {MAX_LIMIT})");
        query.fault("limit", detail);
    }
    journal::Query {
        service,
        id,
        since,
        until,
        before,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    }
}

/// The link to the page after this one, if this one is full. No value in it needs escaping: names
/// and moments have no characters that mean something in a query.
fn next_page(wanted: &journal::Query, events: &[Event]) -> Option<HeaderValue> {
    let oldest = events.last().filter(|_| events.len() == wanted.limit)?;
    let mut link = format!(
        "</api/v1/journal?before={}&limit={}",
        oldest.revision, wanted.limit
    );
    let also = [
        ("service", wanted.service.as_ref().map(ToString::to_string)),
        ("id", wanted.id.as_ref().map(ToString::to_string)),
        ("since", wanted.since.map(format_moment)),
        ("until", wanted.until.map(format_moment)),
    ];
    for (name, value) in also {
        if let Some(value) = value {
            link += &format!("&{name}={value}");
        }
    }
    HeaderValue::from_str(&(link + ">; rel=\"next\"")).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::api::query::tests::query;

    use super::entry::tests::event;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn taken(text: &str) -> Result<journal::Query, Problem> {
        let mut query = query(text).await;
        let wanted = take(&mut query, at(10_000));
        query.finish().map(|()| wanted)
    }

    #[tokio::test]
    async fn a_query_asks_for_the_newest_hundred_unless_it_says_otherwise() {
        let wanted = taken("").await.unwrap();
        let expected = journal::Query {
            limit: 100,
            ..journal::Query::default()
        };
        assert_eq!(wanted, expected);

        let text = "service=Web&id=web-1&since=15m&until=1970-01-01T02:00:00Z&before=7&limit=5";
        let expected = journal::Query {
            service: Some("web".parse().unwrap()),
            id: Some("web-1".parse().unwrap()),
            since: Some(at(9_100)),
            until: Some(at(7_200) + Duration::from_nanos(999_999)),
            before: Some(Revision(7)),
            limit: 5,
        };
        let earlier = text.replace("since=15m", "since=2h");
        let wanted = taken(&earlier).await.unwrap();
        assert_eq!(
            wanted,
            journal::Query {
                since: Some(at(2_800)),
                ..expected
            }
        );
    }

    #[tokio::test]
    async fn everything_wrong_with_a_query_is_named() {
        let text = "service=a/b&id=&since=soon&until=never&before=x&limit=0&at=1m";
        let problem = taken(text).await.unwrap_err();
        let fields: Vec<_> = problem.errors().iter().map(|error| &*error.field).collect();
        let expected = ["service", "id", "since", "until", "before", "limit", "at"];
        assert_eq!(fields, expected);
        for (text, field) in [("limit=1001", "limit"), ("since=1m&until=2m", "since")] {
            assert_eq!(taken(text).await.unwrap_err().errors()[0].field, field);
        }
    }

    #[tokio::test]
    async fn a_full_page_links_to_the_next_with_the_same_bounds() {
        let events = [event(9), event(8)];
        let wanted = taken("service=web&since=1000s&limit=2").await.unwrap();
        let link = next_page(&wanted, &events).unwrap();
        let expected = "</api/v1/journal?before=8&limit=2&service=web\
                        &since=1970-01-01T02:30:00.000Z>; rel=\"next\"";
        assert_eq!(link, expected);
        assert_eq!(next_page(&wanted, &events[..1]), None);
    }
}
