//! One certificate that callboard shows: read, checked against its key, and taken apart for the names
//! it is for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::generate_simple_self_signed;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::files::{self, Wrong};
use super::{CertificateFiles, ocsp};

/// A certificate with its key, and the names it is for.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// In lower case; `*.example.com` is each name directly below.
    pub(super) names: Vec<String>,
    /// From when on and until when it is valid.
    validity: (SystemTime, SystemTime),
}

/// The contents of a certificate's files.
pub(super) struct Contents {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    ocsp: Option<Vec<u8>>,
}

impl Contents {
    /// Reads `files`, and adds what they hold to `digest`.
    pub(super) fn read(files: &CertificateFiles, digest: &mut Sha256) -> Result<Self, Wrong> {
        let (chain, text) = files::chain("cert", &files.cert)?;
        digest.update(Sha256::digest(text));
        let (key, text) = files::key("key", &files.key)?;
        digest.update(Sha256::digest(text));
        let ocsp = files.ocsp.as_deref();
        let ocsp = ocsp.map(|path| files::bytes("ocsp", path)).transpose()?;
        digest.update(Sha256::digest(ocsp.as_deref().unwrap_or_default()));
        Ok(Self { chain, key, ocsp })
    }
}

impl Certificate {
    /// What was read of `files`, once it is seen to belong together.
    pub(super) fn new(contents: Contents, files: &CertificateFiles) -> Result<Self, Wrong> {
        let Contents { chain, key, ocsp } = contents;
        let leaf = chain.first().cloned();
        let key = any_supported_type(&key)
            .map_err(|error| Wrong::new("key", &files.key, &format!("cannot be used: {error}")))?;
        let mut certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Wrong::new(
                "key",
                &files.key,
                "does not belong to the certificate (expected the key of the first in cert)",
            ),
            error => damaged(&files.cert, &error.to_string()),
        })?;
        let leaf = leaf.as_deref().unwrap_or_default();
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| damaged(&files.cert, &error.to_string()))?;
        if let (Some(path), Some(response)) = (&files.ocsp, &ocsp) {
            ocsp::check(path, response, parsed.raw_serial())?;
        }
        let (names, validity) = (names(&parsed), validity(&parsed));
        certified.ocsp = ocsp;
        Ok(Self {
            key: Arc::new(certified),
            names,
            validity,
        })
    }

    /// Why clients will not accept it at `now`, though it is shown.
    pub(super) fn unfit(&self, files: &CertificateFiles, now: SystemTime) -> Option<Wrong> {
        let (begin, end) = self.validity;
        let moment = |time| humantime::format_rfc3339_seconds(time);
        let problem = if end < now {
            format!("expired at {} (expected a newer certificate)", moment(end))
        } else if now < begin {
            let begin = moment(begin);
            format!("is valid from {begin} on (expected an earlier one, or another clock)")
        } else {
            return None;
        };
        Some(Wrong::new("cert", &files.cert, &problem))
    }

    /// A certificate for `names` that nobody vouches for.
    pub(super) fn self_signed(names: &[String]) -> Option<Arc<CertifiedKey>> {
        let made = generate_simple_self_signed(names).ok()?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).ok()?;
        let key = any_supported_type(&key).ok()?;
        let chain = vec![made.cert.der().clone()];
        Some(Arc::new(CertifiedKey::new(chain, key)))
    }
}

fn damaged(path: &Path, why: &str) -> Wrong {
    let problem = format!(
        "holds a certificate that is damaged: {why} (expected PEM, the server's own certificate first)"
    );
    Wrong::new("cert", path, &problem)
}

/// The hosts of the certificate's subjectAltName (RFC 6125, section 6.4).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

pub(super) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let validity = certificate.validity();
    let moment = |timestamp: i64| {
        // What is before 1970 is as past as can be.
        let seconds = u64::try_from(timestamp).unwrap_or_default();
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        moment.unwrap_or(UNIX_EPOCH)
    };
    (
        moment(validity.not_before.timestamp()),
        moment(validity.not_after.timestamp()),
    )
}
