//! What makes the control plane safe to expose: tokens, limits and TLS, and that no finding tells a
//! secret.

use std::num::NonZeroU32;

use super::*;
use crate::api::access::{Access, Digest, Scope};
use crate::api::guard::{Rate, Rates};

/// The SHA-256 of "abc".
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// What a careless operator puts in all the wrong places.
const SECRET: &str = "hunter2-hunter2-hunter2";

/// What is said of this value of `auth`, which is accepted if nothing is.
fn auth(text: &str) -> String {
    let text = format!("registry: {{auth: {text}}}");
    Config::parse("f", &text).map_or_else(|errors| lines(&errors), |_| String::new())
}

fn errors_of<const N: usize>(texts: [&str; N]) -> String {
    texts.map(auth).concat()
}

#[test]
fn tokens_come_as_a_hash_in_a_variable_or_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "secret-in-a-file\n").unwrap();
    let config = config(&format!(
        "registry:
  auth:
    tokens:
      - {{name: ci, sha256: {ABC}, scopes: [read, \"register:Orders-*\"]}}
      - {{name: ops, env: PATH, scopes: admin}}
      - {{name: cart, file: {}, scopes: [\"register:cart\"]}}
",
        file.display()
    ));
    let Access::Tokens(tokens) = config.registry.access else {
        panic!("anybody may call");
    };
    let digests: Vec<_> = tokens.iter().map(|token| token.digest()).collect();
    let variable = std::env::var("PATH").unwrap();
    assert_eq!(
        digests,
        [
            Digest::of(b"abc"),
            Digest::of(variable.as_bytes()),
            Digest::of(b"secret-in-a-file"),
        ]
    );
    let expected = [
        ("ci", vec!["read", "register:orders-*"]),
        ("ops", vec!["admin"]),
        ("cart", vec!["register:cart"]),
    ];
    for ((name, scopes), token) in expected.into_iter().zip(&tokens) {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let same = crate::api::access::Token::new(name, token.digest(), &scopes);
        assert_eq!(**token, same);
    }
    let shown = format!("{tokens:?}");
    assert!(
        !shown.contains(&ABC[..6]) && !shown.contains("186"),
        "{shown}"
    );
}

#[test]
fn faults_of_tokens_are_told_at_their_places() {
    insta::assert_snapshot!(errors_of([
        "{}",
        "{tokens: []}",
        "{tokens: }",
        "{tokens: [{}]}",
        "{tokens: [{name: ci, sha256: abc, scopes: read}]}",
        "{tokens: [{name: ci, env: CARGO_NOT_SET, scopes: read}]}",
        "{tokens: [{name: ci, env: CARGO_PKG_NAME, scopes: read}]}",
        "{tokens: [{name: ci, env: CARGO_PKG_DESCRIPTION, scopes: read}]}",
        "{tokens: [{name: ci, env: 1X, scopes: read}]}",
        "{tokens: [{name: ci, file: /no/such/file, scopes: read}]}",
        "{tokens: [{name: ci, env: A, file: b, scopes: read}]}",
        "{tokens: [{name: c i, env: PATH, scopes: [read, write, \"register:\"]}]}",
        "{tokens: [{name: ci, env: PATH, scopes: []}]}",
        "{tokens: [{name: ci, env: PATH, scopes: read}, {name: ci, env: PATH, scopes: read}]}",
        "{tokens: [{name: ci, env: PATH, scope: read}]}",
        "{token: []}",
    ]), @r#"
    f:1:18: registry.auth: has no tokens (expected for example tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}])
    f:1:27: registry.auth.tokens: is empty (expected for example tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}])
    f:1:18: registry.auth: has no tokens (expected for example tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}])
    f:1:28: registry.auth.tokens[0]: has no name (expected for example name: ci)
    f:1:28: registry.auth.tokens[0]: has no secret (expected one of sha256, env and file)
    f:1:28: registry.auth.tokens[0]: has no scopes (expected for example scopes: [read])
    f:1:47: registry.auth.tokens[0].sha256: is no SHA-256 (expected 64 hexadecimal digits, as printf %s TOKEN | sha256sum prints them)
    f:1:44: registry.auth.tokens[0].env: is not set (expected a variable that holds the token)
    f:1:44: registry.auth.tokens[0].env: holds a token that is too short (expected a random text of 16 to 4096 visible ASCII characters)
    f:1:44: registry.auth.tokens[0].env: holds spaces or characters that no header carries (expected a random text of 16 to 4096 visible ASCII characters)
    f:1:44: registry.auth.tokens[0].env: is no variable's name (expected the name of an environment variable such as ORDERS_TOKEN)
    f:1:45: registry.auth.tokens[0].file: cannot be read: No such file or directory (os error 2) (expected a file that holds the token)
    f:1:28: registry.auth.tokens[0]: has more than one secret (expected one of sha256, env and file)
    f:1:35: registry.auth.tokens[0].name: is no token's name (expected a name of 1 to 64 of A-Z a-z 0-9 . _ -)
    f:1:66: registry.auth.tokens[0].scopes[1]: is no scope (expected read, admin, register:SERVICE, register:PREFIX* or register:*)
    f:1:73: registry.auth.tokens[0].scopes[2]: is no scope (expected read, admin, register:SERVICE, register:PREFIX* or register:*)
    f:1:28: registry.auth.tokens[0]: has no scopes (expected for example scopes: [read])
    f:1:72: registry.auth.tokens[1].name: is the name of another token, too (expected one of its own)
    f:1:81: registry.auth.tokens[1].env: is the secret of another token, too (expected one of its own)
    f:1:50: registry.auth.tokens[0]: unknown key, did you mean scopes? (expected name, sha256, env, file, scopes)
    f:1:19: registry.auth: unknown key, did you mean tokens? (expected tokens)
    "#);
}

