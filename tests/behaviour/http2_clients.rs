//! HTTP/2 from clients: whatever HTTP/1 gets, it gets too.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use crate::support::http2::{Http2, Reply, feed, request, whole};
use crate::support::scripted::{Scripted, Step};
use crate::support::wire::say;
use crate::support::{Callboard, Instance, Setup, eventually, peers, tally};

async fn with_web(setup: Setup) -> (Callboard, Instance) {
    let callboard = setup.registry("admission: trust").start();
    let web = Instance::start("web-1");
    callboard
        .register("web", &web, json!({"check": "off"}))
        .await;
    (callboard, web)
}

async fn in_flight(callboard: &Callboard, web: &Instance, count: u64) {
    eventually(&format!("{count} requests are in flight"), || async {
        let now = callboard.instance("web", web).await?;
        (now["in_flight"] == count).then_some(())
    })
    .await;
}

fn echo(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

/// What `curl` prints.
fn curl(test: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let mut curl = Command::new(peers::program("curl", test)?)
        .args(["-sS", "--http2-prior-knowledge", "--max-time", "60"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = curl.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || stdin.write_all(&input));
    let output = curl.wait_with_output().unwrap();
    feeding.join().unwrap().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn curl_gets_and_posts_with_and_without_a_length() {
    let test = "curl_gets_and_posts_with_and_without_a_length";
    let (callboard, _web) = with_web(Setup::default()).await;
    let url = callboard.url("/web/a?b=%20c");
    let Some(got) = curl(test, &["-i", &url], b"") else {
        return;
    };
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    for gone in ["keep-alive", "connection", "x-private", "transfer-encoding"] {
        assert!(!head.contains(gone), "{head}");
    }
    assert!(head.contains("x-upstream: yes"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["target"], "/a?b=%20c");
    let headers = &body["headers"];
    let host = callboard.proxy.strip_prefix("http://").unwrap();
    assert_eq!(headers["host"], host);
    assert_eq!(headers["x-forwarded-host"], host);
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-prefix"], "/web");
    assert_eq!(headers["via"], "2.0 callboard");

    let long = "0123456789abcdef".repeat(200_000);
    for arguments in [
        &["--data-binary", "@-", &url][..],
        &["-X", "POST", "-T", "-", &url],
    ] {
        let echoed = curl(test, arguments, long.as_bytes()).unwrap();
        let echoed: Value = serde_json::from_str(&echoed).unwrap();
        assert!(echoed["body"] == long, "the body came as it went");
        let is_chunked = echoed["headers"]["transfer-encoding"] == "chunked";
        assert_eq!(is_chunked, arguments.contains(&"-T"));
    }
    let head = curl(test, &["-I", &url], b"").unwrap();
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    let refused = curl(test, &["-i", &callboard.url("/nobody/")], b"").unwrap();
    assert!(refused.starts_with("HTTP/2 404"), "{refused}");
    assert!(
        refused.contains("proxy-status: callboard; error="),
        "{refused}"
    );
    let refused = curl(test, &["-I", &callboard.url("/nobody/")], b"").unwrap();
    assert!(refused.contains("content-length: "), "{refused}");
}

#[tokio::test]
async fn nghttp_asks_for_many_things_at_once() {
    let Some(nghttp) = peers::program("nghttp", "nghttp_asks_for_many_things_at_once") else {
        return;
    };
    let (callboard, web) = with_web(Setup::default()).await;
    let urls = (0..20).map(|number| callboard.url(&format!("/web/{number}")));
    let output = Command::new(nghttp).args(urls).output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    for number in 0..20 {
        assert!(
            output.contains(&format!(r#""target":"/{number}""#)),
            "{output}"
        );
    }
    assert_eq!(web.hits(), 20);
}

#[tokio::test]
async fn httpx_speaks_http_2_over_tls_and_http_1_if_it_wants() {
    let Some(python) = peers::python("httpx_speaks_http_2_over_tls_and_http_1_if_it_wants") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    let callboard = Callboard::start(&format!(
        "proxy:\n  listen: [{{address: \"127.0.0.1:0\", tls: {{cert: {}, key: {}}}}}]\n\
         registry:\n  listen: \"127.0.0.1:0\"\n  admission: trust\n",
        cert_file.display(),
        key_file.display(),
    ));
    let web = Instance::start("web-1");
    callboard
        .register("web", &web, json!({"check": "off"}))
        .await;
    let output = Command::new(python)
        .arg(peers::script("http2_client.py"))
        .args([callboard.url("/web/"), cert_file.display().to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "HTTP/2 60 answers\nHTTP/1.1 1 answer\n", "{error}");
}

#[tokio::test]
async fn two_hundred_requests_share_a_connection() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let calls = (0..200).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let reply = client.get(&format!("/web/{number}")).await.unwrap();
            assert_eq!(echo(&reply)["target"], format!("/{number}"));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn large_bodies_cross_both_ways_at_a_time() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let calls = (0..8).map(|number: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            let body: String = (0..300_000)
                .map(|at| char::from(b'a' + ((at * (number + 7)) % 23) as u8))
                .collect();
            let reply = client.post("/web/", Bytes::from(body.clone())).await;
            assert!(echo(&reply.unwrap())["body"] == body, "body {number}");
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn uploads_that_nobody_takes_hold_up_no_other_request() {
    let (callboard, _web) = with_web(Setup::default()).await;
    // It reads nothing of the body, whatever there is room for in between.
    let deaf = Scripted::always("deaf", [Step::Pause(Duration::from_secs(60))]).await;
    callboard.register_scripted("deaf", &deaf).await;
    let client = Http2::connect(&callboard).await;
    for _ in 0..20 {
        let client = client.clone();
        tokio::spawn(async move {
            let body = Bytes::from(vec![b'x'; 40 << 20]);
            let _ = client.post("/deaf/", body).await;
        });
    }
    eventually("all uploads are under way", || async {
        (deaf.hits() == 20).then_some(())
    })
    .await;
    let body = "y".repeat(200_000);
    let reply = client
        .post("/web/", Bytes::from(body.clone()))
        .await
        .unwrap();
    assert!(echo(&reply)["body"] == body);
    assert!(callboard.resident() < 400 << 20, "{}", callboard.resident());
}

#[tokio::test]
async fn cookies_are_put_together_and_answers_say_nothing_of_connections() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let mut crumbs = request("GET", "/web/");
    for crumb in ["a=1", "b=2", "c=3"] {
        crumbs
            .headers_mut()
            .append("cookie", crumb.parse().unwrap());
    }
    crumbs
        .headers_mut()
        .insert("te", "trailers".parse().unwrap());
    let reply = whole(client.send(crumbs, true).await.unwrap().0)
        .await
        .unwrap();
    let headers = &echo(&reply)["headers"];
    assert_eq!(headers["cookie"], "a=1; b=2; c=3");
    assert_eq!(headers["host"], "a");
    assert!(headers["te"].is_null(), "{headers}");
    for name in ["connection", "keep-alive", "x-private", "transfer-encoding"] {
        assert!(!reply.headers.contains_key(name), "{reply:?}");
    }
    assert!(reply.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let callboard = Callboard::trusting();
    for (service, answer) in [
        ("none", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("same", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        ("head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let web = Scripted::always(service, [Step::Say(answer)]).await;
        callboard.register_scripted(service, &web).await;
        let client = Http2::connect(&callboard).await;
        let method = if service == "head" { "HEAD" } else { "GET" };
        for _ in 0..2 {
            let sent = client.send(request(method, &format!("/{service}/")), true);
            let reply = whole(sent.await.unwrap().0).await.unwrap();
            assert!(answer.contains(&reply.status.to_string()), "{reply:?}");
            assert!(reply.body.is_empty(), "{reply:?}");
        }
        assert_eq!(web.connections(), 1, "{service}: it was kept");
    }
}

#[tokio::test]
async fn interim_answers_pass() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n\
                  HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let web = Scripted::always("web-1", [Step::Say(answer)]).await;
    callboard.register_scripted("web", &web).await;
    let client = Http2::connect(&callboard).await;
    let (mut reply, _) = client.send(request("GET", "/web/"), true).await.unwrap();
    let hint = std::future::poll_fn(|context| reply.poll_informational(context)).await;
    let hint = hint.unwrap().unwrap();
    assert_eq!(hint.status(), 103);
    assert_eq!(hint.headers()["link"], "</a>");
    assert!(!hint.headers().contains_key("connection"));
    let reply = whole(reply).await.unwrap();
    assert_eq!((reply.status, &*reply.body), (200, &b"ok"[..]));
}

#[tokio::test]
async fn a_client_that_expects_a_word_gets_it() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let mut expecting = request("POST", "/web/");
    let headers = expecting.headers_mut();
    headers.insert("expect", "100-continue".parse().unwrap());
    headers.insert("content-length", "5".parse().unwrap());
    let (mut reply, mut sending) = client.send(expecting, false).await.unwrap();
    let word = std::future::poll_fn(|context| reply.poll_informational(context)).await;
    assert_eq!(word.unwrap().unwrap().status(), 100);
    feed(&mut sending, Bytes::from_static(b"hello"))
        .await
        .unwrap();
    assert_eq!(echo(&whole(reply).await.unwrap())["body"], "hello");
}

#[tokio::test]
async fn trailers_of_a_request_end_its_body() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let (reply, mut sending) = client.send(request("POST", "/web/"), false).await.unwrap();
    sending
        .send_data(Bytes::from_static(b"hello"), false)
        .unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    sending.send_trailers(trailers).unwrap();
    let reply = whole(reply).await.unwrap();
    assert_eq!(echo(&reply)["body"], "hello");
    assert!(reply.trailers.is_none());
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_whole() {
    let callboard = Callboard::trusting();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    let web = Scripted::always("web-1", [Step::Say(answer), Step::Close]).await;
    callboard.register_scripted("web", &web).await;
    let client = Http2::connect(&callboard).await;
    let error = client.get("/web/").await.unwrap_err();
    assert!(error.is_reset() && error.is_remote(), "{error}");
    assert!(client.get("/nobody/").await.is_ok(), "the others go on");
}

#[tokio::test]
async fn a_body_is_held_to_its_limits() {
    let setup = Setup::default()
        .proxy("clients: {min_body_rate: 1KiB/s}")
        .top("defaults: {max_body: 1000}");
    let (callboard, _web) = with_web(setup).await;
    let client = Http2::connect(&callboard).await;
    let reply = client.post("/web/", vec![b'x'; 1_000].into()).await;
    assert_eq!(reply.unwrap().status, 200);
    let reply = client.post("/web/", vec![b'x'; 100_000].into()).await;
    let reply = reply.unwrap();
    assert_eq!(reply.status, 413);
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["type"], "urn:callboard:problem:body-too-long");
    let mut announced = request("POST", "/web/");
    announced
        .headers_mut()
        .insert("content-length", "1001".parse().unwrap());
    let (reply, _sending) = client.send(announced, false).await.unwrap();
    assert_eq!(whole(reply).await.unwrap().status, 413);
    let (reply, mut sending) = client.send(request("POST", "/web/"), false).await.unwrap();
    sending.send_data(Bytes::from_static(b"a"), false).unwrap();
    assert_eq!(whole(reply).await.unwrap().status, 408);
    assert_eq!(client.get("/web/").await.unwrap().status, 200);
}

#[tokio::test]
async fn who_resets_a_stream_frees_the_instance() {
    let (callboard, web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let (reply, mut sending) = client
        .send(request("GET", "/web/held"), true)
        .await
        .unwrap();
    in_flight(&callboard, &web, 1).await;
    sending.send_reset(Reason::CANCEL);
    in_flight(&callboard, &web, 0).await;
    drop(reply);
    // So does who leaves altogether.
    let leaving = Http2::connect(&callboard).await;
    let (reply, sending) = leaving
        .send(request("GET", "/web/held"), true)
        .await
        .unwrap();
    in_flight(&callboard, &web, 1).await;
    drop((reply, sending, leaving));
    in_flight(&callboard, &web, 0).await;
    assert_eq!(client.get("/web/").await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_are_tried_again_hedged_and_mirrored() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "defaults: {check: off, balance: round_robin, outlier: off}\n\
             services: {hedged: {retry: {hedge: {after: 20ms}}}}\n\
             routes: [{match: {path: /copied}, service: web, mirror: {service: shadow, share: 100%}}]",
        )
        .start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    callboard
        .register("web", &Instance::dead("dead"), json!({}))
        .await;
    let client = Http2::connect(&callboard).await;
    for _ in 0..6 {
        let reply = client
            .post("/web/", Bytes::from_static(b"hello"))
            .await
            .unwrap();
        assert_eq!(echo(&reply)["body"], "hello");
    }
    let [slow, quick] = ["slow", "quick"].map(Instance::start);
    for instance in [&slow, &quick] {
        callboard.register("hedged", instance, json!({})).await;
    }
    quick.release(1_000);
    for _ in 0..6 {
        let reply = client.get("/hedged/held").await.unwrap();
        assert_eq!(echo(&reply)["id"], "quick");
    }
    let shadow = Instance::start("shadow-1");
    callboard.register("shadow", &shadow, json!({})).await;
    let reply = client.post("/copied", Bytes::from_static(b"hello")).await;
    assert_eq!(reply.unwrap().status, 200);
    eventually("the shadow got its copy", || async {
        (shadow.hits() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn routes_go_by_the_authority() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("routes: [{match: {host: shop.example}, service: shop}]")
        .start();
    let shop = Instance::start("shop-1");
    callboard.register("shop", &shop, json!({})).await;
    let client = Http2::connect(&callboard).await;
    let get = async |uri: &str| {
        let request = http::Request::builder().uri(uri).body(()).unwrap();
        let (reply, _) = client.send(request, true).await.unwrap();
        whole(reply).await.unwrap().status
    };
    assert_eq!(get("http://shop.example:8080/a").await, 200);
    assert_eq!(get("http://other.example/a").await, 404);
}

#[tokio::test]
async fn an_upgrade_to_http_2_is_ignored() {
    let (callboard, _web) = with_web(Setup::default()).await;
    let request = "GET /web/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let reply = say(&callboard, request).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_leaving_callboard_finishes_what_is_under_way() {
    let (mut callboard, web) = with_web(Setup::default()).await;
    let client = Http2::connect(&callboard).await;
    let idle = Http2::connect(&callboard).await;
    assert_eq!(idle.get("/web/").await.unwrap().status, 200);
    let held: Vec<_> = (0..3)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.get("/web/held").await })
        })
        .collect();
    eventually("they are held", || async {
        (web.holding() == 3).then_some(())
    })
    .await;
    callboard.signal("TERM");
    eventually("no more requests are taken", || async {
        idle.get("/web/").await.err()
    })
    .await;
    assert!(callboard.runs());
    web.release(3);
    let mut statuses = Vec::new();
    for held in held {
        statuses.push(held.await.unwrap().unwrap().status);
    }
    assert_eq!(tally(statuses), [(200, 3)]);
    assert!(callboard.ended().await.success());
}
