//! Addresses, paths, and the names of things.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;

use super::super::suggest::meant;
use super::Cause;
use super::words::quoted;
use crate::address::{Address, UNIX};
use crate::balance::HashOn;
use crate::names::ServiceName;
use crate::registry::AllowedPath;
use crate::telemetry::access_log::Field;

pub(super) fn place(text: &str) -> Result<Address, String> {
    if text.starts_with(UNIX) {
        return text
            .parse()
            .map_err(|wrong| format!("{} {wrong}", quoted(text)));
    }
    address(text).map(Address::from)
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

/// Where an instance may be.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::config) enum Allow {
    Network(IpNet),
    Path(AllowedPath),
}

pub(super) fn allow(text: &str) -> Result<Allow, String> {
    match text.strip_prefix(UNIX) {
        None => network(text).map(Allow::Network),
        Some(path) => (AllowedPath::parse(path).map(Allow::Path))
            .ok_or_else(|| format!("{} is no such path", quoted(text))),
    }
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .map(|network| network.trunc())
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{} is not a network", quoted(text)))
}

pub(super) fn retry_cause(text: &str) -> Result<Cause, String> {
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

pub(super) fn log_field(text: &str) -> Result<Field, String> {
    text.parse().map_err(|_| match meant(text, Field::names()) {
        Some(word) => format!("{} is unknown, did you mean {word}?", quoted(text)),
        None => format!("{} is unknown", quoted(text)),
    })
}

pub(super) fn file_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.file_name().is_none() || text.ends_with('/') || text.contains('\0') {
        return Err(format!("{} names no file", quoted(text)));
    }
    Ok(path)
}

pub(super) fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let status = |text: &str| text.trim().parse().ok().filter(|s| (100..=599).contains(s));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        (Some(_), Some(_)) => Err(format!("{} ends before it starts", quoted(text))),
        _ => Err(format!("{} is not a status", quoted(text))),
    }
}

pub(super) fn route_path(text: &str) -> Result<String, String> {
    if let Some(odd) = text.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(format!("{} holds {odd:?}", quoted(text)));
    }
    check_path(text)
}

pub(super) fn check_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("{} does not start with /", quoted(text)));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(odd) => Err(format!("{} holds {odd:?}", quoted(text))),
        None => Ok(text.to_owned()),
    }
}

pub(super) fn host_pattern(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if is_domain(name) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{} is not a host", quoted(text)))
    }
}

pub(super) fn host_suffix(text: &str) -> Result<String, String> {
    match text.strip_prefix('.') {
        Some(domain) if is_domain(domain) => Ok(text.to_ascii_lowercase()),
        _ => Err(format!("{} is not a host's ending", quoted(text))),
    }
}

/// Names in lower case, as they are compared; URIs as they are.
pub(super) fn client_pattern(text: &str) -> Result<String, String> {
    const MAX_CLIENT: usize = 512;
    let is_uri = text.contains(':');
    let rest = if is_uri {
        let parent = text
            .strip_suffix("/*")
            .filter(|parent| !parent.ends_with('/'));
        parent.unwrap_or(text)
    } else {
        text.strip_prefix("*.").unwrap_or(text)
    };
    let is_fine = |c: char| c.is_ascii_graphic() && c != '*';
    if (1..=MAX_CLIENT).contains(&rest.len()) && rest.chars().all(is_fine) {
        let as_it_is = is_uri.then(|| text.to_owned());
        Ok(as_it_is.unwrap_or_else(|| text.to_ascii_lowercase()))
    } else {
        Err(format!("{} is not such a name", quoted(text)))
    }
}

/// Whether a text is labels of letters, digits, `-` and `_` between dots.
pub(super) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn method(text: &str) -> Result<http::Method, String> {
    http::Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| !text.chars().any(|c| c.is_ascii_lowercase()))
        .ok_or_else(|| format!("{} is not a method", quoted(text)))
}

pub(super) fn name(text: &str) -> Result<ServiceName, String> {
    text.parse()
        .map_err(|_| format!("{} is not a service name", quoted(text)))
}

pub(super) fn hash_on(text: &str) -> Result<HashOn, String> {
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
