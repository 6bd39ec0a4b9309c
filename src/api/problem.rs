//! `application/problem+json` answers (RFC 9457).
//!
//! The registry knows no status codes; this is where its refusals, and everything that can be wrong
//! with a request before it gets that far, turn into HTTP. Programs go by `type` and `status`,
//! people read `detail`, and forms point at `errors`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::registry::command::Refusal;
use crate::registry::journal::JournalError;

/// One answer that says what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    #[schema(inline)]
    kind: Kind,
    /// What kind of problem it is, for people.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What failed, on what, and what was expected.
    detail: String,
    /// What is wrong field by field, if that is the problem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<u64>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where the field is: `port`, `check.http.path`, `tags[3]`; for a parameter of the query, its
    /// name.
    pub field: String,
    /// What is wrong with it, and what was expected.
    pub detail: String,
}

/// The kinds of problem. Each has a stable URN, a title and a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The body is not JSON.
    MalformedJson,
    /// The body broke off.
    BrokenBody,
    /// The body took too long to arrive.
    SlowBody,
    /// A web page of another origin made a browser send the request.
    CrossOrigin,
    /// There is nothing at this path.
    NoSuchRoute,
    /// Nobody has registered for the service.
    UnknownService,
    /// The service has no such instance.
    UnknownInstance,
    /// The path is right and the method is not.
    MethodNotAllowed,
    /// The call comes from an earlier life of the instance.
    Fenced,
    /// The instance came back while the caller waited for it to drain.
    DrainEnded,
    /// This callboard mirrors another registry, which is the one to change.
    ReadOnly,
    /// The instance has changed since the caller saw it.
    Stale,
    /// The journal does not reach back to the moment asked for.
    Forgotten,
    /// The body is longer than allowed.
    TooLarge,
    /// Fields of the request have the wrong type or break a limit.
    InvalidFields,
    /// The call shows no token.
    Unauthenticated,
    /// The token it shows is malformed or not known.
    InvalidToken,
    /// The token's scopes do not reach that far.
    InsufficientScope,
    /// The instance was registered with another token.
    NotOwner,
    /// The caller calls too often.
    RateLimited,
    /// There are as many instances or services as there may be.
    LimitReached,
    /// The change cannot be made now; later it may.
    Unavailable,
    /// There is no room to store the change.
    StorageFull,
}

impl Kind {
    /// The HTTP status it is answered with.
    pub fn status(self) -> u16 {
        self.parts().0.as_u16()
    }

    /// Its stable name.
    pub fn urn(self) -> &'static str {
        self.parts().1
    }

    /// What it says of every such problem.
    pub fn title(self) -> &'static str {
        self.parts().2
    }

    /// Whether the same call may well succeed a moment later, so that the answer says when.
    pub fn passes(self) -> bool {
        self == Self::RateLimited || self.retry_after().is_some()
    }

    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::MalformedJson => (
                S::BAD_REQUEST,
                "urn:callboard:problem:malformed-json",
                "The body is not JSON",
            ),
            Self::BrokenBody => (
                S::BAD_REQUEST,
                "urn:callboard:problem:broken-body",
                "The body broke off",
            ),
            Self::SlowBody => (
                S::REQUEST_TIMEOUT,
                "urn:callboard:problem:slow-body",
                "The body took too long",
            ),
            Self::CrossOrigin => (
                S::FORBIDDEN,
                "urn:callboard:problem:cross-origin",
                "Another site's page may not change the registry",
            ),
            Self::NoSuchRoute => (
                S::NOT_FOUND,
                "urn:callboard:problem:no-such-route",
                "There is nothing here",
            ),
            Self::UnknownService => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-service",
                "The service is not registered",
            ),
            Self::UnknownInstance => (
                S::NOT_FOUND,
                "urn:callboard:problem:unknown-instance",
                "The instance is not registered",
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "urn:callboard:problem:method-not-allowed",
                "The method is not allowed here",
            ),
            Self::Fenced => (
                S::CONFLICT,
                "urn:callboard:problem:fenced",
                "A later generation of the instance is registered",
            ),
            Self::DrainEnded => (
                S::CONFLICT,
                "urn:callboard:problem:drain-ended",
                "The instance came back while it drained",
            ),
            Self::ReadOnly => (
                S::CONFLICT,
                "urn:callboard:problem:read-only",
                "This callboard only mirrors another registry",
            ),
            Self::Stale => (
                S::PRECONDITION_FAILED,
                "urn:callboard:problem:stale",
                "The instance has changed",
            ),
            Self::Forgotten => (
                S::GONE,
                "urn:callboard:problem:forgotten",
                "The journal does not reach back that far",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "urn:callboard:problem:too-large",
                "The body is too large",
            ),
            Self::InvalidFields => (
                S::UNPROCESSABLE_ENTITY,
                "urn:callboard:problem:invalid-fields",
                "The request breaks the rules",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "urn:callboard:problem:unavailable",
                "The registry cannot do this now",
            ),
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "urn:callboard:problem:unauthenticated",
                "The call needs a token",
            ),
            Self::InvalidToken => (
                S::UNAUTHORIZED,
                "urn:callboard:problem:invalid-token",
                "The token is not valid",
            ),
            Self::InsufficientScope => (
                S::FORBIDDEN,
                "urn:callboard:problem:insufficient-scope",
                "The token is not good for this",
            ),
            Self::RateLimited => (
                S::TOO_MANY_REQUESTS,
                "urn:callboard:problem:rate-limited",
                "Too many requests",
            ),
            Self::LimitReached => (
                S::TOO_MANY_REQUESTS,
                "urn:callboard:problem:limit-reached",
                "There is no place for one more",
            ),
            Self::NotOwner => (
                S::FORBIDDEN,
                "urn:callboard:problem:not-owner",
                "The instance belongs to another token",
            ),
            Self::StorageFull => (
                S::INSUFFICIENT_STORAGE,
                "urn:callboard:problem:storage-full",
                "The registry has no room left",
            ),
        }
    }
}

