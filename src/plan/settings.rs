//! A configuration written out: every setting with its value under its key.
//!
//! Each struct is taken apart by name, so that a setting that is added to one does not compile until
//! it is written out here. Secrets are not: of a token, its name and scopes, and that it is another.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use crate::acme;
use crate::api::access::{Access, Scope, Token};
use crate::api::guard::{Rate, Rates};
use crate::balance::{Algorithm, Balance, HashOn};
use crate::cluster::policy::{
    Admission, Hedge, Hold, Limits, Panic, Policy, ProxyVersion, Retry, RetryOn, Reuse, SlowStart,
    Timeouts,
};
use crate::config::{Config, ControlPlane, Proxy, Store};
use crate::health::outlier::Outlier;
use crate::instance::check::{Check, CheckKind};
use crate::proxy::clients::Clients;
use crate::proxy::forwarded::TrustedProxies;
use crate::proxy::listener::{Listener, Protocol};
use crate::pull;
use crate::registry::store::sqlite::{self, Sync};
use crate::registry::{AllowedPath, Rules};
use crate::route::{DefaultRoutes, Routing};
use crate::telemetry::access_log::{self, Format, Target};
use crate::telemetry::{self, Metrics, explain, trace};
use crate::tls::{
    self, CertificateFiles, ClientCertificates, ClientSettings, ServerSettings, Version,
};

use super::words::{bytes, duration, list, or_off, percent, statuses, switch};

/// Values by key.
pub(super) type Settings = BTreeMap<String, String>;

/// Writes values below a key.
struct Below<'a> {
    key: String,
    into: &'a mut Settings,
}

impl Below<'_> {
    fn put(&mut self, key: &str, value: impl Display) {
        self.into
            .insert(format!("{}{key}", self.key), value.to_string());
    }

    fn below(&mut self, key: impl Display) -> Below<'_> {
        Below {
            key: format!("{}{key}.", self.key),
            into: self.into,
        }
    }
}

/// Everything but the policies of services and the routes.
pub(super) fn planes(config: &Config) -> Settings {
    let mut settings = Settings::new();
    let mut all = Below {
        key: String::new(),
        into: &mut settings,
    };
    let Config {
        proxy: data_plane,
        registry,
        telemetry: told,
        policies,
        routing,
    } = config;
    proxy(data_plane, all.below("proxy"));
    all.put("proxy.zone", policies.zone.as_deref().unwrap_or("none"));
    control_plane(registry, all.below("registry"));
    let admission = match policies.admission {
        Admission::Probe => "probe",
        Admission::Trust => "trust",
    };
    all.put("registry.admission", admission);
    telemetry(told, all.below("telemetry"));
    let Routing {
        routes: _,
        default_routes,
    } = routing;
    all.put("default_routes", switch(default_routes.is_some()));
    if let Some(DefaultRoutes { host_suffix }) = default_routes {
        all.put("host_suffix", host_suffix);
    }
    settings
}

