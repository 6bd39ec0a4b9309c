//! `application/problem+json` answers (RFC 9457).
//!
//! The registry knows no status codes; this is where its refusals, and everything that can be wrong
//! with a request before it gets that far, turn into HTTP. Programs go by `type` and `status`,
//! people read `detail`, and forms point at `errors`.

mod kind;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::registry::command::Refusal;
use crate::registry::journal::JournalError;

pub use kind::Kind;

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
