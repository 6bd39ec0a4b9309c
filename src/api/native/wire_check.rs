//! The `check` of an instance as JSON, both ways: `"off"`, or what to ask (`tcp`, `http` or `grpc`) and
//! how (`interval`, `timeout`, `fall`, `rise`), everything optional when registering and complete when
//! shown.

mod schema;

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::api::problem::Faults;
use crate::instance::MAX_TEXT;
use crate::instance::check::{
    Check, CheckKind, CheckOverride, GrpcCheck, HttpCheck, MAX_INTERVAL, MAX_TIMEOUT, MIN_INTERVAL,
    MIN_TIMEOUT,
};
use crate::units::{DurationText, format_duration};

use super::wire::{self, Integer, Object};

/// A check as JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CheckJson {
    /// `"off"`: no active checks.
    Off,
    /// `{…}`: active checks, with what is left out taken from the service's policy.
    On(CheckFields),
}

/// The fields of a check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<Object<TcpFields>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<Object<HttpFields>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<Object<GrpcFields>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<DurationText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<DurationText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fall: Option<Integer<1, 100>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rise: Option<Integer<1, 100>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TcpFields {}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HttpFields {
    /// `/` unless given. Visible ASCII characters; others are percent-encoded.
    #[schema(pattern = "^/[!-\\x22$-~]*$", max_length = 512)]
    path: Option<String>,
    /// The statuses that pass; 200 to 399 unless given.
    #[schema(min_items = 1)]
    expect: Option<Vec<Statuses>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct GrpcFields {
    /// The gRPC service asked for; the server as a whole unless given.
    #[schema(pattern = "^[!-~]*$", max_length = 512)]
    service: Option<String>,
}

/// `204` or `"200-399"`.
#[derive(Clone, Debug, PartialEq)]
struct Statuses(RangeInclusive<u16>);

impl CheckJson {
    /// What this says about the check, with its faults added to `faults`.
    pub(super) fn read(self, faults: &mut Faults) -> CheckOverride {
        let fields = match self {
            Self::Off => return CheckOverride::off(),
            Self::On(fields) => fields,
        };
        let named = [
            fields.tcp.is_some(),
            fields.http.is_some(),
            fields.grpc.is_some(),
        ];
        if named.into_iter().filter(|named| *named).count() > 1 {
            let wrong = "names more than one of tcp, http and grpc (expected one of them)";
            faults.add("check", wrong);
        }
        let kind = match (fields.tcp, fields.http, fields.grpc) {
            (_, Some(Object(http)), _) => Some(CheckKind::Http(http.read(faults))),
            (_, None, Some(Object(grpc))) => Some(CheckKind::Grpc(grpc.read(faults))),
            (Some(Object(TcpFields {})), None, None) => Some(CheckKind::Tcp),
            (None, None, None) => None,
        };
        let mut within = |name: &str, duration: Option<DurationText>, min, max| {
            let duration = duration?.0;
            if !(min..=max).contains(&duration) {
                let [is, min, max] = [duration, min, max].map(format_duration);
                faults.add(
                    format!("check.{name}"),
                    format!("is {is} (expected {min} to {max})"),
                );
            }
            Some(duration)
        };
        let count = |count: Integer<1, 100>| u32::try_from(count.0).unwrap_or(u32::MAX);
        CheckOverride {
            enabled: Some(true),
            kind,
            interval: within("interval", fields.interval, MIN_INTERVAL, MAX_INTERVAL),
            timeout: within("timeout", fields.timeout, MIN_TIMEOUT, MAX_TIMEOUT),
            fall: fields.fall.map(count),
            rise: fields.rise.map(count),
        }
    }

    /// The check that is carried out, for people and programs to see.
    pub(super) fn show(check: Option<Check>) -> Self {
        let Some(check) = check else {
            return Self::Off;
        };
        let mut grpc = None;
        let (tcp, http) = match check.kind {
            CheckKind::Tcp => (Some(Object(TcpFields {})), None),
            CheckKind::Grpc(check) => {
                let service = Some(check.service);
                grpc = Some(Object(GrpcFields { service }));
                (None, None)
            }
            CheckKind::Http(http) => {
                let fields = HttpFields {
                    path: Some(http.path),
                    expect: Some(http.expect.into_iter().map(Statuses).collect()),
                };
                (None, Some(Object(fields)))
            }
        };
        Self::On(CheckFields {
            tcp,
            http,
            grpc,
            interval: Some(DurationText(check.interval)),
            timeout: Some(DurationText(check.timeout)),
            fall: Some(Integer(check.fall.into())),
            rise: Some(Integer(check.rise.into())),
        })
    }
}

