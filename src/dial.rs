//! Connections to instances, as probes, requests and TCP streams make them alike.

mod fault;
mod http2;
mod stream;

use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::ALPN;
use pingora::protocols::TcpKeepalive as LookedAfter;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, PeerOptions, Scheme as PeerScheme};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use socket2::TcpKeepalive;

use crate::address::Address;
use crate::instance::Scheme;
use crate::tls::{Client, Credentials};

pub use fault::{TlsFault, tls_fault};
pub use http2::to_http2;
pub use stream::{Handshake, Stream, fault_kind, open};

/// How many requests a connection of HTTP/2 carries at a time, unless the instance allows fewer.
const MAX_STREAMS: usize = 100;
/// How much of one response an instance may send ahead of its client, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// How much of all responses on a connection, in bytes: the most that a connection takes of memory.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How long a connection says nothing until the system asks whether the other side is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it waits for each of its answers.
const INTERVAL: Duration = Duration::from_secs(15);
/// How often it asks in vain.
const RETRIES: u32 = 4;
/// How long the other side may leave unacknowledged what a connection of HTTP/2 has sent it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How connections are looked after on which nobody may say anything for hours: one whose other side
/// is gone without a word is found out within two minutes.
pub const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(SILENCE)
    .with_interval(INTERVAL)
    .with_retries(RETRIES);

/// An instance, as far as connecting to it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Where it listens.
    pub address: Address,
    /// What it speaks there.
    pub scheme: Scheme,
    /// The service it belongs to.
    pub service: String,
    /// How TLS is spoken with it, if its scheme has it.
    pub tls: Arc<Client>,
}

impl Target {
    /// A target as Pingora's connectors know it.
    pub fn peer(&self) -> HttpPeer {
        peer(&self.address, self.scheme, &self.tls, &self.service)
    }

    /// A target in clear text, whoever it is.
    #[cfg(test)]
    pub(crate) fn plain(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            scheme: Scheme::Http,
            service: "any".to_owned(),
            tls: Arc::default(),
        }
    }

    /// What [`open`] needs for TLS with it; `None` if its scheme has none.
    pub fn handshake<'a>(&'a self, protocols: &'a [&'a [u8]]) -> Option<Handshake<'a>> {
        self.scheme.is_tls().then_some(Handshake {
            client: &self.tls,
            service: &self.service,
            protocols,
        })
    }
}

/// What the files hold in Pingora's form.
struct Adapted {
    issuers: Option<Arc<[WrappedX509]>>,
    own: Option<Arc<CertKey>>,
}

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

/// A peer at `address` that speaks `scheme`; with TLS it must prove to be an instance of `service`.
///
/// Its group differs from that of peers under other settings of TLS or other files.
pub fn peer(address: &Address, scheme: Scheme, tls: &Client, service: &str) -> HttpPeer {
    let mut peer = HttpPeer {
        _address: to_pingora(address),
        scheme: PeerScheme::HTTP,
        sni: String::new(),
        proxy: None,
        client_cert_key: None,
        group_key: 0,
        options: PeerOptions::new(),
    };
    if scheme.is_tls() {
        let credentials = tls.credentials();
        let adapted = credentials.adapted(adapt);
        peer.scheme = PeerScheme::HTTPS;
        peer.sni = server_name(tls, service);
        peer.client_cert_key.clone_from(&adapted.own);
        peer.group_key = credentials.fingerprint();
        peer.options.ca.clone_from(&adapted.issuers);
        peer.options.verify_cert = tls.verifies();
        peer.options.verify_hostname = tls.verifies();
    }
    if scheme.is_http2() {
        peer.options.alpn = ALPN::H2;
        peer.options.max_h2_streams = MAX_STREAMS;
        peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
        peer.options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        // Not PING: servers of gRPC end a connection that asks them more than once in five minutes.
        peer.options.tcp_keepalive = Some(LookedAfter {
            idle: SILENCE,
            interval: INTERVAL,
            count: RETRIES as usize,
            user_timeout: UNACKNOWLEDGED,
        });
    }
    peer
}

/// Never empty: Pingora verifies nothing for the sake of nobody.
fn server_name(tls: &Client, service: &str) -> String {
    let name = tls.server_name(service).into_owned();
    if name.is_empty() {
        "invalid".to_owned()
    } else {
        name
    }
}

fn adapt(credentials: &Credentials) -> Adapted {
    let issuers = credentials.issuers.as_ref().map(|issuers| {
        let wrapped = |issuer: &_| WrappedX509::new(der(issuer), parse_x509);
        issuers.iter().map(wrapped).collect()
    });
    let own = credentials.own.as_ref().map(|(chain, key)| {
        let chain = chain.iter().map(der).collect();
        Arc::new(CertKey::new(chain, key.secret_der().to_vec()))
    });
    Adapted { issuers, own }
}

fn der(certificate: &rustls_pki_types::CertificateDer<'_>) -> Vec<u8> {
    certificate.as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_speaks_http_2_is_not_asked_more_often_than_servers_of_grpc_bear() {
        for scheme in [Scheme::H2c, Scheme::H2] {
            let target = Target {
                scheme,
                ..Target::plain(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
            };
            let options = target.peer().options;
            assert_eq!(options.h2_ping_interval, None);
            let keepalive = options.tcp_keepalive.unwrap();
            assert!(keepalive.count > 0 && !keepalive.user_timeout.is_zero());
        }
    }
}
