//! The two planes: where they listen, and whom the registry lets in.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::pulling;
use super::raw;
use super::report::{Path, Report};
use super::scalar::Amount;
use super::shape::{Section, Several};
use super::variants::{self, Listener};
use super::{ControlPlane, Proxy, Store};
use super::{access, tls};
use crate::api::access::Access;
use crate::api::guard::Rates;
use crate::proxy::clients::Clients;
use crate::proxy::forwarded::TrustedProxies;
use crate::registry::store::sqlite;
use crate::registry::{Limits, Rules};
use crate::units::format_duration;

/// The most addresses the data plane may listen on.
const MAX_LISTENERS: usize = 64;

/// The data plane.
pub(super) fn proxy(raw: &raw::Proxy, report: &mut Report) -> Proxy {
    let default = Proxy::default();
    Proxy {
        listen: match &raw.listen {
            Some(listeners) => addresses(listeners, report),
            None => default.listen,
        },
        threads: raw.threads.as_ref().map_or(default.threads, |raw| raw.0),
        trusted_proxies: TrustedProxies((raw.trusted_proxies.0.iter()).map(|raw| raw.0).collect()),
        shutdown_grace: (raw.shutdown_grace.as_ref()).map_or(default.shutdown_grace, |raw| raw.0),
        clients: clients(&raw.clients.0, default.clients),
        upgrade_socket: default.upgrade_socket,
    }
}

/// The socket at which another process asks to take over: beside what it takes over, unless said
/// otherwise. What is kept in memory only is beside nothing.
pub(super) fn upgrade_socket(raw: &raw::Proxy, store: &Store) -> Option<PathBuf> {
    match (&raw.upgrade_socket, store) {
        (Some(named), _) => named.0.clone(),
        (None, Store::Sqlite(settings)) => Some(settings.path.with_extension("sock")),
        (None, Store::Memory) => None,
    }
}

fn clients(raw: &raw::Clients, default: Clients) -> Clients {
    Clients {
        head_timeout: raw
            .head_timeout
            .as_ref()
            .map_or(default.head_timeout, |raw| raw.0),
        idle: raw.idle.as_ref().map_or(default.idle, |raw| raw.0),
        max_head: raw.max_head.as_ref().map_or(default.max_head, |raw| raw.0),
        max_headers: raw
            .max_headers
            .as_ref()
            .map_or(default.max_headers, |raw| raw.0),
        min_body_rate: raw
            .min_body_rate
            .as_ref()
            .map_or(default.min_body_rate, |raw| raw.0),
    }
}

fn addresses(Several(listeners): &Several<Listener>, report: &mut Report) -> Vec<SocketAddr> {
    let path = Path::default().key("proxy").key("listen");
    if listeners.len() > MAX_LISTENERS {
        let message = format!("has too many items (expected at most {MAX_LISTENERS})");
        report.error(&path, message);
    }
    let mut addresses = Vec::new();
    for (position, listener) in listeners.iter().take(MAX_LISTENERS).enumerate() {
        let path = path.item(position);
        match &listener.0.address {
            Some(raw) => {
                if let Some(other) = addresses.iter().find(|other| overlap(**other, raw.0)) {
                    report.error(&path, overlapping(raw.0, *other, "another listener"));
                }
                addresses.push(raw.0);
            }
            None if report.whole(&path) => {
                report.error(
                    &path,
                    "has no address (expected for example address: 0.0.0.0:8080)",
                );
            }
            None => {}
        }
    }
    if listeners.is_empty() && report.whole(&path) {
        report.error(&path, "is empty (expected an address such as 0.0.0.0:8080)");
    }
    addresses
}

