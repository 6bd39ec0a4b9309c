//! The access log: which lines there are, and what they say.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::http2::{DATA, Frames, Http2, RST_STREAM, fields, frame, get, request, whole};
use crate::support::scripted::{Scripted, Step};
use crate::support::talker::{Talker, echo, read_line};
use crate::support::upgraded::{Switching, passes};
use crate::support::wire::{connect, read_head, say};
use crate::support::{Callboard, Instance, Setup, eventually};

const FILE: &str = "access.log";

/// A callboard with an access log of these settings.
fn logging(settings: &str) -> Setup {
    let settings = format!("telemetry: {{access_log: {{path: {FILE}, {settings}}}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&settings)
        .top("defaults: {check: off}")
}

fn text(callboard: &Callboard) -> String {
    std::fs::read_to_string(callboard.folder().join(FILE)).unwrap()
}

fn lines(callboard: &Callboard) -> Vec<Value> {
    let text = text(callboard);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines, when there are as many.
async fn until_lines(callboard: &Callboard, count: usize) -> Vec<Value> {
    eventually(&format!("there are {count} lines"), || async {
        Some(lines(callboard)).filter(|lines| lines.len() >= count)
    })
    .await
}

#[tokio::test]
async fn a_request_has_a_line_that_says_what_became_of_it() {
    let callboard = logging("format: json").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let reply = (callboard.client)
        .post(callboard.url("/web/a?token=secret"))
        .header("X-Request-Id", "r-1")
        .header("User-Agent", "me \"and\" \\you")
        .body("12345")
        .send();
    let body = reply.await.unwrap().bytes().await.unwrap();
    let line = until_lines(&callboard, 1).await.remove(0);
    for (name, value) in [
        ("request_id", json!("r-1")),
        ("client", json!("127.0.0.1")),
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("host", json!("127.0.0.1")),
        ("path", json!("/web/a")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("received", json!(5)),
        ("sent", json!(body.len())),
        ("service", json!("web")),
        ("instance", json!("web-1")),
        ("address", json!(format!("127.0.0.1:{}", web.port))),
        ("attempts", json!(1)),
        ("user_agent", json!("me \"and\" \\you")),
    ] {
        assert_eq!(line[name], value, "{name}: {line}");
    }
    let [all, head, upstream] = ["duration", "head_duration", "upstream_duration"].map(|name| {
        line[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{name}: {line}"))
    });
    assert!(all >= head && head >= upstream && upstream > 0.0, "{line}");
    assert!(!text(&callboard).contains("secret"));
    for name in ["error", "grpc_status", "trace_id"] {
        assert!(line.get(name).is_none(), "{name}: {line}");
    }
}

#[tokio::test]
async fn the_fields_that_are_chosen_come_in_their_order() {
    let chosen = "status, query, header:X-A, answer:X-Upstream, retries, tls, path";
    let callboard = logging(&format!("fields: [{chosen}]")).start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let asked = callboard.client.get(callboard.url("/web/a?b=c"));
    asked.header("X-A", "1").send().await.unwrap();
    until_lines(&callboard, 1).await;
    assert_eq!(
        text(&callboard),
        "{\"status\":200,\"query\":\"b=c\",\"header:x-a\":\"1\",\"answer:x-upstream\":\"yes\",\
         \"retries\":0,\"tls\":false,\"path\":\"/web/a\"}\n"
    );
}

#[tokio::test]
async fn the_combined_format_is_what_its_readers_know() {
    let callboard = logging("format: combined").start();
    let asked = callboard.client.get(callboard.url("/nobody/a?b=\"c\""));
    let asked = asked
        .header("User-Agent", "a \"b\" \\")
        .header("Referer", "http://r/");
    let body = asked.send().await.unwrap().bytes().await.unwrap();
    say(&callboard, "GARBAGE \u{1}\"\r\n\r\n").await;
    let text = eventually("there are two lines", || async {
        Some(text(&callboard)).filter(|text| text.lines().count() == 2)
    })
    .await;
    let (first, second) = text.split_once('\n').unwrap();
    let (before, after) = first.split_once("] ").unwrap();
    assert!(before.starts_with("127.0.0.1 - - ["), "{before}");
    assert!(before.ends_with(" +0000"), "{before}");
    let target = "/nobody/a?b=%22c%22";
    let rest = format!(
        "\"GET {target} HTTP/1.1\" 404 {} \"http://r/\" \"a \\x22b\\x22 \\x5C\"",
        body.len()
    );
    assert_eq!(after, rest);
    assert!(second.contains("] \"GARBAGE \\x01\\x22\" 400 "), "{second}");
}

#[tokio::test]
async fn what_is_refused_before_it_is_a_request_has_a_line() {
    let callboard = logging("format: json")
        .proxy("clients: {max_head: 1KiB}")
        .start();
    say(&callboard, "GET /a HTTP/1.1\nX: y\r\n\r\n").await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2_000));
    say(&callboard, long).await;
    say(&callboard, [0x16, 3, 1, b'\n', 0xff]).await;
    let mut frames = Frames::connect(&callboard, &[]).await;
    let odd = fields(&[
        (":method", "CONNECT"),
        (":authority", "a:1"),
        ("x-request-id", "odd-1"),
    ]);
    frames.say(&frame(1, 5, 1, &odd)).await;
    let lines = until_lines(&callboard, 4).await;
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line["status"].as_u64().unwrap(), line["error"].as_str()))
        .collect();
    let error = Some("http_request_error");
    assert_eq!(
        said,
        [(400, error), (414, error), (400, error), (405, error)]
    );
    assert_eq!(
        (&lines[0]["method"], &lines[0]["path"]),
        (&json!("GET"), &json!("/a"))
    );
    assert_eq!(lines[2]["path"], "\u{16}\u{3}\u{1}");
    assert_eq!(lines[3]["protocol"], "HTTP/2.0");
    assert_eq!(lines[3]["request_id"], "odd-1");
    for line in lines {
        assert_eq!(line["client"], "127.0.0.1");
        assert!(line["error_detail"].is_string(), "{line}");
        assert!(line["sent"].as_u64().unwrap() > 0, "{line}");
    }
}

