//! gRPC calls among the requests: what is theirs alone.
//!
//! *Time.* A call has the time its client gives it (`grpc-timeout`), all tries included, and what is
//! left of it goes along to the instance. Without one it has no end, as gRPC has it: a stream may be
//! silent for as long as it lives, and nobody can tell a stream from a single answer. So `request` and
//! `between_bytes` do not apply to calls; `total` and `first_byte` do where they are set. A timeout that is
//! malformed is passed on and limits nothing here, as with Envoy: the instance refuses the call.
//!
//! *Failures* are statuses of gRPC, whose clients know no other, see [`answer`]. What an instance says in
//! plain HTTP is passed on: clients translate it themselves ([http-grpc-status-mapping]).
//!
//! *What an answer says of its instance* is not known from its head but from its trailers, see
//! [`Code::is_fault`]. Streams do not keep anybody waiting for those: the first message counts as a success,
//! and trailers that tell of a failure after it count as well. Trailers that come without any message are
//! in the head, and those of [`Code::Unavailable`] are dropped for another instance's answer: the
//! server has not worked on the call.
//!
//! *gRPC-Web* is what browsers speak. To instances that speak HTTP/2 it is translated, see [`web`];
//! others speak it themselves, or nothing of the kind.
//!
//! [http-grpc-status-mapping]: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md

mod answer;
mod timeout;
mod web;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use crate::cluster::policy::Timeouts;
use crate::fields::Fields;
use crate::grpc::Code;

pub(super) use answer::{Ending, break_off, refuse};

/// What stands for no limit at all.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How a server says when to try again, in milliseconds; whatever is no number forbids it
/// ([A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md)).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// On HTTP/2.
    Native,
    /// For browsers.
    Web,
    /// For browsers, in base64.
    WebText,
}

impl Flavor {
    /// How a request is written, if it is a call.
    pub(super) fn of(method: &Method, fields: Fields<'_>) -> Option<Self> {
        if *method != Method::POST {
            return None;
        }
        Some(split(fields.first(&header::CONTENT_TYPE)?)?.0)
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Native => "application/grpc",
            Self::Web => "application/grpc-web",
            Self::WebText => "application/grpc-web-text",
        }
    }
}

/// A content type as its flavor and what follows, such as `+proto`; `None` if it is none of gRPC.
fn split(value: &[u8]) -> Option<(Flavor, &[u8])> {
    let flavors = [Flavor::WebText, Flavor::Web, Flavor::Native];
    flavors.into_iter().find_map(|flavor| {
        let (name, rest) = value.split_at_checked(flavor.media_type().len())?;
        let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        let is_it = name.eq_ignore_ascii_case(flavor.media_type().as_bytes());
        (is_it && ends).then_some((flavor, rest))
    })
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    flavor: Flavor,
    /// How long the client gives it.
    timeout: Option<Duration>,
    /// Whether the present try translates it, and from what.
    bridge: Option<Bridge>,
    /// Whether the answer was found to be one.
    is_judged: bool,
}

#[derive(Debug)]
struct Bridge {
    /// There if the body is base64.
    decoder: Option<web::Decoder>,
    /// The answer is one of gRPC.
    answers: bool,
}

/// What an answer is, as far as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Messages or trailers will tell.
    Open,
    /// Nothing but trailers, with this status.
    Over(Code),
    /// Not one of gRPC.
    Foreign,
}

impl Call {
    /// The call that a request is, if it is one.
    pub(super) fn of(method: &Method, fields: Fields<'_>) -> Option<Box<Self>> {
        let flavor = Flavor::of(method, fields)?;
        let timeout = fields.first(&timeout::NAME);
        Some(Box::new(Self {
            flavor,
            timeout: timeout.and_then(timeout::parse),
            bridge: None,
            is_judged: false,
        }))
    }

    /// Lays down how long things may take.
    pub(super) fn govern(&self, timeouts: &mut Timeouts) {
        timeouts.request = FOREVER;
        timeouts.between_bytes = FOREVER;
        if let Some(given) = self.timeout.filter(|given| *given < FOREVER) {
            timeouts.total = Some(timeouts.total.map_or(given, |total| total.min(given)));
        }
    }

    /// Whether what its answer ends with is in a body that callboard does not read: an instance speaks
    /// to the browser itself.
    pub(super) fn is_opaque(&self) -> bool {
        self.flavor != Flavor::Native && self.bridge.is_none()
    }

    /// Whether a `total` of this length is the client's.
    pub(super) fn is_given(&self, total: Duration) -> bool {
        self.timeout == Some(total)
    }