/// One service's policy, or the default one.
pub(super) fn policy(policy: &Policy) -> Settings {
    let mut settings = Settings::new();
    let mut all = Below {
        key: String::new(),
        into: &mut settings,
    };
    let Policy {
        balance,
        check: asked,
        timeouts: times,
        retry: again,
        outlier: ejection,
        panic_threshold,
        panic,
        slow_start,
        load_reports,
        prefer_zone,
        limits,
        hold,
        max_body,
        reuse,
        drain,
        tls,
        proxy_protocol,
    } = policy;
    let Balance {
        algorithm,
        hash_on,
        bounded_load,
    } = balance;
    all.put("balance", algorithm_name(*algorithm));
    all.put("hash_on", hashed(hash_on));
    all.put(
        "bounded_load",
        or_off(*bounded_load, |factor| factor.to_string()),
    );
    all.put("check", or_off(asked.as_ref(), check));
    timeouts(times, all.below("timeouts"));
    retry(again, all.below("retry"));
    match ejection {
        None => all.put("outlier", "off"),
        Some(ejection) => outlier(ejection, all.below("outlier")),
    }
    all.put("panic_threshold", percent(*panic_threshold));
    let panic = match panic {
        Panic::Spread => "spread",
        Panic::Fail => "fail",
    };
    all.put("panic", panic);
    let SlowStart { window, aggression } = slow_start;
    all.put("slow_start.window", duration(*window));
    all.put("slow_start.aggression", aggression);
    all.put("load_reports", switch(*load_reports));
    all.put("prefer_zone", switch(*prefer_zone));
    let Limits {
        in_flight,
        in_flight_per_instance,
        queue,
        queue_timeout,
        adaptive,
    } = limits;
    let number = |number: u32| number.to_string();
    all.put("limits.in_flight", or_off(*in_flight, number));
    all.put(
        "limits.in_flight_per_instance",
        or_off(*in_flight_per_instance, number),
    );
    all.put("limits.queue", queue);
    all.put("limits.queue_timeout", duration(*queue_timeout));
    all.put("limits.adaptive", switch(*adaptive));
    let hold = or_off(*hold, |Hold { timeout, max }| {
        format!("{{timeout: {}, max: {max}}}", duration(timeout))
    });
    all.put("hold", hold);
    all.put("max_body", or_off(*max_body, bytes));
    let reuse = match reuse {
        Reuse::Safe => "safe",
        Reuse::Always => "always",
    };
    all.put("reuse", reuse);
    all.put("drain", duration(*drain));
    client_tls(tls, all.below("tls"));
    let version = or_off(*proxy_protocol, |version| {
        match version {
            ProxyVersion::V1 => "v1",
            ProxyVersion::V2 => "v2",
        }
        .to_owned()
    });
    all.put("proxy_protocol", version);
    settings
}

/// A check as one value: what is asked belongs together.
pub(super) fn check(check: &Check) -> String {
    let Check {
        kind,
        interval,
        timeout,
        fall,
        rise,
    } = check;
    let kind = match kind {
        CheckKind::Tcp => "tcp: {}".to_owned(),
        CheckKind::Http(http) => {
            let expect = list(statuses(&http.expect));
            format!("http: {{path: {}, expect: {expect}}}", http.path)
        }
        CheckKind::Grpc(grpc) if grpc.service.is_empty() => "grpc: {}".to_owned(),
        CheckKind::Grpc(grpc) => format!("grpc: {{service: {}}}", grpc.service),
    };
    let [interval, timeout] = [interval, timeout].map(|&time| duration(time));
    format!("{{{kind}, interval: {interval}, timeout: {timeout}, fall: {fall}, rise: {rise}}}")
}

/// What an algorithm is called.
pub(super) fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "round_robin",
        Algorithm::Random => "random",
        Algorithm::LeastRequest => "least_request",
        Algorithm::PeakEwma => "peak_ewma",
        Algorithm::RingHash => "ring_hash",
        Algorithm::Maglev => "maglev",
    }
}

/// What is hashed.
pub(super) fn hashed(hash_on: &HashOn) -> String {
    match hash_on {
        HashOn::Header(name) => format!("header:{name}"),
        HashOn::Cookie(name) => format!("cookie:{name}"),
        HashOn::Query(name) => format!("query:{name}"),
        HashOn::Path => "path".to_owned(),
        HashOn::ClientIp => "client_ip".to_owned(),
    }
}

fn proxy(proxy: &Proxy, mut to: Below<'_>) {
    let Proxy {
        listen,
        threads,
        trusted_proxies,
        shutdown_grace,
        clients,
        upgrade_socket,
        acme,
    } = proxy;
    to.put(
        "listen",
        list(listen.iter().map(|listener| &listener.address)),
    );
    for (position, one) in listen.iter().enumerate() {
        listener(one, to.below(format_args!("listen[{position}]")));
    }
    to.put(
        "threads",
        threads.map_or("auto".to_owned(), |threads| threads.to_string()),
    );
    let TrustedProxies { networks, unix } = trusted_proxies;
    let networks = networks.iter().map(ToString::to_string);
    to.put(
        "trusted_proxies",
        list(networks.chain(unix.then(|| "unix".to_owned()))),
    );
    to.put("shutdown_grace", duration(*shutdown_grace));
    let Clients {
        head_timeout,
        idle,
        max_head,
        max_headers,
        min_body_rate,
        max_streams,
    } = clients;
    to.put("clients.head_timeout", duration(*head_timeout));
    to.put("clients.idle", duration(*idle));
    to.put("clients.max_head", bytes(*max_head as u64));
    to.put("clients.max_headers", max_headers);
    to.put("clients.min_body_rate", or_off(*min_body_rate, bytes));
    to.put("clients.max_streams", max_streams);
    let socket = or_off(upgrade_socket.as_ref(), |path| path.display().to_string());
    to.put("upgrade_socket", socket);
    match acme {
        None => to.put("acme", "none"),
        Some(acme::Settings {
            directory,
            contact,
            path,
            ca,
        }) => {
            let mut to = to.below("acme");
            to.put("directory", directory);
            to.put("contact", list(contact));
            to.put("path", path.display());
            let ca = ca
                .as_ref()
                .map_or("system".to_owned(), |ca| ca.display().to_string());
            to.put("ca", ca);
        }
    }
}

