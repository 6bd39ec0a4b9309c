//! The instance picked, as Pingora's connectors know it.

use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use crate::cluster::pick::Pick;
use crate::dial;

/// How to connect to the instance, over a connection kept from another request if there is one.
pub(super) fn of(pick: &Pick) -> HttpPeer {
    let endpoint = pick.endpoint();
    let cluster = pick.cluster();
    let mut peer = dial::peer(
        pick.address(),
        endpoint.instance.scheme,
        &cluster.policy().tls,
        cluster.name().as_str(),
    );
    peer.group_key ^= endpoint.connection_group();
    peer
}

/// Whether the connection carries other requests at the same time.
pub(super) fn is_shared(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_min_http_version() == 2
}

/// Gives the request a connection of its own: none is kept under a random key.
pub(super) fn isolate(peer: &mut HttpPeer) {
    peer.group_key = fastrand::u64(..);
    if is_shared(peer) {
        // It cannot be asked to close the connection after the answer.
        peer.options.idle_timeout = Some(Duration::ZERO);
    }
}
