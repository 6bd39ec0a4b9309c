//! How the ACME server is spoken with.

use std::cell::Cell;
use std::error::Error as _;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Response};

use crate::files;

use super::failure;
use super::schedule::LONGEST_ASKED;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may take with its answer.
const REQUEST: Duration = Duration::from_secs(30);
/// The longest answer, in bytes: that of a certificate with its chain is a few thousand.
const MAX_ANSWER: usize = 1 << 20;
/// The most that is read of a file with issuers, in bytes: those of a system are a quarter of that.
const MAX_CA: u64 = 1 << 20;

tokio::task_local! {
    /// How long the server has asked the present task to wait.
    static ASKED: Cell<Option<Duration>>;
}

/// Runs `work`, and says how long the server asked for a wait in the last answer that was a refusal.
pub(super) async fn heeding<T>(work: impl Future<Output = T>) -> (T, Option<Duration>) {
    let noting = async {
        let value = work.await;
        (value, ASKED.with(Cell::get))
    };
    ASKED.scope(Cell::new(None), noting).await
}

/// A client of one ACME server. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Client(reqwest::Client);

impl Client {
    /// A client that believes the issuers in the file `ca`, or those of the system. Where the
    /// environment names a proxy for HTTPS, that is the way.
    ///
    /// # Errors
    /// When the file cannot be used, or the system has no issuers.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, String> {
        // Somebody else may have chosen one for the process before; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .pool_idle_timeout(REQUEST);
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(issuers(ca)?);
        }
        let client = builder
            .build()
            .map_err(|error| format!("cannot speak TLS: {}", with_sources(&error)))?;
        Ok(Self(client))
    }
}

/// The issuers in a PEM file.
///
/// # Errors
/// What is wrong with it, and what was expected.
pub(super) fn issuers(ca: &Path) -> Result<Vec<Certificate>, String> {
    const EXPECTED: &str = "(expected PEM with the server's issuers)";
    let wrong = |what: String| format!("{:?} {what} {EXPECTED}", ca.to_string_lossy());
    let text =
        files::read(ca, MAX_CA).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let issuers =
        Certificate::from_pem_bundle(&text).map_err(|_| wrong("is damaged".to_owned()))?;
    if issuers.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok(issuers)
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.0.clone();
        Box::pin(async move {
            let answer = exchange(&http, request).await;
            answer.map_err(|what| Error::Other(what.into()))
        })
    }
}

async fn exchange(
    http: &reqwest::Client,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, String> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await;
    let is_plain_get = parts.method == Method::GET;
    let request = Request::from_parts(parts, body.to_bytes());
    let request = reqwest::Request::try_from(request).map_err(|error| with_sources(&error))?;
    let url = request.url().clone();
    let answer = http.execute(request).await;
    let mut answer = answer.map_err(|error| with_sources(&error.without_url()))?;
    let status = answer.status();
    let body = contents(&mut answer).await?;
    let mut parts = http::Response::<reqwest::Body>::from(answer).into_parts().0;
    bound_wait(&mut parts.headers);
    if status.is_client_error() || status.is_server_error() {
        note_wait(&parts.headers);
        // Of problems that answer to a signed request, the library makes use itself.
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_plain_get => return Err(failure::said(&problem)),
            Ok(_) if is_json(&parts.headers) => {}
            _ => return Err(format!("{url} answers with {status}")),
        }
    }
    Ok(BytesResponse {
        parts,
        body: Box::new(body),
    })
}

/// The whole body, unless it is longer than any of an ACME server is.
async fn contents(answer: &mut Response) -> Result<Bytes, String> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| with_sources(&error.without_url()))?
    {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("an answer of more than {MAX_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Makes `Retry-After` one that can be added to the time.
fn bound_wait(headers: &mut HeaderMap) {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|text| asked_wait(text, SystemTime::now()));
    match asked {
        Some(asked) => {
            let seconds = asked.min(LONGEST_ASKED).as_secs();
            headers.insert(RETRY_AFTER, seconds.into());
        }
        None => {
            headers.remove(RETRY_AFTER);
        }
    }
}

fn note_wait(headers: &HeaderMap) {
    let asked = headers.get(RETRY_AFTER);
    if let Some(asked) = asked.and_then(|text| asked_wait(text, SystemTime::now())) {
        // Whoever does not ask for it does not hear it.
        let _ = ASKED.try_with(|cell| cell.set(Some(asked)));
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.
fn asked_wait(text: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = text.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.contains("json"))
}

/// An error with what led to it, which reqwest's own text leaves out.
fn with_sources(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Option<Duration> {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        asked_wait(&text.parse().unwrap(), now)
    }

    #[test]
    fn a_server_asks_for_a_wait_in_seconds_or_until_a_date() {
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        let later = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(asked(later), Some(Duration::from_secs(30)));
        let earlier = "Sun, 06 Nov 1994 08:49:07 GMT";
        assert_eq!(asked(earlier), Some(Duration::ZERO));
        for odd in ["", "soon", "-1", "99999999999999999999"] {
            assert_eq!(asked(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn no_wait_is_too_long_to_be_added_to_the_time() {
        let bounded = |text: &str| {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            bound_wait(&mut headers);
            headers
                .get(RETRY_AFTER)
                .map(|text| text.to_str().unwrap().to_owned())
        };
        let most = LONGEST_ASKED.as_secs().to_string();
        assert_eq!(bounded(&u64::MAX.to_string()).unwrap(), most);
        assert_eq!(bounded("Fri, 31 Dec 9999 23:59:59 GMT").unwrap(), most);
        assert_eq!(bounded("5").unwrap(), "5");
        assert_eq!(bounded("soon"), None);
    }

    #[tokio::test]
    async fn a_wait_is_heard_by_the_task_that_was_asked_and_no_other() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().unwrap())]);
        note_wait(&headers);
        let (first, second) = tokio::join!(
            heeding(async {
                note_wait(&headers);
                tokio::task::yield_now().await;
            }),
            heeding(tokio::task::yield_now()),
        );
        assert_eq!(first.1, Some(Duration::from_secs(7)));
        assert_eq!(second.1, None);
    }
}
