//! Following: what is shown to whom, and servers that are no registry or tell odd things.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use crate::pulling::{following, readyz, until_count, until_ready};
use crate::support::{Callboard, Instance, Setup, eventually};

/// What a server does with a connection after its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hold,
    Repeat(&'static [u8]),
}

/// A server that answers every connection with `answer`, and the number of them.
fn server(answer: String, then: Then) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            thread::spawn(move || play(stream.unwrap(), &answer, then));
        }
    });
    (url, calls)
}

fn play(mut stream: TcpStream, answer: &str, then: Then) {
    let mut request = [0; 4_096];
    let _ = stream.read(&mut request);
    let mut sent = stream.write_all(answer.as_bytes());
    match then {
        Then::Close => {}
        // Ends when the other side closes the connection.
        Then::Hold => {
            let _ = stream.read(&mut request);
        }
        Then::Repeat(part) => {
            while sent.is_ok() {
                sent = stream.write_all(part);
            }
        }
    }
}

/// The head of a stream of events.
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

#[tokio::test]
async fn what_is_no_registry_is_said_to_be_none_and_changes_nothing() {
    let cases = [
        (format!("{EVENTS}data: hello\n\n"), "expected a snapshot"),
        (
            format!("{EVENTS}event: upsert\ndata: {{}}\n\n"),
            "expected a snapshot",
        ),
        (
            format!("{EVENTS}event: snapshot\ndata: [{{]\n\n"),
            "cannot be read",
        ),
        (EVENTS.to_owned(), "closed the stream"),
        ("SSH-2.0-OpenSSH_9.9\r\n".to_owned(), "cannot be reached"),
        (String::new(), "cannot be reached"),
        (
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "answered 404",
        ),
        (
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "registry.pull.token",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                .to_owned(),
            "answered 302",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi".to_owned(),
            "text/html",
        ),
    ];
    for (answer, reason) in cases {
        let (url, _) = server(answer, Then::Close);
        let proxy = following(&[&url]);
        let answer = until_ready(&proxy, reason, |_, answer| {
            let error = answer["pull"]["last_error"].as_str();
            error.is_some_and(|error| error.contains(reason))
        })
        .await;
        assert_eq!(answer["ready"], false, "{answer}");
    }
}

#[tokio::test]
async fn an_endless_line_is_cut_off() {
    let (url, calls) = server(EVENTS.to_owned(), Then::Repeat(&[b'x'; 64 * 1024]));
    let proxy = following(&[&url]);
    until_ready(&proxy, "it is too much", |_, answer| {
        let error = answer["pull"]["last_error"].as_str();
        error.is_some_and(|error| error.contains("bytes at once"))
    })
    .await;
    eventually("it is tried again", || async {
        (calls.load(Ordering::SeqCst) > 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_talks_nonsense_is_left_for_the_next() {
    let registry = Callboard::trusting();
    let one = Instance::start("one");
    registry.register("web", &one, json!({})).await;
    for nonsense in ["event: upsert\ndata: {\nid: 2\n\n", "data: [\n\n"] {
        let (url, _) = server(
            format!("{EVENTS}event: snapshot\ndata: []\nid: 1\n\nevent: upsert\n{nonsense}"),
            Then::Hold,
        );
        let proxy = following(&[&url, &registry.registry]);
        until_count(&proxy, "web", 1).await;
        let (_, answer) = readyz(&proxy).await;
        assert_eq!(answer["pull"]["from"], registry.registry, "{answer}");
    }
}

#[tokio::test]
async fn what_says_nothing_of_the_membership_makes_it_no_fresher() {
    let (url, calls) = server(format!("{EVENTS}: hello\n\n"), Then::Close);
    let proxy = following(&[&url]);
    eventually("it was tried a few times", || async {
        (calls.load(Ordering::SeqCst) > 3).then_some(())
    })
    .await;
    until_ready(&proxy, "it is as stale as it is old", |_, answer| {
        let stale = answer["pull"]["stale_for"].as_str();
        stale.is_some_and(|stale| !stale.ends_with("ms") && stale != "0s")
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_cannot_be_read_costs_the_others_nothing() {
    let one = Instance::start("one");
    let good = json!({"service": "web", "id": "one", "address": "127.0.0.1", "port": one.port,
        "weight": 1, "check": "off", "availability": "ready"});
    let odd =
        json!({"service": "web", "id": "odd", "address": "elsewhere", "port": 1, "weight": 1});
    let nowhere = json!({"service": "web", "id": "nowhere", "address": "0.0.0.0", "port": 1,
        "weight": 1, "check": "off"});
    let snapshot = format!(
        "event: snapshot\ndata: {}\nid: 1\n\n",
        json!([odd, nowhere, good])
    );
    let (url, _) = server(format!("{EVENTS}{snapshot}"), Then::Hold);
    let proxy = following(&[&url]);
    proxy.until("web", &one, "ready").await;
    until_count(&proxy, "web", 1).await;
    let log = proxy.log();
    assert!(log.contains("skipped web/odd: "), "{log}");
    assert!(log.contains("skipped web/nowhere: address: "), "{log}");
}

#[tokio::test]
async fn a_token_is_shown_to_the_registry_and_to_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 1_024];
        while !request.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..count]);
        }
        String::from_utf8(request).unwrap()
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "hush-hush\n").unwrap();
    let settings = json!({"from": [url], "token": {"file": file}});
    let proxy = Setup::default()
        .registry(&format!("pull: {settings}"))
        .start();
    let request = asked.join().unwrap();
    assert!(
        request.starts_with("GET /api/v1/watch HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer hush-hush\r\n"),
        "{request}"
    );
    let (_, answer) = readyz(&proxy).await;
    assert!(!answer.to_string().contains("hush"), "{answer}");
    assert!(!proxy.log().contains("hush"));
}

/// A way to `registry` that is encrypted, with a certificate for `localhost`; its URL and that
/// certificate.
async fn encrypted(registry: &Callboard) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = registry
        .registry
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut registry = tokio::net::TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut registry).await
            });
        }
    });
    (format!("https://localhost:{port}"), certified.cert.pem())
}

#[tokio::test]
async fn a_registry_behind_tls_is_followed_if_its_certificate_is_vouched_for() {
    let registry = Callboard::trusting();
    let (url, certificate) = encrypted(&registry).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate).unwrap();
    let settings = json!({"from": [url], "ca": ca});
    let setup = Setup::default().registry("admission: trust");
    let proxy = setup.registry(&format!("pull: {settings}")).start();
    let one = Instance::start("one");
    registry.register("web", &one, json!({})).await;
    proxy.until("web", &one, "ready").await;

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let stranger = Setup::default()
        .registry(&format!("pull: {settings}"))
        .start();
    let answer = until_ready(&stranger, "it was tried", |_, answer| {
        answer["pull"]["last_error"].is_string()
    })
    .await;
    let error = answer["pull"]["last_error"].as_str().unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(answer["ready"], false);
}
