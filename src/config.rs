//! The configuration file, read into a [`Config`] that is valid by construction.
//!
//! ```text
//! text ─ document ─▶ tree with places ─ shape ─▶ raw structs ─ planes, policy, routes ─▶ Config
//!                          └────────── report: every finding at its place ──────────┘
//! ```
//!
//! Reading goes on behind an error as far as that makes sense, so that an operator is told of all
//! of them at once. The values themselves are parsed as they are read (`scalar`, `variants`), and
//! only how they go together is checked afterwards.
//!
//! Architecture invariant: the rest of the program knows no YAML, and no text makes reading panic.

mod access;
mod diagnostic;
mod document;
mod listeners;
mod names;
mod planes;
mod policy;
mod pulling;
mod raw;
mod report;
mod retry;
mod routes;
mod scalar;
mod shadows;
mod shape;
mod source;
mod suggest;
mod telemetry;
#[cfg(test)]
mod tests;

mod handshakes;
mod variants;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use diagnostic::Diagnostic;

use crate::acme;
use crate::address::Address;
use crate::api::access::Access;
use crate::api::guard::Rates;
use crate::cluster::policy::{Admission, Policies};
use crate::proxy::clients::Clients;
use crate::proxy::forwarded::TrustedProxies;
use crate::proxy::listener::Listener;
use crate::pull;
use crate::registry::store::sqlite;
use crate::registry::{Limits, Rules};
use crate::route::{DefaultRoutes, Routing};
use crate::telemetry::Settings;
use crate::tls;

/// A valid configuration. The default is what an empty file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The data plane.
    pub proxy: Proxy,
    /// The control plane.
    pub registry: ControlPlane,
    /// What is told of requests.
    pub telemetry: Settings,
    /// Every service's policy.
    pub policies: Policies,
    /// Where requests go.
    pub routing: Routing,
}

/// The data plane's process-wide settings. `trusted_proxies`, `clients`, `lean_path` and what the handshakes of
/// listeners with TLS go by can change without a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// The addresses clients call.
    pub listen: Vec<Listener>,
    /// Worker threads; `None` is one per core.
    pub threads: Option<usize>,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: TrustedProxies,
    /// How long a leaving process waits for requests in flight.
    pub shutdown_grace: Duration,
    /// What clients may send.
    pub clients: Clients,
    /// Whether simple requests are served without Pingora's proxy.
    pub lean_path: bool,
    /// The socket at which another process asks to take over; `None` is nowhere.
    pub upgrade_socket: Option<PathBuf>,
    /// Where certificates are had from that listeners ask for by name.
    pub acme: Option<acme::Settings>,
}

/// The control plane's settings. All but `listen`, and whether there is `tls`, can change without a
/// restart.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlPlane {
    /// The address services sign in at.
    pub listen: Address,
    /// What remembers who is signed in.
    pub store: Store,
    /// How leases are granted and who may register.
    pub rules: Rules,
    /// The registries to mirror instead of keeping registrations here.
    pub pull: Option<pull::Settings>,
    /// Who may call.
    pub access: Access,
    /// How often.
    pub rates: Rates,
    /// How many connections are open at a time; more have to wait.
    pub connections: usize,
    /// The certificate and key; `None` is plain HTTP.
    pub tls: Option<Arc<tls::Server>>,
}

/// What remembers who is signed in.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    /// Nothing, beyond the process.
    Memory,
    /// A file.
    Sqlite(sqlite::Settings),
}

impl Store {
    /// Where it is, so that two processes can tell whether theirs is the same.
    pub fn whereabouts(&self) -> String {
        match self {
            Self::Memory => "memory".to_owned(),
            Self::Sqlite(sqlite::Settings { path, .. }) => {
                let known = path.canonicalize().or_else(|_| std::path::absolute(path));
                known.unwrap_or_else(|_| path.clone()).display().to_string()
            }
        }
    }
}

/// A configuration that was read: what it says, and what the operator should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was accepted but should be known, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            listen: vec![Listener::http(SocketAddr::from((
                Ipv4Addr::UNSPECIFIED,
                8080,
            )))],
            threads: None,
            trusted_proxies: TrustedProxies::default(),
            shutdown_grace: Duration::from_secs(30),
            clients: Clients::default(),
            lean_path: true,
            upgrade_socket: Some(PathBuf::from("data/callboard.sock")),
            acme: None,
        }
    }
}