fn listener(listener: &Listener, mut to: Below<'_>) {
    let Listener {
        address,
        protocol,
        tls,
        proxy_protocol,
        mode,
    } = listener;
    to.put("address", address);
    match protocol {
        Protocol::Http => to.put("protocol", "http"),
        Protocol::Tcp(routes) => {
            to.put("protocol", "tcp");
            let service = routes.otherwise.as_ref().map(ToString::to_string);
            to.put("service", service.as_deref().unwrap_or("none"));
            let by_name = routes.by_name.iter();
            to.put(
                "sni",
                list(by_name.map(|(name, service)| format!("{name}: {service}"))),
            );
        }
    }
    server_tls(tls.as_ref(), to.below("tls"));
    to.put("proxy_protocol", switch(*proxy_protocol));
    to.put(
        "mode",
        mode.map_or("default".to_owned(), |mode| format!("{mode:04o}")),
    );
}

fn server_tls(tls: Option<&Arc<tls::Server>>, mut to: Below<'_>) {
    let Some(tls) = tls else { return };
    let ServerSettings {
        certificates,
        acme,
        clients,
        oldest,
    } = &*tls.settings();
    to.put("certificates", list(certificates.iter().map(certificate)));
    to.put("acme", list(acme));
    let clients = clients.as_ref().map(|ClientCertificates { ca, required }| {
        format!("{{ca: {}, required: {}}}", ca.display(), switch(*required))
    });
    to.put("clients", clients.as_deref().unwrap_or("none"));
    let oldest = match oldest {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    };
    to.put("min_version", oldest);
    to.put("contents", format_args!("{:08x}", tls.contents()));
}

fn certificate(files: &CertificateFiles) -> String {
    let CertificateFiles { cert, key, ocsp } = files;
    let ocsp = ocsp
        .as_ref()
        .map(|ocsp| format!(", ocsp: {}", ocsp.display()));
    let ocsp = ocsp.unwrap_or_default();
    format!("{{cert: {}, key: {}{ocsp}}}", cert.display(), key.display())
}

fn client_tls(tls: &tls::Client, mut to: Below<'_>) {
    let ClientSettings {
        ca,
        certificate: own,
        server_name,
        verify,
    } = tls.settings();
    let ca = ca
        .as_ref()
        .map_or("system".to_owned(), |ca| ca.display().to_string());
    to.put("ca", ca);
    to.put("cert", own.as_ref().map_or("none".to_owned(), certificate));
    let suffix = tls.host_suffix();
    let name = server_name
        .clone()
        .unwrap_or_else(|| format!("SERVICE{suffix}"));
    to.put("server_name", name);
    to.put("verify", switch(*verify));
    to.put(
        "contents",
        format_args!("{:016x}", tls.credentials().fingerprint()),
    );
}

