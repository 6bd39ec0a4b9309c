//! Numbers, times, sizes and rates.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::words::{is_off, quoted};
use crate::api::guard::Rate;
use crate::cluster::policy;
use crate::units::parse_duration;

/// The longest duration that makes sense anywhere in the file.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest time that history is kept.
const LONGEST_HISTORY: Duration = Duration::from_secs(3_653 * 24 * 60 * 60);
/// The most worker threads that make sense.
const MAX_THREADS: usize = 1_024;

pub(super) fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let number =
        (text.parse::<i64>()).map_err(|_| format!("{} is not such a number", quoted(text)))?;
    u32::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("{number} is out of range"))
}

pub(super) fn threads(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse() {
        Ok(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(Some(threads)),
        _ => Err(format!("{} is no number of threads", quoted(text))),
    }
}

pub(super) fn grace(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|_| format!("{} is not a duration", quoted(text)))?;
    if duration > LONGEST {
        return Err(format!("{} is too long", quoted(text)));
    }
    Ok(duration)
}

pub(super) fn period(text: &str) -> Result<Duration, String> {
    let duration = grace(text)?;
    if duration < Duration::from_millis(1) {
        return Err(format!("{} is too short", quoted(text)));
    }
    Ok(duration)
}

pub(super) fn history(text: &str) -> Result<Duration, String> {
    let duration =
        parse_duration(text).map_err(|_| format!("{} is not a duration", quoted(text)))?;
    match duration {
        _ if duration < Duration::from_secs(60) => Err(format!("{} is too short", quoted(text))),
        _ if duration > LONGEST_HISTORY => Err(format!("{} is too long", quoted(text))),
        _ => Ok(duration),
    }
}

pub(super) fn byte_size(text: &str) -> Result<u64, String> {
    size(text, 1 << 20..=1 << 40)
}

pub(super) fn small_size(text: &str, range: RangeInclusive<u64>) -> Result<usize, String> {
    size(text, range).map(|bytes| bytes as usize)
}

pub(super) fn body_rate(text: &str) -> Result<u64, String> {
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

pub(super) fn hedge_after(text: &str) -> Result<policy::Hedge, String> {
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

pub(super) fn size(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
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

pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').map(|number| number.trim().parse()) {
        Some(Ok(percent)) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Some(Ok(_)) => Err(format!("{} is out of range", quoted(text))),
        _ => Err(format!("{} is not a percentage", quoted(text))),
    }
}

pub(super) fn call_rate(text: &str) -> Result<Option<Rate>, String> {
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

pub(super) fn bounded_load(text: &str) -> Result<Option<f64>, String> {
    if is_off(text) {
        return Ok(None);
    }
    match text.parse() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => Ok(Some(factor)),
        Ok(_) => Err(format!("{} is out of range", quoted(text))),
        Err(_) => Err(format!("{} is not a factor", quoted(text))),
    }
}
