//! The native API: signing in, being looked at, being changed, and being told what is wrong.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup};

const WEB_1: &str = "/services/web/instances/web-1";

async fn put(callboard: &Callboard, path: &str, body: Value) -> (StatusCode, Value) {
    call(callboard, Method::PUT, path, body).await
}

async fn call(
    callboard: &Callboard,
    method: Method,
    path: &str,
    body: Value,
) -> (StatusCode, Value) {
    let request = callboard.client.request(method, callboard.api(path));
    let reply = request.json(&body).send().await.unwrap();
    let status = reply.status();
    let text = reply.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default())
}

#[tokio::test]
async fn a_registration_is_answered_with_the_instance_as_it_is() {
    let callboard = Callboard::trusting();
    // It takes connections and says nothing, so no probe is through before all of this is.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let body = json!({
        "address": "127.0.0.1", "port": port, "scheme": "http", "weight": 10, "zone": "a",
        "tags": ["v2"], "metadata": {"build": "7"}, "lease": {"ttl": "15s"},
        "check": {"http": {"path": "/health"}, "interval": "5s"}, "generation": 1_795_360_215_363_u64,
    });
    let (status, new) = put(&callboard, WEB_1, body.clone()).await;
    assert_eq!(status, 201);
    for (field, value) in body.as_object().unwrap() {
        if !["lease", "check"].contains(&field.as_str()) {
            assert_eq!(new[field], *value, "{field}");
        }
    }
    assert_eq!(new["service"], "web");
    assert_eq!(new["id"], "web-1");
    assert_eq!(new["availability"], "ready");
    assert_eq!(new["draining"], false);
    assert_eq!((&new["in_flight"], &new["served"]), (&json!(0), &json!(0)));
    assert_eq!(new["check"]["http"]["path"], "/health");
    assert_eq!(new["lease"]["ttl"], "15s");
    let renew_after = new["lease"]["renew_after"].as_str().unwrap();
    let seconds: f64 = renew_after.strip_suffix('s').unwrap().parse().unwrap();
    assert!((4.5..=5.5).contains(&seconds), "{renew_after}");
    assert!(new["registered_at"].as_str().unwrap().ends_with('Z'));
    assert!(new["index"].as_u64().unwrap() > 0);

    let (status, again) = put(&callboard, WEB_1, body.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(again["index"], new["index"], "nothing has changed");

    let (status, replaced) = put(&callboard, WEB_1, json!({"port": 8081})).await;
    assert_eq!(status, 200);
    assert_eq!(
        replaced["tags"],
        json!([]),
        "a replacement replaces everything"
    );
    assert!(replaced["index"].as_u64() > new["index"].as_u64());
}

#[tokio::test]
async fn what_is_left_out_gets_its_default() {
    let callboard = Callboard::trusting();
    let (status, new) = put(
        &callboard,
        "/services/Web/instances/Web-1",
        json!({"port": 80}),
    )
    .await;
    assert_eq!(status, 201);
    assert_eq!(
        (&new["service"], &new["id"]),
        (&json!("web"), &json!("Web-1"))
    );
    assert_eq!(new["address"], "127.0.0.1", "the caller's own");
    assert_eq!(new["weight"], 1);
    assert_eq!(new["scheme"], "http");
    assert_eq!(new["zone"], Value::Null);
    assert_eq!((&new["tags"], &new["metadata"]), (&json!([]), &json!({})));
    assert_eq!(new["lease"]["ttl"], "15s");
    assert!(new["check"]["tcp"].is_object());

    let static_member = json!({"port": 80, "lease": null, "check": "off"});
    let (_, new) = put(&callboard, WEB_1, static_member).await;
    assert_eq!(new["lease"], Value::Null);
    assert_eq!(new["check"], "off");
}

#[tokio::test]
async fn a_registration_waits_for_its_first_probe_as_long_as_it_says() {
    let callboard = Setup::default().start();
    let dead = Instance::dead("web-1");
    let started = std::time::Instant::now();
    let body = json!({"address": "127.0.0.1", "port": dead.port});
    let (status, answer) = put(&callboard, &format!("{WEB_1}?wait=100ms"), body).await;
    assert_eq!(status, 202);
    assert!(started.elapsed() < std::time::Duration::from_millis(900));
    assert_eq!(answer["availability"], "starting");
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.contains("connection refused"), "{reason}");

    let unchecked = json!({"address": "127.0.0.1", "port": dead.port, "check": "off"});
    let (status, answer) = put(&callboard, WEB_1, unchecked).await;
    assert_eq!(status, 200);
    assert_eq!(answer["availability"], "ready");
}

