//! Which peers may tell us who the client is, and who that makes it.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// The networks whose forwarding headers are believed. Empty: nobody's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Whether what `peer` says of others is believed.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// The client on whose behalf `peer` sent a request: the last address in `X-Forwarded-For` that
    /// is not itself a trusted proxy's. What stands before it may be anyone's invention.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        for hop in lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')) {
            match parse_hop(hop.trim()) {
                Some(hop) => client = hop,
                None => break,
            }
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// An address as proxies write it: bare, or with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let trusted = TrustedProxies(trusted.iter().map(|net| net.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        trusted.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_stranger_is_the_client_whatever_it_claims() {
        assert_eq!(client(&[], "192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
    }

    #[test]
    fn the_last_untrusted_hop_is_the_client() {
        let trusted = ["10.0.0.0/8", "::1/128"];
        let seen = |lines: &[&str]| client(&trusted, "10.0.0.1", lines);
        assert_eq!(seen(&["1.1.1.1, 198.51.100.9, 10.2.3.4"]), "198.51.100.9");
        assert_eq!(
            seen(&["1.1.1.1", "198.51.100.9:4711, 10.2.3.4"]),
            "198.51.100.9"
        );
        assert_eq!(seen(&["10.9.9.9"]), "10.9.9.9");
        assert_eq!(seen(&["198.51.100.9, nonsense"]), "10.0.0.1");
        assert_eq!(seen(&["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(seen(&[]), "10.0.0.1");
    }
}
