//! `grpc-timeout`: how long a client gives its call, as at most eight digits and a unit.

use std::time::Duration;

use http::HeaderName;

/// The field.
pub(in crate::proxy) const HEADER: &str = "grpc-timeout";

/// The same, to look for.
pub(in crate::proxy) static NAME: HeaderName = HeaderName::from_static(HEADER);

/// The most digits.
const DIGITS: usize = 8;

/// From the finest unit to the coarsest, in nanoseconds.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// What `value` says; `None` if it is malformed, which is then for the instance to judge.
pub(in crate::proxy) fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let (_, unit) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    if digits.is_empty() || digits.len() > DIGITS {
        return None;
    }
    let amount = digits.iter().try_fold(0_u64, |amount, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(amount * 10 + u64::from(digit))
    })?;
    let nanos = u128::from(amount) * u128::from(*unit);
    let subsecond = (nanos % 1_000_000_000) as u32;
    Some(Duration::new((nanos / 1_000_000_000) as u64, subsecond))
}

/// `time` in the finest unit that has room for it, never as more than it is.
pub(in crate::proxy) fn format(time: Duration) -> String {
    let fits = |(letter, unit): (u8, u64)| {
        let amount = time.as_nanos() / u128::from(unit);
        (amount < 10_u128.pow(DIGITS as u32)).then(|| format!("{amount}{}", char::from(letter)))
    };
    UNITS
        .into_iter()
        .find_map(fits)
        .unwrap_or_else(|| "99999999H".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        for (value, nanos) in [
            ("1n", Some(1)),
            ("20u", Some(20_000)),
            ("300m", Some(300_000_000)),
            ("1S", Some(1_000_000_000)),
            ("2M", Some(120_000_000_000)),
            ("1H", Some(3_600_000_000_000)),
            ("0S", Some(0)),
            ("00000001S", Some(1_000_000_000)),
            ("99999999H", Some(99_999_999 * 3_600_000_000_000)),
            ("000000001S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1s", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            (" 1S", None),
            ("\u{661}S", None),
        ] {
            let parsed = parse(value.as_bytes()).map(|time| time.as_nanos());
            assert_eq!(parsed, nanos, "{value}");
        }
    }

    /// From nanoseconds to beyond what can be said, each size as likely as any other.
    fn times() -> impl Strategy<Value = Duration> {
        (0..69_u32, 0..=u64::MAX).prop_map(|(bits, random)| {
            let nanos = (1_u128 << bits) + u128::from(random) % (1_u128 << bits);
            Duration::new(
                (nanos / 1_000_000_000) as u64,
                (nanos % 1_000_000_000) as u32,
            )
        })
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_less_by_less_than_the_finest_unit_with_room(time in times()) {
            let passed = parse(format(time).as_bytes()).unwrap();
            prop_assert!(passed <= time);
            let has_room = |unit: u64| time.as_nanos() / u128::from(unit) <= 99_999_999;
            match UNITS.iter().find(|(_, unit)| has_room(*unit)) {
                Some((_, unit)) => prop_assert!(time - passed < Duration::from_nanos(*unit)),
                None => prop_assert_eq!(passed, Duration::from_secs(3_600 * 99_999_999)),
            }
        }

        #[test]
        fn any_bytes_are_read(value: Vec<u8>) {
            parse(&value);
        }
    }
}
