//! Certificates and keys as they lie in files.

use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::files;

/// The longest file read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// What is wrong with one of the files that the settings name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Wrong {
    /// The setting that names it: `cert`, `key`, `ocsp`, `ca` or `clients.ca`.
    pub field: String,
    /// Which of the certificates it is about, by position; `None` is none of them.
    pub certificate: Option<usize>,
    /// The file and what is wrong with it, for operators.
    pub problem: String,
}

impl Wrong {
    pub(super) fn new(field: &str, path: &Path, problem: &str) -> Self {
        Self {
            field: field.to_owned(),
            certificate: None,
            problem: format!("{:?} {problem}", path.to_string_lossy()),
        }
    }

    /// The same of the certificate at `position`.
    pub(super) fn of(self, position: usize) -> Self {
        Self {
            certificate: Some(position),
            ..self
        }
    }
}

/// The certificates of a PEM file, at least one, and its text.
pub(super) fn chain(
    field: &str,
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), Wrong> {
    const EXPECTED: &str = "(expected PEM, the server's own certificate first)";
    certificates(field, path, EXPECTED)
}

/// The certificates of issuers in a PEM file, at least one, and its text.
pub(super) fn issuers(
    field: &str,
    path: &Path,
) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), Wrong> {
    certificates(field, path, "(expected PEM with the issuers' certificates)")
}

fn certificates(
    field: &str,
    path: &Path,
    expected: &str,
) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), Wrong> {
    let wrong = |what: String| Wrong::new(field, path, &format!("{what} {expected}"));
    let text = contents(path).map_err(wrong)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|_| wrong("is damaged".to_owned()))?;
    if chain.is_empty() {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Ok((chain, text))
}

/// The private key of a PEM file, and its text.
pub(super) fn key(field: &str, path: &Path) -> Result<(PrivateKeyDer<'static>, Vec<u8>), Wrong> {
    const EXPECTED: &str = "(expected PEM with an unencrypted key in PKCS#8, PKCS#1 or SEC1)";
    let wrong = |what: String| Wrong::new(field, path, &format!("{what} {EXPECTED}"));
    let text = contents(path).map_err(wrong)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| wrong("holds no private key".to_owned()))?;
    Ok((key, text))
}

/// The bytes of a file that is no PEM.
pub(super) fn bytes(field: &str, path: &Path) -> Result<Vec<u8>, Wrong> {
    contents(path).map_err(|what| Wrong::new(field, path, &what))
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    files::read(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))
}
