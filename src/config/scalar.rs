//! Values written as one word: each is parsed from its text into a valid value, or says what is
//! wrong with it.

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserializer;

use super::suggest::meant;
use crate::api::guard::Rate;
use crate::balance::{Algorithm, HashOn};
use crate::cluster::policy::{self, Admission, Panic, Reuse};
use crate::instance::MAX_WEIGHT;
use crate::names::ServiceName;
use crate::pull::{Origin, OriginError};
use crate::registry::store::sqlite::Sync;
use crate::units::parse_duration;

/// The longest duration that makes sense anywhere in the file.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest time that history is kept.
const LONGEST_HISTORY: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);
/// The most worker threads that make sense.
const MAX_THREADS: usize = 1_024;
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
    /// An address to listen on.
    Address(SocketAddr), "an IP address and a port such as 0.0.0.0:8080, [::]:8080 or localhost:8080", address;
    /// Worker threads; `None` is one per core.
    Threads(Option<usize>), "auto or a number from 1 to 1024", threads;
    /// A network; a lone address is a network of one.
    Network(IpNet), "a network such as 10.0.0.0/8, or an address", network;
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
    Balancing(Algorithm), "round_robin, random, least_request, peak_ewma, ring_hash or maglev", |text| choice(text, &[
        ("round_robin", Algorithm::RoundRobin),
        ("random", Algorithm::Random),
        ("least_request", Algorithm::LeastRequest),
        ("peak_ewma", Algorithm::PeakEwma),
        ("ring_hash", Algorithm::RingHash),
        ("maglev", Algorithm::Maglev),
    ]);
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
        if (1..=128).contains(&text.len()) && text.chars().all(fits) {
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
    /// The protocol of a listener.
    Protocol(()), "http", |text| match text {
        "tcp" => Err("tcp is not available in this version".to_owned()),
        other => choice(other, &[("http", ())]),
    };
}

/// A text within quotes, shortened when it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// A text, shortened when it is long.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 64;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a word says no in one of YAML's ways.
pub(super) fn is_off(text: &str) -> bool {
    ["off", "no", "false"]
        .iter()
        .any(|off| text.eq_ignore_ascii_case(off))
}

fn switch(text: &str) -> Result<bool, String> {
    let on = ["on", "yes", "true"]
        .iter()
        .any(|on| text.eq_ignore_ascii_case(on));
    match (on, is_off(text)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(format!("{} is neither", quoted(text))),
    }
}

fn choice<T: Clone>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value.clone());
    }
    Err(match meant(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("{} is unknown, did you mean {word}?", quoted(text)),
        None => format!("{} is unknown", quoted(text)),
    })
}

fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number =
        (text.parse::<i64>()).map_err(|_| format!("{} is not such a number", quoted(text)))?;
    u32::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{number} is out of range"))
}

fn threads(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse() {
        Ok(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(Some(threads)),
        _ => Err(format!("{} is no number of threads", quoted(text))),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        if text.starts_with(':') {
            format!("{} has no IP address", quoted(text))
        } else if text.parse::<IpAddr>().is_ok() {
            format!("{} has no port", quoted(text))
        } else {
            format!("{} is not an address", quoted(text))
        }
    })
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{} is not a network", quoted(text)))
}

fn grace(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|_| format!("{} is not a duration", quoted(text)))?;
    if duration > LONGEST {
        return Err(format!("{} is too long", quoted(text)));
    }
    Ok(duration)
}

fn period(text: &str) -> Result<Duration, String> {
    let duration = grace(text)?;
    if duration < Duration::from_millis(1) {
        return Err(format!("{} is too short", quoted(text)));
    }
    Ok(duration)
}

fn history(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|_| format!("{} is not a duration", quoted(text)))?;
    match duration {
        _ if duration < Duration::from_secs(60) => Err(format!("{} is too short", quoted(text))),
        _ if duration > LONGEST_HISTORY => Err(format!("{} is too long", quoted(text))),
        _ => Ok(duration),
    }
}

fn byte_size(text: &str) -> Result<u64, String> {
    size(text, 1 << 20..=1 << 40)
}

fn small_size(text: &str, range: RangeInclusive<u64>) -> Result<usize, String> {
    size(text, range).map(|bytes| bytes as usize)
}

fn body_rate(text: &str) -> Result<u64, String> {
    let per_second = text.strip_suffix("/s").map(str::trim_end);
    let per_second = per_second.ok_or_else(|| format!("{} is not a rate", quoted(text)))?;
    size(
        per_second
            .strip_suffix('B')
            .filter(|rest| rest.ends_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(per_second),
        1..=1 << 30,
    )
}

fn unless_off<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if is_off(text) {
        return Ok(None);
    }
    parse(text).map(Some)
}

