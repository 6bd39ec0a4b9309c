//! Showing tokens: the answers to those who do not, reloads, and that nobody is told a secret.

use std::fs;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::tokens::{auth, call, outcome, secret};
use crate::support::{Callboard, Setup, run_to_end};

fn setup(tokens: &[(&str, &str)]) -> Setup {
    let setup = Setup::default().registry(&auth(tokens));
    setup.registry("admission: trust")
}

fn list() -> (&'static str, &'static str, Value) {
    ("GET", "/api/v1/services", Value::Null)
}

fn registration(service: &str) -> (&'static str, String, Value) {
    let path = format!("/api/v1/services/{service}/instances/a");
    ("PUT", path, json!({"port": 9, "check": "off"}))
}

#[tokio::test]
async fn a_refusal_is_a_problem_with_a_challenge() {
    let callboard = setup(&[("reader", "read")]).start();
    let (method, path, body) = registration("web");
    for (token, status, kind, challenge) in [
        (None, 401, "unauthenticated", r#"Bearer realm="callboard""#),
        (
            Some("guessed"),
            401,
            "invalid-token",
            r#"Bearer realm="callboard", error="invalid_token""#,
        ),
        (
            Some("reader"),
            403,
            "insufficient-scope",
            r#"Bearer realm="callboard", error="insufficient_scope""#,
        ),
    ] {
        let reply = call(&callboard, token, (method, &path, body.clone())).await;
        assert_eq!(reply.status(), status);
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
        assert_eq!(reply.headers()["www-authenticate"], challenge);
        let problem: Value = reply.json().await.unwrap();
        assert_eq!(problem["type"], format!("urn:callboard:problem:{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains("(expected "));
    }
}

/// Sends the head of a request whose body never comes, and reads the answer's first line.
async fn answer_to_head(callboard: &Callboard, head: &str) -> String {
    let address = callboard.registry.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nHost: {address}\r\nContent-Length: 60000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[tokio::test]
async fn a_refusal_does_not_wait_for_the_body() {
    let callboard = setup(&[("reader", "read"), ("cart", "\"register:cart\"")]).start();
    for (token, status) in [("guessed", 401), ("reader", 403), ("cart", 403)] {
        for (method, path) in [
            ("PUT", "/api/v1/services/web/instances/a"),
            ("PATCH", "/api/v1/services/web/instances/a"),
            ("PUT", "/api/v1/services/web/instances/a/lease"),
        ] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nAuthorization: Bearer {}",
                secret(token)
            );
            assert_eq!(
                answer_to_head(&callboard, &head).await,
                format!("HTTP/1.1 {status}"),
                "{token}: {method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_reload_puts_other_tokens_in_force() {
    let callboard = setup(&[("old", "read"), ("kept", "read")]).start();
    let read = async |token| outcome(&callboard, Some(token), list()).await.0;
    assert_eq!((read("old").await, read("new").await), (200, 401));
    callboard.rewrite(&setup(&[("kept", "\"register:web\""), ("new", "read")]));
    callboard.reload("configuration reloaded").await;
    assert_eq!((read("old").await, read("new").await), (401, 200));
    assert_eq!(read("kept").await, 403, "its scopes are new, too");

    callboard.rewrite(&Setup::default().registry("auth: my-plain-token"));
    callboard.reload("was not reloaded").await;
    assert_eq!((read("old").await, read("new").await), (401, 200));
    callboard.rewrite(&Setup::default());
    callboard.reload("configuration reloaded").await;
    assert_eq!(outcome(&callboard, None, list()).await.0, 200);
    assert!(!callboard.log().contains("my-plain-token"));
}

#[tokio::test]
async fn long_polls_and_streams_end_with_the_token_they_came_with() {
    let callboard = setup(&[("old", "read"), ("kept", "read")]).start();
    let get = async |token, path: &str| {
        let path = format!("/api/v1{path}");
        call(&callboard, Some(token), ("GET", &path, Value::Null)).await
    };
    let index = get("old", "/services").await.headers()["callboard-index"].clone();
    let poll = format!("/services?index={}&wait=10m", index.to_str().unwrap());
    let mut streams = [get("old", "/watch").await, get("kept", "/watch").await];
    for stream in &mut streams {
        let opening = stream.chunk().await.unwrap().unwrap();
        let opening = String::from_utf8_lossy(&opening);
        assert!(opening.contains("event: snapshot"), "{opening:?}");
    }
    let reload = async {
        callboard.rewrite(&setup(&[("kept", "read"), ("ops", "admin")]));
        callboard.reload("configuration reloaded").await;
    };
    let (answer, ()) = tokio::join!(get("old", &poll), reload);
    assert_eq!(answer.status(), 401);
    assert_eq!(streams[0].chunk().await.unwrap(), None);
    let (method, path, body) = registration("web");
    call(&callboard, Some("ops"), (method, &path, body)).await;
    let news = streams[1].chunk().await.unwrap().unwrap();
    let news = String::from_utf8_lossy(&news);
    assert!(news.contains("event: upsert"), "{news:?}");
}

#[tokio::test]
async fn nothing_that_is_logged_or_answered_tells_a_secret() {
    let tokens = [("orders", "\"register:web\", read"), ("ops", "admin")];
    let callboard = setup(&tokens).log("trace").start();
    let mut answers = Vec::new();
    for token in ["orders", "ops", "guessed"] {
        let (method, path, body) = registration("web");
        for of in [
            list(),
            (method, &*path, body.clone()),
            ("DELETE", &*path, body),
        ] {
            let reply = call(&callboard, Some(token), of).await;
            answers.push(format!("{:?}", reply.headers()));
            answers.push(reply.text().await.unwrap());
        }
    }
    let basic = (callboard.client.get(callboard.api("/services")))
        .basic_auth("user", Some(secret("guessed")));
    answers.push(basic.send().await.unwrap().text().await.unwrap());
    let log = callboard.log();
    assert!(log.contains("pingora_core"), "more is logged than usual");
    let hash = auth(&tokens);
    for told in answers.into_iter().chain([log]) {
        assert!(!told.contains("secret-of"), "{told}");
        for hash in hash.split("sha256: ").skip(1) {
            assert!(!told.contains(&hash[..64]), "{told}");
        }
    }
}

#[test]
fn check_tells_no_secret_that_stands_in_a_wrong_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    for auth in [
        "my-plain-token",
        "{tokens: my-plain-token}",
        "{tokens: [my-plain-token]}",
        "{tokens: [{name: ci, sha256: my-plain-token, scopes: my-plain-token}]}",
        "{tokens: [{name: ci, env: my-plain-token, scopes: [read]}]}",
        "{tokens: [{name: ci, env: {my-plain-token: 1}, scopes: [read]}]}",
        "{tokens: [{name: ci, file: my-plain-token, my-plain-token: 1}]}",
        "{my-plain-token: 1}",
    ] {
        fs::write(&file, format!("registry:\n  auth: {auth}\n")).unwrap();
        for command in ["check", "run"] {
            let output = run_to_end(&[command, "--config", file.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(2), "{auth}");
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains("proxy.yaml:2:"), "{error}");
            assert!(!error.contains("my-plain-token"), "{error}");
        }
    }
}
