//! Runs of whole scenarios.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn parsed(text: &str) -> Scenario {
    Scenario::parse(text, None).unwrap()
}

fn report(text: &str) -> Report {
    run(&parsed(text), "", Instant::now(), &mut |_| ()).unwrap()
}

fn share(report: &Report, id: &str) -> f64 {
    let mut instances = report.instances.iter();
    instances.find(|one| one.id == id).unwrap().share
}

#[test]
fn shares_go_by_weight_where_only_weight_counts() {
    for (balance, within) in [("round_robin", 0.001), ("random", 0.02), ("maglev", 0.05)] {
        let report = report(&format!(
            "policy: {{balance: {balance}, bounded_load: off}}
load: {{rate: 100, requests: 5000, keys: 100000}}
instances: [{{id: a, weight: 3}}, {{id: b, weight: 1}}, {{id: c, weight: 0}}]"
        ));
        assert!((share(&report, "a") - 0.75).abs() < within, "{report:?}");
        assert_eq!(share(&report, "c"), 0.0);
    }
}

#[test]
fn who_comes_back_starts_slowly_by_the_time_of_the_simulation() {
    let back = |window: &str| {
        let report = report(&format!(
            "policy: {{balance: round_robin, outlier: off, slow_start: {window}, check: {{interval: 1s, fall: 1, rise: 1}}}}
load: {{rate: 50, duration: 100s}}
instances:
- {{id: a, latency: {{mean: 1ms}}}}
- {{id: b, latency: {{mean: 1ms}}, events: [{{at: 10s, until: 20s, down: true}}]}}"
        ));
        share(&report, "b")
    };
    let (slowly, at_once) = (back("60s"), back("0s"));
    // A tenth of the time it is away.
    assert!((0.42..0.46).contains(&at_once), "{at_once}");
    assert!(
        (0.1..at_once - 0.08).contains(&slowly),
        "{slowly} {at_once}"
    );
}

#[test]
fn what_an_instance_had_to_do_is_gone_when_it_comes_up_again() {
    let report = report(
        "policy: {retry: off, outlier: off, check: off, timeouts: {request: 10s}}
load: {rate: 20, duration: 60s}
instances:
- id: a
  capacity: 1
  latency: {mean: 1ms, distribution: fixed}
  events: [{at: 10s, until: 14s, slow: 100000}, {at: 15s, until: 16s, down: true}]",
    );
    // Those that came while it was slow, and until it was up again.
    assert!(report.failed + report.late < 20 * 8, "{report:?}");
    assert!(report.answered > 20 * 45, "{report:?}");
}

#[test]
fn a_run_does_not_depend_on_when_it_is_started() {
    let scenario = parsed(EXAMPLE);
    let start = Instant::now();
    let [one, other] = [start, start + Duration::from_secs(1_000)]
        .map(|start| run(&scenario, "", start, &mut |_| ()).unwrap());
    assert_eq!(one, other);
}

#[test]
fn a_run_without_a_near_end_is_refused() {
    let wrong = Scenario::parse(
        "load: {rate: 0.001, requests: 100000}\ninstances: [{id: a}]",
        None,
    );
    let told = wrong.unwrap_err().to_string();
    assert!(told.starts_with("load.requests / load.rate"), "{told}");
    let forever = parsed("load: {concurrency: 1, think: 1d, requests: 1000}\ninstances: [{id: a}]");
    assert!(forever.load.until.is_some());
}

#[test]
fn more_in_flight_than_can_be_borne_ends_the_run() {
    let scenario = parsed(
        "load: {rate: 1000000, requests: 100000000}
instances: [{id: a, latency: {mean: 168h, distribution: fixed}}]
policy: {timeouts: {request: 168h}}",
    );
    let mut told = Vec::new();
    let halt = run(&scenario, "", Instant::now(), &mut |share| told.push(share)).unwrap_err();
    assert!(
        halt.to_string()
            .starts_with("load.rate is too high: after 1 s"),
        "{halt}"
    );
    // What is told of the way there is the share of the requests.
    assert!(told.len() > 10 && told.is_sorted(), "{told:?}");
    assert!(
        told.iter().all(|share| (0.0..0.02).contains(share)),
        "{told:?}"
    );
}

#[test]
fn nesting_without_an_end_is_refused_before_it_is_read() {
    for (depth, refusal) in [
        (
            40,
            "line:2:40: nested too deep (expected at most 32 levels)",
        ),
        (
            200_000,
            "line:2:264: not readable: recursion limit exceeded (expected valid YAML)",
        ),
    ] {
        let text = format!(
            "load: {{rate: 1, requests: 1}}\npolicy: {}",
            "[".repeat(depth)
        );
        let told = Scenario::parse(&text, None).unwrap_err().to_string();
        assert_eq!(told, refusal);
    }
}

#[test]
fn who_waited_for_long_enough_leaves_and_who_came_later_stays() {
    let report = report(
        "policy: {limits: {in_flight_per_instance: 1, queue: 100, queue_timeout: 1s}, retry: off}
load: {rate: 40, duration: 60s}
instances: [{id: a, latency: {mean: 50ms, distribution: fixed}}]",
    );
    // Half of them are too many, and nobody is served who waited for more than a second.
    assert!(report.turned_away > 40 * 60 / 3, "{report:?}");
    assert!(report.answered > 20 * 60 * 9 / 10, "{report:?}");
    assert!(report.latency.max < 1.1, "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_request_and_every_try_is_accounted_for(
        seed: u64,
        balance in select(vec![
            "round_robin", "random", "least_request", "peak_ewma", "ring_hash", "maglev",
        ]),
        load in select(vec!["rate: 300", "rate: 20", "concurrency: 30", "concurrency: 3, think: 5ms"]),
        limits in select(vec!["{}", "{in_flight_per_instance: 1, queue: 3, queue_timeout: 50ms}"]),
        retry in select(vec!["off", "{attempts: 2, on: [connect, reset, timeout, 503]}"]),
        (errors, at, capacity) in (0..=100_u32, 0..2_000_u64, 1..5_usize),
    ) {
        let text = format!(
            "seed: {seed}
policy: {{balance: {balance}, limits: {limits}, retry: {retry}, timeouts: {{request: 400ms}}}}
load: {{{load}, requests: 400}}
instances:
- {{id: a, count: 2, weight: 2, capacity: {capacity}, latency: {{mean: 10ms}}}}
- {{id: b, errors: {errors}%, latency: {{mean: 80ms, distribution: lognormal}}}}
- {{id: c, weight: 5, events: [{{at: {at}ms, until: 3s, down: true}}]}}"
        );
        let report = report(&text);
        prop_assert_eq!(report.requests, 400);
        let refused = report.nobody + report.turned_away;
        let ended = report.answered + report.failed + report.late + refused;
        prop_assert_eq!(ended, report.requests, "{:?}", report);
        let tries: u64 = report.instances.iter().map(|one| one.requests).sum();
        prop_assert_eq!(tries, report.requests - refused + report.retries, "{:?}", report);
        let errors: u64 = report.instances.iter().map(|one| one.errors).sum();
        prop_assert_eq!(tries - errors, report.answered);
    }
}
