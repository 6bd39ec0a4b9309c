//! `callboard prove deploy`: real processes are replaced and killed under load, and what clients see of
//! it is counted. Each of these tests is the proof of one guarantee, in its short form.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{eventually, run_to_end};

/// Carries out a short proof; its exit code and report.
fn proved(arguments: &[&str]) -> (Option<i32>, Value) {
    let line = [&["prove", "deploy", "--short", "--json"], arguments].concat();
    let Output {
        status,
        stdout,
        stderr,
    } = run_to_end(&line);
    let report = serde_json::from_slice(&stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&stderr));
    });
    (status.code(), report)
}

/// The only scenario of a proof that held.
fn held(arguments: &[&str]) -> Value {
    let (code, report) = proved(arguments);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["held"], true);
    let [scene] = report["scenarios"].as_array().unwrap().as_slice() else {
        panic!("not one scenario: {report:#}");
    };
    assert_eq!(scene["verdict"], "held");
    for kind in ["get", "get_new", "post", "post_new"] {
        assert!(scene["requests"][kind].as_u64().unwrap() > 0, "{scene:#}");
    }
    scene.clone()
}

#[test]
fn replacing_drained_instances_fails_no_request() {
    let scene = held(&["--only", "graceful", "--rounds", "3"]);
    assert_eq!(scene["scenario"], "graceful");
    assert_eq!(scene["replacements"], 3);
    assert_eq!(scene["failures"], 0);
    assert!(scene["unexpected"].as_array().unwrap().is_empty());
}

#[test]
fn a_killed_instance_fails_no_get_and_no_post_it_was_not_sent() {
    let scene = held(&["--only", "killed", "--rounds", "2"]);
    assert_eq!(scene["replacements"], 2);
    assert_eq!(scene["failures"], scene["explained"]);
}

#[test]
fn reloads_ten_times_a_second_fail_no_request_and_close_no_connection() {
    let scene = held(&["--only", "reload", "--rounds", "15"]);
    assert!(scene["replacements"].as_u64().unwrap() > 0);
    assert_eq!(scene["failures"], 0);
    assert_eq!(scene["closed_connections"], 0);
}

#[test]
fn instances_that_just_end_are_seen_by_clients_and_break_the_proof() {
    let sabotage = ["--only", "graceful", "--rounds", "15", "--without-drain"];
    let (code, report) = proved(&sabotage);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["held"], false);
    let scene = &report["scenarios"][0];
    assert_eq!(scene["verdict"], "broken");
    assert_ne!(scene["failures"], 0);
    let seen = scene["unexpected"][0]["saw"].as_str().unwrap();
    assert!(seen.starts_with("502 "), "{seen}");
    let phase = scene["unexpected"][0]["phase"].as_str().unwrap();
    assert!(phase.starts_with("web-"), "{phase}");
}

#[tokio::test]
async fn a_prover_that_is_killed_takes_its_processes_along() {
    let folder = tempfile::tempdir().unwrap();
    let mut prover = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(["prove", "deploy", "--only", "graceful"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = eventually("the prover has started processes", || async {
        let children = children(prover.id());
        (children.len() > 2).then_some(children)
    })
    .await;
    prover.kill().unwrap();
    prover.wait().unwrap();
    eventually("they have ended", || async {
        let alive = |id: &u32| std::path::Path::new(&format!("/proc/{id}/exe")).exists();
        (!started.iter().any(alive)).then_some(())
    })
    .await;
}

/// The ids of the processes that this one has started from its first thread.
fn children(id: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace().flat_map(str::parse).collect()
}
