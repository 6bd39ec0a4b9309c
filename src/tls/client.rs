//! What handshakes with a service's instances go by, once their files are read.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock, OnceLock};

use arc_swap::ArcSwap;
use log::warn;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use xxhash_rust::xxh3::Xxh3;

use super::files::{self, Wrong};
use super::unverified::Unverified;
use super::{CertificateFiles, ClientSettings, Summary};

/// The issuers of the system, read when the first connection needs them.
static SYSTEM: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        warn!("an issuer of the system cannot be read: {error}");
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    Arc::new(store)
});

/// Whom callboard believes to be an instance of a service, and what it shows of itself. Equal to
/// another when the settings and the contents of the files are.
pub struct Client {
    settings: ClientSettings,
    host_suffix: String,
    current: ArcSwap<Credentials>,
}

/// What was made of the files.
pub struct Credentials {
    /// The issuers that are believed; `None` are those of the system.
    pub issuers: Option<Vec<CertificateDer<'static>>>,
    /// What callboard shows of itself: the chain, its own certificate first, and its key.
    pub own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    fingerprint: u64,
    /// Without the system's issuers, which are not read before they are needed.
    base: Arc<ClientConfig>,
    whole: OnceLock<Arc<ClientConfig>>,
    adapted: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Client {
    /// Reads the files of `settings`. An instance's certificate is for its service's name and
    /// `host_suffix`, such as `.callboard`, unless the settings name another.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(settings: ClientSettings, host_suffix: &str) -> Result<Self, Wrong> {
        let current = ArcSwap::from_pointee(read(&settings)?);
        Ok(Self {
            settings,
            host_suffix: host_suffix.to_owned(),
            current,
        })
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// What follows the name of a service in the names of its instances' certificates.
    pub fn host_suffix(&self) -> &str {
        &self.host_suffix
    }

    /// Whether certificates are verified.
    pub fn verifies(&self) -> bool {
        self.settings.verify
    }

    /// The name that the certificates of `service`'s instances must be for.
    pub fn server_name(&self, service: &str) -> Cow<'_, str> {
        match &self.settings.server_name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(format!("{service}{}", self.host_suffix)),
        }
    }

    /// What handshakes go by now; it says nothing of the protocols to choose among.
    pub fn config(&self) -> Arc<ClientConfig> {
        let current = self.current.load();
        if !self.settings.verify || current.issuers.is_some() {
            return Arc::clone(&current.base);
        }
        let whole = current.whole.get_or_init(|| {
            let builder = WebPkiServerVerifier::builder_with_provider(
                Arc::clone(&SYSTEM),
                Arc::clone(current.base.crypto_provider()),
            );
            match builder.build() {
                Ok(verifier) => Arc::new(verified_by(&current.base, verifier)),
                // A system without issuers: nobody is believed.
                Err(_) => Arc::clone(&current.base),
            }
        });
        Arc::clone(whole)
    }

    /// What was read last.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// Reads the files again; says whether they had changed. Connections that are open stay until
    /// their requests are over, and get no others.
    ///
    /// # Errors
    /// As [`Client::load`]; what was read before stays in force.
    pub fn refresh(&self) -> Result<bool, Wrong> {
        if self.settings.ca.is_none() && self.settings.certificate.is_none() {
            return Ok(false);
        }
        let new = read(&self.settings)?;
        let changed = new.fingerprint != self.current.load().fingerprint;
        if changed {
            self.current.store(Arc::new(new));
        }
        Ok(changed)
    }
}

impl Credentials {
    /// Its own certificate, if it has one, and those of the issuers that are believed, unless they are
    /// the system's.
    pub fn certificates(&self) -> Vec<Summary> {
        let own = self.own.as_ref().and_then(|(chain, _)| chain.first());
        let issuers = self.issuers.iter().flatten();
        own.into_iter()
            .chain(issuers)
            .filter_map(Summary::of)
            .collect()
    }

    /// Tells connections made by these settings and files from those made by others.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The files in the form that a library wants, which `adapt` gives them once.
    pub fn adapted<T: Any + Send + Sync>(&self, adapt: impl Fn(&Self) -> T) -> Arc<T> {
        let kept = self.adapted.get_or_init(|| Arc::new(adapt(self)));
        let kept = Arc::clone(kept).downcast::<T>();
        kept.unwrap_or_else(|_| Arc::new(adapt(self)))
    }
}

