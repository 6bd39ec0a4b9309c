//! `callboard simulate`: what comes of made-up instances and loads.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn simulate(scenario: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callboard"));
    command.args(["simulate", "-"]).args(arguments);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    // One that is refused for its arguments reads nothing.
    let _ = input.write_all(scenario.as_bytes());
    drop(input);
    process.wait_with_output().unwrap()
}

fn reports(scenario: &str, arguments: &[&str]) -> Vec<Value> {
    let output = simulate(scenario, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn report(scenario: &str) -> Value {
    reports(scenario, &[]).remove(0)
}

fn share(report: &Value, id: &str) -> f64 {
    let instances = report["instances"].as_array().unwrap();
    let one = instances.iter().find(|one| one["id"] == id);
    one.unwrap()["share"].as_f64().unwrap()
}

fn number(report: &Value, key: &str) -> f64 {
    report.pointer(key).and_then(Value::as_f64).unwrap()
}

#[test]
fn round_robin_goes_by_weight() {
    let report = report(
        "policy: {balance: round_robin}
load: {rate: 100, requests: 4000}
instances: [{id: a, weight: 3}, {id: b}]",
    );
    assert_eq!(share(&report, "a"), 0.75);
    assert_eq!(report["requests"], 4_000);
    assert_eq!(report["answered"], 4_000);
    assert!(number(&report, "/variation") < 0.01);
}

#[test]
fn a_slow_instance_gets_less_when_load_or_latency_counts() {
    let scenario = "load: {concurrency: 40, requests: 5000}
instances:
- {id: fast, count: 3, latency: {mean: 10ms}, capacity: 8}
- {id: slow, latency: {mean: 100ms}, capacity: 8}";
    let compared = ["--compare", "round_robin,least_request,peak_ewma"];
    let reports = reports(scenario, &compared);
    let slow: Vec<f64> = reports.iter().map(|one| share(one, "slow")).collect();
    assert!((slow[0] - 0.25).abs() < 0.01, "{slow:?}");
    assert!(slow[1] < 0.15 && slow[2] < 0.15, "{slow:?}");
    let p99: Vec<f64> = reports
        .iter()
        .map(|one| number(one, "/latency/p90"))
        .collect();
    assert!(p99[1] < p99[0] && p99[2] < p99[0], "{p99:?}");
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_does_not() {
    let example = Command::new(env!("CARGO_BIN_EXE_callboard"))
        .args(["simulate", "--example"])
        .output()
        .unwrap();
    let example = String::from_utf8(example.stdout).unwrap();
    let run = |arguments: &[&str]| reports(&example, arguments);
    assert_eq!(run(&[]), run(&[]));
    assert_ne!(run(&[]), run(&["--seed", "2"]));
}

#[test]
fn who_goes_down_is_noticed_and_clients_hardly_see_it() {
    let report = report(
        "policy: {balance: round_robin, check: {interval: 1s, fall: 2}}
load: {rate: 100, duration: 30s}
instances:
- {id: a, count: 3, latency: {mean: 5ms}}
- {id: b, latency: {mean: 5ms}, events: [{at: 5s, down: true}]}",
    );
    assert!(share(&report, "b") < 0.1, "{report}");
    assert!(number(&report, "/retries") > 0.0, "{report}");
    assert_eq!(report["failed"], 0, "{report}");
}

#[test]
fn whoever_fails_is_ejected_and_comes_back() {
    let report = report(
        "policy: {balance: round_robin, outlier: {base_ejection: 5s}, retry: off}
load: {rate: 200, duration: 60s}
instances:
- {id: a, count: 3, latency: {mean: 5ms}}
- {id: b, latency: {mean: 5ms}, events: [{at: 5s, until: 10s, errors: 100%}]}",
    );
    assert_eq!(report["ejections"], 1, "{report}");
    let failed = number(&report, "/failed");
    assert!((5.0..20.0).contains(&failed), "{report}");
    assert!(share(&report, "b") > 0.15, "{report}");
}

#[test]
fn a_limit_makes_requests_wait_and_turns_the_last_away() {
    let report = report(
        "policy: {limits: {in_flight_per_instance: 1, queue: 5, queue_timeout: 100ms}}
load: {rate: 500, duration: 10s}
instances: [{id: a, latency: {mean: 10ms, distribution: fixed}}]",
    );
    assert!(number(&report, "/queued") > 100.0, "{report}");
    assert!(number(&report, "/turned_away") > 1_000.0, "{report}");
    assert_eq!(report["instances"][0]["max_in_flight"], 1);
    let (requests, answered) = (number(&report, "/requests"), number(&report, "/answered"));
    assert_eq!(requests, answered + number(&report, "/turned_away"));
}

#[test]
fn a_key_stays_with_its_instance_and_a_frequent_one_overflows() {
    let scenario = |bound: &str| {
        format!(
            "policy: {{balance: maglev, bounded_load: {bound}}}
load: {{concurrency: 64, requests: 5000, keys: 100, skew: 2}}
instances: [{{id: a, count: 4, latency: {{mean: 10ms}}}}]"
        )
    };
    let most = |bound: &str| number(&report(&scenario(bound)), "/max_over_mean");
    assert!(most("off") > most("1.25") + 0.3);
}

#[test]
fn the_policy_of_a_configured_service_can_be_tried() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.yaml");
    std::fs::write(&file, "services: {web: {balance: round_robin}}\n").unwrap();
    let arguments = ["--config", file.to_str().unwrap(), "--service", "web"];
    let scenario = "load: {rate: 100, requests: 100}\ninstances: [{id: a, count: 2}]";
    assert_eq!(reports(scenario, &arguments)[0]["balance"], "round_robin");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let load = "load: {rate: 1, requests: 1}";
    let one = "instances: [{id: a}]";
    for (scenario, told) in [
        (
            format!("{load}\ninstances: []"),
            "instances have nobody with a weight",
        ),
        (
            format!("{load}\ninstances: [{{id: a}}, {{id: a}}]"),
            "instances name a twice",
        ),
        (
            format!("{load}\ninstances: [{{id: a b}}]"),
            "instances[0].id holds ' '",
        ),
        (
            format!("{load}\ninstances: [{{id: a, weight: -1}}]"),
            "weight",
        ),
        (
            format!("{load}\ninstances: [{{id: a, errors: 101%}}]"),
            "instances[0]: \"101%\" is no percentage",
        ),
        (
            format!("{load}\ninstances: [{{id: a, count: 1001}}]"),
            "instances[0].count is 1001",
        ),
        (
            format!("{load}\ninstances: [{{id: a, events: [{{at: 2s, until: 1s}}]}}]"),
            "instances[0].events[0].until",
        ),
        (
            format!("load: {{rate: .nan, requests: 1}}\n{one}"),
            "load.rate is NaN",
        ),
        (format!("load: {{rate: 1}}\n{one}"), "load has no end"),
        (
            format!("load: {{rate: 1, concurrency: 1, requests: 1}}\n{one}"),
            "one of rate and concurrency",
        ),
        (
            format!("load: {{rate: 1e6, duration: 7d}}\n{one}"),
            "load.rate · load.duration",
        ),
        (
            format!("{load}\n{one}\npolicy: {{balance: x}}"),
            "policy.balance: \"x\" is unknown",
        ),
        (format!("{load}\n{one}\nlod: 1"), "unknown field `lod`"),
        ("- 1".to_owned(), "invalid type: sequence"),
        (String::new(), "-: "),
    ] {
        let output = simulate(&scenario, &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{scenario}: {error}");
        assert!(error.contains(told), "{scenario}: {error}");
    }
    let output = simulate(&format!("{load}\n{one}"), &["--compare", "fastest"]);
    assert_eq!(output.status.code(), Some(2));
}