fn control_plane(control_plane: &ControlPlane, mut to: Below<'_>) {
    let ControlPlane {
        listen,
        store: kept,
        rules,
        pull: mirrored,
        access,
        rates,
        connections,
        tls,
    } = control_plane;
    to.put("listen", listen);
    store(kept, to.below("store"));
    let Rules {
        ttl,
        min_ttl,
        max_ttl,
        allow,
        allow_paths,
        // Where callboard itself listens is no setting of this part.
        own: _,
        own_paths: _,
        limits,
    } = rules;
    to.put("lease.ttl", duration(*ttl));
    to.put("lease.min", duration(*min_ttl));
    to.put("lease.max", duration(*max_ttl));
    let paths = allow_paths.iter().map(|path| match path {
        AllowedPath::Socket(path) | AllowedPath::Folder(path) => format!("unix:{}", path.display()),
    });
    to.put(
        "allow",
        list(allow.iter().map(ToString::to_string).chain(paths)),
    );
    let crate::registry::Limits {
        services,
        instances,
        instances_per_service,
    } = limits;
    to.put("limits.services", services);
    to.put("limits.instances", instances);
    to.put("limits.instances_per_service", instances_per_service);
    to.put("limits.connections", connections);
    let Rates {
        per_token,
        per_peer,
    } = rates;
    let rate = |rate: Rate| rate.to_string();
    to.put("limits.per_token", or_off(*per_token, rate));
    to.put("limits.per_peer", or_off(*per_peer, rate));
    pulling(mirrored.as_ref(), to.below("pull"));
    match access {
        Access::Anybody => to.put("auth", "none"),
        Access::Tokens(tokens) => {
            to.put("auth", "tokens");
            for known in tokens {
                token(
                    known,
                    to.below(format_args!("auth.tokens.{}", known.name())),
                );
            }
        }
    }
    to.put("tls", if tls.is_some() { "on" } else { "none" });
    server_tls(tls.as_ref(), to.below("tls"));
}

fn token(token: &Token, mut to: Below<'_>) {
    let scopes = token.scopes().iter().map(|scope| match scope {
        Scope::Admin => "admin".to_owned(),
        Scope::Read => "read".to_owned(),
        Scope::Service(name) => format!("register:{name}"),
        Scope::Services(prefix) => format!("register:{prefix}*"),
    });
    to.put("scopes", list(scopes));
}

/// The keys whose value is another, and is not to be told.
pub(super) fn secrets(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    if let (Some(old), Some(new)) = (&old.telemetry.traces, &new.telemetry.traces)
        && old.endpoint != new.endpoint
        && without_secrets(&old.endpoint) == without_secrets(&new.endpoint)
    {
        keys.push("telemetry.traces.endpoint".to_owned());
    }
    let (old, new) = (&old.registry, &new.registry);
    keys.extend(other_tokens(&old.access, &new.access));
    if let (Some(old), Some(new)) = (&old.pull, &new.pull) {
        let both = old.token.is_some() && new.token.is_some();
        if both && old.token != new.token {
            keys.push("registry.pull.token".to_owned());
        }
        if old.ca.len() == new.ca.len() && old.ca != new.ca {
            keys.push("registry.pull.ca".to_owned());
        }
    }
    keys
}

/// A URL without what may let in whoever reads it: a user with a password, and a query.
fn without_secrets(url: &str) -> String {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let query = if query.is_empty() { "" } else { "?…" };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}{query}"),
        None => format!("{url}{query}"),
    }
}

fn other_tokens(old: &Access, new: &Access) -> Vec<String> {
    let (Access::Tokens(old), Access::Tokens(new)) = (old, new) else {
        return Vec::new();
    };
    let is_other = |token: &&Arc<Token>| {
        let mut same_name = old.iter().filter(|before| before.name() == token.name());
        same_name.clone().next().is_some()
            && same_name.all(|before| before.digest() != token.digest())
    };
    let key = |token: &Arc<Token>| format!("registry.auth.tokens.{}", token.name());
    new.iter().filter(is_other).map(key).collect()
}

fn store(store: &Store, mut to: Below<'_>) {
    match store {
        Store::Memory => to.put("kind", "memory"),
        Store::Sqlite(sqlite::Settings {
            path,
            history,
            max_size,
            sync,
        }) => {
            to.put("kind", "sqlite");
            to.put("sqlite.path", path.display());
            to.put("sqlite.history", duration(*history));
            to.put("sqlite.max_size", bytes(*max_size));
            let sync = match sync {
                Sync::Full => "full",
                Sync::Normal => "normal",
            };
            to.put("sqlite.sync", sync);
        }
    }
}

