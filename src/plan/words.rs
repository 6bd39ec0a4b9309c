//! Values as the configuration writes them, exact, so that two that differ read differently.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) fn duration(duration: &Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    humantime::format_duration(*duration)
        .to_string()
        .replace(' ', "")
}

/// A limit that may be off.
pub(super) fn or_off<T>(value: Option<&T>, write: impl Fn(&T) -> String) -> String {
    value.map_or_else(|| "off".to_owned(), write)
}

pub(super) fn switch(on: &bool) -> String {
    if *on { "on" } else { "off" }.to_owned()
}

/// A share of 1.
pub(super) fn percent(share: &f64) -> String {
    // Without the last digits of what binary fractions make of 0.29 · 100.
    format!("{}%", (share * 1e10).round() / 1e8)
}

pub(super) fn bytes(bytes: &u64) -> String {
    let bytes = *bytes;
    let unit = |size: u64| bytes != 0 && bytes.is_multiple_of(size);
    match bytes {
        _ if unit(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if unit(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if unit(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

pub(super) fn size(bytes: &usize) -> String {
    self::bytes(&(*bytes as u64))
}

pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(", "))
}

pub(super) fn statuses(ranges: &[RangeInclusive<u16>]) -> impl Iterator<Item = String> {
    ranges
        .iter()
        .map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("{}-{}", range.start(), range.end()),
        })
}
