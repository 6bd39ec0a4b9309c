//! Values written as one word: each is parsed from its text into a valid value, or says what is
//! wrong with it.

mod figures;
mod names;
mod words;

use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserializer;

pub(super) use words::{is_off, quoted, shortened};

use figures::{
    body_rate, bounded_load, byte_size, call_rate, grace, hedge_after, history, number, percent,
    period, size, small_size, threads,
};
pub(super) use names::Allow;
use names::{
    allow, check_path, client_pattern, file_path, hash_on, host_pattern, host_suffix, is_domain,
    log_field, method, name, network, place, retry_cause, route_path, statuses,
};
use words::{choice, switch, unless_off};

use crate::address::Address as Placed;
use crate::api::guard::Rate;
use crate::balance::{Algorithm, HashOn};
use crate::cluster::policy::{self, Admission, Panic, ProxyVersion, Reuse};
use crate::instance::MAX_WEIGHT;
use crate::names::ServiceName;
use crate::pull::{Origin, OriginError};
use crate::registry::store::sqlite::Sync;
use crate::telemetry::access_log;
use crate::tls::Version;

/// More of anything than fits into memory.
const MAX_AMOUNT: usize = 10_000_000;

/// What a request is tried again for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cause {
    Connect,
    Reset,
    Timeout,
    Statuses(RangeInclusive<u16>),
}

/// A value that is written as one word.
pub(super) trait Scalar: Sized {
    /// What is expected, to follow "expected".
    const EXPECTED: &'static str;

    /// Reads the word; the error is what is wrong, without what was expected.
    fn parse(text: &str) -> Result<Self, String>;
}

/// Deserializes a [`Scalar`] and puts what was expected behind what is wrong.
pub(super) fn scalar<'de, D: Deserializer<'de>, S: Scalar>(deserializer: D) -> Result<S, D::Error> {
    struct Visitor<S>(PhantomData<S>);
    impl<S: Scalar> serde::de::Visitor<'_> for Visitor<S> {
        type Value = S;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(S::EXPECTED)
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<S, E> {
            let text = text.trim();
            S::parse(text).map_err(|wrong| E::custom(format!("{wrong} (expected {})", S::EXPECTED)))
        }
    }
    deserializer.deserialize_any(Visitor(PhantomData))
}

/// Declares a newtype for each scalar with its `Deserialize`.
macro_rules! scalars {
    ($($(#[$doc:meta])* $name:ident($value:ty), $expected:literal, $parse:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(super) struct $name(pub(super) $value);

        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<$value, String> = $parse;
                parse(text).map(Self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                scalar(deserializer)
            }
        }
    )+};
}
pub(super) use scalars;