fn retry_cause(text: &str) -> Result<Cause, String> {
    Ok(match text {
        "connect" => Cause::Connect,
        "reset" => Cause::Reset,
        "timeout" => Cause::Timeout,
        _ => {
            let range = statuses(text).map_err(|_| format!("{} is no cause", quoted(text)))?;
            if *range.start() < 400 {
                return Err(format!("{} is no failure", quoted(text)));
            }
            Cause::Statuses(range)
        }
    })
}

fn hedge_after(text: &str) -> Result<policy::Hedge, String> {
    let Some(percentile) = text.strip_prefix('p') else {
        return period(text).map(policy::Hedge::After);
    };
    match percentile.parse::<f64>() {
        Ok(percentile) if (50.0..100.0).contains(&percentile) => {
            Ok(policy::Hedge::Percentile(percentile / 100.0))
        }
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not a percentile", quoted(text))),
    }
}

fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let no_size = || format!("{} is not a size", quoted(text));
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(no_size()),
    };
    let number: u64 = number.parse().map_err(|_| no_size())?;
    number
        .checked_mul(factor)
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| format!("{} is out of range", quoted(text)))
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.file_name().is_none() || text.ends_with('/') || text.contains('\0') {
        return Err(format!("{} names no file", quoted(text)));
    }
    Ok(path)
}

fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').map(|number| number.trim().parse()) {
        Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Some(Ok(_)) => Err(format!("{} is out of range", quoted(text))),
        _ => Err(format!("{} is not a percentage", quoted(text))),
    }
}

fn call_rate(text: &str) -> Result<Option<Rate>, String> {
    if is_off(text) {
        return Ok(None);
    }
    let (requests, unit) = text.split_once('/').unwrap_or((text, ""));
    let rate = match (requests.trim().parse::<NonZeroU32>(), unit.trim()) {
        (Ok(requests), "s") => Rate::PerSecond(requests),
        (Ok(requests), "m") => Rate::PerMinute(requests),
        _ => return Err(format!("{} is not a rate", quoted(text))),
    };
    Ok(Some(rate))
}

fn bounded_load(text: &str) -> Result<Option<f64>, String> {
    if is_off(text) {
        return Ok(None);
    }
    match text.parse() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(Some(factor)),
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not a factor", quoted(text))),
    }
}

fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let status = |text: &str| text.trim().parse().ok().filter(|s| (100..=599).contains(s));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_), Some(_)) => Err(format!("{} ends before it starts", quoted(text))),
        _ => Err(format!("{} is not a status", quoted(text))),
    }
}

fn route_path(text: &str) -> Result<String, String> {
    if let Some(odd) = text.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(format!("{} holds {odd:?}", quoted(text)));
    }
    check_path(text)
}

fn check_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{} does not start with /", quoted(text)));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(odd) => Err(format!("{} holds {odd:?}", quoted(text))),
        None => Ok(text.to_owned()),
    }
}

fn host_pattern(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_domain(name) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{} is not a host", quoted(text)))
    }
}

fn host_suffix(text: &str) -> Result<String, String> {
    match text.strip_prefix('.') {
        Some(domain) if is_domain(domain) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{} is not a host's ending", quoted(text))),
    }
}

/// Whether a text is labels of letters, digits, `-` and `_` between dots.
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn method(text: &str) -> Result<http::Method, String> {
    http::Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| !text.chars().any(|c| c.is_ascii_lowercase()))
        .ok_or_else(|| format!("{} is not a method", quoted(text)))
}

fn name(text: &str) -> Result<ServiceName, String> {
    text.parse()
        .map_err(|_| format!("{} is not a service name", quoted(text)))
}

fn hash_on(text: &str) -> Result<HashOn, String> {
    let (part, name) = text.split_once(':').unwrap_or((text, ""));
    match part {
        "path" if part == text => Ok(HashOn::Path),
        "client_ip" if part == text => Ok(HashOn::ClientIp),
        "header" | "cookie" | "query" if name.is_empty() => Err(format!("{part} has no name")),
        "header" => name
            .parse()
            .map(HashOn::Header)
            .map_err(|_| format!("{} is not a header's name", quoted(name))),
        // A cookie's name is a token, which is what a header's name is as well.
        "cookie" => name
            .parse::<http::HeaderName>()
            .map(|_| HashOn::Cookie(name.to_owned()))
            .map_err(|_| format!("{} is not a cookie's name", quoted(name))),
        "query" => Ok(HashOn::Query(name.to_owned())),
        _ => Err(format!("{} is no part of a request", quoted(text))),
    }
}
