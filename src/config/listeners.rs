//! `proxy.listen`: where clients connect, and what becomes of their connections.

use std::net::SocketAddr;

use super::raw::{self, ListenerSettings};
use super::report::{Path, Report};
use super::scalar::{HostPattern, Name, Scalar, quoted};
use super::shape::{Section, Several};
use super::{handshakes, variants};
use crate::address::Address;
use crate::proxy::listener::{Listener, Protocol, TcpRoutes};
use crate::tls::{HTTP_1, HTTP_2};

/// The most addresses the data plane may listen on.
const MAX_LISTENERS: usize = 64;

/// The listeners in the order of the file.
pub(super) fn listeners(
    Several(raw): &Several<variants::Listener>,
    report: &mut Report,
) -> Vec<Listener> {
    let path = Path::default().key("proxy").key("listen");
    if raw.len() > MAX_LISTENERS {
        let message = format!("has too many items (expected at most {MAX_LISTENERS})");
        report.error(&path, message);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for (position, variants::Listener(raw)) in raw.iter().take(MAX_LISTENERS).enumerate() {
        let path = path.item(position);
        let Some(address) = &raw.address else {
            if report.whole(&path) {
                report.error(
                    &path,
                    "has no address (expected for example address: 0.0.0.0:8080)",
                );
            }
            continue;
        };
        let address = &address.0;
        if let Some(other) = (listeners.iter()).find(|other| overlap(&other.address, address)) {
            let message = overlapping(address, &other.address, "another listener");
            report.error(&path, message);
        }
        listeners.push(listener(address.clone(), raw, &path, report));
    }
    if raw.is_empty() && report.whole(&path) {
        report.error(&path, "is empty (expected an address such as 0.0.0.0:8080)");
    }
    listeners
}

fn listener(
    address: Address,
    raw: &ListenerSettings,
    path: &Path,
    report: &mut Report,
) -> Listener {
    let is_tcp = raw.protocol.as_ref().is_some_and(|raw| raw.0);
    let protocol = if is_tcp {
        Protocol::Tcp(tcp_routes(raw, path, report))
    } else {
        for (field, given) in [
            ("service", raw.service.is_some()),
            ("sni", !raw.sni.0.is_empty()),
        ] {
            if given && report.whole(path) {
                let message = "goes with protocol: tcp (expected that, or routes for HTTP)";
                report.error(&path.key(field), message);
            }
        }
        Protocol::Http
    };
    if raw.mode.is_some() && address.inet().is_some() {
        let message = format!("goes with a Unix socket, and the address is {address}");
        report.error(&path.key("mode"), message);
    }
    let protocols: &[&[u8]] = if is_tcp { &[] } else { &[HTTP_2, HTTP_1] };
    Listener {
        address,
        protocol,
        tls: (raw.tls.as_ref())
            .and_then(|Section(raw)| handshakes::server(raw, protocols, &path.key("tls"), report)),
        proxy_protocol: raw.proxy_protocol.as_ref().is_some_and(|raw| raw.0),
        mode: raw.mode.as_ref().map(|raw| raw.0),
    }
}

fn tcp_routes(raw: &ListenerSettings, path: &Path, report: &mut Report) -> TcpRoutes {
    let mut routes = TcpRoutes {
        by_name: Vec::new(),
        otherwise: raw.service.as_ref().map(|raw| raw.0.clone()),
    };
    for (name, service) in &raw.sni.0 {
        match HostPattern::parse(name) {
            Ok(HostPattern(pattern)) => {
                let same = |(other, _): &(String, _)| other.eq_ignore_ascii_case(&pattern);
                if routes.by_name.iter().any(same) {
                    let message = format!("{} is there twice (expected once)", quoted(name));
                    report.error_at_key(&path.key("sni").key(name), message);
                }
                routes.by_name.push((pattern, service.0.clone()));
            }
            Err(_) => {
                let message = format!(
                    "{} is no name (expected for example db.example.com or *.example.com)",
                    quoted(name)
                );
                report.error_at_key(&path.key("sni").key(name), message);
            }
        }
    }
    let is_said = raw.service.is_some() || !raw.sni.0.is_empty();
    if !is_said && report.whole(path) && report.whole(&path.key("sni")) {
        report.error(
            path,
            "has no service (expected for example service: rabbitmq, or sni)",
        );
    }
    routes
}

/// Only connections of TCP listeners begin with a header. In `defaults` it waits for the services that
/// have one.
pub(super) fn warn_of_unsent_headers(
    services: &[(String, Section<raw::Policy>)],
    listeners: &[Listener],
    report: &mut Report,
) {
    let reached: Vec<_> = (listeners.iter())
        .filter_map(|listener| match &listener.protocol {
            Protocol::Tcp(routes) => Some(routes),
            Protocol::Http => None,
        })
        .flat_map(|routes| {
            let by_name = routes.by_name.iter().map(|(_, service)| service);
            by_name.chain(&routes.otherwise)
        })
        .collect();
    for (name, Section(raw)) in services {
        let sends = raw
            .proxy_protocol
            .as_ref()
            .is_some_and(|raw| raw.0.is_some());
        let is_reached = || {
            let parsed = Name::parse(name);
            parsed.is_ok_and(|Name(name)| reached.contains(&&name))
        };
        if sends && !is_reached() {
            report.warning(
                &Path::default()
                    .key("services")
                    .key(name)
                    .key("proxy_protocol"),
                "has no effect on this service (expected with a listener of protocol: tcp for it)",
            );
        }
    }
}

/// Whether two listeners cannot both be bound: the same port, on the same address or on all of them,
/// or the same path. Port 0 is a free one each time.
pub(super) fn overlap(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Inet(a), Address::Inet(b)) => overlap_inet(*a, *b),
        (Address::Unix(a), Address::Unix(b)) => a == b,
        _ => false,
    }
}

fn overlap_inet(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port()
        && a.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

pub(super) fn overlapping(this: &Address, other: &Address, of: &str) -> String {
    format!("{this} overlaps with {other} of {of} (expected each address and port once)")
}