fn pulling(mirrored: Option<&pull::Settings>, mut to: Below<'_>) {
    let Some(pull::Settings { from, token, ca }) = mirrored else {
        return;
    };
    to.put("from", list(from));
    // What it is must not be told, nor can it be told from what it was.
    to.put("token", if token.is_some() { "given" } else { "none" });
    to.put("ca", format_args!("{} certificates", ca.len()));
}

fn telemetry(settings: &telemetry::Settings, mut to: Below<'_>) {
    let telemetry::Settings {
        metrics,
        access_log,
        traces,
        explain,
    } = settings;
    let Metrics {
        requests,
        instances,
    } = metrics;
    to.put("metrics", switch(*requests));
    to.put("metrics.instances", instances);
    match access_log {
        None => to.put("access_log", "off"),
        Some(access_log::Settings {
            to: target,
            format,
            fields,
            sample,
        }) => {
            to.put("access_log", "on");
            let mut to = to.below("access_log");
            match target {
                Target::Stdout => to.put("path", "stdout"),
                Target::File(path) => to.put("path", path.display()),
            }
            let format = match format {
                Format::Json => "json",
                Format::Combined => "combined",
            };
            to.put("format", format);
            to.put("fields", list(fields));
            to.put("sample", percent(*sample));
        }
    }
    match traces {
        None => to.put("traces", "off"),
        Some(trace::Settings {
            endpoint,
            sample,
            limit,
            name,
        }) => {
            to.put("traces", "on");
            to.put("traces.endpoint", without_secrets(endpoint));
            to.put("traces.sample", percent(*sample));
            to.put("traces.limit", limit.to_string());
            to.put("traces.name", name);
        }
    }
    match explain {
        None => to.put("explain", "off"),
        Some(explain::Settings {
            sample,
            kept,
            clients,
        }) => {
            to.put("explain", "on");
            to.put("explain.sample", percent(*sample));
            to.put("explain.kept", kept);
            to.put("explain.clients", list(clients));
        }
    }
}

fn timeouts(timeouts: &Timeouts, mut to: Below<'_>) {
    let Timeouts {
        connect,
        first_byte,
        between_bytes,
        request,
        total,
        idle,
        tunnel,
    } = timeouts;
    to.put("connect", duration(*connect));
    to.put("first_byte", or_off(*first_byte, duration));
    to.put("between_bytes", duration(*between_bytes));
    to.put("request", duration(*request));
    to.put("total", or_off(*total, duration));
    to.put("idle", duration(*idle));
    to.put("tunnel", or_off(*tunnel, duration));
}

fn retry(retry: &Retry, mut to: Below<'_>) {
    let Retry {
        attempts,
        budget,
        budget_min,
        on,
        buffer,
        hedge,
    } = retry;
    to.put("attempts", attempts);
    to.put("budget", or_off(*budget, percent));
    to.put("budget_min", budget_min);
    let RetryOn {
        connect,
        reset,
        timeout,
        statuses: answers,
    } = on;
    let causes = [(connect, "connect"), (reset, "reset"), (timeout, "timeout")];
    let causes = causes.into_iter().filter(|(on, _)| **on);
    let causes = causes.map(|(_, cause)| cause.to_owned());
    to.put("on", list(causes.chain(statuses(answers))));
    to.put("buffer", bytes(*buffer as u64));
    let hedge = or_off(*hedge, |hedge| match hedge {
        Hedge::After(time) => format!("after {}", duration(time)),
        Hedge::Percentile(share) => format!("after p{}", percent(share).trim_end_matches('%')),
    });
    to.put("hedge", hedge);
}

fn outlier(outlier: &Outlier, mut to: Below<'_>) {
    let Outlier {
        consecutive_failures,
        failure_ratio,
        min_requests,
        interval,
        base_ejection,
        max_ejection,
        max_ejected,
    } = outlier;
    to.put("consecutive_failures", consecutive_failures);
    to.put("failure_ratio", or_off(*failure_ratio, percent));
    to.put("min_requests", min_requests);
    to.put("interval", duration(*interval));
    to.put("base_ejection", duration(*base_ejection));
    to.put("max_ejection", duration(*max_ejection));
    to.put("max_ejected", percent(*max_ejected));
}
