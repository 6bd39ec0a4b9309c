//! What a listener's handshakes go by, once its files are read.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;

use super::files::{self, Wrong};
use super::{ServerSettings, Version};

/// A listener's certificates and keys, ready for handshakes. Equal to another when the settings and
/// the contents of the files are.
pub struct Server {
    settings: ServerSettings,
    protocols: Vec<Vec<u8>>,
    current: ArcSwap<Current>,
}

/// What was made of the files.
struct Current {
    config: Arc<ServerConfig>,
    texts: Vec<u8>,
}

impl Server {
    /// Reads the files of `settings`; clients may choose among `protocols`, the best first.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(settings: ServerSettings, protocols: &[&[u8]]) -> Result<Self, Wrong> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        let current = ArcSwap::from_pointee(read(&settings, &protocols)?);
        Ok(Self {
            settings,
            protocols,
            current,
        })
    }

    /// What handshakes go by now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// Reads the files again; says whether they had changed. Connections that are open stay.
    ///
    /// # Errors
    /// As [`Server::load`]; what was read before stays in force.
    pub fn refresh(&self) -> Result<bool, Wrong> {
        let new = read(&self.settings, &self.protocols)?;
        let changed = new.texts != self.current.load().texts;
        if changed {
            self.current.store(Arc::new(new));
        }
        Ok(changed)
    }
}

fn read(settings: &ServerSettings, protocols: &[Vec<u8>]) -> Result<Current, Wrong> {
    let Some(first) = settings.certificates.first() else {
        return Err(Wrong {
            field: "cert".to_owned(),
            problem: "no certificate (expected cert and key)".to_owned(),
        });
    };
    let (chain, mut texts) = files::chain("cert", &first.cert)?;
    let (key, key_text) = files::key("key", &first.key)?;
    texts.extend(key_text);
    let versions: &[_] = match settings.oldest {
        Version::Tls12 => rustls::ALL_VERSIONS,
        Version::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Wrong::new(
                "key",
                &first.key,
                "does not belong to the certificate (expected the key of the first in cert)",
            ),
            rustls::Error::InvalidCertificate(error) => Wrong::new(
                "cert",
                &first.cert,
                &format!(
                    "holds a certificate that is damaged: {error} (expected PEM, the server's own \
                     certificate first)"
                ),
            ),
            error => Wrong::new("key", &first.key, &format!("cannot be used: {error}")),
        })?;
    config.alpn_protocols = protocols.to_vec();
    Ok(Current {
        config: Arc::new(config),
        texts,
    })
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
            && self.protocols == other.protocols
            && self.current.load().texts == other.current.load().texts
    }
}

/// Shows no more than the settings: there are private keys in it.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.settings).finish()
    }
}