#[tokio::test]
async fn a_wrong_registration_is_told_every_field_that_is_wrong() {
    let callboard = Callboard::trusting();
    let body = json!({"port": 0, "weight": 65_536, "address": "db.internal", "colour": "red"});
    let (status, problem) = put(&callboard, WEB_1, body).await;
    assert_eq!(status, 422);
    assert_eq!(problem["status"], 422);
    assert!(
        problem["type"]
            .as_str()
            .unwrap()
            .starts_with("urn:callboard:problem:")
    );
    let mut fields: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
    fields.sort_by_key(|error| error["field"].as_str().unwrap().to_owned());
    let fields: Vec<_> = fields
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["address", "colour", "port", "weight"]);
}

#[tokio::test]
async fn limits_of_the_registry_are_told_by_field_too() {
    let callboard = Callboard::trusting();
    let many: Vec<_> = (0..65).map(|number| format!("tag-{number}")).collect();
    let long = "x".repeat(513);
    for (body, field) in [
        (json!({"port": 1, "tags": many}), "tags"),
        (json!({"port": 1, "metadata": {"k": long}}), "metadata"),
        (json!({"port": 1, "lease": {"ttl": "1ms"}}), "lease.ttl"),
        (json!({"port": 1, "lease": {"ttl": "1 day"}}), "lease.ttl"),
        (json!({"port": 1, "address": "0.0.0.0"}), "address"),
        (json!({"port": 1, "address": "224.0.0.1"}), "address"),
    ] {
        let (status, problem) = put(&callboard, WEB_1, body).await;
        assert_eq!(status, 422, "{problem}");
        let named = problem["errors"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{field}: {problem}");
    }
}

#[tokio::test]
async fn names_that_break_the_rules_are_refused() {
    let callboard = Callboard::trusting();
    let long = "x".repeat(129);
    for (service, id, field) in [
        ("a%20b", "web-1", "service"),
        ("web", "a%2Fb", "id"),
        ("web", long.as_str(), "id"),
        (long.as_str(), "web-1", "service"),
        ("w%C3%A4b", "web-1", "service"),
    ] {
        let path = format!("/services/{service}/instances/{id}");
        let (status, problem) = put(&callboard, &path, json!({"port": 1})).await;
        assert_eq!(status, 422, "{path}");
        assert_eq!(problem["errors"][0]["field"], field);
    }
    let (status, _) = put(&callboard, "/services/%FF/instances/x", json!({"port": 1})).await;
    assert_eq!(status, 422);
    let (status, new) = put(
        &callboard,
        "/services/a%3Ab/instances/c%2Dd",
        json!({"port": 1}),
    )
    .await;
    assert_eq!(status, 201);
    assert_eq!(
        (&new["service"], &new["id"]),
        (&json!("a:b"), &json!("c-d"))
    );
}

#[tokio::test]
async fn a_body_may_come_under_any_content_type_but_must_be_json() {
    let callboard = Callboard::trusting();
    let send = async |content_type: Option<&str>, body: &'static str| {
        let mut request = callboard.client.put(callboard.api(WEB_1)).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let reply = request.send().await.unwrap();
        let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
        (reply.status().as_u16(), kind, reply.text().await.unwrap())
    };
    for content_type in [
        None,
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("text/plain"),
    ] {
        let (status, ..) = send(content_type, r#"{"port":80}"#).await;
        assert!([200, 201].contains(&status), "{content_type:?}");
    }
    let (status, kind, problem) = send(None, "{\n\"port\": }").await;
    assert_eq!((status, kind.as_str()), (400, "application/problem+json"));
    assert!(problem.contains("line 2 column 9"), "{problem}");
    assert_eq!(send(None, "").await.0, 400);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_without_being_read() {
    let callboard = Callboard::trusting();
    let body = json!({"port": 80, "metadata": {"k": "x".repeat(70_000)}});
    let (status, problem) = put(&callboard, WEB_1, body).await;
    assert_eq!(status, 413, "{problem}");

    let address = callboard.registry.strip_prefix("http://").unwrap();
    for path in [WEB_1, "/instances:batch"] {
        let method = if path == WEB_1 { "PUT" } else { "POST" };
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\n"
        )
        .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 413", "{path}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let callboard = Callboard::trusting();
    for (method, path, status, allow) in [
        (Method::GET, "/nowhere", 404, None),
        (Method::GET, "/services/web/instances", 200, None),
        (Method::GET, "/services/web", 404, None),
        (Method::GET, WEB_1, 404, None),
        (Method::POST, "/services", 405, Some("GET,HEAD")),
        (Method::GET, "/leases:renew", 405, Some("POST")),
        (Method::TRACE, "/services", 405, Some("GET,HEAD")),
        (Method::OPTIONS, "/services", 405, Some("GET,HEAD")),
        (
            Method::PUT,
            "/services/web/instances/web-1/lease",
            404,
            None,
        ),
        (Method::GET, "/services?limit=5", 422, None),
        (Method::GET, "/services/web/instances?status=up", 422, None),
    ] {
        let request = callboard
            .client
            .request(method.clone(), callboard.api(path));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), status, "{method} {path}");
        let given = reply
            .headers()
            .get("allow")
            .map(|value| value.to_str().unwrap());
        assert_eq!(given, allow, "{method} {path}");
        if status != 200 {
            assert_eq!(reply.headers()["content-type"], "application/problem+json");
            let problem: Value = reply.json().await.unwrap();
            assert_eq!(problem["status"], status);
        }
    }
}