impl Default for ControlPlane {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8500)).into(),
            store: Store::Sqlite(sqlite::Settings::default()),
            rules: Rules {
                ttl: Duration::from_secs(15),
                min_ttl: Duration::from_secs(1),
                max_ttl: Duration::from_secs(60 * 60),
                allow: vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())],
                allow_paths: Vec::new(),
                own: Vec::new(),
                own_paths: Vec::new(),
                limits: Limits::default(),
            },
            pull: None,
            access: Access::default(),
            rates: Rates::default(),
            connections: 16_384,
            tls: None,
        }
    }
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// Every finding that keeps the file from being used, in the order of the file.
    pub fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
        let text = source::read(path).map_err(|unreadable| vec![unreadable])?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Validates a text; `file` is what diagnostics call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let Some(root) = document::parse(text, &mut findings) else {
            return Err(report::diagnostics(file, findings));
        };
        let mut report = report::Report::new(root, findings);
        let raw: raw::File = shape::read(&mut report);
        let config = Self::from_raw(raw, &mut report);
        let warnings = report.finish(file)?;
        Ok(Loaded { config, warnings })
    }

    /// Whether a text is YAML that nests no deeper than a configuration may: to be asked before what
    /// takes long to find that out reads it.
    ///
    /// # Errors
    /// Where it is not; nothing else that may be wrong with it.
    pub fn check_outline(file: &str, text: &str) -> Result<(), Diagnostic> {
        match document::misshapen(text) {
            None => Ok(()),
            Some(found) => Err(Diagnostic {
                file: file.to_owned(),
                line: found.place.line,
                column: found.place.column,
                message: found.message,
            }),
        }
    }

    fn from_raw(raw: raw::File, report: &mut report::Report) -> Self {
        let mut proxy = planes::proxy(&raw.proxy.0, report);
        let registry = planes::control_plane(&raw.registry.0, &proxy, report);
        proxy.upgrade_socket = planes::upgrade_socket(&raw.proxy.0, &proxy, &registry, report);
        listeners::warn_of_unsent_headers(&raw.services.0, &proxy.listen, report);
        let admission = (raw.registry.0.admission).map_or(Admission::default(), |raw| raw.0);
        let zone = raw.proxy.0.zone.as_ref().map(|raw| raw.0.clone());
        let host_suffix =
            (raw.host_suffix).map_or_else(|| DefaultRoutes::default().host_suffix, |raw| raw.0);
        let policies = policy::policies(
            &raw.defaults.0,
            &raw.services.0,
            admission,
            zone,
            &host_suffix,
            report,
        );
        let default_routes = match raw.default_routes {
            Some(scalar::Switch(false)) => None,
            _ => Some(DefaultRoutes { host_suffix }),
        };
        Self {
            proxy,
            registry,
            telemetry: telemetry::telemetry(&raw.telemetry.0, report),
            policies,
            routing: Routing {
                routes: routes::routes(raw.routes, report),
                default_routes,
            },
        }
    }

    /// The keys whose value in `new` only a restart puts in force; everything else can change while
    /// callboard runs.
    pub fn restart_needed(&self, new: &Self) -> Vec<String> {
        let (old_listen, new_listen) = (&self.proxy.listen, &new.proxy.listen);
        let changed = [
            (
                "proxy.listen",
                old_listen.len() != new_listen.len()
                    || (old_listen.iter().zip(new_listen)).any(|(old, new)| !old.can_become(new)),
            ),
            ("proxy.acme", self.proxy.acme != new.proxy.acme),
            ("proxy.zone", self.policies.zone != new.policies.zone),
            ("proxy.threads", self.proxy.threads != new.proxy.threads),
            (
                "proxy.shutdown_grace",
                self.proxy.shutdown_grace != new.proxy.shutdown_grace,
            ),
            (
                "proxy.upgrade_socket",
                self.proxy.upgrade_socket != new.proxy.upgrade_socket,
            ),
            (
                "registry.listen",
                self.registry.listen != new.registry.listen,
            ),
            ("registry.pull", self.registry.pull != new.registry.pull),
            (
                "registry.tls",
                self.registry.tls.is_some() != new.registry.tls.is_some(),
            ),
            ("registry.store", self.registry.store != new.registry.store),
        ];
        changed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| key.to_owned())
            .collect()
    }
}