#[test]
fn no_finding_below_auth_tells_what_was_written() {
    for text in [
        "X",
        "[X]",
        "{X: X}",
        "{X: {X: X}}",
        "!X X",
        "{tokens: X}",
        "{tokens: !X [X]}",
        "{tokens: {X: X}}",
        "{tokens: [X]}",
        "{tokens: [[X]]}",
        "{tokens: [{X: X}]}",
        "{tokens: [{X: 1, X: 2}]}",
        "{tokens: [{name: !X X}]}",
        "{tokens: [{name: \"X X\", sha256: X, scopes: X}]}",
        "{tokens: [{name: {X: X}, sha256: {X: X}, scopes: {X: X}}]}",
        "{tokens: [{name: [X], sha256: [X], scopes: [[X]]}]}",
        "{tokens: [{name: a, env: X, scopes: [X, \"register:X X\"]}]}",
        "{tokens: [{name: a, env: {X: X}, scopes: [\"register: X\"]}]}",
        "{tokens: [{name: a, env: [X]}]}",
        "{tokens: [{name: a, file: X}]}",
        "{tokens: [{name: a, file: /X/X}]}",
        "{tokens: [{name: a, file: {X: X}}]}",
        "{tokens: [{name: a, sha256: X, env: X, file: X}]}",
        "{tokens: [{name: a, sha256: *X}]}",
        "{tokens: [{name: a, sha256: X, sha256: X}]}",
        "{tokens: [{name: a, ? X : X}]}",
        "{tokens: [{name: a, ? [X] : X}]}",
        "{? {X: X} : X}",
        "{tokens: [{name: a, secret: X, token: X}]}",
        "{tokens: [{name: a, sha256: &X X, scopes: [*X]}]}",
    ] {
        let shown = auth(&text.replace('X', SECRET));
        assert!(
            !shown.is_empty() && !shown.contains("hunter2"),
            "{text}: {shown}"
        );
    }
}

