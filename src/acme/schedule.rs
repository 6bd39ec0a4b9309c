//! When certificates are renewed, and when again after that failed.

use std::ops::Range;
use std::time::{Duration, SystemTime};

/// How long to wait after the first failure; each further one doubles it.
const FIRST: Duration = Duration::from_secs(60);
/// The longest wait, unless the server asks for more.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// The longest wait that a server may ask for: the longest period of Let's Encrypt's rate limits.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// When to renew a certificate that is valid during `validity`: with a third of its time left, or up
/// to a twentieth of its time earlier, so that many that came at once do not go at once. `draw` is
/// uniform in 0..1.
pub(super) fn renewal(validity: &Range<SystemTime>, draw: f64) -> SystemTime {
    let lifetime = validity
        .end
        .duration_since(validity.start)
        .unwrap_or_default();
    let early = (lifetime / 20).mul_f64(draw.clamp(0.0, 1.0));
    let left = lifetime / 3 + early;
    validity.end.checked_sub(left).unwrap_or(validity.start)
}

/// A moment in the `window` that the server suggests (RFC 9773, section 4.2). `draw` is uniform in
/// 0..1.
pub(super) fn suggested(window: &Range<SystemTime>, draw: f64) -> SystemTime {
    let length = window.end.duration_since(window.start).unwrap_or_default();
    window.start + length.mul_f64(draw.clamp(0.0, 1.0))
}

/// The waits between tries that fail one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after another failure, for which the server asked for a wait of `asked`. The
    /// jitter only lengthens it; `draw` is uniform in 0..1.
    pub(super) fn wait(&mut self, asked: Option<Duration>, draw: f64) -> Duration {
        let base = FIRST.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let own = base.min(LONGEST).mul_f64(1.0 + draw.clamp(0.0, 1.0) / 4.0);
        own.min(LONGEST)
            .max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_is_renewed_with_a_third_of_its_time_left() {
        let from = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let validity = from..from + 90 * DAY;
        assert_eq!(renewal(&validity, 0.0), from + 60 * DAY);
        assert_eq!(renewal(&validity, 1.0), from + 60 * DAY - DAY * 9 / 2);
    }

    #[test]
    fn a_validity_that_ends_before_it_begins_is_over() {
        let end = SystemTime::UNIX_EPOCH + DAY;
        assert_eq!(renewal(&(end + DAY..end), 1.0), end);
    }

    #[test]
    fn waits_double_from_a_minute_to_six_hours() {
        let mut backoff = Backoff::default();
        let minutes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360];
        for minutes in minutes {
            assert_eq!(backoff.wait(None, 0.0), minutes * FIRST);
        }
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_a_minute_or_what_the_server_asks(
            failures in 0_u32..=u32::MAX,
            asked in proptest::option::of(0_u64..=u64::MAX),
            draw in 0.0..=1.0,
        ) {
            let asked = asked.map(Duration::from_secs);
            let wait = Backoff { failures }.wait(asked, draw);
            prop_assert!(wait >= FIRST.max(asked.unwrap_or_default().min(LONGEST_ASKED)));
            prop_assert!(wait <= LONGEST_ASKED);
        }

        #[test]
        fn a_renewal_is_within_the_certificates_time(
            from in 0_u64..1 << 36, lifetime in 1_u64..1 << 32, draw in 0.0..=1.0,
        ) {
            let from = SystemTime::UNIX_EPOCH + Duration::from_secs(from);
            let validity = from..from + Duration::from_secs(lifetime);
            prop_assert!(validity.contains(&renewal(&validity, draw)));
            prop_assert!(suggested(&validity, draw) <= validity.end);
            prop_assert!(suggested(&validity, draw) >= validity.start);
        }
    }
}
