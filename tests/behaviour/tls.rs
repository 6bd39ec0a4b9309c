//! TLS on the control plane.

use std::fs;
use std::path::Path;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Callboard, Setup};

/// Writes a new certificate for 127.0.0.1 and its key; gives the certificate.
fn write_pair(folder: &Path) -> String {
    let names = ["127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.pem()
}

fn setup(folder: &Path) -> Setup {
    let folder = folder.display();
    Setup::default().registry(&format!(
        "tls: {{cert: {folder}/cert.pem, key: {folder}/key.pem}}"
    ))
}

/// Whether a client that trusts only this certificate is answered.
async fn serves(callboard: &Callboard, certificate: &str) -> bool {
    let trusted = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]);
    let request = client.build().unwrap().get(callboard.api("/services"));
    match request.send().await {
        Ok(reply) => reply.status() == 200,
        Err(error) if error.is_connect() => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_control_plane_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_pair(folder.path());
    let setup = setup(folder.path()).registry("limits: {connections: 1}");
    let callboard = setup.start();
    assert!(callboard.registry.starts_with("https://"));
    let address = callboard.registry.strip_prefix("https://").unwrap();
    // Each of these would keep the only connection there may be from the next.
    for _ in 0..3 {
        let mut plain = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        plain.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end as well.
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        assert!(serves(&callboard, &certificate).await);
    }
}

#[tokio::test]
async fn a_reload_puts_a_new_certificate_in_force_and_refuses_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_pair(folder.path());
    let callboard = setup(folder.path()).start();
    assert!(serves(&callboard, &old).await);
    let new = write_pair(folder.path());
    callboard.reload("configuration reloaded").await;
    assert!(serves(&callboard, &new).await);
    assert!(!serves(&callboard, &old).await);

    fs::write(folder.path().join("cert.pem"), &old).unwrap();
    callboard.reload("was not reloaded").await;
    assert!(serves(&callboard, &new).await);
    let log = callboard.log();
    assert!(log.contains("does not belong to the certificate"), "{log}");

    callboard.rewrite(&Setup::default());
    callboard.reload("registry.tls changed; a restart").await;
    assert!(serves(&callboard, &new).await);
}
