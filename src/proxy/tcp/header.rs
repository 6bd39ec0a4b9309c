//! The header of the [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt) that
//! tells an instance where a connection is from.

use std::net::{IpAddr, SocketAddr};

use ppp::{v1, v2};

use crate::cluster::policy::ProxyVersion;

use super::Ends;

/// What is said of a client on the same machine, whose socket has no name (section 2.2).
const UNNAMED: v2::Unix = v2::Unix {
    source: [0; 108],
    destination: [0; 108],
};

/// The header for a connection with these ends.
pub(super) fn of(version: ProxyVersion, ends: Ends) -> Vec<u8> {
    let ends = ends.client.zip(ends.local).map(alike);
    match version {
        ProxyVersion::V1 => {
            let addresses = ends.map_or(v1::Addresses::Unknown, v1::Addresses::from);
            addresses.to_string().into_bytes()
        }
        ProxyVersion::V2 => {
            let addresses = ends.map_or(v2::Addresses::Unix(UNNAMED), v2::Addresses::from);
            let head = v2::Version::Two | v2::Command::Proxy;
            let header = v2::Builder::with_addresses(head, v2::Protocol::Stream, addresses);
            // It fails for what is longer than a header may be, and addresses are not.
            header.build().unwrap_or_default()
        }
    }
}

/// Both as the same version of IP: as IPv4 if they can be, else as IPv6.
fn alike((client, local): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let (from, to) = (client.ip().to_canonical(), local.ip().to_canonical());
    let (from, to) = if from.is_ipv4() == to.is_ipv4() {
        (from, to)
    } else {
        (to_ipv6(from), to_ipv6(to))
    };
    ((from, client.port()).into(), (to, local.port()).into())
}

fn to_ipv6(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, local: &str) -> Ends {
        Ends {
            client: client.parse().ok(),
            local: local.parse().ok(),
        }
    }

    #[test]
    fn the_header_names_both_ends() {
        for (client, local, said) in [
            ("10.0.0.1:1", "10.0.0.2:2", "TCP4 10.0.0.1 10.0.0.2 1 2"),
            ("[fd00::1]:1", "[::1]:2", "TCP6 fd00::1 ::1 1 2"),
            (
                "[::ffff:10.0.0.1]:1",
                "[::ffff:10.0.0.2]:2",
                "TCP4 10.0.0.1 10.0.0.2 1 2",
            ),
            ("10.0.0.1:1", "[::1]:2", "TCP6 ::ffff:10.0.0.1 ::1 1 2"),
            ("", "", "UNKNOWN"),
        ] {
            let header = of(ProxyVersion::V1, ends(client, local));
            assert_eq!(
                String::from_utf8(header).unwrap(),
                format!("PROXY {said}\r\n")
            );
        }
    }

    #[test]
    fn the_binary_header_is_the_specification_s() {
        let signature = b"\r\n\r\n\0\r\nQUIT\n";
        let header = of(ProxyVersion::V2, ends("10.0.0.1:4660", "10.0.0.2:80"));
        let said = [
            0x21, 0x11, 0, 12, 10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80,
        ];
        assert_eq!(header, [&signature[..], &said].concat());
        let header = of(ProxyVersion::V2, Ends::default());
        assert_eq!(
            header[..16],
            [&signature[..], &[0x21, 0x31, 0, 216]].concat()
        );
        assert_eq!(header.len(), 16 + 216);
    }
}
