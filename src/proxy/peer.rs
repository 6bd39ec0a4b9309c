//! The instance picked, as Pingora's connectors know it.

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

/// Gives the request a connection of its own: none is kept under a random key.
pub(super) fn isolate(peer: &mut HttpPeer) {
    peer.group_key = fastrand::u64(..);
}
