//! The parameters of a query, strictly: a misspelt one that is quietly ignored gives a wrong answer
//! that looks like a right one.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::units::moment::parse_moment;
use crate::units::parse_duration;

use super::problem::{Faults, Problem};

/// What is left of a query after its known parameters were taken.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl Query {
    /// Takes every value of `name`.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        self.pairs
            .extract_if(.., |(key, _)| key == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// Takes the one value of `name`.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.fault(name, "is given more than once (expected once)".to_owned());
        }
        values.pop()
    }

    /// Takes the one value of `name`, of whatever kind is asked for.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        self.noted(
            name,
            text.parse().map_err(|error: T::Err| error.to_string()),
        )
    }

    /// Takes the one value of `name`, a duration such as `2s`.
    pub fn duration(&mut self, name: &str) -> Option<Duration> {
        let text = self.text(name)?;
        let duration = parse_duration(&text);
        self.noted(name, duration)
    }

    /// Takes the one value of `name`, a moment: a time, or how long it is ago `now`.
    pub fn moment(&mut self, name: &str, now: SystemTime) -> Option<SystemTime> {
        let text = self.text(name)?;
        self.noted(name, parse_moment(&text, now))
    }

    /// Whether `name` is given and not yet taken.
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// Takes the one value of `name`, a whole number.
    pub fn number(&mut self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        let number = number
            .ok_or_else(|| format!("{text:?} is not a number (expected 0 or more, in digits)"));
        self.noted(name, number)
    }

    /// Notes that the value of `name` is wrong.
    pub fn fault(&mut self, name: &str, detail: String) {
        self.faults.add(name, detail);
    }

    /// The value of `name` if it is right; notes it if not.
    pub fn noted<T>(&mut self, name: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|detail| self.fault(name, detail)).ok()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// A problem that names every parameter that was wrong or not asked for.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.faults.add(name, "is not a parameter of this call");
        }
        self.faults.none_or(())
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(
            match axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
                Ok(axum::extract::Query(pairs)) => Self {
                    pairs,
                    faults: Faults::default(),
                },
                Err(error) => Self {
                    pairs: Vec::new(),
                    faults: Faults::one("", error.to_string()),
                },
            },
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use axum::http::Request;

    use super::*;

    /// The query of a URL.
    pub(in crate::api) async fn query(text: &str) -> Query {
        let (mut parts, ()) = Request::get(format!("/?{text}"))
            .body(())
            .unwrap()
            .into_parts();
        let Ok(query) = Query::from_request_parts(&mut parts, &()).await;
        query
    }

    #[tokio::test]
    async fn parameters_are_taken_by_name_and_decoded() {
        let mut query = query("wait=2s&tag=a%20b&tag=c&index=7").await;
        assert_eq!(query.duration("wait"), Some(Duration::from_secs(2)));
        assert_eq!(query.all("tag"), ["a b", "c"]);
        assert_eq!(query.number("index"), Some(7));
        assert_eq!(query.number("generation"), None);
        assert!(query.finish().is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_or_unknown_or_double_is_named() {
        let mut query = query("wait=soon&index=%2B1&zone=a&zone=b&wiat=1s").await;
        query.duration("wait");
        query.number("index");
        query.text("zone");
        let problem = query.finish().unwrap_err();
        let fields: Vec<_> = problem.errors().iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["wait", "index", "zone", "wiat"]);
        assert_eq!(problem.status(), 422);
    }
}
