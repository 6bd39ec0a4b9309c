//! Files that say something.

use super::*;
use crate::address::Address;
use crate::balance::{Algorithm, HashOn};
use crate::cluster::policy::{Policy, Timeouts};
use crate::instance::check::{Check, CheckKind, HttpCheck};
use crate::proxy::listener::Listener;
use crate::route::{Destination, Match, Route};

const SHIPPED: &str = include_str!("../../../conf/proxy.yaml");

#[test]
fn the_shipped_file_and_an_empty_one_say_the_defaults() {
    assert_eq!(config(""), Config::default());
    assert_eq!(config(SHIPPED), Config::default());
}

#[test]
fn sections_with_everything_commented_out_say_the_defaults() {
    let text = "proxy:\n  # threads: 4\nregistry:\n  lease:\nservices:\nroutes:\ndefaults:\n";
    assert_eq!(config(text), Config::default());
}

#[test]
fn the_shipped_file_names_every_key_that_has_an_effect() {
    // An unknown key's error lists the known ones.
    let sections = [
        ("", ""),
        ("proxy: {", "}"),
        ("registry: {", "}"),
        ("registry: {store: {", "}}"),
        ("registry: {store: {sqlite: {", "}}}"),
        ("registry: {lease: {", "}}"),
        ("registry: {pull: {", "}}"),
        ("registry: {pull: {from: http://a, token: {", "}}}"),
        ("registry: {auth: {", "}}"),
        ("registry: {auth: {tokens: [{", "}]}}"),
        ("registry: {tls: {", "}}"),
        ("registry: {limits: {", "}}"),
        ("telemetry: {", "}"),
        ("telemetry: {metrics: {", "}}"),
        ("telemetry: {access_log: {", "}}"),
        ("telemetry: {traces: {endpoint: http://a, ", "}}"),
        ("telemetry: {explain: {", "}}"),
        ("defaults: {", "}"),
        ("defaults: {check: {", "}}"),
        ("defaults: {check: {http: {", "}}}"),
        ("defaults: {timeouts: {", "}}"),
        ("defaults: {retry: {", "}}"),
        ("defaults: {outlier: {", "}}"),
        ("defaults: {slow_start: {", "}}"),
        ("defaults: {limits: {", "}}"),
        ("defaults: {hold: {", "}}"),
        ("defaults: {retry: {hedge: {", "}}}"),
        ("proxy: {clients: {", "}}"),
        ("proxy: {acme: {", "}}"),
        ("proxy: {listen: {address: 0.0.0.0:1, ", "}}"),
        ("proxy: {listen: {address: 0.0.0.0:1, tls: {", "}}}"),
        (
            "proxy: {listen: {address: 0.0.0.0:1, tls: {clients: {",
            "}}}}",
        ),
        ("defaults: {tls: {", "}}"),
        ("defaults: {check: {grpc: {", "}}}"),
        ("routes: [{service: a, ", "}]"),
        ("routes: [{service: a, mirror: {", "}}]"),
        ("routes: [{service: a, timeouts: {", "}}]"),
        ("routes: [{service: a, match: {", "}}]"),
        ("routes: [{split: [{service: a, ", "}]}]"),
    ];
    let unavailable = ["etcd"];
    for (open, close) in sections {
        let error = errors(&format!("{open}\"?\": 1{close}"));
        let unknown = error.lines().find(|line| line.contains("unknown key"));
        let (_, known) = unknown.unwrap().split_once("(expected ").unwrap();
        for key in known.trim_end().trim_end_matches(')').split(", ") {
            assert!(
                unavailable.contains(&key)
                    || SHIPPED.contains(&format!("{key}:"))
                    || SHIPPED.contains(&format!("`{key}`")),
                "{key} of {open}"
            );
        }
    }
}

#[test]
fn listeners_are_an_address_a_mapping_or_a_list_of_them() {
    let listen = |text: &str| config(&format!("proxy: {{listen: {text}}}")).proxy.listen;
    let address = |text: &str| Listener::http(text.parse::<Address>().unwrap());
    assert_eq!(listen("0.0.0.0:80"), [address("0.0.0.0:80")]);
    assert_eq!(
        listen("{address: \"[::1]:80\", protocol: http}"),
        [address("[::1]:80")]
    );
    assert_eq!(
        listen("[localhost:80, {address: 10.0.0.1:81}, \"127.0.0.1:0\", \"127.0.0.1:0\"]"),
        ["127.0.0.1:80", "10.0.0.1:81", "127.0.0.1:0", "127.0.0.1:0"].map(address)
    );
}

