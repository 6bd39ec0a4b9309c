use std::fs;
use std::path::Path;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::duplex;
use tokio_rustls::TlsConnector;

use super::super::{CertificateFiles, HTTP_1};
use super::*;

/// A client that takes what it is shown.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The certificate that a client is shown which asks for `name` and speaks `protocol`, if any, and
/// whether its connection goes on from there.
async fn meet(server: &Server, name: &str, protocol: &[u8]) -> (Option<Vec<u8>>, bool) {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let (near, far) = duplex(64 << 10);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = async move {
        TlsConnector::from(Arc::new(config))
            .connect(name, near)
            .await
    };
    let (connected, accepted) = tokio::join!(connecting, server.accept(far));
    let shown = connected.ok().and_then(|stream| {
        let (_, session) = stream.get_ref();
        Some(session.peer_certificates()?.first()?.to_vec())
    });
    (shown, accepted.is_ok())
}

fn key(name: &str) -> (Arc<CertifiedKey>, Vec<u8>) {
    let key = Certificate::self_signed(&[name.to_owned()]).unwrap();
    let der = key.cert[0].to_vec();
    (key, der)
}

fn acme(names: &[&str]) -> Server {
    let settings = ServerSettings {
        acme: names.iter().map(|&name| name.to_owned()).collect(),
        ..ServerSettings::default()
    };
    Server::load(settings, &[HTTP_1]).unwrap()
}

/// Writes a new certificate for `name`; gives it as clients see it.
fn write(folder: &Path, name: &str) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    fs::write(folder.join("cert"), made.cert.pem()).unwrap();
    fs::write(folder.join("key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().to_vec()
}

fn filed(folder: &Path, acme: &[&str]) -> ServerSettings {
    ServerSettings {
        certificates: vec![CertificateFiles {
            cert: folder.join("cert"),
            key: folder.join("key"),
            ocsp: None,
        }],
        acme: acme.iter().map(|&name| name.to_owned()).collect(),
        ..ServerSettings::default()
    }
}

#[tokio::test]
async fn a_listener_without_a_certificate_shows_a_temporary_one_until_it_gets_its_own() {
    let server = acme(&["a.test", "b.test"]);
    assert!(matches!(
        meet(&server, "a.test", HTTP_1).await,
        (Some(_), true)
    ));
    let (first, shown_first) = key("a.test");
    server.install(&["A.test".to_owned()], first);
    let (second, shown_second) = key("b.test");
    server.install(&["b.test".to_owned()], second);
    for (name, shown) in [
        ("a.test", &shown_first),
        ("b.test", &shown_second),
        ("c.test", &shown_first),
    ] {
        assert_eq!(
            meet(&server, name, HTTP_1).await.0.as_ref(),
            Some(shown),
            "{name}"
        );
    }
    let (renewed, shown_renewed) = key("a.test");
    server.install(&["a.test".to_owned()], renewed);
    assert_eq!(meet(&server, "a.test", HTTP_1).await.0, Some(shown_renewed));
}

#[tokio::test]
async fn only_an_acme_server_is_shown_the_proof_of_a_name_and_nothing_else() {
    let server = acme(&["a.test"]);
    let (installed, shown) = key("a.test");
    server.install(&["a.test".to_owned()], installed);
    let (proof, proving) = key("a.test");
    assert_eq!(meet(&server, "a.test", ACME_TLS_1).await, (None, false));
    server.challenge("a.test", Some(proof));
    assert_eq!(
        meet(&server, "a.test", ACME_TLS_1).await,
        (Some(proving), false)
    );
    assert_eq!(meet(&server, "b.test", ACME_TLS_1).await, (None, false));
    assert_eq!(meet(&server, "a.test", HTTP_1).await, (Some(shown), true));
    server.challenge("A.test", None);
    assert_eq!(meet(&server, "a.test", ACME_TLS_1).await, (None, false));
}

#[tokio::test]
async fn files_are_read_again_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = write(folder.path(), "a.test");
    let server = Server::load(filed(folder.path(), &[]), &[HTTP_1]).unwrap();
    assert_eq!(server.refresh(), Ok(false));
    #[allow(clippy::eq_op, reason = "it has a lock, which it must not take twice")]
    let is_itself = server == server;
    assert!(is_itself);
    assert_eq!(meet(&server, "a.test", HTTP_1).await.0, Some(old));
    let new = write(folder.path(), "a.test");
    assert_eq!(server.refresh(), Ok(true));
    assert_eq!(server.refresh(), Ok(false));
    fs::write(folder.path().join("key"), "").unwrap();
    let wrong = server.refresh().unwrap_err();
    assert_eq!((wrong.field.as_str(), wrong.certificate), ("key", Some(0)));
    assert_eq!(meet(&server, "a.test", HTTP_1).await.0, Some(new));
}

#[tokio::test]
async fn what_was_installed_outlives_other_files_as_long_as_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let server = acme(&["a.test"]);
    let (installed, shown) = key("a.test");
    server.install(&["a.test".to_owned()], installed);
    let written = write(folder.path(), "b.test");
    let settings = filed(folder.path(), &["a.test"]);
    server.adopt(&Server::load(settings.clone(), &[HTTP_1]).unwrap());
    assert_eq!(*server.settings(), settings);
    assert_eq!(meet(&server, "a.test", HTTP_1).await.0, Some(shown));
    assert_eq!(
        meet(&server, "b.test", HTTP_1).await.0,
        Some(written.clone())
    );
    server.adopt(&Server::load(filed(folder.path(), &[]), &[HTTP_1]).unwrap());
    assert_eq!(meet(&server, "a.test", HTTP_1).await.0, Some(written));
}
