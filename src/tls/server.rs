//! What a listener's handshakes go by, once its files are read.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::certificate::{Certificate, Contents};
use super::files::{self, Wrong};
use super::sessions::Sessions;
use super::shown::{Proofs, Shown};
use super::{ACME_TLS_1, ClientCertificates, ServerSettings, Summary, Version};

/// A listener's certificates and keys, ready for handshakes. Equal to another when the settings and
/// the contents of the files are.
///
/// Handshakes go by what is [`current`](Self::config) as they begin. Whoever changes something makes
/// that anew; connections that are open stay.
pub struct Server {
    protocols: Vec<Vec<u8>>,
    parts: Mutex<Parts>,
    current: ArcSwap<Current>,
}

/// What the handshakes' configuration is made of.
struct Parts {
    files: Arc<Files>,
    /// By the names they were installed for, in that order.
    installed: Vec<(Vec<String>, Arc<CertifiedKey>)>,
    proofs: HashMap<String, Arc<CertifiedKey>>,
    /// Shown while there is no other.
    temporary: Option<Arc<CertifiedKey>>,
    sessions: Sessions,
}

/// What was made of the files.
struct Files {
    settings: Arc<ServerSettings>,
    certificates: Vec<Certificate>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Of what they hold.
    digest: [u8; 32],
    /// Of the clients' issuers.
    issuers: [u8; 32],
}

/// What handshakes go by.
struct Current {
    config: Arc<ServerConfig>,
    proving: Option<Arc<ServerConfig>>,
}

impl Server {
    /// Reads the files of `settings`; clients may choose among `protocols`, the best first.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn load(settings: ServerSettings, protocols: &[&[u8]]) -> Result<Self, Wrong> {
        let protocols: Vec<_> = protocols.iter().map(|name| name.to_vec()).collect();
        let read = Read::of(&settings)?;
        let mut parts = Parts {
            files: Arc::new(Files::new(Arc::new(settings), read)?),
            installed: Vec::new(),
            proofs: HashMap::new(),
            temporary: None,
            sessions: Sessions::default(),
        };
        let current = ArcSwap::from_pointee(parts.assemble(&protocols)?);
        Ok(Self {
            protocols,
            parts: Mutex::new(parts),
            current,
        })
    }

    /// What it was made from, or adopted since.
    pub fn settings(&self) -> Arc<ServerSettings> {
        Arc::clone(&self.parts().files.settings)
    }

    /// Tells the contents of its files from others; nothing of them can be told from it.
    pub fn contents(&self) -> u32 {
        let [a, b, c, d, ..] = self.parts().files.digest;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The certificates of its files, in their order.
    pub fn certificates(&self) -> Vec<Summary> {
        let files = Arc::clone(&self.parts().files);
        let certificates = files.certificates.iter();
        certificates
            .filter_map(|certificate| Summary::of(certificate.key.cert.first()?))
            .collect()
    }

    /// What handshakes go by now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().config)
    }

    /// What the handshake that begins with `hello` goes by: an ACME server that wants to see who has a
    /// name (RFC 8737) gets to see nothing else, and needs no certificate of its own.
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let current = self.current.load();
        match &current.proving {
            Some(proving) if Proofs::are_asked_for(hello) => Arc::clone(proving),
            _ => Arc::clone(&current.config),
        }
    }

    /// From now on shows `key` to clients that ask for one of `names`, and, when the files hold no
    /// certificate, to those that ask for no name that is known. Replaces what was installed for the
    /// same names before.
    pub fn install(&self, names: &[String], key: Arc<CertifiedKey>) {
        let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut parts = self.parts();
        match (parts.installed.iter_mut()).find(|(others, _)| *others == names) {
            Some((_, other)) => *other = key,
            None => parts.installed.push((names, key)),
        }
        self.put_in_force(&mut parts);
    }

    /// From now on proves to an ACME server with `key` who has `name` (RFC 8737); `None` ends that.
    pub fn challenge(&self, name: &str, key: Option<Arc<CertifiedKey>>) {
        let name = name.to_ascii_lowercase();
        let mut parts = self.parts();
        match key {
            Some(key) => parts.proofs.insert(name, key),
            None => parts.proofs.remove(&name),
        };
        self.put_in_force(&mut parts);
    }

    /// Reads the files again; says whether they had changed. Connections that are open stay.
    ///
    /// # Errors
    /// As [`Server::load`]; what was read before stays in force.
    pub fn refresh(&self) -> Result<bool, Wrong> {
        let old = Arc::clone(&self.parts().files);
        let read = Read::of(&old.settings)?;
        if read.digest == old.digest {
            return Ok(false);
        }
        let files = Files::new(Arc::clone(&old.settings), read)?;
        let mut parts = self.parts();
        // Whoever adopted others meanwhile knows better.
        if Arc::ptr_eq(&parts.files, &old) {
            parts.replace(Arc::new(files));
            self.put_in_force(&mut parts);
        }
        Ok(true)
    }

    /// From now on does as `other` would, with the certificates that were installed here.
    pub fn adopt(&self, other: &Self) {
        if std::ptr::eq(self, other) {
            return;
        }
        let files = Arc::clone(&other.parts().files);
        let mut parts = self.parts();
        if parts.files.settings == files.settings && parts.files.digest == files.digest {
            return;
        }
        parts.replace(files);
        self.put_in_force(&mut parts);
    }

    /// The certificates that clients will not accept at `now`.
    pub fn unfit(&self, now: SystemTime) -> Vec<Wrong> {
        let files = Arc::clone(&self.parts().files);
        let certificates = files.certificates.iter();
        certificates
            .zip(&files.settings.certificates)
            .enumerate()
            .filter_map(|(position, (certificate, files))| {
                Some(certificate.unfit(files, now)?.of(position))
            })
            .collect()
    }

    fn put_in_force(&self, parts: &mut Parts) {
        match parts.assemble(&self.protocols) {
            Ok(current) => self.current.store(Arc::new(current)),
            Err(wrong) => log::error!("TLS stays as it was: {wrong}"),
        }
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// Goes by other files from now on.
    fn replace(&mut self, files: Arc<Files>) {
        let (old, new) = (&self.files, &files);
        if old.settings.clients != new.settings.clients || old.issuers != new.issuers {
            // A resumed session brings along who the client was found to be.
            self.sessions = Sessions::default();
        }
        if old.settings.acme != new.settings.acme {
            let wanted = &new.settings.acme;
            (self.installed).retain(|(names, _)| names.iter().any(|name| wanted.contains(name)));
            self.temporary = None;
        }
        self.files = files;
    }

    fn assemble(&mut self, protocols: &[Vec<u8>]) -> Result<Current, Wrong> {
        let files = Arc::clone(&self.files);
        let mut shown = Shown::default();
        for certificate in &files.certificates {
            shown.add(&certificate.names, &certificate.key);
        }
        for (names, key) in &self.installed {
            shown.add(names, key);
        }
        if shown.is_empty() {
            let names = &files.settings.acme;
            if self.temporary.is_none() {
                self.temporary = Certificate::self_signed(names);
            }
            let made = self.temporary.as_ref().ok_or_else(|| {
                failed("no certificate can be made to begin with (expected names of hosts)")
            })?;
            shown.add(names, made);
        } else {
            self.temporary = None;
        }
        let builder = builder(files.settings.oldest)?;
        let builder = match &files.verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = protocols.to_vec();
        self.sessions.apply(&mut config);
        Ok(Current {
            config: Arc::new(config),
            proving: self.proving()?,
        })
    }

    fn proving(&self) -> Result<Option<Arc<ServerConfig>>, Wrong> {
        if self.proofs.is_empty() {
            return Ok(None);
        }
        let mut config = builder(self.files.settings.oldest)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Proofs(self.proofs.clone())));
        config.alpn_protocols = vec![ACME_TLS_1.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(Some(Arc::new(config)))
    }
}

