//! Ending a connection so that the client gets to read the last answer.
//!
//! A system that closes a connection on which unread bytes wait, or more of them come, tells the
//! client so with a reset, and a reset makes the client's system throw away what it has not read yet
//! (RFC 9112, section 9.6). So the sending side is closed first, and what still comes is read and
//! forgotten until the client has closed its side too or takes too long.

use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Parted;

/// How long the last of an answer may take to leave.
const FLUSH: Duration = Duration::from_secs(5);
/// How long a client may be silent that does not close its side.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a client may take to notice that nobody listens.
const TOTAL: Duration = Duration::from_secs(5);

/// Lets a connection on which HTTP has ended go on as what it was switched to, or ends it.
pub(super) async fn part(mut parted: Parted) {
    match parted.tunnel.take() {
        // Boxed, or every connection would make room for what few become.
        Some(tunnel) => Box::pin(tunnel.run(parted)).await,
        None => close(parted).await,
    }
}

/// Ends the connection.
pub(in crate::proxy) async fn close(parted: Parted) {
    let mut stream = parted.stream;
    let shut = timeout(FLUSH, AsyncWriteExt::shutdown(&mut stream)).await;
    if parted.has_ended || !matches!(shut, Ok(Ok(()))) {
        return;
    }
    let _ = timeout(TOTAL, forget(stream)).await;
}

/// Reads until the client ends, breaks off or falls silent.
async fn forget(mut stream: Stream) {
    let mut bytes = [0; 1_024];
    while let Ok(Ok(1..)) = timeout(SILENCE, stream.read(&mut bytes)).await {}
}
