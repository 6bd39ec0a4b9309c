//! Plans of many kinds of change.

use std::sync::Arc;

use super::*;
use crate::health::availability::Availability;
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::names::ServiceName;

fn config(text: &str) -> Config {
    let read = Config::parse("f", text);
    read.unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
        .config
}

fn plan(old: &str, new: &str) -> Plan {
    with(old, new, &Present::default())
}

fn with(old: &str, new: &str, present: &Present) -> Plan {
    Plan::of(&config(old), Config::parse("f", new), present)
}

/// So many instances of `web`, each at 10.0.0.N.
fn present(count: u8, availability: Availability) -> Present {
    let service: ServiceName = "web".parse().unwrap();
    let candidate = |number: u8| Candidate {
        instance: Arc::new(Instance {
            service: service.clone(),
            id: format!("web-{number}").parse().unwrap(),
            address: format!("10.0.0.{number}:80").parse().unwrap(),
            scheme: Scheme::Http,
            weight: 1,
            zone: None,
            tags: Default::default(),
            metadata: Default::default(),
            ttl: None,
            check: CheckOverride::default(),
            generation: None,
        }),
        availability,
    };
    let there = (1..=count).map(candidate).collect();
    Present {
        services: [(service.clone(), there)].into(),
        ..Present::default()
    }
}

fn json(plan: &Plan) -> String {
    serde_json::to_string_pretty(plan).unwrap()
}

/// Every key that a configuration may have, each with a value that is not in force by default, and the
/// settings it needs beside it.
const EVERY_KEY: &[(&str, &str)] = &[
    ("proxy: {listen: \"0.0.0.0:81\"}", ""),
    (
        "proxy: {listen: [{address: \"0.0.0.0:80\", protocol: tcp, service: a}]}",
        "proxy: {listen: \"0.0.0.0:80\"}",
    ),
    (
        "proxy: {listen: [{address: \"0.0.0.0:80\", protocol: tcp, service: a}]}",
        "proxy: {listen: [{address: \"0.0.0.0:80\", protocol: tcp, service: b}]}",
    ),
    (
        "proxy: {listen: [{address: \"0.0.0.0:80\", proxy_protocol: on}]}",
        "proxy: {listen: \"0.0.0.0:80\"}",
    ),
    (
        "proxy: {listen: [{address: \"unix:/a\", mode: 0600}]}",
        "proxy: {listen: \"unix:/a\"}",
    ),
    ("proxy: {threads: 3}", ""),
    ("proxy: {trusted_proxies: [10.0.0.1]}", ""),
    ("proxy: {trusted_proxies: [unix]}", ""),
    ("proxy: {shutdown_grace: 1s}", ""),
    ("proxy: {zone: a}", ""),
    ("proxy: {upgrade_socket: off}", ""),
    ("proxy: {clients: {head_timeout: 1s}}", ""),
    ("proxy: {clients: {idle: 1s}}", ""),
    ("proxy: {clients: {max_head: 32KiB}}", ""),
    ("proxy: {clients: {max_headers: 50}}", ""),
    ("proxy: {clients: {min_body_rate: off}}", ""),
    ("proxy: {clients: {max_streams: 7}}", ""),
    ("registry: {listen: \"127.0.0.1:8501\"}", ""),
    ("registry: {store: memory}", ""),
    ("registry: {store: {sqlite: {path: other.db}}}", ""),
    ("registry: {store: {sqlite: {history: 1h}}}", ""),
    ("registry: {store: {sqlite: {max_size: 100MiB}}}", ""),
    ("registry: {store: {sqlite: {sync: normal}}}", ""),
    ("registry: {lease: {ttl: 16s}}", ""),
    ("registry: {lease: {min: 2s}}", ""),
    ("registry: {lease: {max: 2h}}", ""),
    ("registry: {admission: trust}", ""),
    ("registry: {allow: [10.0.0.0/8]}", ""),
    (
        "registry: {allow: [0.0.0.0/0, \"::/0\", \"unix:/run/app/\"]}",
        "",
    ),
    ("registry: {pull: \"http://10.0.0.1:8500\"}", ""),
    ("registry: {limits: {services: 9}}", ""),
    ("registry: {limits: {instances: 9}}", ""),
    ("registry: {limits: {instances_per_service: 9}}", ""),
    ("registry: {limits: {connections: 9}}", ""),
    ("registry: {limits: {per_token: 9/s}}", ""),
    ("registry: {limits: {per_peer: 9/s}}", ""),
    ("telemetry: {metrics: off}", ""),
    ("telemetry: {metrics: {instances: 9}}", ""),
    ("telemetry: {access_log: stdout}", ""),
    (
        "telemetry: {access_log: {path: /a}}",
        "telemetry: {access_log: stdout}",
    ),
    (
        "telemetry: {access_log: {path: stdout, format: combined}}",
        "telemetry: {access_log: stdout}",
    ),
    (
        "telemetry: {access_log: {path: stdout, fields: [time]}}",
        "telemetry: {access_log: stdout}",
    ),
    (
        "telemetry: {access_log: {path: stdout, sample: 1%}}",
        "telemetry: {access_log: stdout}",
    ),
    ("telemetry: {traces: \"http://127.0.0.1:4318\"}", ""),
    (
        "telemetry: {traces: {endpoint: \"http://127.0.0.1:4318\", sample: 2%}}",
        "telemetry: {traces: \"http://127.0.0.1:4318\"}",
    ),
    (
        "telemetry: {traces: {endpoint: \"http://127.0.0.1:4318\", name: a}}",
        "telemetry: {traces: \"http://127.0.0.1:4318\"}",
    ),
    ("telemetry: {explain: off}", ""),
    ("telemetry: {explain: {sample: 2%}}", ""),
    ("telemetry: {explain: {kept: 9}}", ""),
    ("telemetry: {explain: {clients: []}}", ""),
    ("default_routes: off", ""),
    ("host_suffix: .other", ""),
    ("routes: [{match: {path: /a}, service: b}]", ""),
];

