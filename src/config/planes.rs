//! The two planes: where they listen, and whom the registry lets in.

use std::path::PathBuf;

use ipnet::IpNet;

use super::listeners::{listeners, overlap, overlapping};
use super::names;
use super::pulling;
use super::raw;
use super::report::{Path, Report};
use super::scalar::{self, Allow, Amount};
use super::shape::{Section, Several};
use super::variants;
use super::{ControlPlane, Proxy, Store};
use super::{access, handshakes};
use crate::api::access::Access;
use crate::api::guard::Rates;
use crate::proxy::clients::Clients;
use crate::proxy::forwarded::TrustedProxies;
use crate::registry::store::sqlite;
use crate::registry::{AllowedPath, Limits, Rules};
use crate::tls::HTTP_1;
use crate::units::format_duration;

/// The data plane.
pub(super) fn proxy(raw: &raw::Proxy, report: &mut Report) -> Proxy {
    let default = Proxy::default();
    let proxy = Proxy {
        listen: match &raw.listen {
            Some(raw) => listeners(raw, report),
            None => default.listen,
        },
        threads: raw.threads.as_ref().map_or(default.threads, |raw| raw.0),
        trusted_proxies: TrustedProxies {
            networks: (raw.trusted_proxies.0.iter())
                .filter_map(|raw| raw.0)
                .collect(),
            unix: raw.trusted_proxies.0.iter().any(|raw| raw.0.is_none()),
        },
        shutdown_grace: (raw.shutdown_grace.as_ref()).map_or(default.shutdown_grace, |raw| raw.0),
        clients: clients(&raw.clients.0, default.clients),
        lean_path: (raw.lean_path.as_ref()).map_or(default.lean_path, |raw| raw.0),
        upgrade_socket: default.upgrade_socket,
        acme: (raw.acme.as_ref()).and_then(|Section(raw)| {
            let path = Path::default().key("proxy").key("acme");
            handshakes::acme(raw, &path, report)
        }),
    };
    names::check(raw, &proxy, report);
    proxy
}

/// The socket at which another process asks to take over: beside what it takes over, unless said
/// otherwise. What is kept in memory only is beside nothing.
pub(super) fn upgrade_socket(
    raw: &raw::Proxy,
    proxy: &Proxy,
    registry: &ControlPlane,
    report: &mut Report,
) -> Option<PathBuf> {
    let path = match (&raw.upgrade_socket, &registry.store) {
        (Some(named), _) => named.0.clone()?,
        (None, Store::Sqlite(settings)) => settings.path.with_extension("sock"),
        (None, Store::Memory) => return None,
    };
    let of_proxy = (proxy.listen.iter()).map(|listener| ("proxy.listen", &listener.address));
    let mut listeners = of_proxy.chain([("registry.listen", &registry.listen)]);
    let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    if let Some((setting, _)) = listeners.find(|(_, address)| address.path() == Some(&absolute)) {
        let place = Path::default().key("proxy").key("upgrade_socket");
        let message = format!(
            "{} is where {setting} listens, too (expected a path of its own)",
            path.display()
        );
        report.error(&place, message);
    }
    Some(path)
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
        max_streams: (raw.max_streams.as_ref()).map_or(default.max_streams, |raw| raw.0),
    }
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
    let listen = (raw.listen.as_ref()).map_or(default.listen, |raw| raw.0.clone());
    let is_reachable = listen.ip().is_some_and(|ip| !ip.is_loopback());
    if is_reachable && raw.auth.is_none() && report.whole(&path) {
        let message = format!(
            "{listen} is reachable from other machines and auth is not set (expected a loopback \
             address such as 127.0.0.1:8500, auth with tokens, or auth: none to let anybody \
             register)"
        );
        report.error(&path.key("listen"), message);
    }
    let access = access::access(raw, report);
    if access != Access::Anybody && raw.tls.is_none() && is_reachable {
        let message = format!(
            "tokens reach {listen} in clear text (expected registry.tls, or TLS in front of it)"
        );
        report.warning(&path.key("listen"), message);
    }
    if let Some(other) = (proxy.listen.iter()).find(|other| overlap(&other.address, &listen)) {
        // The fault is at the one that was written; a default is written nowhere.
        if raw.listen.is_some() {
            let message = overlapping(&listen, &other.address, "proxy.listen");
            report.error(&path.key("listen"), message);
        } else {
            let message = overlapping(&other.address, &listen, "registry.listen");
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
        tls: (raw.tls.as_ref())
            .filter(|Section(raw)| names::are_absent(raw, &path.key("tls"), report))
            .and_then(|raw| handshakes::server(&raw.0, &[HTTP_1], &path.key("tls"), report)),
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
    let (allow, allow_paths) = match &raw.allow {
        Some(Several(places)) => allowed(places),
        None => (default.allow, default.allow_paths),
    };
    let rules = Rules {
        ttl: lease.ttl.as_ref().map_or(default.ttl, |raw| raw.0),
        min_ttl: lease.min.as_ref().map_or(default.min_ttl, |raw| raw.0),
        max_ttl: lease.max.as_ref().map_or(default.max_ttl, |raw| raw.0),
        allow,
        allow_paths,
        own: default.own,
        own_paths: default.own_paths,
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
    if rules.allow.is_empty() && rules.allow_paths.is_empty() && report.whole(&allow) {
        report.warning(
            &allow,
            "nobody may register (expected a network such as 10.0.0.0/8)",
        );
    }
    rules
}

/// The networks and the paths among `places`.
fn allowed(places: &[scalar::Allowed]) -> (Vec<IpNet>, Vec<AllowedPath>) {
    let (mut networks, mut paths) = (Vec::new(), Vec::new());
    for scalar::Allowed(place) in places {
        match place {
            Allow::Network(network) => networks.push(*network),
            Allow::Path(path) => paths.push(path.clone()),
        }
    }
    (networks, paths)
}
