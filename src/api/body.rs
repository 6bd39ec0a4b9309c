//! Reading a request's body: never more of it than allowed, and with one answer for all that is
//! wrong in it.
//!
//! The `Content-Type` is not looked at: `curl -d` calls everything a form, and there is nothing here
//! but JSON that a body could be.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use tokio::time::timeout;

use super::problem::{Faults, Kind, Problem};

/// The longest body of a call about one instance, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// The longest body of a call about many instances, in bytes.
pub const MAX_BULK_BODY: usize = 4 * 1024 * 1024;

/// How many faults are looked for in one body; each costs another pass over it.
const MAX_FAULTS: usize = 16;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a whole body of at most `limit` bytes. One that announces more is refused unread.
///
/// # Errors
/// [`Kind::TooLarge`], [`Kind::BrokenBody`] when the client stopped half-way, or [`Kind::SlowBody`].
pub async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let late = |_| {
        let detail =
            format!("the body did not arrive in time (expected all of it in {PATIENCE:?})");
        Problem::new(Kind::SlowBody, detail)
    };
    timeout(PATIENCE, read_all(body, limit))
        .await
        .map_err(late)?
}

async fn read_all(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {limit} bytes (expected at most that many)");
        Problem::new(Kind::TooLarge, detail)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let detail = format!("reading the body failed: {error} (expected all of it)");
            Problem::new(Kind::BrokenBody, detail)
        })?;
        if whole.len() + chunk.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// Parses a body as JSON, whatever it says.
///
/// # Errors
/// [`Kind::MalformedJson`] with the line and column.
pub fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = match bytes {
            [] => "the body is empty (expected JSON)".to_owned(),
            _ => format!("the body is not JSON: {error}"),
        };
        Problem::new(Kind::MalformedJson, detail)
    })
}

/// Takes `value` apart into a `T`, adding everything that does not fit to `faults`.
///
/// serde stops at the first error, so what it stops at is noted, taken out, and the rest is tried
/// again. For that to work every field of `T` must be optional; it is then for the caller to say
/// which of those missing should have been there.
pub fn fields<T: DeserializeOwned + Default>(mut value: Value, faults: &mut Faults) -> T {
    if !value.is_object() {
        faults.add("", "the body is JSON but not an object (expected {…})");
        return T::default();
    }
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(fields) => return fields,
            Err(error) => error,
        };
        let path = match error.path().to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        faults.add(path, error.inner().to_string());
        if faults.len() >= MAX_FAULTS || !prune(&mut value, error.path()) {
            return T::default();
        }
    }
}

/// Takes the value at `path` out, or the nearest one around it that is a field.
fn prune(value: &mut Value, path: &Path) -> bool {
    let mut around = value;
    let mut steps = path.iter().peekable();
    while let Some(Segment::Map { key }) = steps.next() {
        let Value::Object(fields) = around else {
            return false;
        };
        let descends = matches!(steps.peek(), Some(Segment::Map { .. }))
            && fields.get(key).is_some_and(Value::is_object);
        if !descends {
            return fields.remove(key).is_some();
        }
        match fields.get_mut(key) {
            Some(inner) => around = inner,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        name: Option<String>,
        tags: Option<Vec<String>>,
        metadata: Option<BTreeMap<String, String>>,
    }

    #[test]
    fn every_field_that_does_not_fit_is_named() {
        let mut faults = Faults::default();
        let value = serde_json::json!({
            "name": 1, "tags": ["a", 2], "metadata": {"a": "b", "c": {"d": 1}}, "colour": "red",
        });
        let _: Sample = fields(value, &mut faults);
        for field in ["name", "tags[1]", "metadata.c", "colour"] {
            assert!(faults.cover(field), "{field} in {faults:?}");
        }
        assert_eq!(faults.len(), 4);
    }

    #[test]
    fn what_is_right_survives_what_is_wrong_beside_it() {
        let mut faults = Faults::default();
        let value = serde_json::json!({"name": 1, "tags": ["a"]});
        let sample: Sample = fields(value, &mut faults);
        assert_eq!(sample.tags.unwrap(), ["a"]);
        assert!(sample.name.is_none());
    }

    #[test]
    fn a_body_full_of_faults_is_given_up_on() {
        let many: BTreeMap<String, u32> = (0..5_000).map(|i| (format!("x{i}"), i)).collect();
        let mut faults = Faults::default();
        let _: Sample = fields(serde_json::to_value(many).unwrap(), &mut faults);
        assert_eq!(faults.len(), MAX_FAULTS);
    }

    #[test]
    fn malformed_json_says_where() {
        let problem = json(b"{\n  \"port\": }").unwrap_err();
        let detail = serde_json::to_value(&problem).unwrap()["detail"].to_string();
        assert_eq!(problem.status(), 400);
        assert!(detail.contains("line 2 column 11"), "{detail}");
        assert_eq!(json(b"").unwrap_err().status(), 400);
        assert_eq!(
            json("[".repeat(60_000).as_bytes()).unwrap_err().status(),
            400
        );
        assert_eq!(json(b"\xff").unwrap_err().status(), 400);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_whether_it_says_so_or_not() {
        let announced = read(Body::from(vec![b' '; 11]), 10).await.unwrap_err();
        assert_eq!(announced.status(), 413);
        let chunks = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>(" ")));
        let chunked = read(Body::from_stream(chunks), 10).await.unwrap_err();
        assert_eq!(chunked.status(), 413);
        assert_eq!(read(Body::from("0123456789"), 10).await.unwrap().len(), 10);
    }
}