/// The same for a policy.
const EVERY_POLICY_KEY: &[&str] = &[
    "balance: maglev",
    "hash_on: path",
    "bounded_load: 2",
    "check: off",
    "check: {http: {path: /h}}",
    "check: {http: {path: /h, expect: [204]}}",
    "check: {grpc: {service: a}}",
    "check: {interval: 6s}",
    "check: {timeout: 1001ms}",
    "check: {fall: 4}",
    "check: {rise: 3}",
    "timeouts: {connect: 1500us}",
    "timeouts: {first_byte: 1s}",
    "timeouts: {between_bytes: 1s}",
    "timeouts: {request: 1s}",
    "timeouts: {total: 1s}",
    "timeouts: {idle: 1s}",
    "timeouts: {tunnel: 1s}",
    "retry: off",
    "retry: {attempts: 1}",
    "retry: {budget: 21%}",
    "retry: {budget_min: 4}",
    "retry: {on: [timeout]}",
    "retry: {buffer: 1KiB}",
    "retry: {hedge: {after: p95}}",
    "outlier: off",
    "outlier: {consecutive_failures: 6}",
    "outlier: {failure_ratio: off}",
    "outlier: {min_requests: 21}",
    "outlier: {interval: 11s}",
    "outlier: {base_ejection: 31s}",
    "outlier: {max_ejection: 6m}",
    "outlier: {max_ejected: 51%}",
    "panic_threshold: 51%",
    "panic: fail",
    "slow_start: 1s",
    "slow_start: {aggression: 2}",
    "load_reports: off",
    "prefer_zone: off",
    "limits: {in_flight: 9}",
    "limits: {in_flight_per_instance: 9}",
    "limits: {queue: 9}",
    "limits: {queue_timeout: 9s}",
    "limits: {adaptive: on}",
    "hold: 1s",
    "hold: {max: 9}",
    "max_body: 1MiB",
    "reuse: always",
    "drain: 31s",
    "tls: {server_name: a.internal}",
    "tls: {verify: off}",
    "proxy_protocol: v2",
];

