//! How often one may call, and how many may be signed in.

use std::net::IpAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::tokens::{auth, outcome, secret};
use crate::support::{Callboard, Instance, Setup, eventually};

fn limited(limits: &str) -> Setup {
    let setup = Setup::default().registry(&format!("limits: {{{limits}}}"));
    setup.registry("admission: trust")
}

/// A client that calls from this address.
fn client_at(address: &str) -> reqwest::Client {
    let address: IpAddr = address.parse().unwrap();
    let client = reqwest::Client::builder().local_address(address);
    client.build().unwrap()
}

#[tokio::test]
async fn a_peer_that_calls_too_often_is_told_when_to_come_back() {
    let callboard = limited("per_peer: 5/m").start();
    let url = callboard.api("/services");
    let get = async |client: &reqwest::Client, url: &str| client.get(url).send().await.unwrap();
    for _ in 0..5 {
        assert_eq!(get(&callboard.client, &url).await.status(), 200);
    }
    let refused = get(&callboard.client, &url).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "urn:callboard:problem:rate-limited");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("registry.limits.per_peer"), "{detail}");

    let other = client_at("127.0.0.2");
    assert_eq!(get(&other, &url).await.status(), 200);
    for path in ["/healthz", "/readyz"] {
        let url = format!("{}{path}", callboard.registry);
        assert_eq!(get(&callboard.client, &url).await.status(), 200);
    }

    callboard.rewrite(&limited("per_peer: off"));
    callboard.reload("configuration reloaded").await;
    assert_eq!(get(&callboard.client, &url).await.status(), 200);
}

#[tokio::test]
async fn guesses_count_as_calls_of_their_peer() {
    let setup = limited("per_peer: 3/m").registry(&auth(&[("reader", "read")]));
    let callboard = setup.start();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let list = ("GET", "/api/v1/services", Value::Null);
        statuses.push(outcome(&callboard, Some("guessed"), list).await.0);
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let elsewhere = ("PUT", "/healthz", Value::Null);
    assert_eq!(
        outcome(&callboard, Some("guessed"), elsewhere).await.0,
        429,
        "only reading it asks for no token, and is not counted"
    );
}

#[tokio::test]
async fn a_token_that_calls_too_often_is_refused_wherever_it_calls_from() {
    let tokens = auth(&[("one", "read"), ("two", "read")]);
    let callboard = limited("per_token: 3/m").registry(&tokens).start();
    let clients = ["127.0.0.1", "127.0.0.2"].map(client_at);
    let get = async |client: &reqwest::Client, token| {
        let request = client.get(callboard.api("/services"));
        let reply = request.bearer_auth(secret(token)).send().await.unwrap();
        reply.status().as_u16()
    };
    let mut statuses = Vec::new();
    for turn in 0..5 {
        statuses.push(get(&clients[turn % 2], "one").await);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(get(&clients[0], "two").await, 200);
}

#[tokio::test]
async fn at_a_limit_only_those_that_are_there_may_register() {
    let callboard = limited("services: 2, instances: 3, instances_per_service: 2").start();
    let register = async |service: &str, id: &str| {
        let mut instance = Instance::dead(id);
        instance.id = id.to_owned();
        let extra = json!({"check": "off"});
        callboard.try_register(service, &instance, extra).await
    };
    assert_eq!(register("web", "a").await.status(), 201);
    assert_eq!(register("web", "b").await.status(), 201);
    let refused = register("web", "c").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "10");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "urn:callboard:problem:limit-reached");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("registry.limits.instances_per_service") && detail.contains("at most 2"),
        "{detail}"
    );
    assert_eq!(register("web", "a").await.status(), 200, "replaced");
    assert_eq!(register("cart", "a").await.status(), 201);
    assert_eq!(register("cart", "b").await.status(), 429);

    callboard.rewrite(&limited("services: 3, instances: 9"));
    callboard.reload("configuration reloaded").await;
    assert_eq!(register("cart", "b").await.status(), 201);
    assert_eq!(register("orders", "a").await.status(), 201);
    assert_eq!(register("search", "a").await.status(), 429);
}

/// Asks `/healthz` on a connection of its own, which stays open.
async fn ask(callboard: &Callboard) -> TcpStream {
    let address = callboard.registry.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answered(stream: &mut TcpStream) -> bool {
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    &first == b"HTTP/1.1 200"
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_others_to_close() {
    let callboard = limited("connections: 2").start();
    let (mut first, mut second) = (ask(&callboard).await, ask(&callboard).await);
    assert!(answered(&mut first).await && answered(&mut second).await);
    let mut third = ask(&callboard).await;
    eventually("the log says so", || async {
        let log = callboard.log();
        log.contains("registry.limits.connections").then_some(())
    })
    .await;
    assert_eq!(callboard.get("/").await.status(), 404, "clients are served");
    drop(first);
    assert!(answered(&mut third).await);
}