/// What the files hold.
struct Read {
    certificates: Vec<Contents>,
    issuers: Option<rustls::RootCertStore>,
    digest: [u8; 32],
    issuers_digest: [u8; 32],
}

impl Read {
    fn of(settings: &ServerSettings) -> Result<Self, Wrong> {
        let mut digest = Sha256::new();
        let certificates = settings.certificates.iter().enumerate();
        let certificates = certificates
            .map(|(position, files)| {
                Contents::read(files, &mut digest).map_err(|wrong| wrong.of(position))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let mut issuers_digest = [0; 32];
        let issuers = match &settings.clients {
            Some(ClientCertificates { ca, .. }) => {
                let (issuers, text) = files::issuers("clients.ca", ca)?;
                issuers_digest = Sha256::digest(text).into();
                digest.update(issuers_digest);
                let mut roots = rustls::RootCertStore::empty();
                for issuer in issuers {
                    roots.add(issuer).map_err(|error| {
                        let problem = format!(
                            "holds a certificate that is damaged: {error} (expected PEM with the \
                             issuers' certificates)"
                        );
                        Wrong::new("clients.ca", ca, &problem)
                    })?;
                }
                Some(roots)
            }
            None => None,
        };
        Ok(Self {
            certificates,
            issuers,
            digest: digest.finalize().into(),
            issuers_digest,
        })
    }
}

impl Files {
    fn new(settings: Arc<ServerSettings>, read: Read) -> Result<Self, Wrong> {
        let contents = read.certificates.into_iter().zip(&settings.certificates);
        let certificates = contents
            .enumerate()
            .map(|(position, (contents, files))| {
                Certificate::new(contents, files).map_err(|wrong| wrong.of(position))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() && settings.acme.is_empty() {
            return Err(failed("no certificate (expected cert and key)"));
        }
        let verifier = match (&settings.clients, read.issuers) {
            (Some(clients), Some(roots)) => Some(verifier(clients, roots)?),
            _ => None,
        };
        Ok(Self {
            certificates,
            verifier,
            digest: read.digest,
            issuers: read.issuers_digest,
            settings,
        })
    }
}

fn verifier(
    clients: &ClientCertificates,
    roots: rustls::RootCertStore,
) -> Result<Arc<dyn ClientCertVerifier>, Wrong> {
    let provider = Arc::new(ring::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| {
        let problem = format!("cannot be used: {error} (expected the issuers' certificates)");
        Wrong::new("clients.ca", &clients.ca, &problem)
    })
}

fn builder(
    oldest: Version,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Wrong> {
    let versions: &[_] = match oldest {
        Version::Tls12 => rustls::ALL_VERSIONS,
        Version::Tls13 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| failed(&error.to_string()))
}

/// What is wrong with no file in particular.
fn failed(problem: &str) -> Wrong {
    Wrong {
        field: "cert".to_owned(),
        certificate: None,
        problem: problem.to_owned(),
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        // One lock at a time: both may be the same, or be compared the other way round elsewhere.
        let ours = Arc::clone(&self.parts().files);
        let theirs = Arc::clone(&other.parts().files);
        self.protocols == other.protocols
            && ours.settings == theirs.settings
            && ours.digest == theirs.digest
    }
}

/// Shows no more than the settings: there are private keys in it.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.settings()).finish()
    }
}