#[test]
fn a_plan_notices_every_key_and_only_that_one() {
    for (new, old) in EVERY_KEY {
        let plan = plan(old, new);
        assert!(
            plan.valid && plan.changes_anything(),
            "{new}: {}",
            json(&plan)
        );
        assert!(
            plan.changes
                .iter()
                .all(|change| change.path != "configuration"),
            "{new}"
        );
        assert!(
            !self::plan(new, old).changes.is_empty() || !plan.routes.added.is_empty(),
            "{new}"
        );
        assert!(!self::plan(new, new).changes_anything(), "{new}");
    }
    for setting in EVERY_POLICY_KEY {
        let key = setting.split(':').next().unwrap();
        for section in ["defaults", "services: {a"] {
            let close = if section == "defaults" { "" } else { "}" };
            let text = format!("{section}: {{{setting}}}{close}");
            let plan = plan("", &text);
            assert!(plan.valid, "{text}: {:?}", plan.errors);
            let paths: Vec<_> = plan
                .changes
                .iter()
                .map(|change| change.path.as_str())
                .collect();
            let prefix = section.replace(": {", ".");
            assert!(!paths.is_empty(), "{text}");
            let about = |path: &&str| path.starts_with(&format!("{prefix}.{key}"));
            assert!(paths.iter().all(about), "{text}: {paths:?}");
        }
    }
}

/// The keys that a plan was tried with are all there are, but for those that need files or secrets: the
/// compiler asks for those, see [`settings`].
#[test]
fn every_key_of_a_policy_was_tried() {
    let errors = Config::parse("f", "defaults: {\"?\": 1}").unwrap_err();
    let (_, known) = errors[0].message.split_once("(expected ").unwrap();
    for key in known.trim_end_matches(')').split(", ") {
        let tried = |setting: &&str| setting.starts_with(&format!("{key}:"));
        assert!(EVERY_POLICY_KEY.iter().any(tried), "{key}");
    }
}

