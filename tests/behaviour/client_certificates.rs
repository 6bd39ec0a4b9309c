//! Clients that show a certificate of their own.

use serde_json::{Value, json};

use crate::support::authority::Authority;
use crate::support::{Callboard, Instance, Setup};

/// An authority with a server's certificate and two clients'; and one that nobody believes.
fn authorities() -> (Authority, Authority) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", &["a.test", "127.0.0.1"]);
    authority.issue("ops", &["ops.internal", "spiffe://mesh/ops"]);
    authority.issue("orders", &["orders.internal"]);
    stranger.issue("ops", &["ops.internal", "spiffe://mesh/ops"]);
    (authority, stranger)
}

fn tls(authority: &Authority, required: &str) -> String {
    let ca = authority.path("ca.pem").display().to_string();
    let pair = authority.pair("server");
    format!("tls: {{{pair}, clients: {{ca: {ca}, required: {required}}}}}")
}

/// A client that shows this certificate, or none.
fn client(authority: &Authority, shown: Option<(&Authority, &str)>) -> reqwest::Client {
    let client = authority.client(&["a.test"]);
    let client = match shown {
        Some((authority, file)) => client.identity(authority.identity(file)),
        None => client,
    };
    client.build().unwrap()
}

fn url(callboard: &Callboard, path: &str) -> String {
    format!("https://a.test:{}{path}", callboard.port(1))
}

async fn echo(request: reqwest::RequestBuilder) -> Value {
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 200, "{:?}", reply.headers());
    reply.json().await.unwrap()
}

#[tokio::test]
async fn a_required_certificate_is_one_of_the_issuers() {
    let (authority, stranger) = authorities();
    let setup = Setup::default().registry("admission: trust");
    let callboard = setup.listener(&tls(&authority, "on")).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let served = |shown| {
        let request = client(&authority, shown).get(url(&callboard, "/web/"));
        async {
            request
                .send()
                .await
                .is_ok_and(|reply| reply.status() == 200)
        }
    };
    assert!(served(Some((&authority, "ops"))).await);
    assert!(!served(None).await);
    assert!(!served(Some((&stranger, "ops"))).await);
}

#[tokio::test]
async fn instances_are_told_of_the_certificate_and_no_client_can_invent_one() {
    let (authority, stranger) = authorities();
    let setup = Setup::default().registry("admission: trust");
    let callboard = setup.listener(&tls(&authority, "off")).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let shown = client(&authority, Some((&authority, "ops")));
    for connection in ["keep-alive", "X-Forwarded-Client-Cert"] {
        let request = shown.get(url(&callboard, "/web/"));
        let request = request
            .header("X-Forwarded-Client-Cert", "Hash=1;URI=spiffe://mesh/root")
            .header("Connection", connection);
        let echo = echo(request).await;
        let said = echo["headers"]["x-forwarded-client-cert"].as_str().unwrap();
        let hash = said.strip_prefix("Hash=").unwrap();
        assert!(
            hash[..64].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{said}"
        );
        assert_eq!(
            &hash[64..],
            ";Subject=\"CN=ops.internal\";URI=spiffe://mesh/ops;DNS=ops.internal"
        );
    }
    let request = client(&authority, None).get(url(&callboard, "/web/"));
    let request = request.header("x-forwarded-client-cert", "Hash=1");
    let echo = echo(request).await;
    assert_eq!(echo["headers"]["x-forwarded-client-cert"], Value::Null);
    // One that is shown must be good even where none has to be.
    let request = client(&authority, Some((&stranger, "ops"))).get(url(&callboard, "/web/"));
    assert!(request.send().await.is_err());
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_unless_it_shows_a_certificate_itself() {
    let (authority, _) = authorities();
    let setup = Setup::default().registry("admission: trust");
    let setup = setup.proxy("trusted_proxies: [127.0.0.0/8]");
    let callboard = setup.listener(&tls(&authority, "off")).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let ask = |shown| {
        let request = client(&authority, shown).get(url(&callboard, "/web/"));
        echo(request.header("X-Forwarded-Client-Cert", "Hash=1"))
    };
    let kept = ask(None).await;
    assert_eq!(kept["headers"]["x-forwarded-client-cert"], "Hash=1");
    let replaced = ask(Some((&authority, "orders"))).await;
    let said = replaced["headers"]["x-forwarded-client-cert"].as_str();
    assert!(said.unwrap().ends_with(";DNS=orders.internal"), "{said:?}");
}

#[tokio::test]
async fn routes_know_clients_by_their_certificates() {
    let (authority, _) = authorities();
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "routes:
  - {match: {path: /x, client: \"spiffe://mesh/*\"}, service: mesh}
  - {match: {path: /x, client: \"*.Internal\"}, service: internal}
  - {match: {path: /x}, service: others}",
        )
        .listener(&tls(&authority, "off"))
        .start();
    let instances = ["mesh", "internal", "others"].map(Instance::start);
    for instance in &instances {
        callboard.register(&instance.id, instance, json!({})).await;
    }
    for (shown, service) in [
        (Some((&authority, "ops")), "mesh"),
        (Some((&authority, "orders")), "internal"),
        (None, "others"),
    ] {
        let request = client(&authority, shown).get(url(&callboard, "/x"));
        let spoofed = request.header("X-Forwarded-Client-Cert", "URI=spiffe://mesh/ops");
        assert_eq!(echo(spoofed).await["id"], service);
    }
    assert_eq!(callboard.answerer("/x").await, "others");
}

#[tokio::test]
async fn the_control_plane_asks_for_certificates_too() {
    let (authority, stranger) = authorities();
    let callboard = Setup::default().registry(&tls(&authority, "on")).start();
    let served = |shown| {
        let request = client(&authority, shown).get(callboard.api("/services"));
        async {
            request
                .send()
                .await
                .is_ok_and(|reply| reply.status() == 200)
        }
    };
    assert!(served(Some((&authority, "ops"))).await);
    assert!(!served(None).await);
    assert!(!served(Some((&stranger, "ops"))).await);
}
