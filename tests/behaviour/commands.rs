//! The commands that look: what they show, and what they say when there is nothing to show.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::support::commands::{Said, say, say_as};
use crate::support::{Callboard, Instance, Setup, tokens};

/// Text that a terminal would obey.
const HOSTILE: &str = "\u{1b}[2J\u{9b}\u{202e}";

fn no_commands(said: &Said) {
    let all = format!("{}{}", said.out, said.err);
    let treacherous = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!all.contains(treacherous), "{all:?}");
}

async fn api(callboard: &Callboard, path: &str) -> Value {
    let reply = callboard.client.get(callboard.api(path)).send().await;
    reply.unwrap().json().await.unwrap()
}

async fn two() -> (Callboard, [Instance; 2]) {
    let callboard = Callboard::trusting();
    let instances = ["web-1", "web-2"].map(Instance::start);
    let first = json!({"zone": "a", "tags": ["v2"], "metadata": {"build": HOSTILE}, "weight": 3});
    callboard.register("web", &instances[0], first).await;
    callboard
        .register("web", &instances[1], json!({"zone": "b"}))
        .await;
    (callboard, instances)
}

#[tokio::test]
async fn services_and_instances_are_tables_for_people_and_json_for_programs() {
    let (callboard, [web, other]) = two().await;
    let services = say(&callboard.registry, &["services"]).well();
    assert_eq!(services.words(0), ["SERVICE", "INSTANCES", "AVAILABILITY"]);
    assert_eq!(services.words(1), ["web", "2", "2", "ready"]);
    assert!(!services.out.contains('\u{1b}'), "no terminal, no colour");

    let url = callboard.instance_url("web", &other) + "/drain";
    callboard.client.put(url).send().await.unwrap();
    let instances = say(&callboard.registry, &["instances", "WEB"]).well();
    let address = format!("127.0.0.1:{}", web.port);
    assert_eq!(
        instances.words(1),
        ["web-1", "ready", &address, "3", "a", "v2", "0", "0"]
    );
    let line = instances.out.lines().nth(2).unwrap();
    assert!(line.starts_with("web-2     draining"), "{line}");
    assert!(line.ends_with("  drain requested"), "{line}");

    for (arguments, path) in [
        (&["services", "--json"][..], "/services"),
        (
            &["instances", "web", "--json", "--status", "draining"],
            "/services/web/instances?status=draining",
        ),
        (
            &["instances", "web", "--json", "--tag", "v2", "--zone", "a"],
            "/services/web/instances?tag=v2&zone=a",
        ),
        (&["routes", "--json"], "/routes"),
    ] {
        let said = say(&callboard.registry, arguments).well();
        no_commands(&said);
        let mut told: Value = serde_json::from_str(&said.out).unwrap();
        let mut expected = api(&callboard, path).await;
        for list in [&mut told, &mut expected] {
            for instance in list.as_array_mut().unwrap() {
                instance.as_object_mut().unwrap().remove("lease");
            }
        }
        assert_eq!(told, expected, "{arguments:?}");
    }
}

#[tokio::test]
async fn one_instance_is_shown_in_full_and_harmlessly() {
    let (callboard, [web, _]) = two().await;
    for command in ["instances", "instance"] {
        let said = say(&callboard.registry, &[command, "web", "web-1"]).well();
        no_commands(&said);
        assert!(
            said.out.starts_with("web/web-1\n  availability   ready\n"),
            "{}",
            said.out
        );
        assert!(
            said.out
                .contains("metadata       build=\\u{1b}[2J\\u{9b}\\u{202e}\n"),
            "{}",
            said.out
        );
        assert!(
            said.out.contains(&format!("127.0.0.1:{}\n", web.port)),
            "{}",
            said.out
        );
    }
    let said = say(&callboard.registry, &["instance", "web", "web-1", "--json"]).well();
    no_commands(&said);
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["metadata"]["build"], HOSTILE);
}

#[tokio::test]
async fn who_was_there_at_another_moment_is_known_too() {
    let (callboard, [web, _]) = two().await;
    let at = api(&callboard, "/journal?limit=1").await[0]["at"]
        .as_str()
        .unwrap()
        .to_owned();
    let url = callboard.instance_url("web", &web);
    callboard.client.delete(url).send().await.unwrap();
    let now = say(&callboard.registry, &["instances", "web"]).well();
    assert!(!now.out.contains("web-1"), "{}", now.out);
    let then = say(&callboard.registry, &["instances", "web", "--at", &at]).well();
    assert_eq!(then.words(1)[0], "web-1");
    assert!(!then.out.contains("AVAILABILITY"), "{}", then.out);
}