/// A value in YAML's flow style, with the secret anywhere.
fn tree() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "hunter2",
        "\"hunter2 \\n\"",
        "!hunter2 hunter2",
        "&hunter2 hunter2",
        "*hunter2",
        "register:hunter2 ",
        "a",
        "",
    ]);
    let keys = vec![
        "tokens",
        "name",
        "sha256",
        "env",
        "file",
        "scopes",
        "hunter2",
        "!hunter2 a",
        "? [hunter2] ",
    ];
    leaf.prop_map(str::to_owned)
        .prop_recursive(5, 40, 4, move |inner| {
            let entry = (prop::sample::select(keys.clone()), inner.clone());
            let entry = entry.prop_map(|(key, value)| format!("{key}: {value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(entry, 0..6)
                    .prop_map(|entries| format!("{{{}}}", entries.join(", "))),
            ]
        })
}

proptest! {
    #[test]
    fn no_tree_below_auth_is_told_of(tree in tree()) {
        let shown = auth(&tree);
        prop_assert!(!shown.contains("hunter2"), "{}\n{}", tree, shown);
    }
}

#[test]
fn a_control_plane_with_tokens_may_be_reached_and_one_without_tls_is_warned_of() {
    let text = format!(
        "registry: {{listen: 0.0.0.0:8500, auth: {{tokens: [{{name: a, sha256: {ABC}, scopes: read}}]}}}}"
    );
    insta::assert_snapshot!(warnings(&text), @r#"
    f:1:20: registry.listen: tokens reach 0.0.0.0:8500 in clear text (expected registry.tls, or TLS in front of it)
    "#);
    assert_eq!(warnings(&text.replace("0.0.0.0", "127.0.0.1")), "");
}

#[test]
fn limits_are_what_was_written() {
    let config = config(
        "registry: {limits: {services: 1, instances: 2, instances_per_service: 3, connections: 4, per_token: 500/s, per_peer: 30/m}}",
    );
    let rate = |requests| NonZeroU32::new(requests).unwrap();
    assert_eq!(
        config.registry.rules.limits,
        Limits {
            services: 1,
            instances: 2,
            instances_per_service: 3,
        }
    );
    assert_eq!(config.registry.connections, 4);
    assert_eq!(
        config.registry.rates,
        Rates {
            per_token: Some(Rate::PerSecond(rate(500))),
            per_peer: Some(Rate::PerMinute(rate(30))),
        }
    );
}

#[test]
fn faults_of_limits_and_tls_are_told_at_their_places() {
    insta::assert_snapshot!([
        "registry: {limits: {services: 0}}",
        "registry: {limits: {instances: many}}",
        "registry: {limits: {connections: 10000001}}",
        "registry: {limits: {per_peer: 500}}",
        "registry: {limits: {per_peer: 0/s}}",
        "registry: {limits: {per_peer: 5/h}}",
        "registry: {limits: {per_tokn: off}}",
        "registry: {tls: }",
        "registry: {tls: {cert: /no/such/file}}",
        "registry: {tls: {cert: /no/such/file, key: /no/such/key}}",
        "registry: {tls: {cert: \"\", key: [a]}}",
    ].map(errors).concat(), @r#"
        f:1:31: registry.limits.services: "0" is out of range (expected a number from 1 to 10000000)
        f:1:32: registry.limits.instances: "many" is not such a number (expected a number from 1 to 10000000)
        f:1:34: registry.limits.connections: "10000001" is out of range (expected a number from 1 to 10000000)
        f:1:31: registry.limits.per_peer: "500" is not a rate (expected off or a rate such as 500/s or 30/m)
        f:1:31: registry.limits.per_peer: "0/s" is not a rate (expected off or a rate such as 500/s or 30/m)
        f:1:31: registry.limits.per_peer: "5/h" is not a rate (expected off or a rate such as 500/s or 30/m)
        f:1:21: registry.limits: unknown key "per_tokn", did you mean per_token? (expected services, instances, instances_per_service, connections, per_token, per_peer)
        f:1:12: registry.tls: has no certificate (expected for example {cert: server.pem, key: server.key})
        f:1:17: registry.tls: lacks one of its two files (expected for example {cert: server.pem, key: server.key})
        f:1:24: registry.tls.cert: "/no/such/file" cannot be read: No such file or directory (os error 2) (expected PEM, the server's own certificate first)
        f:1:24: registry.tls.cert: "" names no file (expected the path of a file)
        f:1:33: registry.tls.key: a list cannot stand here (expected the path of a file)
        "#);
}
