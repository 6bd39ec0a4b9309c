//! Noticing that a client gives up while its request waits for an endpoint.
//!
//! Pingora listens to the client only once there is an instance to pass things on to.

use futures_util::future;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType};
use pingora_proxy::Session;

/// A client whose request waits for an endpoint.
pub(super) trait Waiting: Send {
    /// Ends when the client has closed its connection or reset its request; with the error that ends the
    /// request without an answer.
    ///
    /// Only for requests whose body has come in whole, as it has for most that have none: the end of a
    /// connection is behind what is still in it, and what is read here could not be sent on. The
    /// others are waited for until their time is up. Dropping the future loses nothing.
    fn left(&mut self) -> impl Future<Output = Box<Error>> + Send;
}

impl Waiting for Session {
    async fn left(&mut self) -> Box<Error> {
        let client: &mut ServerSession = self.as_downstream_mut();
        if !client.is_body_done() {
            return future::pending().await;
        }
        match client.read_body_or_idle(true).await {
            Err(error) => error.into_down(),
            Ok(_) => {
                Error::explain(ErrorType::ConnectionClosed, "while its request waited").into_down()
            }
        }
    }
}