#[tokio::test]
async fn nothing_to_show_is_said_beside_and_is_no_failure() {
    let (callboard, _instances) = two().await;
    for (arguments, expected) in [
        (&["routes"][..], "no routes are configured"),
        (
            &["instances", "wbe"],
            "service wbe has no instances; did you mean web?",
        ),
        (
            &["instances", "payments"],
            "service payments has no instances\n",
        ),
        (
            &["instances", "web", "--tag", "v9"],
            "service web has no such instances",
        ),
    ] {
        let said = say(&callboard.registry, arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
        assert!(said.err.contains(expected), "{said:?}");
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        assert_eq!(say(&callboard.registry, &arguments).well().out, "[]\n");
    }
    let empty = Callboard::trusting();
    let said = say(&empty.registry, &["services"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""));
    assert!(said.err.contains("no service has instances"), "{said:?}");
}

#[tokio::test]
async fn what_is_not_there_ends_with_4_and_what_may_have_been_meant() {
    let (callboard, _instances) = two().await;
    for (arguments, expected) in [
        (&["instance", "web", "web-3"][..], "did you mean web-"),
        (&["instance", "wbe", "web-1"], "did you mean web?"),
        (&["drain", "web", "wbe-1"], "did you mean web-1?"),
        (&["undrain", "web", "x"], "web"),
        (&["weight", "web", "web-11", "5"], "did you mean web-1?"),
        (&["deregister", "web", "a:b._-C"], "a:b._-C"),
        (&["split", "shop"], "shop"),
    ] {
        let said = say(&callboard.registry, arguments);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(4), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(said.err.contains(expected), "{arguments:?}: {said:?}");
    }
}

/// Every command that asks a registry.
const ALL: &[&[&str]] = &[
    &["services"],
    &["instances", "web"],
    &["instances", "web", "web-1"],
    &["watch"],
    &["journal"],
    &["explain"],
    &["explain", "1"],
    &["routes"],
    &["drain", "web", "web-1"],
    &["drain", "web", "web-1", "--wait"],
    &["undrain", "web", "web-1"],
    &["weight", "web", "web-1", "1"],
    &["deregister", "web", "web-1", "--drain"],
    &["split", "shop"],
];

#[test]
fn a_registry_that_is_not_there_ends_every_command_with_1() {
    let dead = Instance::dead("nobody");
    let registry = format!("http://127.0.0.1:{}", dead.port);
    for arguments in ALL {
        let said = say(&registry, arguments);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(1), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(
            said.err.contains("cannot be reached: Connection refused"),
            "{said:?}"
        );
    }
}

#[tokio::test]
async fn another_web_server_is_not_taken_for_a_callboard() {
    let web = &Instance::several("page", 1)[0];
    let registry = format!("http://127.0.0.1:{}", web.port);
    let deregister: &[&str] = &["deregister", "web", "web-1"];
    for arguments in ALL.iter().chain([&deregister]) {
        let said = say(&registry, arguments);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(1), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(
            said.err.contains("does not answer as a callboard does"),
            "{arguments:?}: {said:?}"
        );
    }
}

#[test]
fn wrong_arguments_end_with_2() {
    for (arguments, expected) in [
        (
            &["services", "--registry", "board"][..],
            "is not the URL of a registry",
        ),
        (&["instances", "a/b"], "expected 1 to 128 of"),
        (
            &["instances", "web", "--status", "up"],
            "possible values: starting, ready",
        ),
        (
            &["instances", "web", "--at", "yesterday"],
            "expected a time",
        ),
        (&["weight", "web", "web-1", "65536"], "is not in 0..=65535"),
        (
            &["drain", "web", "web-1", "--wait", "long"],
            "is not a duration",
        ),
        (&["split", "shop", "web=x"], "expected a weight"),
        (&["split", "shop", "web", "--reset"], "cannot be used with"),
        (&["explain", ".."], "a URL path cannot carry it"),
        (&["sevices"], "a similar subcommand exists: 'services'"),
        (&["completions", "cmd"], "possible values: bash"),
        (
            &["--config", "x", "services"],
            "--config is no option of this command",
        ),
    ] {
        let said = say("http://127.0.0.1:1", arguments);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(2), ""),
            "{arguments:?}: {said:?}"
        );
        assert!(said.err.contains(expected), "{arguments:?}: {said:?}");
    }
}

