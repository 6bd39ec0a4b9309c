//! Files with faults, and files that are odd.

use super::*;

/// The errors of each text, for snapshots.
fn errors_of<const N: usize>(texts: [&str; N]) -> String {
    texts.map(errors).concat()
}

fn warnings_of<const N: usize>(texts: [&str; N]) -> String {
    texts.map(warnings).concat()
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_file() {
    insta::assert_snapshot!(errors(r#"proxy:
  lisen: "0.0.0.0:80"
  listen: [":8080", {address: 1.2.3.4, tls: {}}, "0.0.0.0:9"]
  threads: many
registry:
  listen: 0.0.0.0:8500
  store: etcd
  lease: {ttl: 0s, min: 20s}
  lease: {}
defaults:
  blance: maglev
  balance: least_requests
  check: {http: {path: health, expect: [200, 99-700]}, fall: 0}
  panic_threshold: 50
  drain: soon
services:
  a/b: {}
  orders: {timeouts: [1s], hash_on: header}
routes:
  - match: {path: orders, methods: [get], headers: {"X Y": 1}}
    service: "a b"
  - service: [x]
  - match: {path: /a}
    strip_prefix: /b
    split: [{service: a, weight: -1}, {weight: 1}]
"#), @r#"
        f:2:3: proxy: unknown key "lisen", did you mean listen? (expected listen, threads, trusted_proxies, shutdown_grace, zone, upgrade_socket, clients, lean_path, acme)
        f:3:12: proxy.listen[0]: ":8080" has no IP address (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:3:31: proxy.listen[1].address: "1.2.3.4" has no port (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:4:12: proxy.threads: "many" is no number of threads (expected auto or a number from 1 to 1024)
        f:7:10: registry.store: etcd is not available in this version (expected sqlite, memory, or a mapping such as {sqlite: {path: data/callboard.db}})
        f:8:16: registry.lease.ttl: "0s" is too short (expected a duration from 1ms to 7 days, such as 250ms, 15s or 5m)
        f:9:3: "lease" is given a second time, first at 8:3 (expected once)
        f:11:3: defaults: unknown key "blance", did you mean balance? (expected balance, hash_on, bounded_load, check, timeouts, retry, reuse, outlier, panic_threshold, panic, slow_start, load_reports, prefer_zone, limits, hold, max_body, drain, tls, proxy_protocol)
        f:12:12: defaults.balance: "least_requests" is unknown, did you mean least_request? (expected round_robin, random, least_request, peak_ewma, ring_hash or maglev)
        f:13:24: defaults.check.http.path: "health" does not start with / (expected a path such as /health)
        f:13:46: defaults.check.http.expect[1]: "99-700" is not a status (expected a status from 100 to 599 or a range of them such as 200-399)
        f:13:62: defaults.check.fall: 0 is out of range (expected a number from 1 to 1000)
        f:14:20: defaults.panic_threshold: "50" is not a percentage (expected a percentage from 0% to 100%, such as 50%)
        f:15:10: defaults.drain: "soon" is not a duration (expected a duration from 0s to 7 days, such as 0s, 15s or 5m)
        f:17:3: services: "a/b" is not a service name (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:18:22: services.orders.timeouts: a list cannot stand here (expected a mapping)
        f:18:37: services.orders.hash_on: header has no name (expected header:NAME, cookie:NAME, query:NAME, path or client_ip)
        f:20:19: routes[0].match.path: "orders" does not start with / (expected a path such as /orders/)
        f:20:37: routes[0].match.methods[0]: "get" is not a method (expected a method in upper case such as GET)
        f:20:53: routes[0].match.headers: "X Y" is not a header's name (expected for example X-Canary)
        f:21:14: routes[0].service: "a b" is not a service name (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:22:14: routes[1].service: a list cannot stand here (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:24:19: routes[2].strip_prefix: "/b" is no prefix of match.path "/a" (expected one, in whole segments)
        f:25:34: routes[2].split[0].weight: -1 is out of range (expected a number from 0 to 65535)
        f:25:39: routes[2].split[1]: has no service (expected for example service: orders)
        "#);
}

#[test]
fn a_fault_is_not_followed_by_what_it_alone_causes() {
    insta::assert_snapshot!(errors_of([
        "proxy: {listen: [nowhere]}",
        "routes: [{service: '?'}]",
        "routes: [{split: [{service: '?'}]}]",
        "registry: {listen: 0.0.0.0:1, auth: {tokens: []}}",
        "registry: {lease: {ttl: 500ms, min: soon}}",
        "defaults: {check: {http: {path: x}}}",
        "routes: [{service: a, match: {path: x}, strip_prefix: /x}]",
        "routes: [{service: *a}]",
    ]), @r#"
        f:1:18: proxy.listen[0]: "nowhere" is not an address (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:1:20: routes[0].service: "?" is not a service name (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:1:29: routes[0].split[0].service: "?" is not a service name (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:1:46: registry.auth.tokens: is empty (expected for example tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}])
        f:1:37: registry.lease.min: "soon" is not a duration (expected a duration from 1ms to 7 days, such as 250ms, 15s or 5m)
        f:1:33: defaults.check.http.path: "x" does not start with / (expected a path such as /health)
        f:1:37: routes[0].match.path: "x" does not start with / (expected a path such as /orders/)
        f:1:20: not readable: while parsing node, found unknown anchor (expected valid YAML)
        "#);
}

#[test]
fn listeners_that_cannot_both_be_bound_are_refused() {
    insta::assert_snapshot!(errors_of([
        "proxy: {listen: [0.0.0.0:80, 127.0.0.1:80]}",
        "proxy: {listen: [127.0.0.1:80]}\nregistry: {listen: 127.0.0.1:80}",
        "proxy: {listen: [127.0.0.1:8500]}",
        "registry: {listen: 127.0.0.1:8080}",
        "proxy: {listen: []}",
        "proxy: {listen: [{protocol: http}]}",
    ]), @r#"
        f:1:30: proxy.listen[1]: 127.0.0.1:80 overlaps with 0.0.0.0:80 of another listener (expected each address and port once)
        f:2:20: registry.listen: 127.0.0.1:80 overlaps with 127.0.0.1:80 of proxy.listen (expected each address and port once)
        f:1:17: proxy.listen: 127.0.0.1:8500 overlaps with 127.0.0.1:8500 of registry.listen (expected each address and port once)
        f:1:20: registry.listen: 127.0.0.1:8080 overlaps with 0.0.0.0:8080 of proxy.listen (expected each address and port once)
        f:1:17: proxy.listen: is empty (expected an address such as 0.0.0.0:8080)
        f:1:18: proxy.listen[0]: has no address (expected for example address: 0.0.0.0:8080)
        "#);
}

#[test]
fn a_control_plane_that_others_reach_needs_auth_written_out() {
    insta::assert_snapshot!(errors("registry: {listen: \"[::]:8500\"}"), @r#"
        f:1:20: registry.listen: [::]:8500 is reachable from other machines and auth is not set (expected a loopback address such as 127.0.0.1:8500, auth with tokens, or auth: none to let anybody register)
        "#);
    config("registry: {listen: \"[::]:8500\", auth: none}");
    config("registry: {listen: \"[::1]:8500\"}");
}

#[test]
fn what_this_version_does_not_have_is_refused() {
    insta::assert_snapshot!(errors_of([
        "registry: {store: {etcd: {endpoints: []}}}",
    ]), @"f:1:26: registry.store.etcd: not available in this version (expected to be left out)");
}

#[test]
fn what_does_not_add_up_without_a_faulty_setting_is_no_fault() {
    for (text, fault) in [
        ("protocol: udp, service: a", "udp"),
        ("protocol: tcp, sni: {\"*.\": a}", "*."),
        ("protocol: tcp, sni: {a: \"b c\"}", "b c"),
        ("protocol: tcp, sni: {a.b: c, A.b: d}", "is there twice"),
        ("tls: {acme: [\"*.a.b\"]}", "dns-01"),
        ("tls: {acme: [10.0.0.1]}", "10.0.0.1"),
    ] {
        let text = format!(
            "proxy: {{listen: [{{address: 0.0.0.0:443, {text}}}], acme: {{terms_agreed: on}}}}"
        );
        let errors = errors(&text);
        assert_eq!(errors.lines().count(), 1, "{text}: {errors}");
        assert!(errors.contains(fault), "{text}: {errors}");
    }
}

#[test]
fn nobody_listens_where_another_process_asks_to_take_over() {
    for text in [
        "proxy: {listen: [\"unix:/a\"], upgrade_socket: /a}",
        "proxy: {upgrade_socket: /a}\nregistry: {listen: \"unix:/a\"}",
        "proxy: {listen: [\"unix:/d/a.sock\"]}\nregistry: {store: {sqlite: {path: /d/a.db}}}",
    ] {
        let errors = errors(text);
        assert_eq!(errors.lines().count(), 1, "{text}: {errors}");
        assert!(
            errors.contains("(expected a path of its own)"),
            "{text}: {errors}"
        );
    }
}

#[test]
fn listeners_say_what_becomes_of_their_connections() {
    insta::assert_snapshot!(errors_of([
        "proxy: {listen: [{address: 0.0.0.0:1, protocol: tcp}]}",
        "proxy: {listen: [{address: 0.0.0.0:1, service: a, sni: {b: c}}]}",
        "proxy: {listen: [{address: 0.0.0.0:1, protocol: tcp, sni: {\"a b\": c}}]}",
        "proxy: {listen: [{address: 0.0.0.0:1, mode: \"660\"}]}",
        "proxy: {listen: [{address: \"unix:/a\", mode: 9}, \"unix:/a\", \"unix:b\"]}",
        "proxy: {listen: [{address: 0.0.0.0:1, tls: {}}]}",
        "proxy: {listen: [{address: 0.0.0.0:1, tls: {cert: a, clients: {}}}]}",
        "proxy: {listen: [{address: 0.0.0.0:1, tls: {cert: a, key: b, min_version: 1.1}}]}",
        "proxy: {acme: {directory: \"http://a\", contact: ops}}",
        "proxy: {acme: {}}",
    ]), @r#"
        f:1:18: proxy.listen[0]: has no service (expected for example service: rabbitmq, or sni)
        f:1:48: proxy.listen[0].service: goes with protocol: tcp (expected that, or routes for HTTP)
        f:1:56: proxy.listen[0].sni: goes with protocol: tcp (expected that, or routes for HTTP)
        f:1:60: proxy.listen[0].sni: "a b" is no name (expected for example db.example.com or *.example.com)
        f:1:45: proxy.listen[0].mode: goes with a Unix socket, and the address is 0.0.0.0:1
        f:1:45: proxy.listen[0].mode: "9" is no such mode (expected three octal digits in quotes such as "660")
        f:1:49: proxy.listen[1]: unix:/a overlaps with unix:/a of another listener (expected each address and port once)
        f:1:60: proxy.listen[2]: "unix:b" is a relative path (expected for example unix:/run/app.sock) (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:1:44: proxy.listen[0].tls: has no certificate (expected for example {cert: server.pem, key: server.key})
        f:1:44: proxy.listen[0].tls: lacks one of its two files (expected for example {cert: server.pem, key: server.key})
        f:1:51: proxy.listen[0].tls.cert: "a" cannot be read: No such file or directory (os error 2) (expected PEM, the server's own certificate first)
        f:1:75: proxy.listen[0].tls.min_version: "1.1" is unknown, did you mean 1.2? (expected 1.2 or 1.3)
        f:1:27: proxy.acme.directory: "http://a" is no such URL (expected a URL such as https://acme-v02.api.letsencrypt.org/directory)
        f:1:48: proxy.acme.contact: "ops" is no such address (expected an address such as mailto:ops@example.com)
        f:1:15: proxy.acme: does not agree to the terms of the ACME server (expected terms_agreed: on, once you have read them)
        "#);
}

#[test]
fn what_is_done_about_failures_is_checked() {
    insta::assert_snapshot!(errors(
        "defaults:
  retry: {attempts: -1, on: [conect, 200], buffer: 1MiB, hedge: {}}
  outlier: {base_ejection: 10m, max_ejected: 200%}
  slow_start: fast
  hold: maybe
  max_body: 1 cup
  limits: {in_flight: 0}
proxy: {clients: {max_head: 1, min_body_rate: 5B}}
routes:
  - {service: a, match: {path: /a}, name: x, mirror: {}, timeouts: {idle: 5s}}
  - {service: a, match: {path: /b}, name: x, split_on: moon}
"
    ), @r#"
        f:2:21: defaults.retry.attempts: -1 is out of range (expected a number from 0 to 100000)
        f:2:30: defaults.retry.on[0]: "conect" is no cause (expected connect, reset, timeout, or a status from 400 to 599 or a range of them such as 502-504)
        f:2:38: defaults.retry.on[1]: "200" is no failure (expected connect, reset, timeout, or a status from 400 to 599 or a range of them such as 502-504)
        f:2:52: defaults.retry.buffer: "1MiB" is out of range (expected a size from 0 to 64KiB, such as 16KiB)
        f:2:65: defaults.retry.hedge: has no time (expected for example after: p95)
        f:3:46: defaults.outlier.max_ejected: "200%" is out of range (expected a percentage from 0% to 100%, such as 50%)
        f:4:15: defaults.slow_start: "fast" is not a duration (expected a duration such as 30s, or a mapping such as {window: 30s})
        f:5:9: defaults.hold: "maybe" is not a duration (expected off, a duration such as 5s, or a mapping such as {timeout: 5s})
        f:6:13: defaults.max_body: "1 cup" is not a size (expected off or a size from 0 to 1TiB, such as 10MiB)
        f:7:23: defaults.limits.in_flight: 0 is out of range (expected off or a number from 1 to 1000000)
        f:8:29: proxy.clients.max_head: "1" is out of range (expected a size from 1KiB to 512KiB, such as 64KiB)
        f:8:47: proxy.clients.min_body_rate: "5B" is not a rate (expected off or a size per second such as 240B/s or 1KiB/s)
        f:10:54: routes[0].mirror: has no service (expected for example service: orders-next)
        f:10:69: routes[0].timeouts: unknown key "idle" (expected connect, first_byte, between_bytes, request, total, tunnel)
        f:11:43: routes[1].name: "x" names the route at 10:5 already (expected another name)
        f:11:56: routes[1].split_on: "moon" is no part of a request (expected header:NAME, cookie:NAME, query:NAME, path or client_ip)
        "#);
}

#[test]
fn settings_without_effect_are_warned_of() {
    insta::assert_snapshot!(warnings_of([
        "defaults: {check: {timeout: 6s}}",
        "services: {a: {hash_on: path, bounded_load: off}}",
        "registry: {allow: []}",
    ]), @r#"
        f:1:19: defaults.check: a probe may take 6s, longer than the interval of 5s (expected at most the interval)
        f:1:25: services.a.hash_on: has no effect on this service (expected with balance: ring_hash or maglev)
        f:1:45: services.a.bounded_load: has no effect on this service (expected with balance: ring_hash or maglev)
        f:1:19: registry.allow: nobody may register (expected a network such as 10.0.0.0/8)
        "#);
}

#[test]
fn proxy_headers_that_no_listener_sends_are_warned_of() {
    let services = "services: {DB: {proxy_protocol: v2}, web: {proxy_protocol: v1}, \
                    mail: {proxy_protocol: off}}";
    let said = warnings(&format!(
        "proxy: {{listen: [{{address: \"0.0.0.0:5432\", protocol: tcp, service: db}}]}}\n{services}\n"
    ));
    assert_eq!(said.matches("has no effect").count(), 1, "{said}");
    assert!(said.contains("services.web.proxy_protocol"), "{said}");
}

#[test]
fn routes_that_no_request_reaches_are_warned_of() {
    let routes = |earlier: &str, later: &str| {
        warnings(&format!(
            "routes:\n- {{service: a, match: {{{earlier}}}}}\n- {{service: b, match: {{{later}}}}}\n"
        ))
    };
    insta::assert_snapshot!(routes("", "path: /a"), @r#"
        f:3:3: routes[1]: no request gets here: the route at 2:3 matches all it does (expected before that one)
        "#);
    for (earlier, later) in [
        ("path: /", ""),
        ("path: /a/", "path: /a/b, methods: GET"),
        ("host: '*.example.com'", "host: a.b.example.com"),
        ("host: '*.example.com'", "host: '*.b.example.com'"),
        ("methods: [GET, POST]", "methods: [POST]"),
        ("headers: {A: 1}", "headers: {a: 1, b: 2}"),
    ] {
        assert_ne!(routes(earlier, later), "", "{earlier} before {later}");
    }
    for (earlier, later) in [
        ("path: /a", "path: /ab"),
        ("path: /a/b", "path: /a"),
        ("host: '*.example.com'", "host: example.com"),
        ("host: a.example.com", ""),
        ("methods: [GET]", ""),
        ("methods: [GET]", "methods: [GET, POST]"),
        ("headers: {A: 1}", "headers: {A: 2}"),
    ] {
        assert_eq!(routes(earlier, later), "", "{earlier} before {later}");
    }
}

#[test]
fn faults_of_routes_are_told() {
    insta::assert_snapshot!(errors_of([
        "routes: [{match: {path: /a}}]",
        "routes: [{service: a, split: [{service: b}]}]",
        "routes: [{split: []}]",
        "routes: [{split: [{service: a, weight: 0}, {service: b, weight: 0}]}]",
        "routes: [{service: a, strip_prefix: /a}]",
        "routes: [{service: a, match: {path: /ab}, strip_prefix: /a}]",
        "routes: [{service: a, match: {path: /a}, strip_prefix: /}]",
        "routes: [{service: a, match: {path: \"/a?b\"}}]",
        "routes: [{service: a, match: {path: /ä}}]",
        "routes: [{service: a, match: {host: \"a.com:80\"}}]",
        "routes: [{service: a, match: {host: \"a.*.com\"}}]",
        "routes: [{service: a, match: {headers: {A: 1, a: 2, B: \"\\n\"}}}]",
    ]), @r#"
        f:1:10: routes[0]: leads nowhere (expected service or split)
        f:1:10: routes[0]: has both service and split (expected one of them)
        f:1:18: routes[0].split: is empty (expected for example [{service: orders, weight: 1}])
        f:1:18: routes[0].split: has only weights of 0 (expected one above 0)
        f:1:37: routes[0].strip_prefix: there is no match.path to strip from (expected one that starts with "/a")
        f:1:57: routes[0].strip_prefix: "/a" is no prefix of match.path "/ab" (expected one, in whole segments)
        f:1:56: routes[0].strip_prefix: strips nothing (expected for example /orders)
        f:1:37: routes[0].match.path: "/a?b" holds '?' (expected a path such as /orders/)
        f:1:37: routes[0].match.path: "/ä" holds 'ä' (expected a path such as /orders/)
        f:1:37: routes[0].match.host: "a.com:80" is not a host (expected a name such as shop.example.com or *.example.com, without a port)
        f:1:37: routes[0].match.host: "a.*.com" is not a host (expected a name such as shop.example.com or *.example.com, without a port)
        f:1:47: routes[0].match.headers: "a" is given once more; upper and lower case are the same (expected once)
        f:1:56: routes[0].match.headers.B: "\n" is no header's value (expected visible characters)
        "#);
}

#[test]
fn a_store_that_cannot_be_is_refused() {
    insta::assert_snapshot!(errors_of([
        "registry: {store: {}}",
        "registry: {store: {memory: {}, sqlite: {}}}",
        "registry: {store: {memory: {path: a}}}",
        "registry: {store: {sqlit: {}}}",
        "registry: {store: {sqlite: {path: '', history: 1s, max_size: 256, sync: often}}}",
        "registry: {store: {sqlite: {path: data/, history: 11years, max_size: 64MB, folder: x}}}",
    ]), @r#"
        f:1:19: registry.store: names no store (expected for example sqlite: {})
        f:1:19: registry.store: has both memory and sqlite (expected one of them)
        f:1:29: registry.store.memory: unknown key "path" (expected no keys here)
        f:1:20: registry.store: unknown key "sqlit", did you mean sqlite? (expected memory, sqlite, etcd)
        f:1:35: registry.store.sqlite.path: "" names no file (expected the path of a file)
        f:1:48: registry.store.sqlite.history: "1s" is too short (expected a duration from 1m to 10 years, such as 7d)
        f:1:62: registry.store.sqlite.max_size: "256" is out of range (expected a size from 1MiB to 1TiB, such as 64MiB or 1GiB)
        f:1:73: registry.store.sqlite.sync: "often" is unknown (expected full or normal)
        f:1:35: registry.store.sqlite.path: "data/" names no file (expected the path of a file)
        f:1:51: registry.store.sqlite.history: "11years" is too long (expected a duration from 1m to 10 years, such as 7d)
        f:1:70: registry.store.sqlite.max_size: "64MB" is not a size (expected a size from 1MiB to 1TiB, such as 64MiB or 1GiB)
        f:1:76: registry.store.sqlite: unknown key "folder" (expected path, history, max_size, sync)
        "#);
}

#[test]
fn values_out_of_range_say_the_range() {
    insta::assert_snapshot!(errors_of([
        "proxy: {threads: 0}",
        "proxy: {trusted_proxies: [10.0.0.0/33]}",
        "registry: {allow: [unix:run/]}",
        "registry: {allow: [unix:/run/../a.sock]}",
        "proxy: {shutdown_grace: 8d}",
        "registry: {listen: 127.0.0.1}",
        "registry: {listen: db.example.com:80}",
        "registry: {lease: {ttl: 2h}}",
        "registry: {admission: prob}",
        "registry: {auth: basic}",
        "registry: {store: disk}",
        "defaults: {timeouts: {connect: 0s}}",
        "defaults: {check: {interval: 1ns}}",
        "defaults: {check: {rise: 1001}}",
        "defaults: {check: {rise: 99999999999}}",
        "defaults: {check: http}",
        "defaults: {check: {tcp: {}, http: {path: /a}}}",
        "defaults: {check: {http: }}",
        "defaults: {check: {http: {path: /a, expect: []}}}",
        "defaults: {check: {http: {path: /a, expect: 300-200}}}",
        "defaults: {check: {tcp: {port: 1}}}",
        "defaults: {bounded_load: 0.9}",
        "defaults: {bounded_load: NaN}",
        "defaults: {panic_threshold: 101%}",
        "defaults: {hash_on: \"header:\"}",
        "defaults: {hash_on: \"cookie:a=b\"}",
        "defaults: {hash_on: \"path:x\"}",
        "default_routes: maybe",
        "host_suffix: callboard",
        "services: {a: {}, A: {}}",
    ]), @r#"
        f:1:18: proxy.threads: "0" is no number of threads (expected auto or a number from 1 to 1024)
        f:1:27: proxy.trusted_proxies[0]: "10.0.0.0/33" is not a network (expected a network such as 10.0.0.0/8, an address, or unix)
        f:1:20: registry.allow[0]: "unix:run/" is no such path (expected a network such as 10.0.0.0/8, an address, or unix: and the path of a socket or, with / at its end, of a folder)
        f:1:20: registry.allow[0]: "unix:/run/../a.sock" is no such path (expected a network such as 10.0.0.0/8, an address, or unix: and the path of a socket or, with / at its end, of a folder)
        f:1:25: proxy.shutdown_grace: "8d" is too long (expected a duration from 0s to 7 days, such as 0s, 15s or 5m)
        f:1:20: registry.listen: "127.0.0.1" has no port (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:1:20: registry.listen: "db.example.com:80" is not an address (expected an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock)
        f:1:19: registry.lease: ttl 2h is not between min 1s and max 1h (expected min ≤ ttl ≤ max)
        f:1:23: registry.admission: "prob" is unknown, did you mean probe? (expected probe or trust)
        f:1:18: registry.auth: is no kind of authentication (expected none, or a mapping such as {tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}]})
        f:1:19: registry.store: "disk" is no store (expected sqlite, memory, or a mapping such as {sqlite: {path: data/callboard.db}})
        f:1:32: defaults.timeouts.connect: "0s" is too short (expected a duration from 1ms to 7 days, such as 250ms, 15s or 5m)
        f:1:30: defaults.check.interval: "1ns" is too short (expected a duration from 1ms to 7 days, such as 250ms, 15s or 5m)
        f:1:26: defaults.check.rise: 1001 is out of range (expected a number from 1 to 1000)
        f:1:26: defaults.check.rise: 99999999999 is out of range (expected a number from 1 to 1000)
        f:1:19: defaults.check: an http check has no path (expected off, or a mapping such as {tcp: {}} or {http: {path: /health}})
        f:1:19: defaults.check: has more than one of tcp, http and grpc (expected one of them)
        f:1:20: defaults.check.http: has no path (expected for example path: /health)
        f:1:45: defaults.check.http.expect: is empty (expected a status or a range of them such as 200-399)
        f:1:45: defaults.check.http.expect: "300-200" ends before it starts (expected a status from 100 to 599 or a range of them such as 200-399)
        f:1:26: defaults.check.tcp: unknown key "port" (expected no keys here)
        f:1:26: defaults.bounded_load: "0.9" is out of range (expected off or a factor from 1 to 100, such as 1.25)
        f:1:26: defaults.bounded_load: "NaN" is out of range (expected off or a factor from 1 to 100, such as 1.25)
        f:1:29: defaults.panic_threshold: "101%" is out of range (expected a percentage from 0% to 100%, such as 50%)
        f:1:21: defaults.hash_on: header has no name (expected header:NAME, cookie:NAME, query:NAME, path or client_ip)
        f:1:21: defaults.hash_on: "a=b" is not a cookie's name (expected header:NAME, cookie:NAME, query:NAME, path or client_ip)
        f:1:21: defaults.hash_on: "path:x" is no part of a request (expected header:NAME, cookie:NAME, query:NAME, path or client_ip)
        f:1:17: default_routes: "maybe" is neither (expected on or off)
        f:1:14: host_suffix: "callboard" is not a host's ending (expected a dot and a domain such as .callboard)
        f:1:19: services: "A" is "a" once more; upper and lower case are the same (expected once)
        "#);
}

#[test]
fn shapes_that_do_not_fit_are_named_in_words_of_the_file() {
    insta::assert_snapshot!(errors_of([
        "text",
        "[1]",
        "proxy: [0.0.0.0:80]",
        "proxy: {threads: {a: 1}}",
        "registry: {lease: [1s, 2s, 3s]}",
        "services: [a]",
        "services: {a: off}",
        "routes: [[/a, b]]",
        "routes: {service: {a: 1}}",
        "routes: [{service: a, match: {headers: {A: [1]}}}]",
        "8080: 1",
        "<<: {}",
        "\"`, expected `a\": 1",
    ]), @r#"
        f:1:1: "text" cannot stand here (expected a mapping)
        f:1:1: a list cannot stand here (expected a mapping)
        f:1:8: proxy: a list cannot stand here (expected a mapping)
        f:1:18: proxy.threads: a mapping cannot stand here (expected auto or a number from 1 to 1024)
        f:1:19: registry.lease: a list cannot stand here (expected a mapping)
        f:1:11: services: a list cannot stand here (expected a mapping)
        f:1:15: services.a: "off" cannot stand here (expected a mapping)
        f:1:10: routes[0]: a list cannot stand here (expected a mapping)
        f:1:19: routes.service: a mapping cannot stand here (expected a name of 1 to 128 of A-Z a-z 0-9 . _ : -)
        f:1:44: routes[0].match.headers.A: a list cannot stand here (expected a string)
        f:1:1: unknown key "8080" (expected proxy, registry, telemetry, defaults, services, routes, default_routes, host_suffix)
        f:1:1: unknown key "<<" (expected proxy, registry, telemetry, defaults, services, routes, default_routes, host_suffix)
        f:1:1: unknown key "`, expected `a" (expected proxy, registry, telemetry, defaults, services, routes, default_routes, host_suffix)
        "#);
}

#[test]
fn the_larger_a_file_is_the_fewer_of_its_faults_are_looked_for() {
    for (keys, told) in [(40_000, 24), (90_000, 11), (130_000, 7)] {
        let text: String = (0..keys).map(|key| format!("{key}: 1\n")).collect();
        let errors = Config::parse("f", &text).unwrap_err();
        assert_eq!(errors.len(), told + 1);
        assert!(
            errors[told]
                .message
                .starts_with("there is more from here on")
        );
    }
    // Those as well that are found one by one when all is read.
    let names: String = (0..20_000)
        .map(|name| format!("  \"{name}!\": {{}}\n"))
        .collect();
    let errors = Config::parse("f", &format!("services:\n{names}")).unwrap_err();
    assert_eq!(errors.len(), 50);
}

#[test]
fn a_file_full_of_faults_is_told_of_the_first_hundred() {
    let text: String = (0..2_000).map(|key| format!("k{key}: 1\n")).collect();
    let errors = Config::parse("f", &text).unwrap_err();
    assert_eq!(errors.len(), 101);
    insta::assert_snapshot!(errors[100], @r#"
        f:101:1: there is more from here on; correct the above and check again
        "#);
}

#[test]
fn lists_that_everything_is_compared_with_are_bounded() {
    let listen = format!("proxy: {{listen: [{}]}}", "'[::1]:0', ".repeat(65));
    let headers: String = (0..65).map(|name| format!("h{name}: 1, ")).collect();
    let route = format!("routes: [{{service: a, match: {{headers: {{{headers}}}}}}}]");
    insta::assert_snapshot!(errors_of([&listen, &route]), @r#"
        f:1:17: proxy.listen: has too many items (expected at most 64)
        f:1:40: routes[0].match.headers: has too many keys (expected at most 64)
        "#);
}

#[test]
fn long_values_are_told_of_in_short() {
    let long = "x".repeat(10_000);
    for text in [
        format!("{long}: 1"),
        format!("proxy: {long}"),
        format!("proxy: {{threads: {long}}}"),
        format!("services: {{{long}: 1}}"),
        format!("services: {{{long}: {{}}}}"),
        format!("routes: [{{service: {long}}}]"),
    ] {
        assert!(errors(&text).len() < 500, "{}", errors(&text));
    }
}

#[test]
fn registries_that_cannot_be_mirrored_are_told_without_their_secrets() {
    let errors = errors_of([
        "registry: {pull: []}",
        "registry: {pull: {}}",
        "registry: {pull: {token: {env: HOME}}}",
        "registry: {pull: [10.0.0.1:8500, \"http://me:hush@a\", ftp://a, http://a/api]}",
        "registry: {pull: \"http://hush@a\"}",
        "registry: {pull: {from: {url: a}}}",
        "registry: {pull: [http://a, http://a/]}",
        "registry: {pull: {from: http://a, token: hush}}",
        "registry: {pull: {from: http://a, token: [hush]}}",
        "registry: {pull: {from: http://a, token: {}}}",
        "registry: {pull: {from: http://a, token: {env: A, file: b}}}",
        "registry: {pull: {from: http://a, token: {env: CALLBOARD_NOT_SET}}}",
        "registry: {pull: {from: http://a, token: {env: A=B}}}",
        "registry: {pull: {from: http://a, token: {file: no/such}}}",
        "registry: {pull: {from: https://a, ca: no/such}}",
        "registry: {pull: {from: https://a, ca: Cargo.toml}}",
    ]);
    assert!(!errors.contains("hush"), "{errors}");
    insta::assert_snapshot!(errors, @r#"
    f:1:18: registry.pull: names no registry (expected a URL such as http://10.0.0.1:8500)
    f:1:18: registry.pull: names no registry (expected a URL such as http://10.0.0.1:8500)
    f:1:18: registry.pull: names no registry (expected a URL such as http://10.0.0.1:8500)
    f:1:19: registry.pull[0]: is not a URL (expected a URL such as http://10.0.0.1:8500)
    f:1:34: registry.pull[1]: holds a user name or a password, which belongs in a token (expected a URL such as http://10.0.0.1:8500)
    f:1:54: registry.pull[2]: is neither http:// nor https:// (expected a URL such as http://10.0.0.1:8500)
    f:1:63: registry.pull[3]: has something behind its host and port (expected a URL such as http://10.0.0.1:8500)
    f:1:18: registry.pull: holds a user name or a password, which belongs in a token (expected a URL such as http://10.0.0.1:8500)
    f:1:25: registry.pull.from: a mapping cannot stand here (expected a URL such as http://10.0.0.1:8500)
    f:1:18: registry.pull: http://a is named a second time (expected once)
    f:1:42: registry.pull.token: a token is not written into this file (expected {env: NAME} or {file: PATH})
    f:1:42: registry.pull.token: a list cannot stand here (expected {env: NAME} or {file: PATH})
    f:1:42: registry.pull.token: names no place, or two (expected {env: NAME} or {file: PATH})
    f:1:42: registry.pull.token: names no place, or two (expected {env: NAME} or {file: PATH})
    f:1:48: registry.pull.token.env: this variable is not set, or not text (expected a token of visible ASCII characters)
    f:1:48: registry.pull.token.env: is no variable's name (expected the name of an environment variable such as ORDERS_TOKEN)
    f:1:49: registry.pull.token.file: no/such cannot be read: No such file or directory (os error 2) (expected a token of visible ASCII characters)
    f:1:40: registry.pull.ca: no/such cannot be read: No such file or directory (os error 2) (expected certificates in PEM)
    f:1:40: registry.pull.ca: Cargo.toml holds no certificate (expected certificates in PEM)
    "#);
}

#[test]
fn a_token_on_an_open_way_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "hush").unwrap();
    let pull = |from: &str| {
        let file = file.display();
        warnings(&format!(
            "registry: {{pull: {{from: {from}, token: {{file: {file}}}}}}}"
        ))
    };
    let exposed = pull("[http://localhost:1, http://10.0.0.1:8500]");
    assert!(
        exposed.ends_with(
            "registry.pull.token: is sent to http://10.0.0.1:8500 for all on the way to read \
             (expected https://)\n"
        ),
        "{exposed}"
    );
    for quiet in ["http://127.0.0.1:1", "\"http://[::1]:1\"", "https://a"] {
        assert_eq!(pull(quiet), "", "{quiet}");
    }
}
