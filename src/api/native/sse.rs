//! The text of server-sent events
//! ([HTML, 9.2](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! Events are put together from ready pieces: a text that many readers are sent is made once, and one
//! longer than what may wait for a reader is sent as it is made. The `id` stands last, so that even a
//! reader that believes it before the blank line comes back for an event it got half of.

use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use utoipa::openapi::{ObjectBuilder, Type};

use crate::registry::snapshot::Revision;

/// A line that means nothing, so that neither the reader nor a proxy takes the stream for dead.
pub(super) const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");
/// The longest silence: shorter than the idle time of common proxies.
pub(super) const SILENCE: Duration = Duration::from_secs(15);

/// A reply that sends what a `feed` has to say: `next` makes a chunk when the one before was taken,
/// and `None` is the end.
pub(super) fn reply<F, N>(feed: F, next: impl FnMut(F) -> N + Send + 'static) -> Response
where
    F: Send + 'static,
    N: Future<Output = Option<(Result<Bytes, serde_json::Error>, F)>> + Send + 'static,
{
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let chunks = stream::unfold(feed, next);
    (headers, Body::from_stream(chunks)).into_response()
}

/// Describes a field of an event.
pub(super) fn field(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

/// Begins the first event of a stream with how long a reader that was cut off is asked to wait.
pub(super) fn retry(out: &mut Vec<u8>, wait: Duration) {
    out.extend_from_slice(format!("retry: {}\n", wait.as_millis()).as_bytes());
}

/// Writes a whole event. `data` is JSON without line breaks.
pub(super) fn event(out: &mut Vec<u8>, name: &str, data: &[u8], id: Revision) {
    begin(out, name);
    out.extend_from_slice(data);
    end(out, id);
}

/// Begins an event, up to where its data goes.
pub(super) fn begin(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
}

/// Ends an event after its data.
pub(super) fn end(out: &mut Vec<u8>, id: Revision) {
    out.extend_from_slice(format!("\nid: {id}\n\n").as_bytes());
}

/// Writes a block that is no event.
pub(super) fn comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!(": {text}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_reads_as_the_standard_says() {
        let mut out = Vec::new();
        retry(&mut out, Duration::from_secs(2));
        event(&mut out, "upsert", b"{}", Revision(7));
        comment(&mut out, "hello");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "retry: 2000\nevent: upsert\ndata: {}\nid: 7\n\n: hello\n\n"
        );
    }
}
