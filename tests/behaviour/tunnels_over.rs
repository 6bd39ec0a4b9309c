//! Tunnels over whatever clients come on and instances listen on.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::support::authority::Authority;
use crate::support::scripted::{Scripted, Step};
use crate::support::upgraded::{GOING_AWAY, GONE, Switching, agree, ask};
use crate::support::{Callboard, Setup};

const PROXY: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
/// Ten seconds are long for anything on this machine.
const SOON: Duration = Duration::from_secs(10);

/// A connection of any kind.
trait End: AsyncRead + AsyncWrite + Unpin + Send {}

impl<E: AsyncRead + AsyncWrite + Unpin + Send> End for E {}

/// A callboard with four listeners: plain, TLS, and both of them behind a balancer.
fn start(authority: &Authority) -> Callboard {
    authority.issue("web", &["web.callboard"]);
    let tls = format!("tls: {{{}}}", authority.pair("web"));
    let folder = authority.folder().display();
    Setup::default()
        .registry("admission: trust")
        .registry(&format!("allow: [\"127.0.0.0/8\", \"unix:{folder}/\"]"))
        .listener(&tls)
        .listener("proxy_protocol: on")
        .listener(&format!("proxy_protocol: on, {tls}"))
        .top(&format!(
            "defaults: {{check: off, drain: 300ms, tls: {{ca: {folder}/ca.pem}}}}"
        ))
        .start()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A connection to the listener with this number in [`start`].
async fn client(callboard: &Callboard, authority: &Authority, listener: usize) -> Box<dyn End> {
    let mut stream = callboard.dial(listener).await;
    if listener >= 2 {
        stream.write_all(PROXY).await.unwrap();
    }
    if listener.is_multiple_of(2) {
        return Box::new(stream);
    }
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(authority.path("ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("web.callboard").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    Box::new(connector.connect(name, stream).await.unwrap())
}

/// What instances listen on.
enum Server {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener),
}

impl Server {
    async fn start(callboard: &Callboard, authority: &Authority, scheme: &str) -> Self {
        let url = callboard.api("/services/web/instances/web-1");
        let (server, body) = if scheme == "unix" {
            let path = authority.path("web.sock");
            let _ = fs::remove_file(&path);
            let body = json!({"address": format!("unix:{}", path.display())});
            (Self::Unix(UnixListener::bind(path).unwrap()), body)
        } else {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let body = json!({"address": "127.0.0.1", "port": port, "scheme": scheme});
            let server = match scheme {
                "https" | "h2" => Self::Tls(listener, acceptor(authority)),
                _ => Self::Tcp(listener),
            };
            (server, body)
        };
        let reply = callboard.client.put(url).json(&body).send().await.unwrap();
        assert!(reply.status().is_success(), "{:?}", reply.text().await);
        server
    }

    async fn accept(&self) -> Box<dyn End> {
        match self {
            Self::Tcp(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
            Self::Tls(listener, acceptor) => {
                let (stream, _) = listener.accept().await.unwrap();
                Box::new(acceptor.accept(stream).await.unwrap())
            }
        }
    }
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(authority.path("web.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path("web.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

async fn head(end: &mut dyn End) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(end.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// Asserts that all of `bytes` go from one end to the other.
async fn passes(from: &mut dyn End, to: &mut dyn End, bytes: &[u8]) {
    let mut heard = vec![0; bytes.len()];
    let write = async {
        from.write_all(bytes).await.unwrap();
        from.flush().await.unwrap();
    };
    let both = async { tokio::join!(write, to.read_exact(&mut heard)).1.unwrap() };
    timeout(SOON, both).await.expect("something is held back");
    assert!(heard == bytes);
}

async fn switch(server: &Server, mut client: Box<dyn End>) -> (Box<dyn End>, Box<dyn End>) {
    let request = ask("web", "websocket");
    client.write_all(request.as_bytes()).await.unwrap();
    client.flush().await.unwrap();
    let mut instance = server.accept().await;
    let asked = head(&mut *instance).await;
    assert!(asked.contains("\r\nupgrade: websocket\r\n"), "{asked}");
    let answer = agree("websocket");
    instance.write_all(answer.as_bytes()).await.unwrap();
    instance.flush().await.unwrap();
    let answer = head(&mut *client).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    (client, instance)
}

#[tokio::test]
async fn a_websocket_passes_over_every_kind_of_connection_and_ends_politely() {
    let authority = Authority::new();
    let callboard = start(&authority);
    // A binary message, longer than what is read at once.
    let mut message = vec![0x82, 127];
    message.extend(300_000_u64.to_be_bytes());
    message.resize(message.len() + 300_000, 7);
    for scheme in ["http", "https", "h2", "h2c", "unix"] {
        let server = Server::start(&callboard, &authority, scheme).await;
        let mut open = Vec::new();
        for listener in 0..4 {
            let client = client(&callboard, &authority, listener).await;
            let (mut client, mut instance) = switch(&server, client).await;
            passes(&mut *client, &mut *instance, b"\x89\x80\0\0\0\0").await;
            passes(&mut *instance, &mut *client, &message).await;
            open.push((client, instance));
        }
        let url = callboard.api("/services/web/instances/web-1?drain=3s");
        let leaving = tokio::spawn(callboard.client.delete(url).send());
        for (client, instance) in &mut open {
            let mut goodbye = [0; 4];
            let read = timeout(SOON, client.read_exact(&mut goodbye)).await;
            read.expect("nobody says goodbye").unwrap();
            assert_eq!(goodbye, GOING_AWAY, "{scheme}");
            instance.read_exact(&mut [0; 8]).await.unwrap();
            client.write_all(&GONE).await.unwrap();
            client.flush().await.unwrap();
            instance.write_all(&GOING_AWAY).await.unwrap();
            instance.flush().await.unwrap();
            for end in [client, instance] {
                let mut rest = Vec::new();
                let read = timeout(SOON, end.read_to_end(&mut rest)).await;
                read.expect("it stays open").unwrap();
                assert!(rest.is_empty(), "{scheme}: {rest:?}");
            }
        }
        let farewell: Value = leaving.await.unwrap().unwrap().json().await.unwrap();
        assert_eq!(farewell["aborted"], 0, "{scheme}: {farewell}");
    }
}

#[tokio::test]
async fn whoever_vanishes_takes_the_tunnel_along() {
    let authority = Authority::new();
    let callboard = start(&authority);
    for scheme in ["http", "https", "unix"] {
        let server = Server::start(&callboard, &authority, scheme).await;
        for listener in 0..2 {
            for is_client in [true, false] {
                let client = client(&callboard, &authority, listener).await;
                let (client, instance) = switch(&server, client).await;
                callboard.until_in_flight("web", "web-1", 1).await;
                // Without TLS's word for the end.
                let (gone, mut left) = if is_client {
                    (client, instance)
                } else {
                    (instance, client)
                };
                drop(gone);
                let read = timeout(SOON, left.read_to_end(&mut Vec::new())).await;
                let _ = read.expect("it stays open");
                drop(left);
                callboard.until_in_flight("web", "web-1", 0).await;
            }
        }
    }
}

#[tokio::test]
async fn a_reset_is_noticed_while_the_instance_does_not_read() {
    let callboard = Setup::default().registry("admission: trust").start();
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, _instance) = web.switch(&callboard, "web", "websocket").await;
    let piece = vec![0; 1 << 20];
    while let Ok(written) = timeout(Duration::from_secs(1), client.write(&piece)).await {
        written.unwrap();
    }
    callboard.until_in_flight("web", "web-1", 1).await;
    reset(client);
    callboard.until_in_flight("web", "web-1", 0).await;
}

#[tokio::test]
async fn a_storm_of_switches_to_an_instance_that_dies_leaves_nothing_behind() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {outlier: off, check: off}")
        .start();
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\n\r\n\x01\x02";
    let web = Scripted::always("web-1", [Step::Say(answer), Step::Close]).await;
    callboard.register_scripted("web", &web).await;
    let mut storm = JoinSet::new();
    for turn in 0..300 {
        let port = callboard.port(0);
        storm.spawn(async move {
            let mut client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            client
                .write_all(ask("web", "websocket").as_bytes())
                .await
                .unwrap();
            if turn % 3 == 0 {
                return reset(client);
            }
            let mut all = Vec::new();
            let read = timeout(4 * SOON, client.read_to_end(&mut all)).await;
            let _ = read.expect("it stays open");
            assert!(all.starts_with(b"HTTP/1.1 101 "), "{all:?}");
        });
    }
    while let Some(done) = storm.join_next().await {
        done.unwrap();
    }
    callboard.until_in_flight("web", "web-1", 0).await;
}

fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}