#[tokio::test]
async fn of_requests_that_are_not_drawn_those_that_fail_are_logged_with_all_tries() {
    let callboard = logging("sample: 0%").start();
    let (web, dead) = (Instance::start("web-1"), Instance::dead("dead-1"));
    callboard.register("web", &web, json!({})).await;
    callboard.register("dead", &dead, json!({})).await;
    assert_eq!(callboard.get("/web/fine").await.status(), 200);
    web.set_status(418);
    assert_eq!(callboard.get("/web/declined").await.status(), 418);
    web.set_status(500);
    let failing = [("/web/broken", 500), ("/dead/", 502), ("/nobody/", 404)];
    for (count, (path, status)) in (1..).zip(failing) {
        assert_eq!(callboard.get(path).await.status(), status);
        // A line is written after its answer, and others' answers do not wait for it.
        until_lines(&callboard, count).await;
    }
    let held = callboard.hold_one("web", &web).await;
    held.abort();
    let lines = until_lines(&callboard, 4).await;
    let said = lines.iter().map(|line| {
        json!([
            line["path"],
            line["status"],
            line["error"],
            line["instance"],
            line["attempts"]
        ])
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            json!(["/web/broken", 500, null, "web-1", 1]),
            json!(["/dead/", 502, "connection_refused", "dead-1", 1]),
            json!(["/nobody/", 404, "destination_not_found", null, 0]),
            json!(["/web/held", 499, "client_gone", "web-1", 1]),
        ]
    );
}

#[tokio::test]
async fn a_request_that_is_tried_again_names_the_instance_that_answered() {
    let callboard = logging("format: json")
        .top("services: {web: {balance: round_robin}}")
        .start();
    let (live, dead) = (Instance::start("live"), Instance::dead("dead"));
    for instance in [&live, &dead] {
        callboard.register("web", instance, json!({})).await;
    }
    for _ in 0..2 {
        assert_eq!(callboard.get("/web/").await.status(), 200);
    }
    let lines = until_lines(&callboard, 2).await;
    assert!(
        lines.iter().all(|line| line["instance"] == "live"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line["attempts"] == 2), "{lines:?}");
}

