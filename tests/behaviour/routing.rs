//! Where requests go: the default routes and the configured ones.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, tally};

#[tokio::test]
async fn a_service_is_reached_by_path_and_by_host_without_configuration() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("Web", &web, json!({})).await;
    for path in ["/web", "/web/", "/WEB/x?y"] {
        assert_eq!(callboard.answerer(path).await, "web-1", "{path}");
    }
    for host in ["web.callboard", "WEB.callboard:8080", "web.callboard."] {
        let request = callboard
            .client
            .get(callboard.url("/orders/7"))
            .header("Host", host);
        let reply: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(reply["target"], "/orders/7", "{host}");
    }
}

#[tokio::test]
async fn configured_routes_come_first_in_the_order_of_the_file() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "routes:\n\
             - {match: {host: shop.example.com, path: /orders/, methods: [POST]}, service: writes, strip_prefix: /orders}\n\
             - {match: {host: '*.example.com', headers: {X-Canary: '1'}}, service: canary}\n\
             - {match: {path: /orders}, service: reads}",
        )
        .start();
    let instances: Vec<_> = ["writes", "canary", "reads", "orders"]
        .into_iter()
        .map(|service| (service, Instance::start(service)))
        .collect();
    for (service, instance) in &instances {
        callboard.register(service, instance, json!({})).await;
    }
    let send = async |request: reqwest::RequestBuilder| -> (String, String) {
        let reply = request.send().await.unwrap();
        let echo: serde_json::Value = reply.json().await.unwrap();
        let text = |field: &str| echo[field].as_str().unwrap().to_owned();
        (text("id"), text("target"))
    };
    let post = |host: &str, path: &str| {
        callboard
            .client
            .post(callboard.url(path))
            .header("Host", host)
    };
    let to = |id: &str, target: &str| (id.to_owned(), target.to_owned());
    assert_eq!(
        send(post("shop.example.com", "/orders/7?x=1")).await,
        to("writes", "/7?x=1")
    );
    assert_eq!(
        send(post("a.example.com", "/orders").header("X-Canary", "1")).await,
        to("canary", "/orders")
    );
    assert_eq!(
        send(post("elsewhere", "/orders/7")).await,
        to("reads", "/orders/7")
    );
    assert_eq!(
        send(post("elsewhere", "/canary/7")).await,
        to("canary", "/7"),
        "default routes follow"
    );
}

#[tokio::test]
async fn a_split_shares_requests_by_weight() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("routes: [{match: {path: /}, split: [{service: old, weight: 3}, {service: new, weight: 1}, {service: off, weight: 0}]}]")
        .start();
    let instances = ["old", "new", "off"].map(Instance::start);
    for instance in &instances {
        callboard.register(&instance.id, instance, json!({})).await;
    }
    let shares = tally(callboard.answerers("/x", 400).await);
    let [(new, n), (old, o)] = &shares[..] else {
        panic!("{shares:?}");
    };
    assert_eq!((new.as_str(), old.as_str()), ("new", "old"));
    // 400 draws at 1/4: five standard deviations are 43.
    assert!((57..=143).contains(n), "{n} of {}", n + o);
}

#[tokio::test]
async fn without_default_routes_only_configured_ones_lead_anywhere() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("default_routes: off\nroutes: [{match: {path: /api}, service: web}]")
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    assert_eq!(callboard.answerer("/api/x").await, "web-1");
    let reply = callboard.get("/web/").await;
    assert_eq!(reply.status(), 404);
}

#[tokio::test]
async fn a_route_to_an_absent_service_is_503_and_an_unknown_one_404() {
    let callboard = Setup::default()
        .top("routes: [{match: {path: /api}, service: web}]\nservices: {named: {}}")
        .start();
    for (path, status) in [
        ("/api", 503),
        ("/named/", 503),
        ("/unknown/", 404),
        ("/", 404),
    ] {
        let reply = callboard.get(path).await;
        assert_eq!(reply.status(), status, "{path}");
        assert_eq!(reply.headers().contains_key("retry-after"), status == 503);
    }
}
