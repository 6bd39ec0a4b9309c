//! `callboard journal`: the history on a terminal, and for programs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Callboard, Instance};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn journal(registry: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.arg("journal").args(arguments);
    for name in ["CALLBOARD_TOKEN", "CALLBOARD_CA"] {
        command.env_remove(name);
    }
    command.env("CALLBOARD_REGISTRY", registry);
    command
}

fn told(callboard: &Callboard, arguments: &[&str]) -> Output {
    journal(&callboard.registry, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A callboard where web-1 registered, was made heavier by a terminal's worst enemy, and left.
async fn eventful() -> (Callboard, Instance) {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    let patched = json!({"weight": 5, "zone": "\u{1b}[2J\u{9b}"});
    callboard.register("web", &web, patched).await;
    let url = callboard.instance_url("web", &web);
    callboard.client.delete(url).send().await.unwrap();
    (callboard, web)
}

#[tokio::test]
async fn people_see_a_table_with_the_newest_at_the_bottom() {
    let (callboard, web) = eventful().await;
    let output = told(&callboard, &["web", "--since", "1h"]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    let lines: Vec<_> = table.lines().collect();
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(0),
        ["TIME", "CHANGE", "INSTANCE", "ADDRESS", "BY", "WHY"]
    );
    let address = format!("127.0.0.1:{}", web.port);
    assert_eq!(
        words(1)[1..],
        ["registered", "web/web-1", &address, "127.0.0.1"]
    );
    assert!(
        lines[2].contains("127.0.0.1  weight 1 → 5, zone none → \"\\u{1b}[2J"),
        "{table}"
    );
    assert_eq!(words(3)[1], "deregistered");
    assert!(words(3)[0].ends_with('Z'), "{table}");
    let column = |line: usize, word: &str| lines[line].find(word).unwrap();
    assert_eq!(column(0, "INSTANCE"), column(3, "web/web-1"));
    assert!(
        !table.contains(|c: char| c.is_control() && c != '\n'),
        "{table:?}"
    );
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn programs_see_json() {
    let (callboard, _) = eventful().await;
    let output = told(&callboard, &["--json", "--id", "web-1"]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    assert!(
        !table.contains(|c: char| c.is_control() && c != '\n'),
        "{table:?}"
    );
    let entries: Vec<Value> = serde_json::from_str(&table).unwrap();
    let url = callboard.api("/journal");
    let reply = callboard.client.get(url).send().await.unwrap();
    let mut newest_first: Vec<Value> = reply.json().await.unwrap();
    newest_first.reverse();
    assert_eq!(entries, newest_first);

    let none = told(&callboard, &["nobody", "--json"]);
    assert_eq!(
        (text(&none.stdout), none.stderr.len()),
        ("[]\n".to_owned(), 0)
    );
}

#[tokio::test]
async fn a_limit_keeps_the_newest_and_says_that_there_is_more() {
    let (callboard, _) = eventful().await;
    let output = told(&callboard, &["--limit", "2"]);
    let table = text(&output.stdout);
    let rows: Vec<_> = table.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[0].contains("weight 1 → 5"), "{table}");
    assert!(rows[1].contains("deregistered"), "{table}");
    assert!(text(&output.stderr).contains("the newest 2"), "{output:?}");
    let all = told(&callboard, &["--limit", "3"]);
    assert_eq!(
        (text(&all.stdout).lines().count(), all.stderr.len()),
        (4, 0)
    );
}

#[tokio::test]
async fn more_than_one_page_is_read_if_it_is_asked_for() {
    let callboard = Callboard::trusting();
    for batch in 0..3 {
        let instances: Vec<_> = (0..500)
            .map(|n| json!({"service": "web", "id": format!("i{batch}-{n}"), "port": 9, "check": "off"}))
            .collect();
        let request = callboard.client.post(callboard.api("/instances:batch"));
        let reply = request.json(&json!({"instances": instances})).send().await;
        assert_eq!(reply.unwrap().status(), 200);
    }
    for (limit, count) in [("1200", 1_200), ("5000", 1_500), ("1500", 1_500)] {
        let output = told(&callboard, &["--json", "--limit", limit]);
        let entries: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(entries.len(), count, "{limit}");
        assert_eq!(entries[count - 1]["id"], "i2-499");
        assert!(entries.is_sorted_by_key(|entry| entry["index"].as_u64().unwrap()));
    }
}

#[test]
fn a_registry_that_is_not_there_is_told_with_what_to_do() {
    let dead = Instance::dead("nobody");
    let output = journal(&format!("http://127.0.0.1:{}", dead.port), &[])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("cannot be reached: Connection refused"),
        "{told}"
    );
    assert!(told.contains("CALLBOARD_REGISTRY"), "{told}");
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_arguments_end_with_2() {
    for (registry, arguments, expected) in [
        (
            "http://127.0.0.1:1",
            ["--since", "yesterday"],
            "expected a time with its zone",
        ),
        (
            "http://127.0.0.1:1",
            ["--config", "proxy.yaml"],
            "unexpected argument '--config'",
        ),
        ("board", ["--limit", "1"], "is not the URL of a registry"),
        (
            "https://127.0.0.1:1",
            ["--ca", "no/such.pem"],
            "no/such.pem",
        ),
    ] {
        let output = journal(registry, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let told = text(&output.stderr);
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words() {
    let callboard = Callboard::trusting();
    let arguments = ["--since", "1m", "--until", "2m"];
    let output = told(&callboard, &arguments);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("answered 422: since: is later than until"),
        "{told}"
    );
}

/// A follower of the journal; ended when dropped.
struct Follower {
    process: Child,
    lines: mpsc::Receiver<String>,
}

impl Follower {
    fn start(callboard: &Callboard, arguments: &[&str]) -> Self {
        let mut process = journal(&callboard.registry, &["--follow"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { process, lines }
    }

    async fn line(&self) -> String {
        tokio::task::block_in_place(|| self.lines.recv_timeout(PATIENCE)).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_tells_what_comes_later() {
    let callboard = Callboard::trusting();
    let [web, other] = ["web-1", "other-1"].map(Instance::start);
    callboard.register("web", &web, json!({})).await;
    let lines = Follower::start(&callboard, &["web", "--json"]);
    let table = Follower::start(&callboard, &["-n", "1"]);
    let first: Value = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!(
        (&first["change"], &first["why"]),
        (&json!("registered"), &Value::Null)
    );
    assert!(table.line().await.starts_with("TIME"));
    assert!(table.line().await.contains(" registered "));

    callboard.register("other", &other, json!({})).await;
    callboard.register("web", &web, json!({"weight": 5})).await;
    let next: Value = serde_json::from_str(&lines.line().await).unwrap();
    assert_eq!(
        (&next["service"], &next["why"]),
        (&json!("web"), &json!("weight 1 → 5"))
    );
    assert!(table.line().await.contains(" other/other-1 "));
    assert!(table.line().await.ends_with(" weight 1 → 5"));
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    let (callboard, _) = eventful().await;
    let mut process = journal(&callboard.registry, &["--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(process.stdout.take());
    let status = process.wait().unwrap();
    let mut told = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!((status.code(), told.as_str()), (Some(0), ""));
}
