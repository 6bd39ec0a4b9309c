//! Peak-sensitive moving average of response times.
//!
//! Finagle's rule: a sample above the estimate replaces it, a sample below pulls it down as
//! `estimate·e^(−Δt/τ) + sample·(1 − e^(−Δt/τ))` with τ = 10 s. Bad news counts at once, good news
//! gradually. Reading decays as well, so that an endpoint avoided for its slowness looks better with
//! time and is tried again, instead of being judged for ever by its last bad answer.
//!
//! A failure is a sample of 5 s, or of its `Retry-After`: measured by the clock, the endpoint that
//! fails fastest would get all the traffic. A newcomer starts at its siblings' median for the same
//! reason: at 0 it would win every comparison until its first answer.
//!
//! The whole state is one `AtomicU64` of the endpoint: the estimate in microseconds as `f32` in the
//! upper half, the milliseconds since a process-wide origin in the lower one. All zero means unknown.
//! The stamp wraps after 49 days; differences are taken modulo that, and an estimate is long decayed
//! to nothing before it matters.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::endpoint::Endpoint;

/// τ: after this long without samples, an estimate counts 1/e of what it was.
const DECAY_MILLIS: f64 = 10_000.0;
/// The least estimate: it keeps a known one apart from an unknown one.
const MIN_MICROS: f64 = 1.0;
/// What a failure counts as.
const FAILURE: Duration = Duration::from_secs(5);
/// The most a failure can count as.
const MAX_FAILURE: Duration = Duration::from_secs(300);

/// Takes one response time into account.
pub fn observe(endpoint: &Endpoint, sample: Duration, now: Instant) {
    let sample = (sample.as_secs_f64() * 1e6).max(MIN_MICROS);
    let now = millis(now);
    let update = |cell| {
        let micros = match Estimate::unpack(cell) {
            Some(last) if sample < last.micros => {
                let kept = last.kept(now);
                last.micros * kept + sample * (1.0 - kept)
            }
            _ => sample,
        };
        Some(Estimate { micros, stamp: now }.pack())
    };
    let relaxed = Ordering::Relaxed;
    // The closure never declines, so neither does the update.
    let _ = endpoint.ewma().fetch_update(relaxed, relaxed, update);
}

/// Takes one failed request into account. `retry_after` is what the instance asked for, if it did;
/// at most 300 s of it count.
pub fn observe_failure(endpoint: &Endpoint, retry_after: Option<Duration>, now: Instant) {
    let sample = retry_after
        .filter(|wait| !wait.is_zero())
        .map_or(FAILURE, |wait| wait.min(MAX_FAILURE));
    observe(endpoint, sample, now);
}

/// Seeds every endpoint nobody has called yet with the median of the others, if any of them has
/// been called.
pub fn seed_all(endpoints: &[Arc<Endpoint>], now: Instant) {
    if endpoints.iter().any(|endpoint| is_unknown(endpoint))
        && let Some(micros) = median(endpoints, now)
    {
        for endpoint in endpoints {
            start_at(endpoint, micros, now);
        }
    }
}

/// Forgets what was observed of an endpoint.
pub fn forget(endpoint: &Endpoint) {
    endpoint.ewma().store(0, Ordering::Relaxed);
}

/// What an endpoint is expected to take for an answer; `None` while nobody knows.
pub fn estimate(endpoint: &Endpoint, now: Instant) -> Option<Duration> {
    micros(endpoint, now).map(|micros| Duration::from_micros(micros as u64))
}

/// [`estimate`] in microseconds.
pub(super) fn micros(endpoint: &Endpoint, now: Instant) -> Option<f64> {
    let last = Estimate::unpack(endpoint.ewma().load(Ordering::Relaxed))?;
    Some((last.micros * last.kept(millis(now))).max(MIN_MICROS))
}

fn is_unknown(endpoint: &Endpoint) -> bool {
    endpoint.ewma().load(Ordering::Relaxed) == 0
}

/// Sets the first estimate; a sample that came in meanwhile is worth more and stays.
fn start_at(endpoint: &Endpoint, micros: f64, now: Instant) {
    let first = Estimate {
        micros,
        stamp: millis(now),
    };
    let relaxed = Ordering::Relaxed;
    let _ = endpoint
        .ewma()
        .compare_exchange(0, first.pack(), relaxed, relaxed);
}

