//! What is asked of a registry, and what it answers.

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

/// How long an answer may take that the registry does not wait with.
const PATIENCE: Duration = Duration::from_secs(20);

/// One call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// How.
    pub method: Method,
    /// Where, from `/` on, percent-encoded where it needs to be.
    pub path: &'a str,
    /// The parameters, which need no encoding.
    pub query: &'a [(&'a str, &'a str)],
    /// The tag of what the caller has seen; only that is to be changed.
    pub if_match: Option<&'a str>,
    /// What to send along.
    pub body: Option<Bytes>,
    /// How long the answer may take; of a stream, its head.
    pub patience: Duration,
}

/// A good answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The index of what it shows.
    pub index: Option<u64>,
    /// The tag of what it shows.
    pub tag: Option<String>,
    /// What it says; empty when there is nothing to say.
    pub body: Bytes,
}

impl<'a> Call<'a> {
    /// A call with nothing but a method and a path.
    pub fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            query: &[],
            if_match: None,
            body: None,
            patience: PATIENCE,
        }
    }

    /// A GET.
    pub fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// The same, with JSON to send along.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        Self {
            body: Some(body.to_string().into()),
            ..self
        }
    }
}

/// `text` as one segment of a path, whatever it holds
/// ([RFC 3986, 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)).
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one_whatever_it_holds() {
        assert_eq!(segment("web-1.a_b~c"), "web-1.a_b~c");
        assert_eq!(segment("a/b?c#d%e ä"), "a%2Fb%3Fc%23d%25e%20%C3%A4");
    }
}
