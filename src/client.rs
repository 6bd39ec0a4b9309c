//! Asking another callboard's registry, over HTTP.
//!
//! The connection goes straight there: web proxies named in the environment are not used, because a
//! registry is a neighbour and no web site; and redirects are not followed, because they could take
//! the token somewhere else.

mod call;
mod error;
mod stream;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{ACCEPT, AUTHORIZATION, ETAG, HeaderValue, IF_MATCH};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::address::{Address, UNIX};

pub use call::{Answer, Call, segment};
pub use error::{Error, SettingsError};
pub use stream::Stream;

/// What a registry at a Unix socket is called in requests.
const LOCAL: &str = "http://localhost/";
/// What the types of callboard's problems begin with.
const PROBLEMS: &str = "urn:callboard:problem:";
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes: a hundred thousand instances with all that may be said of them take
/// less, and whoever answers without end is no callboard.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// Where a registry is and how to be let in.
#[derive(Clone)]
pub struct Settings {
    /// Its base URL, such as `https://callboard.example:8500`, or the Unix socket it listens at, such as
    /// `unix:/run/registry.sock`.
    pub url: String,
    /// The token to show it.
    pub token: Option<String>,
    /// A PEM file with the only certificates to trust an `https` registry by; `None` trusts those
    /// of the system. Not looked at for `http`.
    pub ca: Option<PathBuf>,
}

/// A connection to a registry, or to nobody yet: the first request makes it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    /// What it was called in the settings, if it is no URL.
    socket: Option<Address>,
    base: Url,
    authorization: Option<HeaderValue>,
    http: reqwest::Client,
}

/// A good answer.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// What it says.
    pub body: T,
    /// The index of what it shows, to wait for a change after; `None` on a reply that has none.
    pub index: Option<u64>,
}

/// What of a problem (RFC 9457) is told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: String,
}

impl Client {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`] when there can be no connection with such settings.
    pub fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let socket = socket(&settings.url)?;
        let base = base(if socket.is_some() {
            LOCAL
        } else {
            &settings.url
        })?;
        let ca = settings.ca.as_deref();
        let mut http = reqwest::Client::builder();
        if let Some(path) = socket.as_ref().and_then(Address::path) {
            http = http.unix_socket(path);
        }
        let http = http
            .tls_backend_preconfigured(tls::config(base.scheme() == "https", ca)?)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| SettingsError::Tls(error::innermost(&error)))?;
        Ok(Self {
            socket,
            base,
            authorization: settings.token.as_deref().map(bearer).transpose()?,
            http,
        })
    }

    /// GETs JSON from `path`, which starts with `/`, waiting no longer than `patience`.
    ///
    /// # Errors
    /// [`Error`] when there is no good answer.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        patience: Duration,
    ) -> Result<Reply<T>, Error> {
        let mut call = Call::get(path);
        call.query = query;
        call.patience = patience;
        let answer = self.call(call).await?;
        Ok(Reply {
            body: self.read(&answer)?,
            index: answer.index,
        })
    }

    /// Makes a call and takes whatever good answer there is.
    ///
    /// # Errors
    /// [`Error`] when there is none.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer, Error> {
        let failed = |failure| Error::of(self.name(), &failure);
        let request = self.request(&call).timeout(call.patience);
        let mut response = request.send().await.map_err(failed)?;
        let (status, index) = (response.status(), index(&response));
        let tag = response.headers().get(ETAG);
        let tag = tag.and_then(|tag| Some(tag.to_str().ok()?.to_owned()));
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(self.strange(format!("its answer exceeds {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let body = body.freeze();
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        Ok(Answer { index, tag, body })
    }

    /// Opens a stream of server-sent events. `last` is the id of the last event that was seen of an
    /// earlier one.
    ///
    /// # Errors
    /// [`Error`] when there is none.
    pub async fn follow(&self, call: Call<'_>, last: Option<&str>) -> Result<Stream, Error> {
        let mut request = self.request(&call).header(ACCEPT, stream::KIND);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Stream::open(self, request, call.patience).await
    }

    /// What an answer says.
    ///
    /// # Errors
    /// [`Error::Strange`] when it is not what was expected.
    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        serde_json::from_slice(&answer.body).map_err(|error| self.strange(error.to_string()))
    }

    fn request(&self, call: &Call<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{base}{}", call.path));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let mut request = self.http.request(call.method.clone(), url);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(tag) = call.if_match {
            request = request.header(IF_MATCH, tag);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        request
    }

    /// The error of an answer that is not what was expected.
    pub fn strange(&self, cause: String) -> Error {
        Error::Strange {
            url: self.name(),
            cause,
        }
    }

    /// The registry, as errors call it.
    pub fn name(&self) -> String {
        match &self.socket {
            Some(socket) => socket.to_string(),
            None => self.base.to_string(),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let Problem {
            kind,
            title,
            detail,
        } = serde_json::from_slice(body).unwrap_or_default();
        let reason = status.canonical_reason().unwrap_or_default().to_owned();
        let told = [detail, title, reason].into_iter();
        Error::Refused {
            url: self.name(),
            status: status.as_u16(),
            detail: told
                .into_iter()
                .find(|text| !text.is_empty())
                .unwrap_or_default(),
            kind: kind.strip_prefix(PROBLEMS).unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("ca", &self.ca)
            .finish()
    }
}

/// The Unix socket that `text` names, if it names one.
fn socket(text: &str) -> Result<Option<Address>, SettingsError> {
    if !text.starts_with(UNIX) {
        return Ok(None);
    }
    let socket = text.parse().map(Some);
    socket.map_err(|_| SettingsError::Url(text.to_owned()))
}

fn base(text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    url.ok_or_else(|| match text.contains('@') {
        true => SettingsError::Credentials,
        false => SettingsError::Url(text.to_owned()),
    })
}

fn bearer(token: &str) -> Result<HeaderValue, SettingsError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| SettingsError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn index(response: &Response) -> Option<u64> {
    let index = response.headers().get("callboard-index")?;
    index.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
