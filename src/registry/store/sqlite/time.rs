//! Moments as the file has them: milliseconds since 1970.

use std::time::{Duration, SystemTime};

/// The last millisecond of the year 9999, the last that can be written as a date.
const LAST: u64 = 253_402_300_799_999;

/// A moment for the file. One that no file can hold becomes the nearest.
pub(in crate::registry::store) fn millis(moment: SystemTime) -> i64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis().min(LAST.into());
    i64::try_from(millis).unwrap_or(i64::MAX)
}

/// A moment from the file; `None` if it has no date.
pub(in crate::registry::store) fn moment(millis: i64) -> Option<SystemTime> {
    let millis = u64::try_from(millis)
        .ok()
        .filter(|millis| *millis <= LAST)?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_from_a_file_can_be_written_as_a_date() {
        for odd in [i64::MIN, -1, LAST as i64 + 1, i64::MAX] {
            assert_eq!(moment(odd), None);
        }
        let last = moment(LAST as i64).unwrap();
        let text = humantime::format_rfc3339_millis(last).to_string();
        assert_eq!(text, "9999-12-31T23:59:59.999Z");
        assert_eq!(millis(last + Duration::from_secs(1)), LAST as i64);
        assert_eq!(millis(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(moment(millis(last)), Some(last));
    }
}
