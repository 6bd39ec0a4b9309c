//! Moments as people write them: a time with its zone, or how long ago it was.
//!
//! A time is one of [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), of any offset. One without a
//! zone is refused: whoever reads it and whoever wrote it may not live in the same one.

use std::time::{Duration, SystemTime};

/// RFC 3339 has four digits for a year; this is the first second that needs five.
const YEAR_10000: u64 = 253_402_300_800;

/// Reads a time such as `2026-11-22T20:00:00Z` or `2026-11-22T21:00:00.5+01:00`, or a duration such
/// as `15m`, which is that long before `now`. The error says what was expected.
///
/// A space may stand for the plus sign: a URL's query says the one for the other.
pub fn parse_moment(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let trimmed = text.trim();
    if let Ok(ago) = humantime::parse_duration(trimmed) {
        let moment = now.checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        return Ok(moment.max(SystemTime::UNIX_EPOCH));
    }
    parse_time(trimmed).ok_or_else(|| {
        format!(
            "{text:?} is no moment (expected a time with its zone, for example \
             2026-11-22T20:00:00Z, or how long ago, for example 15m)"
        )
    })
}

/// Writes a moment the way [`parse_moment`] reads it, in UTC and to the millisecond. What RFC 3339
/// cannot say becomes the nearest that it can.
pub fn format_moment(moment: SystemTime) -> String {
    let last = Duration::from_millis(YEAR_10000 * 1_000 - 1);
    let since_epoch = moment.duration_since(SystemTime::UNIX_EPOCH);
    let sayable = SystemTime::UNIX_EPOCH + since_epoch.unwrap_or_default().min(last);
    humantime::format_rfc3339_millis(sayable).to_string()
}

fn parse_time(text: &str) -> Option<SystemTime> {
    let text = text.to_ascii_uppercase();
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, parse_offset(offset)?)
        }
    };
    if !local.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let local = humantime::parse_rfc3339_weak(local).ok()?;
    let local = local.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = local.as_secs().checked_add_signed(-offset)?;
    let since_epoch = Duration::new(seconds, local.subsec_nanos());
    (seconds < YEAR_10000).then_some(SystemTime::UNIX_EPOCH + since_epoch)
}

/// The seconds that `+01:00` is ahead of UTC.
fn parse_offset(text: &str) -> Option<i64> {
    let (sign, ahead) = text.split_at_checked(1)?;
    let sign = match sign {
        "+" | " " => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = ahead.split_once(':')?;
    let number = |digits: &str, end: u8| {
        let all_digits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number: &u8| *number < end);
        number.filter(|_| all_digits).map(i64::from)
    };
    Some(sign * (number(hours, 24)? * 3_600 + number(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_time_is_read_in_any_zone() {
        for text in [
            "2026-11-22T20:00:00Z",
            "2026-11-22t20:00:00z",
            "2026-11-22 20:00:00Z",
            "2026-11-22T21:00:00+01:00",
            "2026-11-22T21:00:00 01:00",
            "2026-11-22T14:30:00-05:30",
            " 2026-11-22T20:00:00.000Z ",
        ] {
            let read = parse_moment(text, at(0));
            assert_eq!(
                read.map(format_moment).as_deref(),
                Ok("2026-11-22T20:00:00.000Z")
            );
        }
    }

    #[test]
    fn a_duration_is_that_long_ago_and_never_before_time_is_counted() {
        assert_eq!(parse_moment("15m", at(1_000)), Ok(at(100)));
        assert_eq!(parse_moment("0s", at(1_000)), Ok(at(1_000)));
        assert_eq!(parse_moment("100years", at(1_000)), Ok(at(0)));
    }

    #[test]
    fn what_is_no_moment_says_what_was_expected() {
        for wrong in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T20:00:00",
            "2026-11-22T20:00:00ZZ",
            "2026-11-22T20:00:00Z+01:00",
            "2026-11-22T20:00:00+1:000",
            "2026-11-22T20:00:00+24:00",
            "2026-13-22T20:00:00Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "1763841600",
            "äöüäöüäöü",
        ] {
            let error = parse_moment(wrong, at(0)).unwrap_err();
            assert!(error.contains("expected a time with its zone"), "{error}");
        }
    }

    #[test]
    fn every_moment_can_be_written() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(format_moment(before), "1970-01-01T00:00:00.000Z");
        let beyond = at(YEAR_10000 * 2);
        assert_eq!(format_moment(beyond), "9999-12-31T23:59:59.999Z");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_read_can_be_written_and_read_again(
            text in r"[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+ -][0-2][0-9]:[0-5][0-9])|\PC{0,40}",
        ) {
            if let Ok(moment) = parse_moment(&text, at(1_000)) {
                let written = format_moment(moment);
                let again = parse_moment(&written, at(0)).unwrap();
                proptest::prop_assert_eq!(format_moment(again), written);
            }
        }
    }
}
