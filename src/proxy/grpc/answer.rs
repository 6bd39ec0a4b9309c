//! callboard's own answers to calls: a status of gRPC in the head or, once messages were sent, in
//! trailers; a `Proxy-Status` beside it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora_proxy::Session;

use crate::grpc::{self, Code};
use crate::proxy::request_id;

use super::{Call, Flavor, PUSHBACK};

/// What a call ends with.
pub(in crate::proxy) struct Ending<'a> {
    pub(in crate::proxy) code: Code,
    pub(in crate::proxy) message: &'a str,
    /// The value of `Proxy-Status`.
    pub(in crate::proxy) proxy_status: String,
    /// When to come back, in milliseconds.
    pub(in crate::proxy) retry_after: Option<u128>,
}

impl Ending<'_> {
    fn fields(&self) -> HeaderMap {
        let mut fields = HeaderMap::with_capacity(4);
        fields.insert(grpc::STATUS, self.code.to_header());
        fields.insert(grpc::MESSAGE, grpc::encode_message(self.message));
        if let Some(millis) = self.retry_after
            && let Ok(millis) = HeaderValue::try_from(millis.to_string())
        {
            fields.insert(PUSHBACK, millis);
        }
        fields
    }
}

/// Answers a call of which nothing was answered yet.
///
/// # Errors
/// When the client is gone.
pub(in crate::proxy) async fn refuse(
    session: &mut Session,
    flavor: Flavor,
    ending: &Ending<'_>,
    request_id: &HeaderValue,
) -> Result<()> {
    session.set_keepalive(None);
    if (session.response_written()).is_some_and(|head| !head.status.is_informational()) {
        return Ok(());
    }
    let mut head = ResponseHeader::build(StatusCode::OK, Some(8))?;
    head.insert_header(header::CONTENT_TYPE, flavor.media_type())?;
    head.insert_header("Proxy-Status", ending.proxy_status.as_str())?;
    head.insert_header(request_id::HEADER, request_id.clone())?;
    let body = if flavor == Flavor::Native {
        for (name, value) in &ending.fields() {
            head.insert_header(name.clone(), value.clone())?;
        }
        Bytes::new()
    } else {
        flavor.frame(&ending.fields())
    };
    let ends = body.is_empty();
    if !ends || !speaks_http2(session) {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let mut tasks = vec![HttpTask::Header(Box::new(head), ends)];
    if !ends {
        tasks.push(HttpTask::Body(Some(body), true));
    }
    session.write_response_tasks(tasks).await.map(drop)
}

/// Ends a call that an instance has begun to answer. Says whether it could: what is neither HTTP/2
/// nor translated for a browser has no place for it, and its connection breaks instead.
///
/// # Errors
/// When the client is gone.
pub(in crate::proxy) async fn break_off(
    session: &mut Session,
    call: &Call,
    ending: &Ending<'_>,
) -> Result<bool> {
    let fields = ending.fields();
    let end = if let Some(frame) = call.close(&fields) {
        HttpTask::Body(Some(frame), true)
    } else if speaks_http2(session) && call.flavor == Flavor::Native {
        HttpTask::Trailer(Some(Box::new(fields)))
    } else {
        return Ok(false);
    };
    session.write_response_tasks(vec![end]).await?;
    Ok(true)
}

fn speaks_http2(session: &Session) -> bool {
    session.req_header().version == Version::HTTP_2
}