#[test]
fn a_service_that_is_only_signed_in_is_told_of_what_defaults_mean_for_it() {
    let plan = with(
        "defaults: {balance: maglev}",
        "defaults: {balance: ring_hash, check: {http: {path: /health}}, panic_threshold: 0%}\nservices: {cart: {balance: random}}",
        &present(2, Availability::Unhealthy),
    );
    insta::assert_snapshot!(json(&plan), @r#"
        {
          "valid": true,
          "errors": [],
          "warnings": [],
          "restart": [],
          "changes": [
            {
              "path": "defaults.balance",
              "from": "maglev",
              "to": "ring_hash",
              "effect": null
            },
            {
              "path": "defaults.check",
              "from": "{tcp: {}, interval: 5s, timeout: 1s, fall: 3, rise: 2}",
              "to": "{http: {path: /health, expect: [200-399]}, interval: 5s, timeout: 1s, fall: 3, rise: 2}",
              "effect": null
            },
            {
              "path": "defaults.panic_threshold",
              "from": "50%",
              "to": "0%",
              "effect": null
            },
            {
              "path": "services.cart.balance",
              "from": "maglev",
              "to": "random",
              "effect": null
            }
          ],
          "services": [
            {
              "service": "cart",
              "instances": 0,
              "changes": [
                "balance: maglev → random",
                "check: {tcp: {}, interval: 5s, timeout: 1s, fall: 3, rise: 2} → {http: {path: /health, expect: [200-399]}, interval: 5s, timeout: 1s, fall: 3, rise: 2}",
                "panic_threshold: 50% → 0%"
              ],
              "effect": "requests with the same key go to any instance"
            },
            {
              "service": "web",
              "instances": 2,
              "changes": [
                "balance: maglev → ring_hash",
                "check: {tcp: {}, interval: 5s, timeout: 1s, fall: 3, rise: 2} → {http: {path: /health, expect: [200-399]}, interval: 5s, timeout: 1s, fall: 3, rise: 2}",
                "panic_threshold: 50% → 0%"
              ],
              "effect": "about 50% of the keys move; it is in panic no more: checks and ejections are believed again"
            }
          ],
          "routes": {
            "added": [],
            "removed": [],
            "changed": [],
            "moved": []
          },
          "instances": [
            {
              "service": "web",
              "id": "web-1",
              "effect": "probed by {http: {path: /health, expect: [200-399]}, interval: 5s, timeout: 1s, fall: 3, rise: 2} from then on"
            },
            {
              "service": "web",
              "id": "web-2",
              "effect": "probed by {http: {path: /health, expect: [200-399]}, interval: 5s, timeout: 1s, fall: 3, rise: 2} from then on"
            }
          ],
          "omitted": 0
        }
        "#);
}

#[test]
fn another_table_moves_most_keys_and_another_bound_none_of_idle_instances() {
    let there = present(5, Availability::Ready);
    let effect = |old: &str, new: &str| {
        let plan = with(
            &format!("defaults: {old}"),
            &format!("defaults: {new}"),
            &there,
        );
        plan.services[0].effect.clone()
    };
    let moved = effect("{balance: maglev}", "{balance: ring_hash}").unwrap();
    let share: f64 = moved
        .split(['t', '%'])
        .nth(1)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!((70.0..90.0).contains(&share), "{moved}");
    assert_eq!(
        effect("{balance: maglev}", "{balance: maglev, bounded_load: 2}"),
        None
    );
}

#[test]
fn instances_that_could_not_register_again_are_named() {
    let plan = with(
        "",
        "registry: {allow: [10.0.0.1], limits: {instances: 1}}",
        &present(2, Availability::Ready),
    );
    assert_eq!(plan.instances.len(), 1);
    assert_eq!(plan.instances[0].id, "web-2");
    assert!(
        plan.instances[0]
            .effect
            .contains("is refused when it registers next")
    );
    let limit = plan
        .changes
        .iter()
        .find(|change| change.path == "registry.limits.instances");
    assert_eq!(
        limit.unwrap().effect.as_deref(),
        Some("there are 2 now: they stay, and newcomers are refused")
    );
}

#[test]
fn who_is_ejected_comes_back_when_ejection_is_turned_off() {
    let plan = with(
        "",
        "defaults: {outlier: off}",
        &present(1, Availability::Ejected),
    );
    assert_eq!(
        plan.instances[0].effect,
        "takes requests again: ejection is turned off"
    );
}

#[test]
fn routes_are_added_removed_changed_and_moved_by_name_or_by_what_they_match() {
    let plan = plan(
        "routes:
- {match: {path: /a}, service: a}
- {match: {path: /b}, service: b, name: b}
- {match: {path: /c}, service: c}
- {match: {path: /d}, service: d}",
        "routes:
- {match: {path: /d}, service: d}
- {match: {path: /e, methods: [GET]}, service: e, timeouts: {total: off}, max_body: 1MiB}
- {match: {path: /a}, service: a}
- {match: {path: /b2}, split: [{service: b, weight: 3}, {service: b2}], name: b}",
    );
    insta::assert_snapshot!(json(&plan), @r#"
        {
          "valid": true,
          "errors": [],
          "warnings": [],
          "restart": [],
          "changes": [],
          "services": [],
          "routes": {
            "added": [
              "path /e, methods [GET]: → e, max_body 1MiB, total off"
            ],
            "removed": [
              "path /c: → c"
            ],
            "changed": [
              "b: path /b, → b ⇒ path /b2, → [b 3, b2 1]"
            ],
            "moved": [
              "path /d"
            ]
          },
          "instances": [],
          "omitted": 0
        }
        "#);
}

#[test]
fn a_split_that_was_set_ends_when_the_file_changes_its_mind() {
    let [old, same, other] = ["b", "b", "c"].map(|service| {
        format!("routes: [{{match: {{path: /a}}, name: a, split: [{{service: a}}, {{service: {service}}}]}}]")
    });
    let there = Present {
        splits: [(
            "a".to_owned(),
            config(&old).routing.routes[0].destinations.clone(),
        )]
        .into(),
        ..Present::default()
    };
    assert!(!with(&old, &same, &there).changes_anything());
    let plan = with(&old, &other, &there);
    assert_eq!(plan.changes[0].path, "routes.a.split");
    assert_eq!(
        plan.changes[0].effect.as_deref(),
        Some("the split that was set ends")
    );
}

#[test]
fn the_password_of_a_collector_is_not_told_but_that_it_is_another() {
    let at = |user: &str| {
        format!("telemetry: {{traces: {{endpoint: \"http://{user}@127.0.0.1:4318/a\"}}}}")
    };
    let text = json(&plan("", &at("me:hunter2")));
    assert!(text.contains("http://…@127.0.0.1:4318"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let plan = plan(&at("me:hunter2"), &at("me:hunter3"));
    assert_eq!(plan.changes.len(), 1, "{plan:?}");
    assert_eq!(plan.changes[0].path, "telemetry.traces.endpoint");
    assert!(!json(&plan).contains("hunter"), "{plan:?}");
}

#[test]
fn tokens_are_told_by_name_and_their_secrets_never() {
    let token = |name: &str, digit: &str, scopes: &str| {
        format!(
            "{{name: {name}, sha256: {}, scopes: [{scopes}]}}",
            digit.repeat(64)
        )
    };
    let auth =
        |tokens: &[String]| format!("registry: {{auth: {{tokens: [{}]}}}}", tokens.join(", "));
    let plan = plan(
        &auth(&[
            token("ci", "a", "admin"),
            token("web", "b", "read"),
            token("old", "c", "read"),
        ]),
        &auth(&[
            token("ci", "d", "admin"),
            token("web", "b", "read, register:web-*"),
        ]),
    );
    let text = json(&plan);
    assert!(
        !["aaa", "bbb", "ccc", "ddd"]
            .iter()
            .any(|secret| text.contains(secret))
    );
    let written: Vec<_> = plan
        .changes
        .iter()
        .map(|change| format!("{} {:?} {:?}", change.path, change.from, change.to))
        .collect();
    insta::assert_snapshot!(written.join("\n"), @r#"
        registry.auth.tokens.old.scopes Some("[read]") None
        registry.auth.tokens.web.scopes Some("[read]") Some("[read, register:web-*]")
        registry.auth.tokens.ci Some("as it is") Some("another one")
        "#);
}

#[test]
fn what_needs_a_restart_is_said_twice_over() {
    let plan = plan("", "proxy: {listen: \"0.0.0.0:81\", threads: 2}");
    assert_eq!(plan.restart, ["proxy.listen", "proxy.threads"]);
    let effects: Vec<_> = plan
        .changes
        .iter()
        .map(|change| change.effect.as_deref())
        .collect();
    assert_eq!(effects, [Some("in force after a restart"); 3]);
}

#[test]
fn a_list_has_its_end_and_says_what_is_missing() {
    let services: String = (0..1_500)
        .map(|number| format!("  s{number}: {{drain: 1s}}\n"))
        .collect();
    let plan = plan("", &format!("services:\n{services}"));
    assert_eq!(
        (plan.changes.len(), plan.services.len()),
        (MAX_ENTRIES, MAX_ENTRIES)
    );
    assert_eq!(plan.omitted, 1_000);
}