    /// Begins a try: writes the head for an instance that speaks HTTP/2 or not, which has `left` to
    /// answer.
    pub(super) fn forward(
        &mut self,
        request: &mut RequestHeader,
        speaks_http2: bool,
        left: Option<Duration>,
    ) -> Result<()> {
        self.is_judged = false;
        self.bridge = None;
        if let Some(left) = left {
            request.insert_header(timeout::HEADER, timeout::format(left))?;
        }
        if !speaks_http2 {
            return Ok(());
        }
        // Servers tell proxies that drop trailers by its absence.
        request.insert_header(header::TE, "trailers")?;
        if self.flavor == Flavor::Native {
            return Ok(());
        }
        self.bridge = Some(Bridge {
            decoder: (self.flavor == Flavor::WebText).then(web::Decoder::default),
            answers: false,
        });
        request.remove_header(&header::CONTENT_LENGTH);
        request.remove_header(&header::ACCEPT);
        request.remove_header("x-grpc-web");
        translate(&request.headers, Flavor::Native).map_or(Ok(()), |value| {
            request.insert_header(header::CONTENT_TYPE, value)
        })
    }

    /// Translates a part of the request.
    ///
    /// # Errors
    /// The client's, when it is malformed.
    pub(super) fn pass_request(&mut self, body: &mut Option<Bytes>, ends: bool) -> Result<()> {
        let bridge = self.bridge.as_mut();
        if let Some(decoder) = bridge.and_then(|bridge| bridge.decoder.as_mut()) {
            let part = body.take().unwrap_or_default();
            let decoded = decoder.decode(&part, ends);
            let malformed = |_| Error::new_down(ErrorType::Custom("the body is not base64"));
            *body = Some(decoded.map_err(malformed)?);
        }
        Ok(())
    }

    /// What the head of an answer tells.
    pub(super) fn read(&self, response: &ResponseHeader) -> Head {
        let content_type = response.headers.get(header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|value| split(value.as_bytes()).is_some());
        match Code::of(&response.headers) {
            _ if response.status != StatusCode::OK => Head::Foreign,
            Some(code) => Head::Over(code),
            None if is_grpc => Head::Open,
            None => Head::Foreign,
        }
    }

    /// Translates the head of the answer.
    pub(super) fn answer(&mut self, response: &mut ResponseHeader) -> Result<()> {
        let Some(bridge) = &mut self.bridge else {
            return Ok(());
        };
        let Some(value) = translate(&response.headers, self.flavor) else {
            return Ok(());
        };
        bridge.answers = response.status == StatusCode::OK;
        if bridge.answers {
            response.remove_header(&header::CONTENT_LENGTH);
            response.insert_header(header::CONTENT_TYPE, value)?;
        }
        Ok(())
    }

    /// Whether the answer is translated.
    fn translates(&self) -> bool {
        self.bridge.as_ref().is_some_and(|bridge| bridge.answers)
    }

    /// Translates a part of the answer.
    pub(super) fn pass_answer(&self, body: &mut Option<Bytes>) {
        if self.translates()
            && self.flavor == Flavor::WebText
            && let Some(part) = body
        {
            *part = web::encode(part);
        }
    }

    /// The trailers as the end of the body, if they are to be that.
    pub(super) fn close(&self, trailers: &HeaderMap) -> Option<Bytes> {
        self.translates().then(|| self.flavor.frame(trailers))
    }

    /// A message of the answer has come, or its end; says whether that is for the first time.
    pub(super) fn judge(&mut self) -> bool {
        !std::mem::replace(&mut self.is_judged, true)
    }
}

impl Flavor {
    fn frame(self, trailers: &HeaderMap) -> Bytes {
        let frame = web::frame(trailers);
        match self {
            Self::WebText => web::encode(&frame),
            Self::Web | Self::Native => frame,
        }
    }
}

/// The content type of `headers` in another flavor; `None` if it is none of gRPC.
fn translate(headers: &HeaderMap, flavor: Flavor) -> Option<HeaderValue> {
    let (_, rest) = split(headers.get(header::CONTENT_TYPE)?.as_bytes())?;
    let value = [flavor.media_type().as_bytes(), rest].concat();
    HeaderValue::from_maybe_shared(Bytes::from(value)).ok()
}

/// Whether the server forbids to try again, or when it asks for that.
pub(super) fn pushback(fields: &HeaderMap) -> Option<std::result::Result<Duration, Forbidden>> {
    let text = fields.get(PUSHBACK)?.to_str().ok();
    let millis = text.and_then(|text| text.trim().parse().ok());
    Some(millis.map(Duration::from_millis).ok_or(Forbidden))
}

/// The server forbids to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden;

#[cfg(test)]
mod tests;