#[test]
fn the_planes_are_what_was_written() {
    let config = config(
        "proxy: {threads: 4, trusted_proxies: [10.1.2.3/8, unix, 192.0.2.1], shutdown_grace: 0s, lean_path: off}
registry:
  listen: 0.0.0.0:8500
  auth: none
  store: {memory: }
  lease: {ttl: 5s, min: 500ms, max: 1m}
  admission: trust
  allow: [10.0.0.0/8, unix:/run/app/]
default_routes: on
host_suffix: .Internal.example
",
    );
    assert_eq!(config.proxy.threads, Some(4));
    assert_eq!(
        config.proxy.trusted_proxies,
        TrustedProxies {
            networks: ["10.0.0.0/8", "192.0.2.1/32"]
                .map(|network| network.parse().unwrap())
                .into(),
            unix: true,
        }
    );
    assert_eq!(config.proxy.shutdown_grace, Duration::ZERO);
    assert!(!config.proxy.lean_path);
    assert_eq!(config.registry.listen, "0.0.0.0:8500".parse().unwrap());
    assert_eq!(
        config.registry.rules,
        Rules {
            ttl: Duration::from_secs(5),
            min_ttl: Duration::from_millis(500),
            max_ttl: Duration::from_secs(60),
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            allow_paths: vec![crate::registry::AllowedPath::Folder("/run/app/".into())],
            own: Vec::new(),
            own_paths: Vec::new(),
            limits: Limits::default(),
        }
    );
    assert_eq!(config.registry.store, Store::Memory);
    assert_eq!(config.policies.admission, Admission::Trust);
    assert_eq!(
        config.routing.default_routes.unwrap().host_suffix,
        ".internal.example"
    );
}

#[test]
fn a_store_is_a_word_or_a_mapping_with_its_settings() {
    let store = |text: &str| {
        config(&format!("registry: {{store: {text}}}"))
            .registry
            .store
    };
    let default = sqlite::Settings::default();
    assert_eq!(default.path, std::path::Path::new("data/callboard.db"));
    for text in ["sqlite", "{sqlite: {}}", "{sqlite: }", "~"] {
        assert_eq!(store(text), Store::Sqlite(default.clone()), "{text}");
    }
    for text in ["memory", "{memory: {}}"] {
        assert_eq!(store(text), Store::Memory, "{text}");
    }
    assert_eq!(
        store("{sqlite: {path: /var/lib/a.db, history: 30d, max_size: 1GiB, sync: normal}}"),
        Store::Sqlite(sqlite::Settings {
            path: "/var/lib/a.db".into(),
            history: Duration::from_secs(30 * 24 * 60 * 60),
            max_size: 1 << 30,
            sync: sqlite::Sync::Normal,
        })
    );
}

#[test]
fn off_may_be_written_in_any_of_yamls_ways() {
    for off in ["off", "no", "false", "OFF", "False", "\"off\""] {
        let config = config(&format!(
            "default_routes: {off}\ndefaults: {{check: {off}, bounded_load: {off}}}"
        ));
        assert_eq!(config.routing.default_routes, None, "{off}");
        assert_eq!(config.policies.default.check, None, "{off}");
        assert_eq!(config.policies.default.balance.bounded_load, None, "{off}");
    }
}

