//! The same over HTTP/2: one connection carries all probes of an instance, and a stream that is not
//! read to its end costs it nothing.

use std::time::Duration;

use pingora::connectors::http::v2::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use crate::dial::to_http2;

/// Sends `request` and gives the status of the answer. A kept connection that turns out to be dead
/// is replaced once.
pub(super) async fn get(
    connector: &Connector,
    peer: &HttpPeer,
    mut request: RequestHeader,
    idle: Duration,
) -> pingora::Result<u16> {
    to_http2(&mut request, peer.is_tls())?;
    if let Ok(Some(session)) = connector.reused_http_session(peer).await
        && let Ok(status) = exchange(connector, session, peer, &request, idle).await
    {
        return Ok(status);
    }
    match connector.new_http_session::<_, ()>(peer).await? {
        HttpSession::H2(session) => exchange(connector, session, peer, &request, idle).await,
        HttpSession::H1(_) | HttpSession::Custom(()) => Error::e_explain(
            ErrorType::H2Error,
            "the instance does not agree on HTTP/2 (expected ALPN h2)",
        ),
    }
}

async fn exchange(
    connector: &Connector,
    mut session: Http2Session,
    peer: &HttpPeer,
    request: &RequestHeader,
    idle: Duration,
) -> pingora::Result<u16> {
    session.write_request_header(Box::new(request.clone()), true)?;
    session.read_response_header().await?;
    let status = session.response_header().map(|head| head.status.as_u16());
    connector.release_http_session(session, peer, Some(idle));
    status.ok_or_else(|| Error::explain(ErrorType::H2Error, "no answer to the request"))
}
