//! `registry.tls`: the control plane's certificate and key, read and found to go together, so that
//! a faulty file is an error of the configuration and not of the first connection.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::raw;
use super::report::{Path, Report};
use super::scalar::quoted;
use crate::api::access::Digest;

/// The longest file read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// A listener's certificate and key, ready for handshakes: TLS 1.2 and 1.3, HTTP/1.1.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// Of both files.
    digest: Digest,
}

impl Tls {
    /// What handshakes go by.
    pub fn server(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }
}

/// The same when the files are.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Shows nothing: there is a private key in it.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// What is wrong with one of the two keys.
type Wrong = (&'static str, String);

/// The certificate and key, if they are named and go together.
pub(super) fn tls(raw: &raw::TlsFiles, report: &mut Report) -> Option<Tls> {
    let path = Path::default().key("registry").key("tls");
    match (&raw.cert, &raw.key) {
        (Some(cert), Some(key)) => match read(&cert.0, &key.0) {
            Ok(tls) => return Some(tls),
            Err((field, wrong)) => report.error(&path.key(field), wrong),
        },
        _ if report.whole(&path) => report.error(
            &path,
            "lacks one of its two files (expected for example {cert: server.pem, key: server.key})",
        ),
        _ => {}
    }
    None
}

fn read(cert: &PathBuf, key: &PathBuf) -> Result<Tls, Wrong> {
    let wrong = |field, file: &PathBuf, what: &str| -> Wrong {
        (field, format!("{} {what}", quoted(&file.to_string_lossy())))
    };
    let expected_chain = "(expected PEM, the server's own certificate first)";
    let expected_key = "(expected PEM with an unencrypted key in PKCS#8, PKCS#1 or SEC1)";
    let chain_text = contents(cert)
        .map_err(|error| wrong("cert", cert, &format!("{error} {expected_chain}")))?;
    let key_text =
        contents(key).map_err(|error| wrong("key", key, &format!("{error} {expected_key}")))?;

    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_text).collect();
    let chain = chain.map_err(|_| wrong("cert", cert, &format!("is damaged {expected_chain}")))?;
    if chain.is_empty() {
        let what = format!("holds no certificate {expected_chain}");
        return Err(wrong("cert", cert, &what));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_text)
        .map_err(|_| wrong("key", key, &format!("holds no private key {expected_key}")))?;

    let provider = Arc::new(ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong(
                "key",
                key,
                "does not belong to the certificate (expected the key of the first in cert)",
            ),
            rustls::Error::InvalidCertificate(error) => wrong(
                "cert",
                cert,
                &format!("holds a certificate that is damaged: {error} {expected_chain}"),
            ),
            error => wrong(
                "key",
                key,
                &format!("cannot be used: {error} {expected_key}"),
            ),
        })?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls {
        server: Arc::new(server),
        digest: Digest::of(&[chain_text, key_text].concat()),
    })
}

fn contents(path: &PathBuf) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let mut reader = file.take(MAX_BYTES + 1);
    reader.read_to_end(&mut bytes).map_err(unreadable)?;
    if reader.limit() == 0 {
        return Err(format!("is longer than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (cert.pem(), signing_key.serialize_pem())
    }

    fn read_texts(dir: &Path, cert: &str, key: &str) -> Result<Tls, String> {
        let files = [dir.join("cert.pem"), dir.join("key.pem")];
        std::fs::write(&files[0], cert).unwrap();
        std::fs::write(&files[1], key).unwrap();
        read(&files[0], &files[1]).map_err(|(field, wrong)| {
            let wrong = wrong.replace(&dir.display().to_string(), "DIR");
            format!("{field}: {wrong}")
        })
    }

    #[test]
    fn a_certificate_and_its_key_go_together_and_show_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = pair();
        let tls = read_texts(dir.path(), &cert, &key).unwrap();
        assert_eq!(tls.server().alpn_protocols, [b"http/1.1"]);
        assert_eq!(format!("{tls:?}"), "Tls(…)");
        assert_eq!(tls, read_texts(dir.path(), &cert, &key).unwrap());
    }

    #[test]
    fn faulty_files_are_named_with_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let ((cert, key), (_, other)) = (pair(), pair());
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (cert, key, wrong) in [
            ("", &*key, "cert: \"DIR/cert.pem\" holds no certificate"),
            (&*key, &*key, "cert: \"DIR/cert.pem\" holds no certificate"),
            (
                damaged,
                &key,
                "cert: \"DIR/cert.pem\" holds a certificate that is damaged",
            ),
            (&cert, "", "key: \"DIR/key.pem\" holds no private key"),
            (&cert, &cert, "key: \"DIR/key.pem\" holds no private key"),
            (
                &cert,
                &other,
                "key: \"DIR/key.pem\" does not belong to the certificate",
            ),
        ] {
            let error = read_texts(dir.path(), cert, key).unwrap_err();
            assert!(error.starts_with(wrong), "{error}");
            assert!(error.contains("(expected "), "{error}");
        }
        let absent = dir.path().join("absent");
        let (field, error) = read(&absent, &absent).unwrap_err();
        assert_eq!(field, "cert");
        assert!(error.contains("cannot be read: No such file"), "{error}");
    }
}