#[tokio::test]
async fn without_a_token_that_may_it_says_which_one_is_missing() {
    let auth = tokens::auth(&[("reader", "read"), ("deploy", "\"register:web\"")]);
    let setup = Setup::default()
        .registry("admission: trust")
        .registry(&auth);
    let callboard = setup.start();
    for arguments in ALL {
        let said = say(&callboard.registry, arguments);
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        assert!(
            said.err
                .contains("expected a token it knows in CALLBOARD_TOKEN"),
            "{said:?}"
        );
    }
    let web = Instance::start("web-1");
    let body = json!({"port": web.port});
    let path = "/api/v1/services/web/instances/web-1";
    tokens::call(&callboard, Some("deploy"), ("PUT", path, body)).await;
    let drain = ["drain", "web", "web-1"];
    let said = say_as("reader", &callboard.registry, &drain);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("expected a token that may"), "{said:?}");
    say_as("reader", &callboard.registry, &["services"]).well();
    say_as("deploy", &callboard.registry, &drain).well();
    let said = say_as("nobody", &callboard.registry, &drain);
    assert!(said.err.contains("expected a token it knows"), "{said:?}");
}

/// A registry that answers one request, and tells what its first line was.
fn answering(status: &str, body: &str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let asked = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        let request = String::from_utf8(request).unwrap();
        request.lines().next().unwrap().to_owned()
    });
    (registry, asked)
}

#[test]
fn an_explanation_is_told_as_a_story() {
    let body = json!({
        "id": "a/b", "at": "2026-11-23T06:00:00.000Z", "why": "sampled", "client": "10.0.0.1",
        "method": "GET", "host": "h", "target": format!("/{HOSTILE}"), "version": "HTTP/1.1",
        "status": 200, "took": 0.0123, "route": {"name": "shop"}, "service": "web",
        "attempts": [{"number": 1, "at": 0.0001, "instance": "web-1", "address": "10.0.0.5:80",
            "algorithm": "round_robin", "because": "its turn", "outcome": "answered", "status": 200}],
    });
    let (registry, asked) = answering("200 OK", &body.to_string());
    let said = say(&registry, &["explain", "a/b"]).well();
    assert_eq!(asked.join().unwrap(), "GET /api/v1/explain/a%2Fb HTTP/1.1");
    no_commands(&said);
    assert!(
        said.out.contains("Route  shop → service web"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("chosen by round_robin: its turn"),
        "{}",
        said.out
    );

    let (registry, _asked) = answering("200 OK", &body.to_string());
    let said = say(&registry, &["explain", "a/b", "--json"]).well();
    no_commands(&said);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), body);
}

#[test]
fn an_unknown_request_ends_with_4_and_recent_ones_are_listed_with_the_newest_last() {
    let problem =
        r#"{"type":"urn:callboard:problem:unknown-request","detail":"no request 7 is known"}"#;
    let (registry, _asked) = answering("404 Not Found", problem);
    let said = say(&registry, &["explain", "7"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("no request 7 is known"), "{said:?}");

    let recent = |id: &str| json!({"id": id, "method": "GET", "target": "/", "status": 503});
    let body = json!([recent("new"), recent("old")]).to_string();
    let (registry, asked) = answering("200 OK", &body);
    let said = say(
        &registry,
        &["explain", "--status", "503", "--service", "web"],
    )
    .well();
    assert_eq!(
        asked.join().unwrap(),
        "GET /api/v1/explain?service=web&status=503 HTTP/1.1"
    );
    assert_eq!(said.words(1).last(), Some(&"old"));
    assert_eq!(said.words(2).last(), Some(&"new"));
}

#[test]
fn what_is_no_callboard_is_told_apart() {
    for body in ["<html>", "{}", "[{\"service\": 7}]", "[1"] {
        let (registry, _asked) = answering("200 OK", body);
        let said = say(&registry, &["services"]);
        assert_eq!(
            (said.code, said.out.as_str()),
            (Some(1), ""),
            "{body}: {said:?}"
        );
        assert!(
            said.err.contains("does not answer as a callboard does"),
            "{said:?}"
        );
    }
    let (registry, _asked) = answering("404 Not Found", "<html>");
    assert_eq!(say(&registry, &["instance", "web", "web-1"]).code, Some(1));
}
