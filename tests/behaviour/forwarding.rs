//! What reaches the instance, and what comes back.

use serde_json::{Value, json};

use crate::support::{Callboard, Instance, Setup};

async fn echo(request: reqwest::RequestBuilder) -> (reqwest::header::HeaderMap, Value) {
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 200, "{:?}", reply.headers());
    (reply.headers().clone(), reply.json().await.unwrap())
}

#[tokio::test]
async fn method_body_and_query_arrive_whole() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let url = callboard.url("/web/a%20b/ä?x=1&y=%2F");
    let (_, echo) = echo(callboard.client.post(url).body("hello")).await;
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], "/a%20b/%C3%A4?x=1&y=%2F");
    assert_eq!(echo["body"], "hello");
}

#[tokio::test]
async fn forwarding_headers_name_the_client_and_replace_what_it_claims() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let request = callboard
        .client
        .get(callboard.url("/web/"))
        .header("X-Forwarded-For", "203.0.113.7")
        .header("Forwarded", "for=203.0.113.7")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example");
    let (_, echo) = echo(request).await;
    let host = callboard.proxy.strip_prefix("http://").unwrap();
    let headers = &echo["headers"];
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], host);
    assert_eq!(headers["x-forwarded-prefix"], "/web");
    assert_eq!(headers["host"], host);
    assert_eq!(headers["via"], "1.1 callboard");
    assert_eq!(
        headers["forwarded"],
        format!("for=127.0.0.1;host=\"{host}\";proto=http")
    );
}

#[tokio::test]
async fn a_trusted_proxy_is_believed_and_added_to() {
    let yaml = "proxy:\n  listen: [\"127.0.0.1:0\"]\n  trusted_proxies: [127.0.0.0/8]\n\
                registry: {listen: \"127.0.0.1:0\", admission: trust}\n";
    let callboard = Callboard::start(yaml);
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let request = callboard
        .client
        .get(callboard.url("/web/"))
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Forwarded-Proto", "https");
    let (_, echo) = echo(request).await;
    assert_eq!(echo["headers"]["x-forwarded-for"], "203.0.113.7, 127.0.0.1");
    assert_eq!(echo["headers"]["x-forwarded-proto"], "https");
}

#[tokio::test]
async fn a_request_id_is_kept_or_made_and_seen_on_both_sides() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let (reply, first) = echo(callboard.client.get(callboard.url("/web/"))).await;
    assert_eq!(
        first["headers"]["x-request-id"],
        reply["x-request-id"].to_str().unwrap()
    );
    assert_eq!(reply["x-request-id"].len(), 32);
    let named = callboard
        .client
        .get(callboard.url("/web/"))
        .header("X-Request-Id", "mine-1");
    let (reply, second) = echo(named).await;
    assert_eq!(reply["x-request-id"], "mine-1");
    assert_eq!(second["headers"]["x-request-id"], "mine-1");
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let request = callboard
        .client
        .get(callboard.url("/web/"))
        .header("Connection", "keep-alive, X-Secret")
        .header("X-Secret", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip");
    let (reply, echo) = echo(request).await;
    for name in ["x-secret", "keep-alive", "proxy-connection", "te"] {
        assert_eq!(
            echo["headers"][name],
            Value::Null,
            "{name} reached the instance"
        );
    }
    assert_eq!(reply["x-upstream"], "yes");
    for name in ["keep-alive", "x-private"] {
        assert!(!reply.contains_key(name), "{name} reached the client");
    }
}

#[tokio::test]
async fn own_errors_carry_proxy_status_and_a_problem() {
    let callboard = Setup::default().start();
    let url = callboard.url("/nobody/");
    let reply = callboard.client.get(&url).send().await.unwrap();
    assert_eq!(reply.status(), 404);
    let headers = reply.headers().clone();
    assert_eq!(headers["content-type"], "application/problem+json");
    let status = headers["proxy-status"].to_str().unwrap();
    assert!(status.starts_with("callboard; error=destination_not_found; details=\""));
    let problem: Value = reply.json().await.unwrap();
    assert_eq!(problem["status"], 404);
    assert_eq!(problem["title"], "Unknown service");
    assert_eq!(
        problem["request_id"],
        headers["x-request-id"].to_str().unwrap()
    );

    let head = callboard.client.head(&url).send().await.unwrap();
    assert_eq!(head.status(), 404);
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_path_with_dot_segments_is_refused() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap().to_owned();
    for path in ["/web/../etc", "/web/%2e%2E/etc"] {
        let reply = raw(&address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{path}: {reply}");
    }
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn malformed_requests_do_no_harm() {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let address = callboard.proxy.strip_prefix("http://").unwrap().to_owned();
    for request in [
        "\r\n\r\n",
        "NONSENSE\r\n\r\n",
        "GET /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        "POST /web/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /web/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    ] {
        let reply = raw(&address, request).await;
        assert!(!reply.starts_with("HTTP/1.1 5"), "{request:?}: {reply}");
    }
    assert_eq!(callboard.answerer("/web/").await, "web-1");
}

/// Sends bytes, closes the sending side and gives all that comes back, which may be nothing.
async fn raw(address: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut reply = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8_lossy(&reply).into_owned()
}