impl GrpcFields {
    fn read(self, faults: &mut Faults) -> GrpcCheck {
        let service = self.service.unwrap_or_default();
        if service.len() > MAX_TEXT || !service.bytes().all(|byte| byte.is_ascii_graphic()) {
            let wrong = format!(
                "is {service:?} (expected the name of a gRPC service: at most {MAX_TEXT} visible \
                 ASCII characters)"
            );
            faults.add("check.grpc.service", wrong);
        }
        GrpcCheck { service }
    }
}

impl HttpFields {
    fn read(self, faults: &mut Faults) -> HttpCheck {
        let path = self.path.unwrap_or_else(|| "/".to_owned());
        if !HttpCheck::is_path(&path) {
            faults.add(
                "check.http.path",
                format!(
                    "is {path:?} (expected a path such as /health: at most {MAX_TEXT} visible \
                     ASCII characters, with others percent-encoded and no #)"
                ),
            );
        }
        let mut check = HttpCheck::new(path);
        if let Some(expect) = self.expect {
            if expect.is_empty() {
                faults.add(
                    "check.http.expect",
                    "is empty (expected statuses such as [\"200-399\"])",
                );
            }
            check.expect = expect.into_iter().map(|Statuses(range)| range).collect();
        }
        check
    }
}

impl Serialize for CheckJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On(fields) => fields.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CheckJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Check;
        impl<'de> Visitor<'de> for Check {
            type Value = CheckJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#""off", or a check such as {"tcp":{}} or {"http":{"path":"/"}}"#)
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<CheckJson, E> {
                if on {
                    Err(E::invalid_value(Unexpected::Bool(on), &self))
                } else {
                    Ok(CheckJson::Off)
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<CheckJson, E> {
                match text {
                    "off" => Ok(CheckJson::Off),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CheckJson, A::Error> {
                CheckFields::deserialize(MapAccessDeserializer::new(map)).map(CheckJson::On)
            }
        }
        deserializer.deserialize_any(Check)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last {
            serializer.serialize_u16(*first)
        } else {
            serializer.collect_str(&format_args!("{first}-{last}"))
        }
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Range;
        impl Visitor<'_> for Range {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status from 100 to 599, or a range of them such as \"200-399\"")
            }

            fn visit_u64<E: Error>(self, status: u64) -> Result<Statuses, E> {
                match u16::try_from(status) {
                    Ok(status @ 100..=599) => Ok(Statuses(status..=status)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(status), &self)),
                }
            }

            fn visit_f64<E: Error>(self, status: f64) -> Result<Statuses, E> {
                match wire::whole(status) {
                    Some(status) => self.visit_u64(status),
                    None => Err(E::invalid_value(Unexpected::Float(status), &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                match (first.trim().parse(), last.trim().parse()) {
                    (Ok(first @ 100..=599), Ok(last @ 100..=599)) if first <= last => {
                        Ok(Statuses(first..=last))
                    }
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(Range)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> CheckOverride {
        let mut faults = Faults::default();
        let check = serde_json::from_value::<CheckJson>(value).unwrap();
        let check = check.read(&mut faults);
        assert_eq!(faults, Faults::default());
        check
    }

    #[test]
    fn off_comes_as_a_word_or_as_false() {
        assert_eq!(read(json!("off")), CheckOverride::off());
        assert_eq!(read(json!(false)), CheckOverride::off());
    }

    #[test]
    fn a_check_names_as_much_as_it_likes() {
        let check = read(
            json!({"http": {"path": "/health", "expect": ["200-204", 301.0]},
            "interval": "250ms", "fall": 1}),
        );
        let http = HttpCheck {
            path: "/health".into(),
            expect: vec![200..=204, 301..=301],
        };
        assert_eq!(check.kind, Some(CheckKind::Http(http)));
        assert_eq!(check.interval, Some(Duration::from_millis(250)));
        assert_eq!(
            (check.timeout, check.fall, check.rise),
            (None, Some(1), None)
        );
        assert_eq!(read(json!({"tcp": {}})).kind, Some(CheckKind::Tcp));
        assert_eq!(read(json!({})).enabled, Some(true));
    }

    #[test]
    fn what_is_shown_can_be_registered_again() {
        for kind in [
            CheckKind::Tcp,
            CheckKind::Http(HttpCheck::new("/up?full=1")),
        ] {
            let check = Check {
                kind,
                ..Check::default()
            };
            let shown = serde_json::to_value(CheckJson::show(Some(check.clone()))).unwrap();
            assert_eq!(read(shown).over(None), Some(check));
        }
        assert_eq!(serde_json::to_value(CheckJson::show(None)).unwrap(), "off");
    }
}
