//! The certificate of all proxies, and how clients take it.

use std::path::Path;
use std::sync::Arc;
use std::{fs, iter};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The name it is for.
pub(crate) const NAME: &str = "localhost";

/// A certificate that signs itself.
pub(crate) struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    pub(crate) fn new() -> Self {
        Self(generate_simple_self_signed([NAME.to_owned()]).unwrap())
    }

    /// Writes `cert.pem`, `key.pem`, and `both.pem` for those that want one file.
    pub(crate) fn write(&self, folder: &Path) {
        let (cert, key) = (self.0.cert.pem(), self.0.signing_key.serialize_pem());
        fs::write(folder.join("cert.pem"), &cert).unwrap();
        fs::write(folder.join("key.pem"), &key).unwrap();
        fs::write(folder.join("both.pem"), cert + &key).unwrap();
    }

    /// Clients that believe it and speak this protocol.
    pub(crate) fn connector(&self, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(iter::once(self.0.cert.der().clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        TlsConnector::from(Arc::new(config))
    }
}
