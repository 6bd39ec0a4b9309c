//! Recorded explanations, told.

use serde_json::{Value, json};

use crate::cli::explain::shape::read;
use crate::cli::screen::Look;

use super::*;

fn told(explanation: Value, look: Look) -> String {
    let explanation: Explanation = read(explanation).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut screen = Screen {
        out: &mut out,
        err: &mut err,
        look,
    };
    tell(&explanation, &mut screen).unwrap();
    String::from_utf8(out).unwrap()
}

fn candidate(id: &str, more: Value) -> Value {
    let mut candidate = json!({
        "instance": id, "address": "10.0.0.5:9000", "availability": "ready", "weight": 10,
        "effective_weight": 10.0, "in_flight": 3, "score": null, "zone": null, "chosen": false,
        "drawn": false, "excluded": null,
    });
    let fields = candidate.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    candidate
}

fn full() -> Value {
    json!({
        "id": "5f0c", "at": "2026-11-23T06:00:00.000Z", "why": "sampled", "client": "10.0.0.1",
        "method": "GET", "host": "shop.example.com", "target": "/orders/7?y",
        "version": "HTTP/1.1", "status": 200, "took": 0.0123, "head": 0.0119, "error": null,
        "route": {
            "name": "shop",
            "matched": ["host shop.example.com", "path /orders/ (a prefix of /orders/7)"],
            "split": {"side": "orders", "of": [{"service": "orders", "weight": 95},
                {"service": "orders-next", "weight": 5}], "by": "header:X-User"},
            "passed_over": [{"route": "beta", "because": "header X-Canary is absent (expected 1)"}],
            "strip": "/orders",
        },
        "service": "orders", "revision": 42,
        "policy": {"balance": "maglev", "hash_on": "header:X-User-Id",
            "hash": "9f00000000000000", "panic": false, "zone": "a"},
        "attempts": [
            {"number": 1, "at": 0.0001, "instance": "orders-1", "address": "10.0.0.5:9000",
                "algorithm": "maglev", "because": "owner of the key's slot",
                "candidates": [
                    candidate("orders-1", json!({"chosen": true, "drawn": true, "score": 0.41234})),
                    candidate("orders-2", json!({"drawn": true, "effective_weight": 2.5})),
                    candidate("orders-3", json!({"availability": "draining",
                        "excluded": "draining: drain requested"})),
                ],
                "candidates_total": 1200,
                "connection": {"after": 0.0003, "reused": true}, "ended": 0.002,
                "outcome": "failed", "status": 503, "error": null,
                "next": "tried again: status 503 is in retry.on"},
            {"number": 2, "at": 0.003, "instance": "orders-2", "address": "10.0.0.6:9000",
                "algorithm": "maglev", "because": "next in line", "candidates": [],
                "candidates_total": 0, "connection": {"after": 0.0035, "reused": false},
                "ended": 0.0119, "outcome": "answered", "status": 200, "error": null,
                "next": "passed on"},
        ],
    })
}

#[test]
fn the_whole_story_is_told() {
    insta::assert_snapshot!(told(full(), Look::default()), @r#"
    GET shop.example.com/orders/7?y → 200 in 12.3ms, its head after 11.9ms
      request 5f0c by HTTP/1.1 from 10.0.0.1 at 2026-11-23T06:00:00.000Z, explained because sampled
    Route  shop → service orders
      matched host shop.example.com, path /orders/ (a prefix of /orders/7)
      split orders=95 orders-next=5: orders, by header:X-User
      /orders is taken off the path
      passed over beta: header X-Canary is absent (expected 1)
    Policy  maglev, hash 9f00000000000000 of header:X-User-Id, zone a first
    Attempt 1  at 100µs → orders-1 (10.0.0.5:9000)
      chosen by maglev: owner of the key's slot
          INSTANCE  AVAILABILITY  WEIGHT        IN FLIGHT  SCORE   WHY NOT
      →   orders-1  ready         10            3          0.4123
      ·   orders-2  ready         10 (now 2.5)  3
          orders-3  draining      10            3                  draining: drain requested
      and 1197 more
      sent on a kept connection at 300µs
      failed 503 at 2.00ms
      tried again: status 503 is in retry.on
    Attempt 2  at 3.00ms → orders-2 (10.0.0.6:9000)
      chosen by maglev: next in line
      sent on a new connection at 3.50ms
      answered 200 at 11.9ms
      passed on
    "#);
}

#[test]
fn one_that_went_nowhere_says_so() {
    let nowhere = json!({
        "id": "5f0c", "at": "2026-11-23T06:00:00.000Z", "why": "asked for", "client": "::1",
        "method": "GET", "host": null, "target": "/", "version": "HTTP/2", "status": 404,
        "took": 0.0001, "head": null,
        "route": {"name": null, "matched": [], "split": null, "passed_over": [], "strip": null}, "service": null, "policy": null,
        "error": {"type": "destination_not_found", "detail": "no route\u{1b}[2J"}, "attempts": [],
    });
    insta::assert_snapshot!(told(nowhere, Look::default()), @r#"
    GET / → 404 in 100µs
      request 5f0c by HTTP/2 from ::1 at 2026-11-23T06:00:00.000Z, explained because asked for
      destination_not_found: no route\u{1b}[2J
    No route matched
    No attempt  it was passed on to nobody
    "#);
}

#[test]
fn on_a_terminal_it_is_in_colour_and_no_wider() {
    let look = Look {
        colored: true,
        width: Some(60),
    };
    let story = told(full(), look);
    assert!(
        story.contains("\u{1b}[31mfailed 503\u{1b}[0m at 2.00ms"),
        "{story}"
    );
    let table = story.lines().filter(|line| line.contains("orders-3"));
    for line in table {
        assert!(line.contains('…'), "{line}");
    }
}

#[test]
fn what_an_earlier_version_leaves_out_is_not_told() {
    let story = told(json!({"id": "x"}), Look::default());
    assert!(story.contains("No attempt"), "{story}");
}

#[test]
fn one_for_which_nobody_was_there_names_those_who_were_out_of_the_question() {
    let story = told(
        json!({"id": "x", "copied_to": "copy", "refused": {
            "at": 0.0001, "because": "nobody is available", "candidates_total": 1,
            "waited": {"time": 0.5, "because": "the service has no instance"},
            "candidates": [candidate("web-1", json!({"availability": "down", "excluded": "down"}))],
        }}),
        Look::default(),
    );
    let end = story.split_once("Nobody could be chosen").unwrap().1;
    insta::assert_snapshot!(end, @r"
      at 100µs: nobody is available
      waited 500ms: the service has no instance
      INSTANCE  AVAILABILITY  WEIGHT  IN FLIGHT  WHY NOT
      web-1     down          10      3          down
    Copied  to service copy
    ");
}
