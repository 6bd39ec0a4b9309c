//! Durations as people write them: `250ms`, `15s`, `5m`, `1h30m`.

pub mod moment;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads a duration such as `250ms`, `15s` or `1h30m`; the error says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim())
        .map_err(|_| format!("{text:?} is not a duration (expected for example 250ms, 15s or 5m)"))
}

/// Writes a duration the way [`parse_duration`] reads it, in the largest unit that keeps it short:
/// `250ms`, `4.7s`, `15s`, `5m`, `1h`.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, per_unit) = match millis {
        0 => return "0s".to_owned(),
        1..1_000 => ("ms", 1),
        _ if millis.is_multiple_of(3_600_000) => ("h", 3_600_000),
        _ if millis.is_multiple_of(60_000) => ("m", 60_000),
        _ => ("s", 1_000),
    };
    match (millis / per_unit, millis % per_unit) {
        (whole, 0) => format!("{whole}{unit}"),
        (whole, part) => {
            let part = format!("{part:03}");
            format!("{whole}.{}{unit}", part.trim_end_matches('0'))
        }
    }
}

/// A [`Duration`] that is a string such as `15s` in JSON and YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as 250ms, 15s or 5m")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DurationText, E> {
                parse_duration(text).map(DurationText).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_written() {
        for text in ["0s", "250ms", "4.7s", "15s", "5m", "1h", "1.001s", "90s"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(
                parse_duration(&format_duration(duration)).unwrap(),
                duration,
                "{text}"
            );
        }
        assert_eq!(format_duration(Duration::from_millis(4_700)), "4.7s");
        assert_eq!(format_duration(Duration::from_secs(300)), "5m");
    }

    #[test]
    fn what_is_no_duration_says_what_was_expected() {
        assert!(
            parse_duration("fast")
                .unwrap_err()
                .contains("expected for example")
        );
        assert!(parse_duration("-1s").is_err());
        assert!(parse_duration("10").is_err());
    }
}
