//! TLS together with everything else a listener may have: HTTP/2, Unix sockets, PROXY headers, upgrades,
//! and another callboard behind it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use h2::Reason;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::authority::Authority;
use crate::support::http2::{Http2, Reply};
use crate::support::{Callboard, Instance, Setup, eventually};

/// An authority with the certificate of a server and of two clients.
fn authority() -> Authority {
    let authority = Authority::new();
    authority.issue("server", &["a.test", "inner.callboard"]);
    authority.issue("ops", &["ops.internal", "spiffe://mesh/ops"]);
    authority.issue("outer", &["outer.internal", "spiffe://mesh/outer"]);
    authority
}

/// `tls` of a listener where clients may show certificates.
fn tls(authority: &Authority, required: &str) -> String {
    let ca = authority.path("ca.pem").display().to_string();
    let pair = authority.pair("server");
    format!("tls: {{{pair}, clients: {{ca: {ca}, required: {required}}}}}")
}

/// Agrees with the server at the other end of `stream` on HTTP/2, showing the certificate `shown`.
async fn agree<S: AsyncRead + AsyncWrite + Unpin>(
    authority: &Authority,
    shown: Option<&str>,
    stream: S,
) -> TlsStream<S> {
    let read = |file: &str| fs::read(authority.path(file)).unwrap();
    let certificate = |file: &str| CertificateDer::from_pem_slice(&read(file)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let key = PrivateKeyDer::from_pem_slice(&read(&format!("{file}.key"))).unwrap();
            let chain = vec![certificate(&format!("{file}.pem"))];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = "a.test".try_into().unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream
}

async fn http2<S>(authority: &Authority, shown: Option<&str>, stream: S) -> Http2
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Http2::over(agree(authority, shown, stream).await).await
}

