//! Slow start: the share of a member that is new, or has come back, rises from a tenth to all of it.
//!
//! Envoy's formula ("Slow start mode", architecture overview), with `t` counted from the moment the
//! member became usable:
//!
//! ```text
//! level = max(10%, (t / window) ^ (1 / aggression))
//! ```

use std::time::Instant;

use super::policy::SlowStart;

/// Where the rise begins, as a part of the whole.
const FLOOR: f64 = 0.1;

/// How far one member has risen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ramp {
    /// All the way.
    Risen,
    /// It became usable, and its time is yet to be taken.
    Due,
    /// Since then.
    Since(Instant),
}

impl Ramp {
    /// Takes the time of whoever begins to rise, and notices who has risen.
    pub(super) fn advance(&mut self, settings: &SlowStart, now: Instant) {
        *self = match *self {
            _ if settings.window.is_zero() => Self::Risen,
            Self::Due => Self::Since(now),
            Self::Since(start) if now.saturating_duration_since(start) >= settings.window => {
                Self::Risen
            }
            other => other,
        };
    }

    /// The part of its share it is ready for.
    pub(super) fn level(&self, settings: &SlowStart, now: Instant) -> f64 {
        match self {
            Self::Risen => 1.0,
            Self::Due => FLOOR,
            Self::Since(start) => {
                let time = now.saturating_duration_since(*start).as_secs_f64();
                let part = time / settings.window.as_secs_f64();
                // A power of not quite nothing may be no number at all.
                let level = part.min(1.0).powf(1.0 / settings.aggression);
                if level.is_nan() {
                    1.0
                } else {
                    level.clamp(FLOOR, 1.0)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn minute(aggression: f64) -> SlowStart {
        SlowStart {
            window: Duration::from_secs(60),
            aggression,
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rise_is_a_line_from_a_tenth_to_the_end_of_the_window() {
        let (settings, start) = (minute(1.0), Instant::now());
        let mut ramp = Ramp::Due;
        ramp.advance(&settings, start);
        for (seconds, level) in [(0, 0.1), (3, 0.1), (6, 0.1), (15, 0.25), (45, 0.75)] {
            assert_eq!(ramp.level(&settings, after(start, seconds)), level);
        }
        ramp.advance(&settings, after(start, 59));
        assert_eq!(ramp, Ramp::Since(start));
        ramp.advance(&settings, after(start, 60));
        assert_eq!(ramp, Ramp::Risen);
    }

    #[test]
    fn aggression_bends_the_line() {
        let start = Instant::now();
        let at = |aggression, seconds| {
            Ramp::Since(start).level(&minute(aggression), after(start, seconds))
        };
        assert_eq!(at(2.0, 15), 0.5);
        assert_eq!(at(0.5, 30), 0.25);
    }

    #[test]
    fn without_a_window_everybody_has_risen() {
        let mut ramp = Ramp::Due;
        ramp.advance(&SlowStart::default(), Instant::now());
        assert_eq!(ramp, Ramp::Risen);
    }

    proptest! {
        #[test]
        fn a_level_never_falls_and_stays_between_a_tenth_and_all(
            aggression in prop_oneof![Just(f64::MIN_POSITIVE), Just(f64::MAX), 0.01f64..100.0],
            window in 1u64..1_000_000,
            times in prop::collection::vec(0u64..1_000_000, 2..20),
        ) {
            let settings = SlowStart { window: Duration::from_millis(window), aggression };
            let (start, mut times) = (Instant::now(), times);
            times.sort_unstable();
            let mut last = FLOOR;
            for time in times {
                let now = start + Duration::from_millis(time);
                let level = Ramp::Since(start).level(&settings, now);
                prop_assert!((last..=1.0).contains(&level), "{level} after {last}");
                last = level;
            }
        }
    }
}
