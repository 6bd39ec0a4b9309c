//! What an instance says in passing about when it wants to be called again.

use std::time::{Duration, SystemTime};

use http::{HeaderName, header};

use crate::fields::Fields;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// The longest `Retry-After` that is believed.
const LONGEST: Duration = Duration::from_secs(300);

/// `Retry-After` (RFC 9110, section 10.2.3), in seconds or as a date, which is why `now` is one too; at
/// most five minutes.
pub(super) fn retry_after(fields: Fields<'_>, now: SystemTime) -> Option<Duration> {
    let text = fields.text(&header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// How long an instance keeps an unused connection: `timeout` of `Keep-Alive` (RFC 2068, section
/// 19.7.1.1).
pub(super) fn keep_alive(fields: Fields<'_>) -> Option<Duration> {
    let text = fields.text(&KEEP_ALIVE)?;
    text.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let timeout = name.trim().eq_ignore_ascii_case("timeout");
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        timeout.then_some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
        for (value, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("18446744073709551615", Some(300)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(300)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            let found = retry_after((&headers("retry-after", value)).into(), now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn keep_alive_is_the_timeout_among_its_parameters() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout = 7", Some(7)),
            ("timeout=\"9\"", Some(9)),
            ("max=100", None),
            ("timeout=x", None),
            ("timeout", None),
        ] {
            let found = keep_alive((&headers("keep-alive", value)).into());
            assert_eq!(found, seconds.map(Duration::from_secs), "{value}");
        }
    }
}
