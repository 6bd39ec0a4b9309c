//! Connections to instances, as probes, requests and TCP streams make them alike.

use std::os::unix::net::SocketAddr as UnixAddr;

use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme};

use crate::address::Address;

/// `address` as Pingora's connectors know it.
pub fn to_pingora(address: &Address) -> SocketAddr {
    match address {
        Address::Inet(address) => SocketAddr::Inet(*address),
        Address::Unix(path) => match UnixAddr::from_pathname(path) {
            Ok(address) => SocketAddr::Unix(address),
            // An `Address` holds no path that the system cannot take.
            Err(_) => SocketAddr::Inet(([0, 0, 0, 0], 0).into()),
        },
    }
}

/// A peer at `address`, in clear text.
pub fn peer(address: &Address) -> HttpPeer {
    HttpPeer {
        _address: to_pingora(address),
        scheme: Scheme::HTTP,
        sni: String::new(),
        proxy: None,
        client_cert_key: None,
        group_key: 0,
        options: PeerOptions::new(),
    }
}