#[tokio::test]
async fn an_interim_answer_is_not_what_a_client_that_left_was_answered() {
    let callboard = logging("format: json").start();
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let web = Scripted::always("web-1", [Step::Say(interim), Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let mut client = connect(&callboard).await;
    let request = b"GET /web/a HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert!(read_head(&mut client).await.starts_with("HTTP/1.1 103 "));
    drop(client);
    let line = until_lines(&callboard, 1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["error"]),
        (&json!(499), &json!("client_gone"))
    );
    assert!(line.get("head_duration").is_none(), "{line}");
    let counted =
        "callboard_requests_total{service=\"web\",route=\"default_routes\",code=\"none\"} 1";
    eventually("it is counted as one without an answer", || async {
        callboard.metrics().await.contains(counted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_of_http2_are_logged_and_those_that_are_reset_too() {
    let callboard = logging("format: json").start();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let client = Http2::connect(&callboard).await;
    assert_eq!(client.get("/web/a").await.unwrap().status, 200);
    let line = until_lines(&callboard, 1).await.remove(0);
    assert_eq!(
        (&line["protocol"], &line["status"]),
        (&json!("HTTP/2.0"), &json!(200))
    );
    assert_eq!(line["host"], "a");
    let mut frames = Frames::connect(&callboard, &[]).await;
    frames.say(&get(1, "/web/held")).await;
    eventually("it is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    frames
        .say(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()))
        .await;
    let line = until_lines(&callboard, 2).await.remove(1);
    let said = ["path", "status", "error", "service", "instance"].map(|name| &line[name]);
    let expected = ["/web/held", "", "client_gone", "web", "web-1"].map(Value::from);
    assert_eq!(said[0], &expected[0]);
    assert_eq!(said[1], 499);
    assert_eq!(said[2..], [&expected[2], &expected[3], &expected[4]]);
}

#[tokio::test]
async fn calls_of_grpc_say_what_they_ended_with() {
    let callboard = logging("sample: 0%").start();
    let client = Http2::connect(&callboard).await;
    let mut call = request("POST", "/nobody/x");
    let kind = "application/grpc".parse().unwrap();
    call.headers_mut().insert("content-type", kind);
    let (reply, _) = client.send(call, true).await.unwrap();
    assert_eq!(whole(reply).await.unwrap().headers["grpc-status"], "12");
    let line = until_lines(&callboard, 1).await.remove(0);
    assert_eq!(
        (&line["status"], &line["grpc_status"]),
        (&json!(200), &json!(12))
    );
}

#[tokio::test]
async fn a_connection_that_switches_protocols_has_a_line_when_it_ends() {
    let callboard = logging("format: json").start();
    let web = Switching::start(&callboard, "web", "web-1").await;
    let other = Instance::start("other-1");
    callboard.register("other", &other, json!({})).await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "echo").await;
    passes(&mut client, &mut instance, b"a question").await;
    passes(&mut instance, &mut client, b"a long answer").await;
    // Lines are written in the order in which they are handed over, so that this one would be second.
    let url = callboard.url("/other/");
    assert_eq!(
        callboard.client.get(url).send().await.unwrap().status(),
        200
    );
    let first = until_lines(&callboard, 1).await;
    assert_eq!((first.len(), &first[0]["service"]), (1, &json!("other")));
    let counted =
        "callboard_requests_total{service=\"web\",route=\"default_routes\",code=\"1xx\"} 1";
    eventually("it is counted while it goes on", || async {
        callboard.metrics().await.contains(counted).then_some(())
    })
    .await;
    drop(client);
    drop(instance);
    let line = until_lines(&callboard, 2).await.remove(1);
    for (name, value) in [
        ("status", json!(101)),
        ("service", json!("web")),
        ("instance", json!("web-1")),
        ("received", json!(10)),
        ("sent", json!(13)),
    ] {
        assert_eq!(line[name], value, "{name} of {line}");
    }
    assert!(line.get("error").is_none(), "{line}");
    let seconds = |name: &str| line[name].as_f64().unwrap();
    assert!(seconds("duration") > seconds("head_duration"), "{line}");
}

#[tokio::test]
async fn what_was_sent_before_a_client_of_http2_gave_up_is_counted() {
    let callboard = logging("format: json").start();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde";
    let web = Scripted::always("web-1", [Step::Say(head), Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let mut frames = Frames::connect(&callboard, &[]).await;
    frames.say(&get(1, "/web/a")).await;
    frames.until(|frame| frame.kind == DATA).await;
    frames
        .say(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()))
        .await;
    let line = until_lines(&callboard, 1).await.remove(0);
    let said = ["status", "sent", "error"].map(|name| &line[name]);
    assert_eq!(said, [&json!(200), &json!(5), &json!("client_gone")]);
}

#[tokio::test]
async fn a_connection_of_a_tcp_listener_has_a_line_when_it_ends() {
    let callboard = logging("format: json")
        .listener("protocol: tcp, service: db")
        .listener("protocol: tcp, service: nobody")
        .start();
    let db = Talker::start("db-1").await;
    callboard.register_talker("db", &db).await;
    let mut stream = callboard.dial(1).await;
    read_line(&mut stream).await;
    echo(&mut stream, "a question").await;
    assert_eq!(lines(&callboard), [Value::Null; 0]);
    stream.shutdown().await.unwrap();
    read_line(&mut stream).await;
    drop(stream);
    read_line(&mut callboard.dial(2).await).await;
    let mut lines = until_lines(&callboard, 2).await;
    lines.sort_by_key(|line| line["service"] == "nobody");
    for (name, value) in [
        ("protocol", json!("tcp")),
        ("client", json!("127.0.0.1")),
        ("instance", json!("db-1")),
        ("received", json!("a question".len())),
    ] {
        assert_eq!(lines[0][name], value, "{name}: {}", lines[0]);
    }
    assert!(
        lines[0]["sent"].as_u64() > lines[0]["received"].as_u64(),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1]["error"], "unavailable");
}
