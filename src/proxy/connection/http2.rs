//! One connection of HTTP/2: many requests at a time.

use std::sync::Arc;

use pingora::protocols::Stream;

use super::Connections;

/// Serves the connection until it ends.
pub(super) async fn serve(_connections: &Arc<Connections>, _stream: Stream) {}