#[test]
fn a_service_overrides_single_keys_of_the_defaults_and_those_of_the_built_in_policy() {
    let config = config(
        "defaults:
  timeouts: {request: 10s}
  check: {http: {path: /health, expect: [204, 300-399]}, interval: 9s}
  panic_threshold: 12.5%
services:
  Orders: {balance: maglev, hash_on: \"header:X-User-Id\", timeouts: {idle: 5s}, check: {http: {path: /up}, fall: 1}}
  cart: {check: off, drain: 0s}
  plain:
  search: {check: tcp}
",
    );
    let built_in = Policy::default();
    let default = Policy {
        timeouts: Timeouts {
            request: Duration::from_secs(10),
            ..built_in.timeouts
        },
        check: Some(Check {
            kind: CheckKind::Http(HttpCheck {
                path: "/health".to_owned(),
                expect: vec![204..=204, 300..=399],
            }),
            interval: Duration::from_secs(9),
            ..Check::default()
        }),
        panic_threshold: 0.125,
        ..built_in
    };
    assert_eq!(config.policies.default, default);
    assert_eq!(config.policies.of("plain"), &default);
    assert_eq!(config.policies.of("cart").check, None);
    assert_eq!(config.policies.of("cart").drain, Duration::ZERO);
    let search = config.policies.of("search").check.clone().unwrap();
    assert_eq!(
        (search.kind, search.interval.as_secs()),
        (CheckKind::Tcp, 9)
    );

    let orders = config.policies.of("orders");
    assert_eq!(orders.balance.algorithm, Algorithm::Maglev);
    assert_eq!(
        orders.balance.hash_on,
        HashOn::Header("x-user-id".parse().unwrap())
    );
    assert_eq!(orders.timeouts.request, Duration::from_secs(10));
    assert_eq!(orders.timeouts.idle, Duration::from_secs(5));
    let check = orders.check.clone().unwrap();
    assert_eq!((check.fall, check.interval.as_secs()), (1, 9));
    assert_eq!(
        check.kind,
        CheckKind::Http(HttpCheck {
            path: "/up".to_owned(),
            expect: vec![204..=204, 300..=399],
        })
    );
}

#[test]
fn routes_keep_their_order_and_everything_written() {
    let config = config(
        "routes:
  - match: {host: Shop.Example.com, path: /orders/, methods: [GET, POST], headers: {X-Canary: 1}}
    service: Orders
    strip_prefix: /orders/
  - {match: {host: \"*.example.com\"}, split: [{service: a, weight: 95}, {service: b}, {service: c, weight: 0}]}
  - service: rest
",
    );
    let side = |service: &str, weight| Destination {
        service: service.parse().unwrap(),
        weight,
    };
    assert_eq!(
        config.routing.routes,
        [
            Route {
                matches: Match {
                    host: Some("shop.example.com".to_owned()),
                    path: Some("/orders/".to_owned()),
                    methods: vec![http::Method::GET, http::Method::POST],
                    headers: vec![("x-canary".parse().unwrap(), "1".to_owned())],
                    client: None,
                },
                destinations: vec![side("orders", 1)],
                strip_prefix: Some("/orders".to_owned()),
                ..Route::default()
            },
            Route {
                matches: Match {
                    host: Some("*.example.com".to_owned()),
                    ..Match::default()
                },
                destinations: vec![side("a", 95), side("b", 1), side("c", 0)],
                ..Route::default()
            },
            Route {
                matches: Match::default(),
                destinations: vec![side("rest", 1)],
                ..Route::default()
            },
        ]
    );
}

#[test]
fn what_may_be_hashed_is_read() {
    for (text, hash_on) in [
        ("path", HashOn::Path),
        ("client_ip", HashOn::ClientIp),
        ("cookie:SID", HashOn::Cookie("SID".to_owned())),
        ("query:user", HashOn::Query("user".to_owned())),
    ] {
        let config = config(&format!("defaults: {{hash_on: '{text}'}}"));
        assert_eq!(config.policies.default.balance.hash_on, hash_on);
    }
}

#[test]
fn the_socket_for_upgrades_is_beside_the_store() {
    let socket = |text: &str| config(text).proxy.upgrade_socket;
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(socket(""), path("data/callboard.sock"));
    assert_eq!(
        socket("registry: {store: {sqlite: {path: /var/lib/a.db}}}"),
        path("/var/lib/a.sock")
    );
    assert_eq!(socket("registry: {store: memory}"), None);
    assert_eq!(
        socket("proxy: {upgrade_socket: /run/c.sock}\nregistry: {store: memory}"),
        path("/run/c.sock")
    );
    assert_eq!(socket("proxy: {upgrade_socket: off}"), None);
}

#[test]
fn only_what_the_process_is_built_with_needs_a_restart() {
    let old = Config::default();
    let new = config(
        "proxy: {listen: 127.0.0.1:1, threads: 2, shutdown_grace: 1s, upgrade_socket: off}\nregistry: {listen: localhost:9}",
    );
    assert_eq!(
        old.restart_needed(&new),
        [
            "proxy.listen",
            "proxy.threads",
            "proxy.shutdown_grace",
            "proxy.upgrade_socket",
            "registry.listen"
        ]
    );
    let new = config(
        "proxy: {trusted_proxies: 10.0.0.0/8}\nregistry: {admission: trust, lease: {ttl: 9s}, limits: {services: 1, connections: 1, per_peer: 1/s}}\nroutes: [{service: a}]",
    );
    assert_eq!(old.restart_needed(&new), Vec::<String>::new());
}

proptest! {
    #[test]
    fn every_duration_reads_back_as_written(millis in 1..604_800_000_u64) {
        let drain = Duration::from_millis(millis);
        let text = format!("defaults: {{drain: {}}}", crate::units::format_duration(drain));
        prop_assert_eq!(config(&text).policies.default.drain, drain);
    }
}

#[test]
fn registries_to_mirror_are_a_url_a_list_or_a_mapping_that_says_how_to_reach_them() {
    let pull = |text: &str| config(&format!("registry: {{pull: {text}}}")).registry.pull;
    let from = |text: &str| -> Vec<_> {
        let origins = pull(text).unwrap().from;
        origins.iter().map(ToString::to_string).collect()
    };
    assert_eq!(config("").registry.pull, None);
    assert_eq!(from("http://10.0.0.1:8500"), ["http://10.0.0.1:8500"]);
    assert_eq!(
        from("[http://a:1/, https://b]"),
        ["http://a:1", "https://b"]
    );
    assert_eq!(from("{from: http://a:1}"), ["http://a:1"]);

    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let authority = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let (ca, token) = (
        written("ca.pem", &authority.cert.pem()),
        written("token", "hush\n"),
    );
    let text = format!("{{from: https://a, token: {{file: {token}}}, ca: {ca}}}");
    let settings = pull(&text).unwrap();
    assert_eq!(settings.ca, [authority.cert.der().clone()]);
    assert_eq!(settings.token, Some("hush".parse().unwrap()));
    assert!(!format!("{settings:?}").contains("hush"));
    assert_eq!(
        config("").restart_needed(&config(&format!("registry: {{pull: {text}}}"))),
        ["registry.pull"]
    );
}
