//! Which peers may tell us who the client is, and who that makes it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::HeaderName;
use ipnet::IpNet;

use crate::fields::Fields;

/// Names those whom a request was sent for.
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whose forwarding headers are believed. By default, nobody's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustedProxies {
    /// The networks of those that are.
    pub networks: Vec<IpNet>,
    /// Whether those are who connect over a Unix socket.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether what `peer` says of others is believed.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Whether what is said of others is believed of `peer`, which came over a Unix socket if it has no
    /// address.
    pub fn believes(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.contains(peer))
    }

    /// The client on whose behalf `peer` sent a request: the last address in `X-Forwarded-For` that
    /// is not itself a trusted proxy's. What stands before it may be anyone's invention. Whoever came over
    /// a Unix socket, and on nobody's behalf, has the unspecified address.
    pub fn client(&self, peer: Option<IpAddr>, fields: Fields<'_>) -> IpAddr {
        let mut client = peer.unwrap_or(NOWHERE);
        if !self.believes(peer) {
            return client;
        }
        let lines = fields.all(&FORWARDED_FOR).rev();
        let lines = lines.map(|line| str::from_utf8(line).unwrap_or_default());
        for hop in lines.flat_map(|line| line.rsplit(',')) {
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

/// The address of whoever has none.
pub(super) const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

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
    use http::HeaderMap;

    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let trusted = TrustedProxies {
            networks: (trusted.iter().filter(|net| **net != "unix"))
                .map(|net| net.parse().unwrap())
                .collect(),
            unix: trusted.contains(&"unix"),
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        trusted
            .client(peer.parse().ok(), (&headers).into())
            .to_string()
    }

    #[test]
    fn who_comes_over_a_unix_socket_is_believed_only_if_that_is_said() {
        let told = ["198.51.100.9, 10.2.3.4"];
        assert_eq!(client(&["0.0.0.0/0"], "unix", &told), "0.0.0.0");
        assert_eq!(client(&["unix"], "unix", &told), "10.2.3.4");
        assert_eq!(
            client(&["unix", "10.0.0.0/8"], "unix", &told),
            "198.51.100.9"
        );
        assert_eq!(client(&["unix"], "unix", &[]), "0.0.0.0");
        assert_eq!(client(&["unix"], "192.0.2.1", &told), "192.0.2.1");
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
