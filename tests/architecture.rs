//! The one direction of dependence: scans `use crate::` and fails on an edge against the order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that meets what it did not expect should stop there"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module with those it may import, itself apart. Transitive imports are named, not implied.
const ALLOWED: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("address", &[]),
    ("units", &[]),
    ("files", &[]),
    ("instance", &["names", "address"]),
    ("grpc", &[]),
    ("sse", &[]),
    ("fields", &[]),
    ("figures", &[]),
    ("tls", &["units", "files"]),
    ("acme", &["units", "files", "tls"]),
    ("dial", &["address", "instance", "tls"]),
    ("registry", &["names", "address", "units", "instance"]),
    (
        "pull",
        &["names", "address", "units", "instance", "sse", "registry"],
    ),
    ("endpoint", &["names", "address", "instance"]),
    ("balance", &["names", "address", "instance", "endpoint"]),
    (
        "health",
        &[
            "names", "address", "units", "instance", "grpc", "tls", "dial", "endpoint",
        ],
    ),
    (
        "cluster",
        &[
            "names", "address", "instance", "figures", "tls", "dial", "registry", "endpoint",
            "balance", "health",
        ],
    ),
    ("route", &["names", "fields", "balance"]),
    (
        "telemetry",
        &[
            "names", "address", "units", "instance", "grpc", "fields", "figures", "balance",
            "health", "cluster", "route",
        ],
    ),
    (
        "proxy",
        &[
            "names",
            "address",
            "units",
            "instance",
            "grpc",
            "fields",
            "figures",
            "tls",
            "acme",
            "dial",
            "balance",
            "cluster",
            "route",
            "telemetry",
        ],
    ),
    ("dashboard", &[]),
    (
        "api",
        &[
            "names",
            "address",
            "units",
            "instance",
            "figures",
            "registry",
            "balance",
            "health",
            "cluster",
            "route",
            "telemetry",
            "dashboard",
        ],
    ),
    (
        "admin",
        &[
            "names",
            "units",
            "instance",
            "grpc",
            "figures",
            "acme",
            "registry",
            "pull",
            "health",
            "cluster",
            "route",
            "telemetry",
            "proxy",
        ],
    ),
    ("client", &["address", "sse"]),
    (
        "config",
        &[
            "names",
            "address",
            "units",
            "instance",
            "files",
            "tls",
            "acme",
            "registry",
            "pull",
            "balance",
            "health",
            "cluster",
            "route",
            "telemetry",
            "proxy",
            "api",
        ],
    ),
    (
        "plan",
        &[
            "names",
            "instance",
            "tls",
            "acme",
            "registry",
            "pull",
            "endpoint",
            "balance",
            "health",
            "cluster",
            "route",
            "telemetry",
            "proxy",
            "api",
            "config",
        ],
    ),
    (
        "simulate",
        &[
            "names", "address", "units", "instance", "figures", "registry", "balance", "health",
            "cluster", "config",
        ],
    ),
    (
        "server",
        &[
            "names",
            "address",
            "tls",
            "acme",
            "dial",
            "registry",
            "pull",
            "health",
            "cluster",
            "route",
            "telemetry",
            "proxy",
            "api",
            "admin",
            "config",
            "plan",
        ],
    ),
    ("prove", &["units"]),
    (
        "cli",
        &[
            "names", "address", "units", "sse", "client", "cluster", "config", "plan", "simulate",
            "server", "prove",
        ],
    ),
];

#[test]
fn modules_import_only_what_stands_before_them() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let permitted = allowed
            .get(module)
            .unwrap_or_else(|| panic!("module {module} has no place in the order"));
        for imported in imports(&fs::read_to_string(&file).unwrap()) {
            seen += 1;
            if imported != module && !permitted.contains(&imported.as_str()) {
                wrong.push(format!("{}: crate::{imported}", relative.display()));
            }
        }
    }
    assert!(seen > 100, "the scan found only {seen} imports");
    assert!(wrong.is_empty(), "against the order:\n{}", wrong.join("\n"));
}

#[test]
fn pingora_stays_at_the_edges() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let inside: Vec<_> = rust_files(&source)
        .into_iter()
        .filter(|file| {
            let relative = file.strip_prefix(&source).unwrap().to_str().unwrap();
            !["dial", "proxy", "server", "health/probe"]
                .iter()
                .any(|edge| relative.starts_with(edge))
        })
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains("pingora"))
        })
        .filter(|file| !file.ends_with("cli.rs"))
        .collect();
    assert!(inside.is_empty(), "{inside:?}");
}

/// The first segment of every `crate::` path outside comments.
fn imports(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|module: &String| !module.is_empty())
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