fn median(endpoints: &[Arc<Endpoint>], now: Instant) -> Option<f64> {
    let mut known: Vec<f64> = endpoints.iter().filter_map(|e| micros(e, now)).collect();
    if known.is_empty() {
        return None;
    }
    let middle = (known.len() - 1) / 2;
    Some(*known.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Milliseconds since the first instant anybody asked about, modulo 2³².
fn millis(now: Instant) -> u32 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(|| now);
    match now.checked_duration_since(origin) {
        Some(after) => after.as_millis() as u32,
        None => (origin.duration_since(now).as_millis() as u32).wrapping_neg(),
    }
}

/// One unpacked cell.
struct Estimate {
    micros: f64,
    stamp: u32,
}

impl Estimate {
    fn unpack(cell: u64) -> Option<Self> {
        (cell != 0).then(|| Self {
            micros: f64::from(f32::from_bits((cell >> 32) as u32)),
            stamp: cell as u32,
        })
    }

    fn pack(&self) -> u64 {
        u64::from((self.micros as f32).to_bits()) << 32 | u64::from(self.stamp)
    }

    /// The share of it that is left at `now`. A stamp ahead of `now` comes from a thread that looked
    /// at the clock a moment later, and has lost nothing.
    fn kept(&self, now: u32) -> f64 {
        match now.wrapping_sub(self.stamp) as i32 {
            ..=0 => 1.0,
            elapsed => (-f64::from(elapsed) / DECAY_MILLIS).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{config, fleet};
    use super::*;

    fn assert_near(endpoint: &Endpoint, now: Instant, expected_millis: f64) {
        let actual = estimate(endpoint, now).unwrap().as_secs_f64() * 1e3;
        let error = (actual / expected_millis - 1.0).abs();
        assert!(error < 1e-3, "{actual} ms, expected {expected_millis} ms");
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_slower_sample_replaces_the_estimate_and_a_faster_one_pulls_it_down() {
        let endpoint = &fleet(&[1])[0];
        let start = Instant::now();
        assert_eq!(estimate(endpoint, start), None);
        observe(endpoint, ms(10), start);
        assert_near(endpoint, start, 10.0);
        observe(endpoint, ms(80), start + ms(1));
        assert_near(endpoint, start + ms(1), 80.0);
        let kept = (-0.5f64).exp();
        observe(endpoint, ms(10), start + ms(5_001));
        assert_near(
            endpoint,
            start + ms(5_001),
            80.0 * kept + 10.0 * (1.0 - kept),
        );
    }

    #[test]
    fn an_estimate_fades_while_nobody_calls() {
        let endpoint = &fleet(&[1])[0];
        let start = Instant::now();
        observe(endpoint, ms(1_000), start);
        assert_near(endpoint, start + ms(10_000), 1_000.0 / std::f64::consts::E);
        let much_later = start + Duration::from_secs(3_600);
        assert_eq!(
            estimate(endpoint, much_later),
            Some(Duration::from_micros(1))
        );
    }

    #[test]
    fn a_reader_with_an_older_clock_sees_the_estimate_undecayed() {
        let endpoint = &fleet(&[1])[0];
        let start = Instant::now();
        observe(endpoint, ms(100), start + ms(500));
        assert_near(endpoint, start, 100.0);
    }

    #[test]
    fn a_failure_counts_five_seconds_or_its_retry_after_up_to_five_minutes() {
        let now = Instant::now();
        let cases = [
            (None, 5_000.0),
            (Some(0), 5_000.0),
            (Some(2), 2_000.0),
            (Some(9_999), 300_000.0),
        ];
        for (retry_after, expected) in cases {
            let endpoint = &fleet(&[1])[0];
            observe_failure(endpoint, retry_after.map(Duration::from_secs), now);
            assert_near(endpoint, now, expected);
        }
    }

    #[test]
    fn newcomers_start_at_the_median_and_known_endpoints_stay() {
        let endpoints = fleet(&[1; 6]);
        let now = Instant::now();
        seed_all(&endpoints, now);
        assert_eq!(estimate(&endpoints[0], now), None);
        for (endpoint, sample) in endpoints.iter().zip([5, 900, 20]) {
            observe(endpoint, ms(sample), now);
        }
        seed_all(&endpoints, now);
        for (endpoint, expected) in endpoints.iter().zip([5.0, 900.0, 20.0, 20.0, 20.0, 20.0]) {
            assert_near(endpoint, now, expected);
        }
    }

    proptest! {
        #![proptest_config(config(64))]

        #[test]
        fn an_estimate_stays_between_its_samples(samples in prop::collection::vec((1u64..100_000, 0u64..5_000), 1..50)) {
            let endpoint = &fleet(&[1])[0];
            let mut now = Instant::now();
            let (mut low, mut high) = (f64::MAX, f64::MIN);
            for (micros_sample, wait) in samples {
                now += ms(wait);
                observe(endpoint, Duration::from_micros(micros_sample), now);
                low = low.min(micros_sample as f64);
                high = high.max(micros_sample as f64);
                let estimate = micros(endpoint, now).unwrap();
                prop_assert!(estimate >= low * 0.999 && estimate <= high * 1.001);
            }
        }
    }
}