#[tokio::test]
async fn the_rest_of_the_control_plane_answers_too() {
    let callboard = Callboard::trusting();
    let get = async |path: &str| {
        let url = format!("{}{path}", callboard.registry);
        let reply = callboard.client.get(url).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(
        get("/readyz").await,
        (200, r#"{"ready":true,"reasons":[]}"#.to_owned())
    );
    let (status, page) = get("/").await;
    assert!(status == 200 && page.contains("/api/v1/services"), "{page}");
    let (status, problem) = get("/nowhere").await;
    assert!(status == 404 && problem.contains("urn:callboard:problem:no-such-route"));
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_only_of_the_version_seen() {
    let callboard = Callboard::trusting();
    let body = json!({"port": 80, "zone": "a", "metadata": {"build": "7", "old": "1"}});
    put(&callboard, WEB_1, body).await;
    let url = callboard.api(WEB_1);
    let reply = callboard.client.get(&url).send().await.unwrap();
    let tag = reply.headers()["etag"].clone();

    let patch = json!({"weight": 5, "zone": null, "metadata": {"build": "8", "old": null}});
    let request = callboard.client.patch(&url).header("if-match", &tag);
    let reply = request.json(&patch).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_ne!(reply.headers()["etag"], tag);
    let index = reply.headers()["callboard-index"].clone();
    let patched: Value = reply.json().await.unwrap();
    assert_eq!(patched["weight"], 5);
    assert_eq!(patched["zone"], Value::Null);
    assert_eq!(patched["metadata"], json!({"build": "8"}));
    assert_eq!(patched["port"], 80);

    let request = callboard.client.patch(&url).header("if-match", &tag);
    let reply = request.json(&json!({"weight": 6})).send().await.unwrap();
    assert_eq!(reply.status(), 412);
    let request = callboard.client.patch(&url).header("if-match", &index);
    let reply = request.json(&json!({"weight": 6})).send().await.unwrap();
    assert_eq!(reply.status(), 200, "a bare index will do");

    let (status, problem) = call(&callboard, Method::PATCH, WEB_1, json!({"port": 81})).await;
    assert_eq!(status, 422);
    assert_eq!(problem["errors"][0]["field"], "port");
    let absent = "/services/web/instances/nobody";
    let (status, _) = call(&callboard, Method::PATCH, absent, json!({"weight": 2})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_page_of_another_site_cannot_change_the_registry() {
    let callboard = Callboard::trusting();
    let send = async |method: Method, origin: &str| {
        let request = callboard.client.request(method, callboard.api(WEB_1));
        let request = request.header("origin", origin).body(r#"{"port":80}"#);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(Method::PUT, "http://evil.example").await, 403);
    assert_eq!(send(Method::PUT, "null").await, 403);
    assert_eq!(send(Method::DELETE, "http://evil.example").await, 403);
    assert_eq!(send(Method::PUT, &callboard.registry).await, 201);
    assert_eq!(send(Method::GET, "http://evil.example").await, 200);
}
