//! Where the access log goes: files that are moved away, disks that are full, and readers of standard
//! output that do not read.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::{Callboard, Setup, eventually, run_to_end};

fn logging(settings: &str) -> Setup {
    let settings = format!("telemetry: {{access_log: {{{settings}}}}}");
    Setup::default().top(&settings)
}

/// The lines of all files in its folder whose name begins with `name`.
fn lines(callboard: &Callboard, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in fs::read_dir(callboard.folder()).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with(name) {
            let text = fs::read_to_string(file.path()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "{text}");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_when_the_file_is_moved_away_under_load() {
    let callboard = logging("path: access.log, fields: [path]").start();
    let (sent, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let load = async {
        while !stop.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            callboard.get(&format!("/nobody/{number}")).await;
        }
    };
    let file = callboard.folder().join("access.log");
    let rotate = async {
        for round in 0..5 {
            let before = sent.load(Ordering::Relaxed);
            eventually("some more are sent", || async {
                (sent.load(Ordering::Relaxed) > before + 20).then_some(())
            })
            .await;
            fs::rename(&file, file.with_extension(format!("log.{round}"))).unwrap();
            callboard.signal("USR1");
            eventually("there is a new file", || async {
                file.exists().then_some(())
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, rotate);
    let count = sent.load(Ordering::Relaxed);
    let mut found = eventually("every request has a line", || async {
        Some(lines(&callboard, "access.log")).filter(|lines| lines.len() >= count)
    })
    .await;
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), count, "one for each");
}

#[tokio::test]
async fn a_full_disk_costs_lines_which_are_counted_and_nothing_else() {
    let callboard = logging("path: /dev/full").start();
    for _ in 0..3 {
        assert_eq!(callboard.get("/nobody/").await.status(), 404);
    }
    eventually("they are counted", || async {
        let metrics = callboard.metrics().await;
        let dropped = metrics.contains("\ncallboard_access_log_dropped_total 3\n");
        (dropped && metrics.contains("\ncallboard_access_log_lines_total 0\n")).then_some(())
    })
    .await;
    let said = "the access log /dev/full cannot be written: ";
    assert_eq!(callboard.log().matches(said).count(), 1);
}

#[tokio::test]
async fn a_reload_changes_the_format_and_the_file_and_refuses_one_that_cannot_be() {
    let callboard = logging("path: a.log, fields: [path]").start();
    callboard.get("/one").await;
    callboard.rewrite(&logging("path: b.log, format: combined"));
    callboard.reload("configuration reloaded").await;
    callboard.get("/two").await;
    callboard
        .rewrite(&logging("path: missing/c.log").top("routes: [{match: {path: /}, service: web}]"));
    callboard.reload("was not reloaded").await;
    let log = callboard.log();
    assert!(
        log.contains("cannot open the access log missing/c.log"),
        "{log}"
    );
    callboard.get("/three").await;
    callboard.rewrite(&Setup::default());
    callboard.reload("configuration reloaded").await;
    callboard.get("/four").await;
    eventually("all are written", || async {
        (lines(&callboard, "b.log").len() == 2).then_some(())
    })
    .await;
    assert_eq!(lines(&callboard, "a.log"), ["{\"path\":\"/one\"}"]);
    let last = &lines(&callboard, "b.log")[1];
    assert!(last.contains("\"GET /three HTTP/1.1\" 404 "), "{last}");
}

#[test]
fn a_file_that_cannot_be_opened_keeps_callboard_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("proxy.yaml");
    let path = folder.path().join("missing/access.log");
    let text = format!(
        "proxy: {{listen: \"127.0.0.1:0\", upgrade_socket: off}}\n\
         registry: {{listen: \"127.0.0.1:0\", store: memory}}\n\
         telemetry: {{access_log: {}}}\n",
        path.display()
    );
    fs::write(&config, text).unwrap();
    let done = run_to_end(&["run", "--config", config.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    let expected = format!("cannot open the access log {}", path.display());
    assert!(said.contains(&expected), "{said}");
}

/// A callboard that logs to standard output, of which the test has the other end; killed when dropped.
struct Piped {
    process: Child,
    out: BufReader<std::process::ChildStdout>,
    proxy: String,
    _folder: tempfile::TempDir,
}

impl Piped {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "proxy: {listen: \"127.0.0.1:0\", upgrade_socket: off, shutdown_grace: 1s}\n\
                    registry: {listen: \"127.0.0.1:0\", store: memory}\n\
                    telemetry: {access_log: stdout}\n";
        fs::write(folder.path().join("proxy.yaml"), text).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_callboard"))
            .args(["run", "--config", "proxy.yaml"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut proxy = None;
        for _ in 0..2 {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            if line.contains("proxy listening on ") {
                proxy = line.trim().rsplit(' ').next().map(str::to_owned);
            }
        }
        Self {
            process,
            out,
            proxy: proxy.unwrap(),
            _folder: folder,
        }
    }

    async fn ask(&self, client: &reqwest::Client, count: usize) {
        for _ in 0..count {
            let reply = client.get(format!("{}/nobody/", self.proxy)).send().await;
            assert_eq!(reply.unwrap().status(), 404);
        }
    }

    async fn leaves(&mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        let process = std::cell::RefCell::new(&mut self.process);
        eventually("it has left", || async {
            process.borrow_mut().try_wait().unwrap()
        })
        .await;
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn standard_output_gets_a_line_for_each_request_and_the_last_ones_before_the_end() {
    let mut callboard = Piped::start();
    callboard.ask(&reqwest::Client::new(), 50).await;
    callboard.leaves().await;
    let lines: Vec<String> = callboard.out.by_ref().lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 50);
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["path"], "/nobody/");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_neither_requests_nor_the_end() {
    let mut callboard = Piped::start();
    let client = reqwest::Client::new();
    // A pipe holds 64 KiB, and a line has more than a hundred bytes.
    callboard.ask(&client, 1_000).await;
    drop(client);
    callboard.leaves().await;
}
