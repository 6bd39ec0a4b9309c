//! Which addresses may be registered.

use serde_json::{Value, json};

use crate::support::{Callboard, Setup};

/// The status of a registration from loopback, and what is wrong with its address.
async fn register(callboard: &Callboard, address: &str, port: u16) -> (u16, String) {
    let body = json!({"address": address, "port": port, "check": "off"});
    let url = callboard.api("/services/web/instances/a");
    let reply = callboard.client.put(url).json(&body).send().await.unwrap();
    let status = reply.status().as_u16();
    let problem: Value = reply.json().await.unwrap();
    let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
    (status, detail.to_owned())
}

fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn callboards_own_listeners_are_no_instances() {
    let wildcard = "proxy: {listen: \"0.0.0.0:0\"}\nregistry: {listen: \"127.0.0.1:0\"}\n";
    let callboard = Callboard::start(wildcard);
    for (address, port, refused) in [
        ("127.0.0.1", port(&callboard.proxy), true),
        ("127.0.0.9", port(&callboard.proxy), true),
        ("::ffff:127.0.0.1", port(&callboard.proxy), true),
        ("127.0.0.1", port(&callboard.registry), true),
        ("127.0.0.9", port(&callboard.registry), false),
        ("10.9.9.9", port(&callboard.proxy), false),
    ] {
        let (status, detail) = register(&callboard, address, port).await;
        assert_eq!(status == 422, refused, "{address}:{port} {detail}");
        assert_eq!(detail.contains("callboard itself listens"), refused);
    }
}

#[tokio::test]
async fn link_local_addresses_have_to_be_named() {
    let callboard = Callboard::trusting();
    for address in ["169.254.169.254", "fe80::1"] {
        let (status, detail) = register(&callboard, address, 80).await;
        assert_eq!(status, 422);
        assert!(detail.contains("link-local"), "{detail}");
    }
    let named = "allow: [0.0.0.0/0, 169.254.169.0/24]";
    let setup = Setup::default()
        .registry("admission: trust")
        .registry(named);
    callboard.rewrite(&setup);
    callboard.reload("configuration reloaded").await;
    assert_eq!(register(&callboard, "169.254.169.254", 80).await.0, 201);
}

#[tokio::test]
async fn an_instance_that_is_no_longer_allowed_is_refused_when_it_registers_next() {
    let callboard = Callboard::trusting();
    assert_eq!(register(&callboard, "10.0.0.5", 80).await.0, 201);
    assert_eq!(register(&callboard, "127.0.0.1", 9).await.0, 200);
    let narrowed = "allow: [10.0.0.0/8]";
    callboard.rewrite(
        &Setup::default()
            .registry("admission: trust")
            .registry(narrowed),
    );
    callboard.reload("configuration reloaded").await;
    let (status, detail) = register(&callboard, "127.0.0.1", 9).await;
    assert_eq!(status, 422);
    assert!(detail.contains("10.0.0.0/8"), "{detail}");
}
