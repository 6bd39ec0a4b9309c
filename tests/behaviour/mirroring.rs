//! Copies of requests: they go to the shadow as they went to the instance, and whatever the shadow
//! does, the original does not notice.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::{Callboard, Instance, Setup, eventually};

const ROUTE: &str = "routes: [{match: {path: /shop}, strip_prefix: /shop, service: web, \
                     mirror: {service: shadow, share: 100%}}]";

async fn start() -> (Callboard, Instance) {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(&format!("defaults: {{check: off}}\n{ROUTE}"))
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    (callboard, web)
}

/// A shadow that gives the requests it gets, and answers as it is told.
async fn recorder(callboard: &Callboard, answer: &'static str) -> mpsc::UnboundedReceiver<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(record(stream, answer, sender.clone()));
        }
    });
    let registered = callboard
        .client
        .put(callboard.api("/services/shadow/instances/shadow-1"))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
    receiver
}

async fn record(mut stream: TcpStream, answer: &str, to: mpsc::UnboundedSender<String>) {
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).await.unwrap_or(0);
        if length == 0 {
            return;
        }
        seen.extend_from_slice(&part[..length]);
        if let Some(whole) = whole(&seen) {
            seen.drain(..whole.len());
            let _ = to.send(whole);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}

/// The first request in `seen`, if all of it is there.
fn whole(seen: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(seen).into_owned();
    let head = text.find("\r\n\r\n")? + 4;
    let lower = text[..head].to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1).map_or(0, |rest| {
        rest.split("\r\n").next().unwrap().parse::<usize>().unwrap()
    });
    (seen.len() >= head + length).then(|| text[..head + length].to_owned())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_copy_is_what_the_instance_got_and_says_that_it_is_one() {
    let (callboard, _web) = start().await;
    let mut copies = recorder(&callboard, OK).await;
    let request = callboard
        .client
        .post(callboard.url("/shop/cart?x=1"))
        .header("X-Request-Id", "r-1")
        .header("X-Callboard-Mirror", "claimed")
        .header("X-Own", "kept")
        .body("{\"a\":1}");
    let original: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(original["target"], "/cart?x=1");
    assert!(original["headers"]["x-callboard-mirror"].is_null());
    let copy = copies.recv().await.unwrap();
    assert!(copy.starts_with("POST /cart?x=1 HTTP/1.1\r\n"), "{copy}");
    assert!(copy.ends_with("\r\n\r\n{\"a\":1}"), "{copy}");
    let lower = copy.to_ascii_lowercase();
    for name in [
        "host",
        "x-request-id",
        "x-own",
        "via",
        "x-forwarded-for",
        "x-forwarded-prefix",
    ] {
        let value = original["headers"][name].as_str().unwrap();
        let line = format!("\r\n{name}: {value}\r\n").to_ascii_lowercase();
        assert!(lower.contains(&line), "{line}: {copy}");
    }
    assert!(lower.contains("\r\nx-callboard-mirror: 1\r\n"), "{copy}");
    assert_eq!(lower.matches("x-callboard-mirror").count(), 1, "{copy}");
}

#[tokio::test]
async fn requests_with_and_without_bodies_are_copied_over_kept_connections() {
    let (callboard, _web) = start().await;
    let mut copies = recorder(&callboard, OK).await;
    for number in 0..20 {
        let url = callboard.url(&format!("/shop/{number}"));
        callboard.client.get(&url).send().await.unwrap();
        let copy = copies.recv().await.unwrap();
        assert!(copy.starts_with(&format!("GET /{number} ")), "{copy}");
        let chunks = futures_util::stream::iter(["he", "llo"].map(Ok::<_, std::io::Error>));
        let request = callboard
            .client
            .post(&url)
            .body(reqwest::Body::wrap_stream(chunks));
        assert_eq!(request.send().await.unwrap().status(), 200);
        let copy = copies.recv().await.unwrap();
        assert!(copy.ends_with("\r\n\r\nhello"), "{copy}");
        assert!(
            !copy.to_ascii_lowercase().contains("transfer-encoding"),
            "{copy}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_copied_and_arrives() {
    let (callboard, _web) = start().await;
    let mut copies = recorder(&callboard, OK).await;
    let long = "x".repeat(70_000);
    let request = callboard
        .client
        .post(callboard.url("/shop/long"))
        .body(long.clone());
    let original: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(original["body"], long);
    callboard.get("/shop/short").await;
    let copy = copies.recv().await.unwrap();
    assert!(copy.starts_with("GET /short "), "{copy}");
}

#[tokio::test]
async fn whatever_the_shadow_does_the_original_does_not_notice() {
    for answer in [
        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\nnope",
        // Answers nothing and holds the connection.
        "",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    ] {
        let (callboard, web) = start().await;
        let _copies = recorder(&callboard, answer).await;
        for _ in 0..30 {
            assert_eq!(callboard.answerer("/shop/").await, "web-1");
        }
        assert_eq!(web.hits(), 30);
    }
}

#[tokio::test]
async fn a_shadow_that_is_down_or_absent_does_not_matter() {
    let (callboard, _web) = start().await;
    assert_eq!(callboard.answerer("/shop/").await, "web-1");
    let dead = Instance::dead("shadow-1");
    callboard.register("shadow", &dead, json!({})).await;
    for _ in 0..10 {
        assert_eq!(callboard.answerer("/shop/").await, "web-1");
    }
}

#[tokio::test]
async fn a_shadow_that_hangs_gets_no_more_than_so_many_at_a_time() {
    let (callboard, web) = start().await;
    let shadow = Instance::start("shadow-1");
    callboard.register("shadow", &shadow, json!({})).await;
    web.release(400);
    for _ in 0..400 {
        assert_eq!(callboard.answerer("/shop/held").await, "web-1");
    }
    eventually("the shadow holds all it gets", || async {
        (shadow.holding() == 256).then_some(())
    })
    .await;
    shadow.release(400);
    eventually("there is place again", || async {
        web.release(1);
        callboard.get("/shop/held").await;
        (shadow.hits() > 256).then_some(())
    })
    .await;
}
