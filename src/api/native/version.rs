//! Which version of a resource a reply shows (`ETag`, `Callboard-Index`), and calls that depend on
//! it (`If-None-Match`, `If-Match`).
//!
//! A list's tag holds its index. An instance's tag holds two: the index its registration last
//! changed at, which is the one `If-Match` compares, and the index anything about it, its
//! availability included, was last seen to change at, so that `If-None-Match` notices either. Every
//! tag also holds a number drawn when the process started, because a registry that forgets
//! everything on a restart may give an old index to a new membership.

use std::sync::LazyLock;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::problem::{Kind, Problem};
use crate::registry::snapshot::{Member, Revision};

/// The header that carries the index of what a reply shows.
pub(super) static CALLBOARD_INDEX: HeaderName = HeaderName::from_static("callboard-index");

static PROCESS: LazyLock<u32> = LazyLock::new(|| fastrand::u32(..));

/// One version of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    tag: String,
    index: Revision,
}

impl Version {
    /// The version of a list.
    pub(super) fn of_list(index: Revision) -> Self {
        let tag = format!("\"{:08x}-{index}\"", *PROCESS);
        Self { tag, index }
    }

    /// The version of one instance.
    pub(super) fn of_member(member: &Member) -> Self {
        let tag = format!("\"{}{}\"", registration_tag(member), member.observed);
        Self {
            tag,
            index: member.observed,
        }
    }

    /// 200 with `body`, or 304 if the caller has this version already.
    pub(super) fn reply(&self, request: &HeaderMap, body: impl Serialize) -> Response {
        self.reply_with(request, || Json(body))
    }

    /// 200 with the `body` made, or 304 if the caller has this version already.
    pub(super) fn reply_with<B: IntoResponse>(
        &self,
        request: &HeaderMap,
        body: impl FnOnce() -> B,
    ) -> Response {
        let seen = tags(request, header::IF_NONE_MATCH)
            .any(|tag| tag == "*" || tag == self.tag.trim_matches('"'));
        let mut response = if seen {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            body().into_response()
        };
        self.stamp(&mut response);
        response
    }

    /// Puts the version into a reply's headers.
    pub(super) fn stamp(&self, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(CALLBOARD_INDEX.clone(), self.index.0.into());
        if let Ok(tag) = HeaderValue::from_str(&self.tag) {
            headers.insert(header::ETAG, tag);
        }
    }
}

/// What every tag of this version of the registration begins with.
fn registration_tag(member: &Member) -> String {
    format!("{:08x}-{}.", *PROCESS, member.modified)
}

/// The revision of the registration that the caller's `If-Match` stands for, `None` without one.
///
/// A tag stands for the registration it was given with. A bare number is an index the caller has
/// seen, from any reply: it stands for the registration as long as that has not changed since.
///
/// # Errors
/// 412 if what the caller has seen is not the `member` of the membership at `now`.
pub(super) fn if_match(
    request: &HeaderMap,
    member: &Member,
    now: Revision,
) -> Result<Option<Revision>, Problem> {
    if !request.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let registration = registration_tag(member);
    let fresh = |tag: &str| match tag.parse().map(Revision) {
        Ok(index) => (member.modified..=now).contains(&index),
        Err(_) => tag == "*" || tag.starts_with(&registration),
    };
    if tags(request, header::IF_MATCH).any(fresh) {
        return Ok(Some(member.modified));
    }
    let given: Vec<_> = tags(request, header::IF_MATCH).collect();
    let detail = format!(
        "the instance is at index {}, not at {} (expected its ETag or its index)",
        member.modified,
        given.join(", "),
    );
    Err(Problem::new(Kind::Stale, detail))
}

/// The tags in a header, without quotes. A weak tag counts as its strong one: proxies that compress
/// weaken tags, and what ours stand for survives that.
pub(super) fn tags(request: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    request
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::api::native::view::tests::member;

    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn sample() -> Member {
        let mut member = member("web", "web-1", 45);
        let member_mut = Arc::make_mut(&mut member);
        member_mut.modified = Revision(42);
        member_mut.clone()
    }

    #[test]
    fn a_caller_that_has_the_version_gets_a_304_that_still_names_it() {
        let version = Version::of_member(&sample());
        for value in [
            version.tag.clone(),
            format!("\"x\", W/{}", version.tag),
            "*".into(),
        ] {
            let reply = version.reply(&headers(header::IF_NONE_MATCH, &value), ());
            assert_eq!(reply.status(), 304, "{value}");
            assert_eq!(reply.headers()[&CALLBOARD_INDEX], "45");
            assert_eq!(reply.headers()[header::ETAG], version.tag.as_str());
        }
        let other = headers(header::IF_NONE_MATCH, &Version::of_list(Revision(45)).tag);
        assert_eq!(version.reply(&other, ()).status(), 200);
    }

    #[test]
    fn if_match_passes_as_long_as_the_registration_is_the_one_seen() {
        let (member, now) = (sample(), Revision(50));
        let mut earlier = member.clone();
        earlier.observed = Revision(43);
        let earlier = Version::of_member(&earlier).tag;
        for fresh in [
            earlier.as_str(),
            "42",
            "\"42\"",
            "45",
            "50",
            "*",
            "\"1\", 42",
        ] {
            let request = headers(header::IF_MATCH, fresh);
            let found = if_match(&request, &member, now);
            assert_eq!(found, Ok(Some(Revision(42))), "{fresh}");
        }
        let mut before = member.clone();
        before.modified = Revision(4);
        let before = Version::of_member(&before).tag;
        for stale in [
            before.as_str(),
            "41",
            "51",
            "\"\"",
            "\"00000000-42.45\"",
            "soon",
        ] {
            let request = headers(header::IF_MATCH, stale);
            let problem = if_match(&request, &member, now).unwrap_err();
            assert_eq!(problem.status(), 412, "{stale}");
        }
        assert_eq!(if_match(&HeaderMap::new(), &member, now), Ok(None));
    }
}
