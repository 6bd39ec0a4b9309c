//! Against real sockets, one answer each.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(url: String) -> Settings {
    Settings {
        url,
        token: None,
        ca: None,
    }
}

async fn get(settings: &Settings) -> Result<Reply<Vec<u32>>, Error> {
    let client = Client::new(settings).unwrap();
    client
        .get("/api/v1/numbers", &[("at", "a b&c")], PATIENCE)
        .await
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

/// Answers one request with `reply`, and gives the request.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: String) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(request).unwrap()
}

/// A server that answers one request with `reply`.
async fn server(reply: String) -> (Settings, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, reply).await
    });
    (settings(url), served)
}

#[tokio::test]
async fn a_get_shows_the_token_and_gives_the_body_and_its_index() {
    let (mut settings, served) = server(http("200 OK", "callboard-index: 7\r\n", "[1, 2]")).await;
    settings.token = Some("s3cret".to_owned());
    settings.url += "/board/";
    let reply = get(&settings).await.unwrap();
    assert_eq!((reply.body, reply.index), (vec![1, 2], Some(7)));
    let request = served.await.unwrap();
    assert!(
        request.starts_with("GET /board/api/v1/numbers?at=a+b%26c HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer s3cret\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_its_problem() {
    for (body, told) in [
        (
            r#"{"type": "urn:callboard:problem:forgotten", "title": "Gone", "detail": "too long ago"}"#,
            ("too long ago", "forgotten"),
        ),
        (r#"{"title": "Gone", "type": "urn:x:y"}"#, ("Gone", "")),
        ("<html>", ("Unauthorized", "")),
    ] {
        let (settings, _served) = server(http("401 Unauthorized", "", body)).await;
        let error = get(&settings).await.unwrap_err();
        let url = format!("{}/", settings.url);
        let (status, detail, kind) = (401, told.0.to_owned(), told.1.to_owned());
        assert_eq!(
            error,
            Error::Refused {
                url,
                status,
                detail,
                kind
            }
        );
        assert!(!error.may_pass());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = "location: http://127.0.0.1:1/\r\n";
    let (settings, _served) = server(http("307 Temporary Redirect", elsewhere, "")).await;
    let error = get(&settings).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 307, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_does_not_answer_like_a_registry_is_told_apart() {
    let (settings, _served) = server(http("200 OK", "", "<html>")).await;
    let error = get(&settings).await.unwrap_err();
    assert!(matches!(error, Error::Strange { .. }), "{error}");

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&self::settings(url.clone())).await.unwrap_err();
    assert!(error.may_pass());
    let told = error.to_string();
    assert!(
        told.starts_with(&format!("{url}/ cannot be reached: Connection refused")),
        "{told}"
    );
}

#[tokio::test]
async fn an_https_registry_is_trusted_by_the_named_authority_only() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pair.cert.pem()).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, http("200 OK", "", "[3]")).await;
            }
        }
    });
    let mut settings = settings(format!("https://localhost:{port}"));
    settings.ca = Some(ca.clone());
    assert_eq!(get(&settings).await.unwrap().body, [3]);

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let error = get(&settings).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    assert!(!error.may_pass());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for url in [
        "",
        "board",
        "localhost:8500",
        "ftp://board:8500",
        "http://board:8500/?a=b",
    ] {
        let error = Client::new(&settings(url.to_owned())).unwrap_err();
        assert_eq!(error, SettingsError::Url(url.to_owned()));
    }
    for url in ["http://user:secret@board:8500", "https//user:secret@board"] {
        let error = Client::new(&settings(url.to_owned())).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let mut with_token = settings("http://board:8500".to_owned());
    with_token.token = Some("line\nbreak".to_owned());
    assert_eq!(Client::new(&with_token).unwrap_err(), SettingsError::Token);
}

#[test]
fn a_file_of_certificates_must_hold_some() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let mut settings = settings("https://board:8500".to_owned());
    settings.ca = Some(file.clone());
    let absent = Client::new(&settings).unwrap_err().to_string();
    assert!(absent.contains("No such file"), "{absent}");
    std::fs::write(&file, "none").unwrap();
    let empty = Client::new(&settings).unwrap_err().to_string();
    assert!(
        empty.ends_with("holds no certificate (expected certificates in PEM)"),
        "{empty}"
    );
}

#[test]
fn secrets_are_not_shown() {
    let mut settings = settings("http://board:8500".to_owned());
    settings.token = Some("s3cret".to_owned());
    let client = Client::new(&settings).unwrap();
    assert!(!format!("{settings:?}{client:?}").contains("s3cret"));
}
