//! Active checks that ask gRPC's health service.

use serde_json::{Value, json};

use crate::support::grpc::{Maker, Server};
use crate::support::{Callboard, Instance, Setup};

fn check(service: &str, scheme: &str) -> Value {
    json!({
        "scheme": scheme,
        "check": {
            "grpc": {"service": service},
            "interval": "100ms", "timeout": "5s", "fall": 1, "rise": 1,
        },
    })
}

#[tokio::test]
async fn an_instance_is_out_while_its_health_service_says_so() {
    for (maker, scheme) in [(Maker::Go, "h2c"), (Maker::Python, "http")] {
        let callboard = Setup::default().start();
        let Some(mut server) = Server::start(maker, "only", "gRPC checks") else {
            return;
        };
        server.register(&callboard, check("", scheme)).await;
        server.becomes(&callboard, "ready").await;
        server.tell("health NOT_SERVING");
        let reason = server.becomes(&callboard, "unhealthy").await;
        let words = "NOT_SERVING (expected SERVING)";
        assert!(reason.contains(words), "{reason}");
        server.tell("health SERVING");
        server.becomes(&callboard, "ready").await;
    }
}

#[tokio::test]
async fn a_check_may_ask_for_one_service_of_a_server() {
    let callboard = Setup::default().start();
    let Some(mut server) = Server::start(Maker::Go, "only", "gRPC checks") else {
        return;
    };
    server.register(&callboard, check("a.B", "h2c")).await;
    let reason = server.becomes(&callboard, "starting").await;
    assert!(reason.contains("NOT_FOUND"), "{reason}");
    server.tell("health SERVING a.B");
    server.becomes(&callboard, "ready").await;
    server.tell("health NOT_SERVING");
    server.tell("health NOT_SERVING a.B");
    let reason = server.becomes(&callboard, "unhealthy").await;
    assert!(reason.contains("NOT_SERVING for a.B"), "{reason}");
}

#[tokio::test]
async fn what_is_no_grpc_server_fails_with_a_reason() {
    let callboard = Callboard::trusting();
    let instance = Instance::start("http-only");
    callboard
        .register("web", &instance, check("", "http"))
        .await;
    callboard.until("web", &instance, "unhealthy").await;
    let view = callboard.instance("web", &instance).await.unwrap();
    let reason = view["reason"].as_str().unwrap();
    assert!(
        reason.contains("gRPC health check of 127.0.0.1:"),
        "{reason}"
    );
}
