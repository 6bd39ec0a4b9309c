//! Connections to instances that may be kept for hours: without the buffers that Pingora's would have,
//! and in HTTP/1.1 whatever else the instance speaks.

use std::io;
use std::time::Duration;

use log::debug;
use pingora::protocols::Stream;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};
use socket2::SockRef;

use crate::cluster::pick::Pick;
use crate::dial::{self, Handshake};
use crate::proxy::connection::Wire;
use crate::proxy::context::Context;

/// The protocol to choose in TLS.
const HTTP_11: &[u8] = b"http/1.1";

/// Connects to the instance picked, in the time that `peer` has.
///
/// # Errors
/// With the types that Pingora's connectors give theirs.
pub(super) async fn connect(peer: &HttpPeer, context: &Context) -> Result<Stream> {
    let Some(pick) = &context.pick else {
        let nobody = "there is nobody to connect to";
        return Err(Error::explain(ErrorType::InternalError, nobody));
    };
    let within = peer.options.connection_timeout.unwrap_or(Duration::MAX);
    let opened = open(pick, within).await;
    let stream =
        opened.map_err(|error| Error::because(dial::fault_kind(&error), "connect", error))?;
    if matches!(stream, dial::Stream::Tcp(_) | dial::Stream::Tls(_))
        && let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&dial::KEEPALIVE)
    {
        debug!("a connection is not looked after: {error}");
    }
    Ok(Box::new(Wire::to_instance(stream)))
}

async fn open(pick: &Pick, within: Duration) -> io::Result<dial::Stream> {
    let cluster = pick.cluster();
    let tls = cluster.policy().tls.clone();
    let handshake = Handshake {
        client: &tls,
        service: cluster.name().as_str(),
        protocols: &[HTTP_11],
    };
    let is_tls = pick.endpoint().instance.scheme.is_tls();
    dial::open(pick.address(), is_tls.then_some(handshake), within).await
}