fn read(settings: &ClientSettings) -> Result<Credentials, Wrong> {
    let mut hash = Xxh3::new();
    let said = format!("{:?} {}", settings.server_name, settings.verify);
    hash.update(said.as_bytes());
    let mut store = RootCertStore::empty();
    let issuers = match &settings.ca {
        None => None,
        Some(ca) => {
            let (issuers, text) = files::issuers("ca", ca)?;
            for issuer in &issuers {
                store.add(issuer.clone()).map_err(|error| {
                    Wrong::new(
                        "ca",
                        ca,
                        &format!(
                            "holds a certificate that is damaged: {error} (expected PEM with the \
                             issuers' certificates)"
                        ),
                    )
                })?;
            }
            hash.update(&text);
            Some(issuers)
        }
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .map_err(|error| Wrong {
            certificate: None,
            field: "verify".to_owned(),
            problem: format!("TLS cannot be spoken: {error}"),
        })?
        .with_root_certificates(store);
    let (own, config) = match &settings.certificate {
        None => (None, builder.with_no_client_auth()),
        Some(CertificateFiles { cert, key, .. }) => {
            let (chain, chain_text) = files::chain("cert", cert)?;
            let (secret, key_text) = files::key("key", key)?;
            hash.update(&chain_text);
            hash.update(&key_text);
            let config = builder
                .with_client_auth_cert(chain.clone(), secret.clone_key())
                .map_err(|error| unusable(&error, cert, key))?;
            (Some((chain, secret)), config)
        }
    };
    let config = if settings.verify {
        config
    } else {
        verified_by(&config, Arc::new(Unverified::new()))
    };
    Ok(Credentials {
        issuers,
        own,
        fingerprint: hash.digest(),
        base: Arc::new(config),
        whole: OnceLock::new(),
        adapted: OnceLock::new(),
    })
}

fn unusable(error: &rustls::Error, cert: &Path, key: &Path) -> Wrong {
    match error {
        rustls::Error::InconsistentKeys(_) => Wrong::new(
            "key",
            key,
            "does not belong to the certificate (expected the key of the first in cert)",
        ),
        rustls::Error::InvalidCertificate(error) => Wrong::new(
            "cert",
            cert,
            &format!(
                "holds a certificate that is damaged: {error} (expected PEM, callboard's own \
                 certificate first)"
            ),
        ),
        error => Wrong::new("key", key, &format!("cannot be used: {error}")),
    }
}

fn verified_by(base: &ClientConfig, verifier: Arc<dyn ServerCertVerifier>) -> ClientConfig {
    let mut config = base.clone();
    config.dangerous().set_certificate_verifier(verifier);
    config
}

/// For hosts such as `orders.callboard`, by the issuers of the system.
impl Default for Client {
    fn default() -> Self {
        let nothing_to_read = Self::load(ClientSettings::default(), ".callboard");
        nothing_to_read.unwrap_or_else(|wrong| unreachable!("{wrong}"))
    }
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
            && (self.settings.server_name.is_some() || self.host_suffix == other.host_suffix)
            && self.current.load().fingerprint == other.current.load().fingerprint
    }
}

/// Shows no more than the settings: there are private keys in it.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.settings).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn issue() -> (String, String) {
        let names = ["orders.callboard".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn write(folder: &Path) -> ClientSettings {
        let (cert, key) = issue();
        let certificate = CertificateFiles {
            cert: folder.join("own.pem"),
            key: folder.join("own.key"),
            ocsp: None,
        };
        let ca = folder.join("ca.pem");
        fs::write(&ca, &cert).unwrap();
        fs::write(&certificate.cert, cert).unwrap();
        fs::write(&certificate.key, key).unwrap();
        ClientSettings {
            ca: Some(ca),
            certificate: Some(certificate),
            ..ClientSettings::default()
        }
    }

    #[test]
    fn certificates_are_for_the_service_unless_another_name_is_given() {
        assert_eq!(Client::default().server_name("orders"), "orders.callboard");
        let settings = ClientSettings {
            server_name: Some("db.internal".to_owned()),
            ..ClientSettings::default()
        };
        let named = Client::load(settings, ".callboard").unwrap();
        assert_eq!(named.server_name("orders"), "db.internal");
        assert_ne!(named, Client::default());
    }

    #[test]
    fn a_changed_file_makes_another_client_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let settings = write(folder.path());
        let client = Client::load(settings.clone(), ".callboard").unwrap();
        let same = Client::load(settings.clone(), ".callboard").unwrap();
        assert_eq!(client, same);
        assert!(!client.refresh().unwrap());
        let before = client.credentials().fingerprint();

        fs::write(folder.path().join("ca.pem"), issue().0).unwrap();
        assert!(client.refresh().unwrap());
        assert_ne!(client.credentials().fingerprint(), before);
        assert_ne!(client, same);

        let before = client.credentials().fingerprint();
        for (file, text, field) in [
            ("ca.pem", "none".to_owned(), "ca"),
            ("own.key", issue().1, "key"),
            ("own.pem", String::new(), "cert"),
        ] {
            write(folder.path());
            fs::write(folder.path().join(file), text).unwrap();
            assert_eq!(client.refresh().unwrap_err().field, field);
            assert_eq!(client.credentials().fingerprint(), before);
        }
    }

    #[test]
    fn what_is_verified_differs_from_what_is_not() {
        let settings = ClientSettings {
            verify: false,
            ..ClientSettings::default()
        };
        let loose = Client::load(settings, ".callboard").unwrap();
        let strict = Client::default();
        let of = |client: &Client| client.credentials().fingerprint();
        assert_ne!(of(&loose), of(&strict));
        assert!(format!("{:?}", loose.config()).contains("Unverified"));
        assert!(!format!("{:?}", strict.config()).contains("Unverified"));
    }
}