scalars! {
    /// Worker threads; `None` is one per core.
    Threads(Option<usize>), "auto or a number from 1 to 1024", threads;
    /// Who says whom requests are from. A lone address is a network of one; `None` is whoever connects
    /// over a Unix socket.
    TrustedPeer(Option<IpNet>), "a network such as 10.0.0.0/8, an address, or unix", |text| match text {
        "unix" => Ok(None),
        text => network(text).map(Some),
    };
    /// Where an instance may be. A lone address is a network of one.
    Allowed(Allow), "a network such as 10.0.0.0/8, an address, or unix: and the path of a socket or, with / at its end, of a folder", allow;
    /// A time that cannot be nothing.
    Period(Duration), "a duration from 1ms to 7 days, such as 250ms, 15s or 5m", period;
    /// A time that may be nothing.
    Grace(Duration), "a duration from 0s to 7 days, such as 0s, 15s or 5m", grace;
    /// For how long history is kept.
    History(Duration), "a duration from 1m to 10 years, such as 7d", history;
    /// A number of bytes.
    ByteSize(u64), "a size from 1MiB to 1TiB, such as 64MiB or 1GiB", byte_size;
    /// A file to make.
    FilePath(PathBuf), "the path of a file", file_path;
    /// A socket to make; `None` is none.
    SocketPath(Option<PathBuf>), "off or the path of a file", |text| unless_off(text, file_path);
    /// When a change is on the disk.
    SyncLevel(Sync), "full or normal", |text| choice(text, &[
        ("full", Sync::Full),
        ("normal", Sync::Normal),
    ]);
    /// `on` or `off`.
    Switch(bool), "on or off", switch;
    /// A number of times, at least one.
    Count(u32), "a number from 1 to 1000", |text| number(text, 1..=1_000);
    /// A share from 0 to 1.
    Percent(f64), "a percentage from 0% to 100%, such as 50%", percent;
    /// A factor; `None` is off.
    BoundedLoad(Option<f64>), "off or a factor from 1 to 100, such as 1.25", bounded_load;
    /// The share of one side of a split.
    Weight(u32), "a number from 0 to 65535", |text| number(text, 0..=MAX_WEIGHT);
    /// The statuses an HTTP check passes.
    Statuses(RangeInclusive<u16>), "a status from 100 to 599 or a range of them such as 200-399", statuses;
    /// An absolute path as routes have it.
    RoutePath(String), "a path such as /orders/", route_path;
    /// An absolute path that may have a query.
    CheckPath(String), "a path such as /health", check_path;
    /// A host to match.
    HostPattern(String), "a name such as shop.example.com or *.example.com, without a port", host_pattern;
    /// What follows a service's name in a default route.
    HostSuffix(String), "a dot and a domain such as .callboard", host_suffix;
    /// A method to match.
    Method(http::Method), "a method in upper case such as GET", method;
    /// A service's name.
    Name(ServiceName), "a name of 1 to 128 of A-Z a-z 0-9 . _ : -", name;
    /// What is hashed.
    Hashed(HashOn), "header:NAME, cookie:NAME, query:NAME, path or client_ip", hash_on;
    /// The selection algorithm.
    Balancing(Algorithm), "round_robin, random, least_request, peak_ewma, ring_hash or maglev", |text| {
        choice(text, &Algorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm)))
    };
    /// What a registration must show.
    Admit(Admission), "probe or trust", |text| choice(text, &[
        ("probe", Admission::Probe),
        ("trust", Admission::Trust),
    ]);
    /// Where a registry is.
    RegistryUrl(Origin), "a URL such as http://10.0.0.1:8500", |text| {
        // Not quoted: somebody may have put a password into it.
        text.parse().map_err(|error: OriginError| error.to_string())
    };
    /// A time, or none.
    PeriodOrOff(Option<Duration>), "off or a duration from 1ms to 7 days, such as 250ms, 15s or 5m", |text| unless_off(text, period);
    /// A share from 0 to 1, or none.
    PercentOrOff(Option<f64>), "off or a percentage from 0% to 100%, such as 20%", |text| unless_off(text, percent);
    /// A number of times, perhaps none.
    Times(u32), "a number from 0 to 100000", |text| number(text, 0..=100_000);
    /// How many requests may be in flight; `None` is any number.
    InFlight(Option<u32>), "off or a number from 1 to 1000000", |text| unless_off(text, |text| number(text, 1..=1_000_000));
    /// What is tried again.
    RetryCause(Cause), "connect, reset, timeout, or a status from 400 to 599 or a range of them such as 502-504", retry_cause;
    /// When a second instance is asked.
    HedgeAfter(policy::Hedge), "a percentile such as p95, or a duration such as 200ms", hedge_after;
    /// Which requests use kept connections.
    ReuseOf(Reuse), "safe or always", |text| choice(text, &[
        ("safe", Reuse::Safe),
        ("always", Reuse::Always),
    ]);
    /// What a cluster in panic does.
    OnPanic(Panic), "spread or fail", |text| choice(text, &[
        ("spread", Panic::Spread),
        ("fail", Panic::Fail),
    ]);
    /// The shape of a slow start.
    Aggression(f64), "a number from 0.1 to 10, such as 1", |text| match text.parse() {
        Ok(aggression) if (0.1..=10.0).contains(&aggression) => Ok(aggression),
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not such a number", quoted(text))),
    };
    /// The most bytes of a body kept for another try.
    BufferSize(usize), "a size from 0 to 64KiB, such as 16KiB", |text| small_size(text, 0..=64 << 10);
    /// The largest head of a request.
    HeadSize(usize), "a size from 1KiB to 512KiB, such as 64KiB", |text| small_size(text, 1 << 10..=512 << 10);
    /// The most header fields of a request.
    HeaderCount(usize), "a number from 1 to 256", |text| number(text, 1..=256).map(|count| count as usize);
    /// The longest body of a request; `None` is any.
    MaxBody(Option<u64>), "off or a size from 0 to 1TiB, such as 10MiB", |text| unless_off(text, |text| size(text, 0..=1 << 40));
    /// The least bytes a second of a body; `None` is any.
    BodyRate(Option<u64>), "off or a size per second such as 240B/s or 1KiB/s", |text| unless_off(text, body_rate);
    /// Where the proxy runs.
    ZoneName(String), "a name of 1 to 128 visible characters such as eu-1a", |text| {
        if (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is not such a name", quoted(text)))
        }
    };
    /// What the control plane calls a route.
    RouteName(String), "a name of 1 to 128 of A-Z a-z 0-9 . _ : -", |text| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        // The control plane's paths cannot carry the other two.
        if (1..=128).contains(&text.len()) && text.chars().all(fits) && !matches!(text, "." | "..") {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is not such a name", quoted(text)))
        }
    };
    /// How many there may be.
    Amount(usize), "a number from 1 to 10000000", |text| match text.parse() {
        Ok(amount) if (1..=MAX_AMOUNT).contains(&amount) => Ok(amount),
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not such a number", quoted(text))),
    };
    /// How often somebody may call; `None` is off.
    CallRate(Option<Rate>), "off or a rate such as 500/s or 30/m", call_rate;
    /// The protocol of a listener: whether it is bytes.
    Protocol(bool), "http or tcp", |text| choice(text, &[("http", false), ("tcp", true)]);
    /// Where clients are listened for.
    Place(Placed), "an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080, or a Unix socket such as unix:/run/callboard.sock", place;
    /// The bits of chmod(1).
    FileMode(u32), "three octal digits in quotes such as \"660\"", |text| {
        let digits = text.strip_prefix('0').filter(|rest| rest.len() == 3).unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if digits.len() == 3 => Ok(mode),
            _ => Err(format!("{} is no such mode", quoted(text))),
        }
    };
    /// The oldest TLS spoken.
    TlsVersion(Version), "1.2 or 1.3", |text| choice(text, &[
        ("1.2", Version::Tls12),
        ("1.3", Version::Tls13),
    ]);
    /// The name of a host.
    HostName(String), "a name such as shop.example.com", |text| {
        let text = text.to_ascii_lowercase();
        if is_domain(&text) { Ok(text) } else { Err(format!("{} is no such name", quoted(&text))) }
    };
    /// The name that an ACME server gives a certificate for.
    CertifiedName(String), "the name of a host such as www.example.com", |text| {
        let text = text.to_ascii_lowercase();
        if text.starts_with("*.") {
            Err(format!(
                "{} is a wildcard, for which a server wants the challenge dns-01, and callboard has none (list each name, or give the certificate as cert and key)",
                quoted(&text)
            ))
        } else if !is_domain(&text) || text.contains('_') || text.parse::<std::net::IpAddr>().is_ok() {
            Err(format!("{} is no such name", quoted(&text)))
        } else {
            Ok(text)
        }
    };
    /// Who a client is by its certificate.
    ClientPattern(String), "a name or URI in the client's certificate such as orders.internal, *.internal, spiffe://mesh/orders or spiffe://mesh/*", client_pattern;
    /// How instances are told where a connection is from.
    SentProxy(Option<ProxyVersion>), "off, v1 or v2", |text| unless_off(text, |text| choice(text, &[
        ("v1", ProxyVersion::V1),
        ("v2", ProxyVersion::V2),
    ]));
    /// How to reach the owner of an ACME account.
    Contact(String), "an address such as mailto:ops@example.com", |text| match text.strip_prefix("mailto:") {
        Some(address) if address.contains('@') && text.chars().all(|c| c.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err(format!("{} is no such address", quoted(text))),
    };
    /// The directory of an ACME server.
    DirectoryUrl(String), "a URL such as https://acme-v02.api.letsencrypt.org/directory", |text| {
        let url = text.parse::<http::Uri>().ok().filter(|url| url.host().is_some());
        if text.starts_with("https://") && url.is_some() {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is no such URL", quoted(text)))
        }
    };
    /// Networks. A lone address is a network of one.
    Network(IpNet), "a network such as 10.0.0.0/8, or an address", network;
    /// Where the access log goes.
    LogPath(access_log::Target), "stdout or the path of a file", |text| match text {
        "stdout" => Ok(access_log::Target::Stdout),
        path => file_path(path).map(access_log::Target::File),
    };
    /// What the lines of the access log look like.
    LogFormat(access_log::Format), "json or combined", |text| choice(text, &[
        ("json", access_log::Format::Json),
        ("combined", access_log::Format::Combined),
    ]);
    /// A field of the access log.
    LogField(access_log::Field), "time, request_id, client, peer, method, scheme, host, path, query, target, protocol, status, duration, head_duration, upstream_duration, received, sent, route, service, instance, address, attempts, retries, error, error_detail, trace_id, span_id, tls, user_agent, referer, grpc_status, header:NAME or answer:NAME", log_field;
    /// Where traces go.
    CollectorUrl(String), "the base URL of a collector such as http://127.0.0.1:4318", |text| {
        let url = text.parse::<http::Uri>().ok().filter(|url| url.host().is_some());
        let scheme = url.as_ref().and_then(http::Uri::scheme_str);
        if matches!(scheme, Some("http" | "https")) {
            Ok(text.trim_end_matches('/').to_owned())
        } else {
            Err(format!("{} is no such URL", quoted(text)))
        }
    };
    /// How many traces a second clients may have sampled.
    TraceLimit(u32), "a number from 0 to 1000000", |text| match text.parse() {
        Ok(limit) if limit <= 1_000_000 => Ok(limit),
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not such a number", quoted(text))),
    };
    /// What callboard is called in traces.
    TracedName(String), "a name of 1 to 128 visible characters such as callboard", |text| {
        if (1..=128).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is not such a name", quoted(text)))
        }
    };
    /// What a gRPC health check asks for; may be nothing.
    GrpcService(String), "the name of a gRPC service such as orders.v1.Orders", |text| {
        if text.len() <= 512 && text.chars().all(|c| c.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is no such name", quoted(text)))
        }
    };
}