fn echo(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn over_http2_clients_are_known_by_their_certificates_too() {
    let authority = authority();
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("routes:\n  - {match: {path: /x, client: \"spiffe://mesh/ops\"}, service: mesh}\n  - {match: {path: /x}, service: others}")
        .listener(&tls(&authority, "off"))
        .start();
    let instances = ["mesh", "others"].map(Instance::start);
    for instance in &instances {
        callboard.register(&instance.id, instance, json!({})).await;
    }
    for (shown, service) in [
        (Some("ops"), "mesh"),
        (Some("outer"), "others"),
        (None, "others"),
    ] {
        let client = http2(&authority, shown, callboard.dial(1).await).await;
        for _ in 0..2 {
            let mut request = crate::support::http2::request("GET", "/x");
            let spoofed = "Hash=1;URI=spiffe://mesh/ops".parse().unwrap();
            request
                .headers_mut()
                .insert("x-forwarded-client-cert", spoofed);
            let reply = client.send(request, true).await.unwrap().0;
            let echo = echo(&crate::support::http2::whole(reply).await.unwrap());
            assert_eq!(echo["id"], service);
            let said = &echo["headers"]["x-forwarded-client-cert"];
            match shown {
                None => assert_eq!(*said, Value::Null),
                Some(file) => {
                    let end = format!(";URI=spiffe://mesh/{file};DNS={file}.internal");
                    assert!(said.as_str().unwrap().ends_with(&end), "{said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn one_callboard_shows_its_certificate_to_another() {
    let authority = authority();
    let inner = Setup::default()
        .registry("admission: trust")
        .top("routes: [{match: {client: \"spiffe://mesh/outer\"}, service: web}]\ndefault_routes: off")
        .listener(&tls(&authority, "on"))
        .start();
    let web = Instance::start("web-1");
    inner.register("web", &web, json!({})).await;
    let setup = |pair: &str| {
        let ca = authority.path("ca.pem").display().to_string();
        Setup::default().registry("admission: trust").top(&format!(
            "defaults: {{check: off, outlier: off, tls: {{ca: {ca}, {pair}}}}}"
        ))
    };
    let outer = setup(&authority.pair("outer")).start();
    for scheme in ["h2", "https"] {
        let extra = json!({"scheme": scheme});
        outer
            .register_port("inner", scheme, inner.port(1), extra)
            .await;
        let client = Http2::connect(&outer).await;
        for _ in 0..3 {
            let echo = echo(&client.get("/inner/a").await.unwrap());
            assert_eq!(
                (&echo["id"], &echo["target"]),
                (&json!("web-1"), &json!("/a"))
            );
            let said = echo["headers"]["x-forwarded-client-cert"].as_str().unwrap();
            assert!(said.ends_with(";DNS=outer.internal"), "{said}");
        }
        let url = outer.api(&format!("/services/inner/instances/{scheme}"));
        outer.client.delete(url).send().await.unwrap();
    }
    // Another certificate takes effect by itself, and the inner one has no route for it.
    outer
        .register_port("inner", "h2", inner.port(1), json!({"scheme": "h2"}))
        .await;
    assert_eq!(outer.get("/inner/a").await.status(), 200);
    for ending in ["key", "pem"] {
        let copy = |file: &str| authority.path(&format!("{file}.{ending}"));
        fs::copy(copy("ops"), copy("outer")).unwrap();
    }
    eventually("the other certificate is shown", || async {
        (outer.get("/inner/a").await.status() == 404).then_some(())
    })
    .await;
}

fn over_unix(path: &Path, authority: &Authority, listeners: &str) -> String {
    format!(
        "proxy:\n  listen: [\"127.0.0.1:0\", {{address: \"unix:{}\", mode: \"600\", {}}}{listeners}]\n\
         registry:\n  listen: \"127.0.0.1:0\"\n  admission: trust\n",
        path.display(),
        tls(authority, "on"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_has_tls_and_keeps_it_over_an_upgrade() {
    let authority = authority();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut callboard = Callboard::start(&over_unix(&path, &authority, ""));
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let connect = || async {
        let stream = UnixStream::connect(&path).await.unwrap();
        http2(&authority, Some("ops"), stream).await
    };
    let client = connect().await;
    assert_eq!(echo(&client.get("/web/a").await.unwrap())["id"], "web-1");
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.get("/web/held").await }
    });
    eventually("the request is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    let second = folder.path().join("b.sock");
    let also = format!(", \"unix:{}\"", second.display());
    callboard.rewrite_raw(&over_unix(&path, &authority, &also));
    let mut old = tokio::task::block_in_place(|| callboard.upgrade());
    // What the process before has still accepted it may close before it is used: clients connect again.
    let reply = eventually("a request is served", || async {
        match connect().await.get("/web/a").await {
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            reply => Some(reply.unwrap()),
        }
    })
    .await;
    assert_eq!(echo(&reply)["id"], "web-1");
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status, 200);
    eventually("the process before has left", || {
        let runs = old.runs();
        async move { (!runs).then_some(()) }
    })
    .await;
    // The new process reads the files again.
    authority.issue("server", &["b.test"]);
    eventually("the new certificate is shown", || async {
        callboard.log().contains("the files changed").then_some(())
    })
    .await;
    assert!(path.exists() && second.exists());
    callboard.signal("TERM");
    assert!(callboard.ended().await.success());
    assert!(!path.exists() && !second.exists());
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls() {
    let authority = authority();
    let callboard = Setup::default()
        .registry("admission: trust")
        .proxy("clients: {head_timeout: 2s}")
        .listener(&format!("proxy_protocol: on, {}", tls(&authority, "off")))
        .listener(&format!(
            "proxy_protocol: on, protocol: tcp, sni: {{a.test: line}}, {}",
            tls(&authority, "off")
        ))
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n";
    let mut stream = callboard.dial(1).await;
    stream.write_all(header).await.unwrap();
    let client = http2(&authority, Some("ops"), stream).await;
    for _ in 0..2 {
        let echo = echo(&client.get("/web/a").await.unwrap());
        assert_eq!(echo["headers"]["x-forwarded-for"], "203.0.113.7");
        assert_eq!(echo["headers"]["x-forwarded-proto"], "https");
    }
    // Nobody who leaves it out gets as far as a handshake.
    let mut stream = callboard.dial(1).await;
    let _ = stream.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await;
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    assert_eq!(rest, b"");
}
