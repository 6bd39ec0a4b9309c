//! TLS: what callboard shows of itself, and of whom it wants to see what.
//!
//! [`Server`] is for whoever listens, [`Client`] for whoever connects. Both are read from
//! files when the configuration is, so that a faulty file is an error of the configuration and not of
//! the first connection.

mod certificate;
mod client;
mod files;
mod handshake;
mod identity;
mod ocsp;
mod server;
mod sessions;
mod shown;
mod summary;
mod unverified;

use std::path::PathBuf;

pub use client::{Client, Credentials};
pub use files::Wrong;
pub use handshake::HANDSHAKE;
pub use identity::Identity;
pub use server::Server;
pub use summary::Summary;

/// ALPN's name of HTTP/1.1 (RFC 7301).
pub const HTTP_1: &[u8] = b"http/1.1";
/// ALPN's name of HTTP/2 over TLS (RFC 9113, section 3.2).
pub const HTTP_2: &[u8] = b"h2";
/// ALPN's name of what an ACME server speaks to see who has a name (RFC 8737).
pub const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// What a listener's handshakes go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// The certificates; a client that names none of them is shown the first.
    pub certificates: Vec<CertificateFiles>,
    /// The names for which a certificate is had from an ACME server.
    pub acme: Vec<String>,
    /// Whether clients show a certificate of their own; `None` is not asked for.
    pub clients: Option<ClientCertificates>,
    /// The oldest version spoken.
    pub oldest: Version,
}

/// A certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, the server's own certificate first.
    pub cert: PathBuf,
    /// The unencrypted key in PEM.
    pub key: PathBuf,
    /// What the issuer says of the certificate, in DER (RFC 6960), to be shown along with it.
    pub ocsp: Option<PathBuf>,
}

/// What clients show of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The issuers that are believed, in PEM.
    pub ca: PathBuf,
    /// Whether a client without a certificate is turned away.
    pub required: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 5246, with the cipher suites that are still safe.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// How callboard connects to the instances of a service that speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// The issuers that are believed, in PEM; `None` are those of the system.
    pub ca: Option<PathBuf>,
    /// What callboard shows of itself.
    pub certificate: Option<CertificateFiles>,
    /// The name that the instances' certificates must be for; `None` is the service's host.
    pub server_name: Option<String>,
    /// Whether certificates are verified at all.
    pub verify: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            server_name: None,
            verify: true,
        }
    }
}