impl Kind {
    /// What is asked of a caller that may not do this (RFC 6750, 3).
    fn challenge(self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some(r#"Bearer realm="callboard""#),
            Self::InvalidToken => Some(r#"Bearer realm="callboard", error="invalid_token""#),
            Self::InsufficientScope => {
                Some(r#"Bearer realm="callboard", error="insufficient_scope""#)
            }
            _ => None,
        }
    }

    /// When to try again, in seconds, if nothing more precise is known.
    fn retry_after(self) -> Option<u64> {
        match self {
            Self::Unavailable | Self::StorageFull => Some(1),
            Self::LimitReached => Some(10),
            _ => None,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.urn())
    }
}

impl Problem {
    /// A problem of one kind; `detail` says what failed, on what, and what was expected.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title(),
            status: kind.status(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: kind.retry_after(),
        }
    }

    /// The same, with when to try again, in seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    /// The problem of an instance that is not there.
    pub fn unknown_instance(service: &str, id: &str) -> Self {
        Refusal::NotFound {
            service: service.to_owned(),
            id: id.to_owned(),
        }
        .into()
    }

    /// The HTTP status the problem is answered with.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The fields it names, in the order they were found to be wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.kind.challenge() {
            let challenge = HeaderValue::from_static(challenge);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match &refusal {
            Refusal::NotFound { .. } => Kind::UnknownInstance,
            Refusal::Fenced { .. } => Kind::Fenced,
            Refusal::Stale { .. } => Kind::Stale,
            Refusal::NotDraining { .. } => Kind::DrainEnded,
            Refusal::NotOwner { .. } => Kind::NotOwner,
            Refusal::Limit { .. } => Kind::LimitReached,
            Refusal::Unavailable(_) => Kind::Unavailable,
            Refusal::Full(_) => Kind::StorageFull,
            Refusal::Invalid { field, problem } => {
                return Faults::one(*field, problem.clone()).into();
            }
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        let kind = match &error {
            JournalError::Forgotten(_) => Kind::Forgotten,
            JournalError::Failed(_) => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// Collects what is wrong with a request's fields, so that one answer can name them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<FieldError>);

impl Faults {
    /// Just one.
    pub fn one(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut faults = Self::default();
        faults.add(field, detail);
        faults
    }

    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError {
            field: field.into(),
            detail: detail.into(),
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `field`, or something inside it, is already known to be wrong: that it is missing as
    /// well is then no news.
    pub fn cover(&self, field: &str) -> bool {
        self.0.iter().any(|error| {
            error
                .field
                .strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }

    /// `value` if nothing is wrong.
    ///
    /// # Errors
    /// The [`Problem`] that names every fault.
    pub fn none_or<T>(self, value: T) -> Result<T, Problem> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self.into())
        }
    }
}

impl From<Faults> for Problem {
    fn from(faults: Faults) -> Self {
        let detail = faults
            .0
            .iter()
            .map(|error| match error.field.as_str() {
                "" => error.detail.clone(),
                field => format!("{field}: {}", error.detail),
            })
            .collect::<Vec<_>>()
            .join("; ");
        Self {
            errors: faults.0,
            ..Self::new(Kind::InvalidFields, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_type_title_status_detail_and_fields() {
        let mut faults = Faults::one("port", "is missing");
        faults.add("weight", "is too much");
        let json = serde_json::to_value(Problem::from(faults)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:callboard:problem:invalid-fields",
                "title": "The request breaks the rules",
                "status": 422,
                "detail": "port: is missing; weight: is too much",
                "errors": [
                    {"field": "port", "detail": "is missing"},
                    {"field": "weight", "detail": "is too much"},
                ],
            })
        );
    }

    #[test]
    fn every_refusal_has_its_status() {
        let refusals = [
            (
                Refusal::NotFound {
                    service: "web".into(),
                    id: "1".into(),
                },
                404,
            ),
            (
                Refusal::Fenced {
                    given: 1,
                    current: 2,
                },
                409,
            ),
            (
                Refusal::Stale {
                    given: Default::default(),
                    current: Default::default(),
                },
                412,
            ),
            (
                Refusal::Invalid {
                    field: "tags",
                    problem: "65 tags (expected at most 64)".into(),
                },
                422,
            ),
            (
                Refusal::NotDraining {
                    service: "web".into(),
                    id: "1".into(),
                },
                409,
            ),
            (
                Refusal::Limit {
                    name: "services",
                    value: 1,
                },
                429,
            ),
            (Refusal::Unavailable("disk full".into()), 503),
        ];
        for (refusal, status) in refusals {
            let response = Problem::from(refusal).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
        }
    }

    #[test]
    fn a_fault_covers_the_field_and_what_is_inside_it() {
        let faults = Faults::one("check.http.path", "is empty");
        assert!(faults.cover("check"));
        assert!(faults.cover("check.http.path"));
        assert!(!faults.cover("che"));
        assert!(!faults.cover("port"));
    }
}
