//! TLS on TCP listeners: passed through by the name it asks for, or ended, and spoken with instances.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::peers::{self, Server};
use crate::support::talker::{Manner, Talker, echo, read_line};
use crate::support::{Callboard, Setup, eventually};

/// A certificate of its own for one name.
struct Pair {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: (String, String),
}

fn pair(name: &str) -> Pair {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        certificate: cert.der().clone(),
        key: PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
        pem: (cert.pem(), signing_key.serialize_pem()),
    }
}

impl Pair {
    fn write(&self, folder: &Path, name: &str) {
        fs::write(folder.join(format!("{name}.pem")), &self.pem.0).unwrap();
        fs::write(folder.join(format!("{name}.key")), &self.pem.1).unwrap();
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Speaks TLS with `name` on a connection to the second listener, trusting these only.
async fn secured(
    callboard: &Callboard,
    name: &str,
    trusted: &[&Pair],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.certificate.clone()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = callboard.dial(1).await;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

fn by_name(extra: &str) -> Setup {
    let sni = "sni: {a.example.com: alpha, \"*.example.com\": beta}";
    Setup::default()
        .registry("admission: trust")
        .listener(&format!("protocol: tcp, {sni}{extra}"))
}

async fn secured_talker(id: &str, name: &str) -> (Talker, Pair) {
    let pair = pair(name);
    let talker = Talker::with_manner(id, Manner::Secured(pair.acceptor())).await;
    (talker, pair)
}

#[tokio::test]
async fn tls_is_passed_through_by_the_name_it_asks_for() {
    let callboard = by_name("").start();
    let (alpha, alpha_pair) = secured_talker("alpha-1", "a.example.com").await;
    let (beta, beta_pair) = secured_talker("beta-1", "b.example.com").await;
    callboard.register_talker("alpha", &alpha).await;
    callboard.register_talker("beta", &beta).await;
    for _ in 0..3 {
        let mut a = secured(&callboard, "a.example.com", &[&alpha_pair])
            .await
            .unwrap();
        assert_eq!(read_line(&mut a).await, "alpha-1");
        assert_eq!(echo(&mut a, "hello").await, "hello");
        let mut b = secured(&callboard, "B.example.com", &[&beta_pair])
            .await
            .unwrap();
        assert_eq!(read_line(&mut b).await, "beta-1");
    }
}

#[tokio::test]
async fn a_name_that_is_no_service_s_is_told_so() {
    let callboard = by_name("").start();
    let error = secured(&callboard, "other.test", &[]).await.unwrap_err();
    let told = error.get_ref().unwrap().downcast_ref::<rustls::Error>();
    let unknown = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
    assert_eq!(told, Some(&unknown));
    // What is no TLS has no name at all.
    let mut plain = callboard.dial(1).await;
    plain.write_all(b"PING\r\n").await.unwrap();
    assert_eq!(read_line(&mut plain).await, "");
    let metrics = callboard.metrics().await;
    let unrouted = "callboard_tcp_failures_total{reason=\"no_route\"} 2\n";
    assert!(metrics.contains(unrouted), "{metrics}");
}

#[tokio::test]
async fn what_is_no_tls_goes_to_the_listener_s_own_service() {
    let callboard = by_name(", service: rest").start();
    let rest = Talker::start("rest-1").await;
    callboard.register_talker("rest", &rest).await;
    // A hello that breaks off within, and one of another protocol.
    for (start, ends) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], true),
        (b"PING\r\n", false),
    ] {
        let mut stream = callboard.dial(1).await;
        stream.write_all(start).await.unwrap();
        if ends {
            stream.shutdown().await.unwrap();
        }
        assert_eq!(read_line(&mut stream).await, "rest-1");
        eventually("all of it has arrived", || async {
            rest.heard().ends_with(start).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn tls_is_ended_and_its_name_chooses_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let own = pair("a.example.com");
    own.write(folder.path(), "own");
    let files = format!(
        ", tls: {{cert: {0}/own.pem, key: {0}/own.key}}",
        folder.path().display()
    );
    let callboard = by_name(&files).start();
    let alpha = Talker::start("alpha-1").await;
    callboard.register_talker("alpha", &alpha).await;
    let mut stream = secured(&callboard, "a.example.com", &[&own]).await.unwrap();
    assert_eq!(read_line(&mut stream).await, "alpha-1");
    assert_eq!(echo(&mut stream, "hello").await, "hello");
    stream.shutdown().await.unwrap();
    assert_eq!(read_line(&mut stream).await, "", "both sides end");
    let metrics = callboard.metrics().await;
    assert!(
        metrics.contains(
            "callboard_tcp_connections_accepted_total{service=\"alpha\",protocol=\"tls\"} 1\n"
        ),
        "{metrics}"
    );
}

#[tokio::test]
async fn tls_is_spoken_with_instances_whose_scheme_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (talker, instance_pair) = secured_talker("db-1", "db.internal").await;
    instance_pair.write(folder.path(), "ca");
    let ca = folder.path().join("ca.pem");
    let tls = format!("tls: {{ca: {}, server_name: db.internal}}", ca.display());
    let callboard = Setup::default()
        .registry("admission: trust")
        .listener("protocol: tcp, service: db")
        .top(&format!("services: {{db: {{{tls}}}}}"))
        .start();
    let extra = json!({"scheme": "tls"});
    callboard
        .register_port("db", "db-1", talker.port, extra)
        .await;
    let mut stream = callboard.dial(1).await;
    assert_eq!(read_line(&mut stream).await, "db-1");
    assert_eq!(echo(&mut stream, "hello").await, "hello");

    // One whose certificate is somebody else's is not spoken with.
    let (impostor, _) = secured_talker("db-2", "db.internal").await;
    let url = callboard.api("/services/db/instances/db-1");
    callboard.client.delete(url).send().await.unwrap();
    let extra = json!({"scheme": "tls"});
    callboard
        .register_port("db", "db-2", impostor.port, extra)
        .await;
    assert_eq!(read_line(&mut callboard.dial(1).await).await, "");
}

#[tokio::test]
async fn openssl_reaches_the_server_it_names() {
    let test = "openssl_reaches_the_server_it_names";
    let Some(openssl) = peers::program("openssl", test) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let callboard = by_name("").start();
    let mut servers = Vec::new();
    for (service, name) in [("alpha", "a.example.com"), ("beta", "b.example.com")] {
        pair(name).write(folder.path(), service);
        let port = peers::free_port();
        servers.push(Server::start(
            Command::new(&openssl)
                .args([
                    "s_server",
                    "-quiet",
                    "-accept",
                    &format!("127.0.0.1:{port}"),
                ])
                .args([
                    "-cert",
                    &format!("{service}.pem"),
                    "-key",
                    &format!("{service}.key"),
                ])
                .current_dir(folder.path()),
        ));
        eventually("the server listens", || async {
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        callboard
            .register_port(service, &format!("{service}-1"), port, json!({}))
            .await;
    }
    for (name, issuer, verified) in [
        ("a.example.com", "alpha", true),
        ("b.example.com", "beta", true),
        ("b.example.com", "alpha", false),
    ] {
        let mut client = Command::new(&openssl);
        client
            .args(["s_client", "-verify_return_error", "-servername", name])
            .args([
                "-verify_hostname",
                name,
                "-CAfile",
                &format!("{issuer}.pem"),
            ])
            .args(["-connect", &format!("127.0.0.1:{}", callboard.port(1))])
            .current_dir(folder.path())
            .stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || client.output().unwrap());
        let output = run.await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), verified, "{name}: {said}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_its_handshake_is_forgotten() {
    let callboard = by_name("").start();
    let mut stream = callboard.dial(1).await;
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(read_line(&mut stream).await, "");
    drop(stream);
    let silent = callboard.dial(1).await;
    drop(silent);
    eventually("nothing is left open", || async {
        let open = "callboard_connections{protocol=\"tcp\"} 0\n";
        callboard.metrics().await.contains(open).then_some(())
    })
    .await;
    let kind = secured(&callboard, "other.test", &[])
        .await
        .unwrap_err()
        .kind();
    assert_eq!(kind, ErrorKind::InvalidData);
}
