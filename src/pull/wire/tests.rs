//! What is read of what a control plane shows, and of what it does not.

use serde_json::{Value, json};

use super::*;
use crate::registry::Limits;

fn rules() -> Rules {
    Rules {
        ttl: Duration::from_secs(15),
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(3_600),
        allow: vec!["0.0.0.0/0".parse().unwrap()],
        allow_paths: Vec::new(),
        own: Vec::new(),
        own_paths: Vec::new(),
        limits: Limits::default(),
    }
}

/// What the control plane shows of an instance.
fn shown() -> Value {
    json!({
        "service": "web", "id": "a", "address": "::ffff:10.0.0.5", "port": 8080, "scheme": "http",
        "weight": 10, "zone": "z", "tags": ["v2"], "metadata": {"build": "7"}, "generation": 9,
        "check": {"http": {"path": "/up", "expect": ["200-204", 301]}, "interval": "5s",
            "timeout": "1s", "fall": 3, "rise": 2},
        "availability": "suspect", "reason": "slow", "in_flight": 3, "served": 5,
        "draining": false, "registered_at": "2026-01-01T00:00:00Z", "index": 42,
        "lease": {"ttl": "30s", "expires_in": "7s"}, "mood": {"new": [1]},
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut shown = shown();
    change(&mut shown);
    shown
}

fn one(value: &Value) -> Read {
    read("upsert", value.to_string().as_bytes(), &rules()).unwrap()
}

fn listed(value: &Value) -> Listed {
    match one(value).told {
        Some(Told::Here(listed)) => listed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_instance_is_read_as_it_was_registered() {
    let Listed {
        instance,
        draining,
        fitness,
    } = listed(&shown());
    assert_eq!(instance.address.to_string(), "10.0.0.5:8080");
    assert_eq!(instance.weight, 10);
    assert_eq!(instance.ttl, Some(Duration::from_secs(30)));
    assert_eq!(instance.generation, Some(9));
    assert_eq!(instance.metadata["build"], "7");
    let http = HttpCheck {
        path: "/up".to_owned(),
        expect: vec![200..=204, 301..=301],
    };
    assert_eq!(instance.check.kind, Some(CheckKind::Http(http)));
    assert_eq!(instance.check.interval, Some(Duration::from_secs(5)));
    assert!(!draining);
    assert_eq!(fitness, Fitness::Fit);
}

#[test]
fn a_lease_is_granted_where_there_is_none_and_kept_within_bounds() {
    let ttl = |lease: Value| listed(&with(|shown| shown["lease"] = lease)).instance.ttl;
    assert_eq!(ttl(Value::Null), Some(Duration::from_secs(15)));
    assert_eq!(ttl(json!({"ttl": "2h"})), Some(Duration::from_secs(3_600)));
    assert_eq!(ttl(json!({"ttl": "1ms"})), Some(Duration::from_secs(1)));
}

#[test]
fn only_what_the_registry_has_found_fit_is_fit() {
    for (availability, fitness) in [
        ("ready", Fitness::Fit),
        ("suspect", Fitness::Fit),
        ("ejected", Fitness::Fit),
        ("unhealthy", Fitness::Failing),
        ("starting", Fitness::Unproven),
        ("draining", Fitness::Unproven),
        ("pensive", Fitness::Unproven),
    ] {
        let shown = with(|shown| shown["availability"] = availability.into());
        assert_eq!(listed(&shown).fitness, fitness, "{availability}");
    }
}

#[test]
fn a_check_that_is_not_known_here_is_the_services_own() {
    let check = |check: Value| {
        listed(&with(|shown| shown["check"] = check))
            .instance
            .check
            .clone()
    };
    assert_eq!(check(json!("off")), CheckOverride::off());
    assert_eq!(check(Value::Null), CheckOverride::default());
    let unknown = check(json!({"oracle": {}, "interval": "1ms", "fall": 0}));
    assert_eq!(unknown.kind, None);
    assert_eq!(unknown.interval, Some(MIN_INTERVAL));
    assert_eq!(unknown.fall, Some(1));
    assert_eq!(check(json!({"tcp": {}})).kind, Some(CheckKind::Tcp));
}

#[test]
fn one_that_does_not_fit_is_gone_and_said_to_be_skipped() {
    for (field, value) in [
        ("address", json!("db.internal")),
        ("port", json!(0)),
        ("port", json!(70_000)),
        ("scheme", json!("gopher")),
        ("weight", json!(-1)),
        ("tags", json!(7)),
        ("check", json!("on")),
        (
            "check",
            json!({"http": {"path": "/ HTTP/1.1\r\nHost: evil"}}),
        ),
        ("check", json!({"http": {"path": "/", "expect": ["many"]}})),
        ("lease", json!({"ttl": "soon"})),
    ] {
        let Read { told, skipped, .. } = one(&with(|shown| shown[field] = value.clone()));
        let gone = Told::Gone("web".parse().unwrap(), "a".parse().unwrap());
        assert_eq!(told, Some(gone), "{field}: {value}");
        assert!(skipped[0].starts_with("web/a: "), "{skipped:?}");
    }
    let nameless = one(&with(|shown| shown["service"] = "a b".into()));
    assert_eq!((nameless.told, nameless.skipped.len()), (None, 1));
}

#[test]
fn a_snapshot_lists_all_but_those_that_do_not_fit() {
    let b = with(|shown| shown["id"] = "b".into());
    let odd = with(|shown| shown["port"] = "80".into());
    let other = with(|shown| shown["service"] = "API".into());
    let data = json!([shown(), odd, b, 7, other]).to_string();
    let Read { told, skipped, .. } = read("snapshot", data.as_bytes(), &rules()).unwrap();
    let Some(Told::Everything(listing)) = told else {
        panic!("{told:?}");
    };
    let names: Vec<_> = listing
        .iter()
        .flat_map(|(service, members)| members.keys().map(move |id| format!("{service}/{id}")))
        .collect();
    assert_eq!(names, ["api/a", "web/a", "web/b"]);
    assert_eq!(skipped.len(), 2);
}

#[test]
fn of_a_snapshot_full_of_nothings_a_few_are_told_and_the_others_counted() {
    let data = format!("[{}{}]", "0,".repeat(100_000), shown());
    let read = read("snapshot", data.as_bytes(), &rules()).unwrap();
    assert_eq!(read.skipped.len(), MAX_TOLD);
    assert_eq!(read.others_skipped, 100_000 - MAX_TOLD);
    let Some(Told::Everything(listing)) = read.told else {
        panic!("{:?}", read.told);
    };
    assert_eq!(listing.len(), 1);
}

#[test]
fn a_removal_names_who_is_gone_and_what_is_not_known_is_passed_over() {
    let gone = read(
        "remove",
        br#"{"service":"Web","id":"a","why":"?"}"#,
        &rules(),
    )
    .unwrap();
    let names = ("web".parse().unwrap(), "a".parse().unwrap());
    assert_eq!(gone, Read::from(Told::Gone(names.0, names.1)));
    assert_eq!(read("mood", b"no JSON", &rules()).unwrap(), Read::default());
}

#[test]
fn what_is_no_event_of_a_registry_is_an_error() {
    for (name, data) in [
        ("snapshot", "[{]"),
        ("snapshot", "{}"),
        ("snapshot", ""),
        ("upsert", "{"),
        ("remove", "{\"service\":\"a b\",\"id\":\"a\"}"),
        ("remove", "[]"),
    ] {
        assert!(
            read(name, data.as_bytes(), &rules()).is_err(),
            "{name}: {data}"
        );
    }
}