/// The control plane. It is not reachable from other machines unless somebody wrote down that this
/// is meant.
pub(super) fn control_plane(
    raw: &raw::Registry,
    proxy: &Proxy,
    report: &mut Report,
) -> ControlPlane {
    let default = ControlPlane::default();
    let path = Path::default().key("registry");
    let listen = raw.listen.as_ref().map_or(default.listen, |raw| raw.0);
    if !listen.ip().is_loopback() && raw.auth.is_none() && report.whole(&path) {
        let message = format!(
            "{listen} is reachable from other machines and auth is not set (expected a loopback \
             address such as 127.0.0.1:8500, auth with tokens, or auth: none to let anybody \
             register)"
        );
        report.error(&path.key("listen"), message);
    }
    let access = access::access(raw, report);
    if access != Access::Anybody && raw.tls.is_none() && !listen.ip().is_loopback() {
        let message = format!(
            "tokens reach {listen} in clear text (expected registry.tls, or TLS in front of it)"
        );
        report.warning(&path.key("listen"), message);
    }
    if let Some(position) = (proxy.listen.iter()).position(|other| overlap(*other, listen)) {
        // The fault is at the one that was written; a default is written nowhere.
        if raw.listen.is_some() {
            let message = overlapping(listen, proxy.listen[position], "proxy.listen");
            report.error(&path.key("listen"), message);
        } else {
            let message = overlapping(proxy.listen[position], listen, "registry.listen");
            let path = Path::default().key("proxy").key("listen");
            report.error(&path, message);
        }
    }
    ControlPlane {
        listen,
        store: store(raw, default.store, &path, report),
        rules: rules(raw, default.rules, &path, report),
        pull: pulling::pull(raw.pull.as_ref(), &path.key("pull"), report),
        access,
        rates: Rates {
            per_peer: raw.limits.0.per_peer.as_ref().and_then(|raw| raw.0),
            per_token: raw.limits.0.per_token.as_ref().and_then(|raw| raw.0),
        },
        connections: (raw.limits.0.connections.as_ref()).map_or(default.connections, |raw| raw.0),
        tls: (raw.tls.as_ref()).and_then(|raw| tls::tls(&raw.0, report)),
    }
}

fn limits(raw: &raw::Limits, default: Limits) -> Limits {
    let or = |raw: &Option<Amount>, default| raw.as_ref().map_or(default, |raw| raw.0);
    Limits {
        services: or(&raw.services, default.services),
        instances: or(&raw.instances, default.instances),
        instances_per_service: or(&raw.instances_per_service, default.instances_per_service),
    }
}

fn store(raw: &raw::Registry, default: Store, path: &Path, report: &mut Report) -> Store {
    let Some(variants::Store(raw)) = &raw.store else {
        return default;
    };
    let path = path.key("store");
    match (&raw.memory, &raw.sqlite) {
        (Some(_), Some(_)) => {
            report.error(&path, "has both memory and sqlite (expected one of them)");
            default
        }
        (Some(_), None) => Store::Memory,
        (None, Some(Section(raw))) => Store::Sqlite(sqlite(raw)),
        (None, None) => {
            if report.whole(&path) {
                report.error(&path, "names no store (expected for example sqlite: {})");
            }
            default
        }
    }
}

fn sqlite(raw: &raw::SqliteStore) -> sqlite::Settings {
    let default = sqlite::Settings::default();
    sqlite::Settings {
        path: (raw.path.as_ref()).map_or(default.path, |raw| raw.0.clone()),
        history: (raw.history.as_ref()).map_or(default.history, |raw| raw.0),
        max_size: (raw.max_size.as_ref()).map_or(default.max_size, |raw| raw.0),
        sync: raw.sync.as_ref().map_or(default.sync, |raw| raw.0),
    }
}

fn rules(raw: &raw::Registry, default: Rules, path: &Path, report: &mut Report) -> Rules {
    let lease = &raw.lease.0;
    let rules = Rules {
        ttl: lease.ttl.as_ref().map_or(default.ttl, |raw| raw.0),
        min_ttl: lease.min.as_ref().map_or(default.min_ttl, |raw| raw.0),
        max_ttl: lease.max.as_ref().map_or(default.max_ttl, |raw| raw.0),
        allow: match &raw.allow {
            Some(Several(networks)) => networks.iter().map(|raw| raw.0).collect(),
            None => default.allow,
        },
        own: default.own,
        limits: limits(&raw.limits.0, default.limits),
    };
    let lease = path.key("lease");
    if !(rules.min_ttl <= rules.ttl && rules.ttl <= rules.max_ttl) && report.whole(&lease) {
        let message = format!(
            "ttl {} is not between min {} and max {} (expected min ≤ ttl ≤ max)",
            format_duration(rules.ttl),
            format_duration(rules.min_ttl),
            format_duration(rules.max_ttl)
        );
        report.error(&lease, message);
    }
    let allow = path.key("allow");
    if rules.allow.is_empty() && report.whole(&allow) {
        report.warning(
            &allow,
            "nobody may register (expected a network such as 10.0.0.0/8)",
        );
    }
    rules
}

/// Whether two listeners cannot both be bound: the same port, on the same address or on all of them.
/// Port 0 is a free one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn overlapping(this: SocketAddr, other: SocketAddr, of: &str) -> String {
    format!("{this} overlaps with {other} of {of} (expected each address and port once)")
}
