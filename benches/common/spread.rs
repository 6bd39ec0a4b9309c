//! Of many figures, those that stand for all of them.

#![allow(dead_code, reason = "each bench needs another part of it")]

use std::time::Duration;

/// The median and the 99th percentile, as people read them.
pub(crate) fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    format!("p50 {}, p99 {}", shown(at(50)), shown(at(99)))
}

/// A duration with two digits that say something.
pub(crate) fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        1e3..1e4 => format!("{:.1} ms", micros / 1e3),
        1e4..1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.1} s", micros / 1e6),
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures[middle],
    }
}

/// A count with its thousands apart.
pub(crate) fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count without the digits that say nothing, its thousands apart.
pub(crate) fn rounded(count: f64) -> String {
    let step = 10_f64.powf((count.log10().floor() - 1.0).max(0.0));
    thousands((count / step).round() * step)
}
