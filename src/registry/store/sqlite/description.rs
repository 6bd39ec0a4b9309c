//! An instance's description as JSON in the file.
//!
//! These types are apart from [`Instance`], so that neither an API nor the registry can change what
//! files of the past mean. A field that is not known is refused: to leave it out would treat an
//! instance otherwise than it asked for. What adds a field or a value raises the version that a row
//! with it needs: [`version`].

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::address::Address;
use crate::instance::check::{CheckKind, CheckOverride, GrpcCheck, HttpCheck};
use crate::instance::{Instance, Scheme};
use crate::names::{InstanceId, ServiceName};
use crate::registry::rules::within_limits;

use super::schema::FIRST;

/// The version of the layout that an instance's description can be read by: 2 knows Unix sockets, the
/// schemes beside `http` and checks over gRPC.
pub(super) fn version(instance: &Instance) -> i32 {
    let is_first = instance.address.inet().is_some()
        && instance.scheme == Scheme::Http
        && !matches!(instance.check.kind, Some(CheckKind::Grpc(_)));
    if is_first { FIRST } else { 2 }
}

/// Everything an instance says of itself, its names apart.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::registry::store) struct Description {
    /// An IP address, or `unix:` and a path.
    address: String,
    /// None beside a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    scheme: Scheme,
    weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<Span>,
    #[serde(default, skip_serializing_if = "CheckFields::is_empty")]
    check: CheckFields,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
}

/// The fields of a [`CheckOverride`].
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CheckFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fall: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rise: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Kind {
    Tcp,
    Http {
        path: String,
        /// The first and the last status of each range.
        expect: Vec<(u16, u16)>,
    },
    Grpc {
        service: String,
    },
}

/// A duration to the nanosecond, as `1s 500ms`.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl From<&Instance> for Description {
    fn from(instance: &Instance) -> Self {
        let (address, port) = instance.address.parts();
        Self {
            address,
            port: port.and_then(NonZeroU16::new),
            scheme: instance.scheme,
            weight: instance.weight,
            zone: instance.zone.clone(),
            tags: instance.tags.clone(),
            metadata: instance.metadata.clone(),
            ttl: instance.ttl.map(Span),
            check: CheckFields::from(&instance.check),
            generation: instance.generation,
        }
    }
}

impl Description {
    /// The instance that is described.
    ///
    /// # Errors
    /// What breaks a limit of the domain.
    pub(in crate::registry::store) fn instance(
        self,
        service: ServiceName,
        id: InstanceId,
    ) -> Result<Instance, String> {
        let instance = Instance {
            service,
            id,
            address: Address::from_parts(&self.address, self.port.map(NonZeroU16::get))
                .map_err(|wrong| format!("address {wrong}"))?,
            scheme: self.scheme,
            weight: self.weight,
            zone: self.zone,
            tags: self.tags,
            metadata: self.metadata,
            ttl: self.ttl.map(|span| span.0),
            check: self.check.validated()?,
            generation: self.generation,
        };
        within_limits(&instance).map_err(|refusal| refusal.to_string())?;
        Ok(instance)
    }
}

impl From<&CheckOverride> for CheckFields {
    fn from(check: &CheckOverride) -> Self {
        Self {
            enabled: check.enabled,
            kind: check.kind.as_ref().map(|kind| match kind {
                CheckKind::Tcp => Kind::Tcp,
                CheckKind::Grpc(grpc) => Kind::Grpc {
                    service: grpc.service.clone(),
                },
                CheckKind::Http(http) => Kind::Http {
                    path: http.path.clone(),
                    expect: (http.expect.iter())
                        .map(|range| (*range.start(), *range.end()))
                        .collect(),
                },
            }),
            interval: check.interval.map(Span),
            timeout: check.timeout.map(Span),
            fall: check.fall,
            rise: check.rise,
        }
    }
}

impl CheckFields {
    fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                enabled: None,
                kind: None,
                interval: None,
                timeout: None,
                fall: None,
                rise: None,
            }
        )
    }

    fn validated(self) -> Result<CheckOverride, String> {
        let kind = match self.kind {
            Some(Kind::Http { path, expect }) => Some(CheckKind::Http(http(path, &expect)?)),
            Some(Kind::Tcp) => Some(CheckKind::Tcp),
            Some(Kind::Grpc { service }) => Some(CheckKind::Grpc(GrpcCheck { service })),
            None => None,
        };
        for (name, span) in [("interval", self.interval), ("timeout", self.timeout)] {
            if span.is_some_and(|span| span.0.is_zero()) {
                return Err(format!("check.{name} is 0s (expected more)"));
            }
        }
        for (name, count) in [("fall", self.fall), ("rise", self.rise)] {
            if count == Some(0) {
                return Err(format!("check.{name} is 0 (expected at least 1)"));
            }
        }
        Ok(CheckOverride {
            enabled: self.enabled,
            kind,
            interval: self.interval.map(|span| span.0),
            timeout: self.timeout.map(|span| span.0),
            fall: self.fall,
            rise: self.rise,
        })
    }
}

fn http(path: String, expect: &[(u16, u16)]) -> Result<HttpCheck, String> {
    // The path goes into a request line, which it must not be able to end.
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!(
            "check.http.path is {path:?} (expected a path such as /health)"
        ));
    }
    let valid = |&(first, last): &(u16, u16)| 100 <= first && first <= last && last <= 599;
    if expect.is_empty() || !expect.iter().all(valid) {
        return Err(format!(
            "check.http.expect is {expect:?} (expected ranges of statuses from 100 to 599)"
        ));
    }
    Ok(HttpCheck {
        path,
        expect: expect.iter().map(|&(first, last)| first..=last).collect(),
    })
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text).map_err(|_| {
            let wrong = format!("{text:?} is not a duration (expected for example 15s)");
            serde::de::Error::custom(wrong)
        })?;
        Ok(Self(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::instance;

    fn read(json: &str) -> Result<Instance, String> {
        let description: Description =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        description.instance("web".parse().unwrap(), "a".parse().unwrap())
    }

    fn written(instance: &Instance) -> String {
        serde_json::to_string(&Description::from(instance)).unwrap()
    }

    #[test]
    fn an_instance_reads_back_as_it_was_written() {
        let plain = instance("web", "a");
        insta::assert_snapshot!(written(&plain), @r#"{"address":"10.0.0.1","port":8080,"scheme":"http","weight":1,"tags":["v1"],"metadata":{"build":"7"},"ttl":"10s"}"#);
        let checks = [
            CheckOverride::off(),
            CheckOverride {
                kind: Some(CheckKind::Tcp),
                timeout: Some(Duration::new(1, 1)),
                fall: Some(1),
                ..CheckOverride::default()
            },
            CheckOverride {
                enabled: Some(true),
                kind: Some(CheckKind::Http(HttpCheck::new("/health?full"))),
                interval: Some(Duration::from_millis(250)),
                rise: Some(3),
                ..CheckOverride::default()
            },
        ];
        let full = |check| Instance {
            address: "[fd00::5]:8080".parse().unwrap(),
            zone: Some("ä\u{0}\"".to_owned()),
            ttl: Some(Duration::from_nanos(86_400_000_000_001)),
            generation: Some(u64::MAX),
            check,
            ..plain.clone()
        };
        for instance in checks.map(full).into_iter().chain([Instance {
            ttl: None,
            ..plain.clone()
        }]) {
            assert_eq!(read(&written(&instance)), Ok(instance));
        }
    }

    #[test]
    fn only_what_the_first_version_does_not_know_asks_for_the_second() {
        let plain = instance("web", "a");
        assert_eq!(version(&plain), 1);
        let socket = Instance {
            address: "unix:/run/a.sock".parse().unwrap(),
            ..plain.clone()
        };
        let secured = Instance {
            scheme: Scheme::H2,
            ..plain.clone()
        };
        let mut asked = plain;
        asked.check.kind = Some(CheckKind::Grpc(GrpcCheck {
            service: String::new(),
        }));
        for instance in [socket, secured, asked] {
            assert_eq!(version(&instance), 2);
            assert_eq!(read(&written(&instance)), Ok(instance));
        }
    }

    #[test]
    fn every_value_is_weighed_again() {
        let with = |more: &str| {
            read(&format!(
                r#"{{"address":"10.0.0.1","port":80,"scheme":"http","weight":1{more}}}"#
            ))
        };
        assert!(with("").is_ok());
        for (more, wrong) in [
            (r#","colour":"red""#, "unknown field `colour`"),
            (r#","ttl":"soon""#, "is not a duration"),
            (r#","check":{"fall":0}"#, "check.fall is 0"),
            (r#","check":{"interval":"0s"}"#, "check.interval is 0s"),
            (
                r#","check":{"kind":{"http":{"path":"/ HTTP/1.1","expect":[[200,299]]}}}"#,
                "check.http.path",
            ),
            (
                r#","check":{"kind":{"http":{"path":"/","expect":[[300,200]]}}}"#,
                "check.http.expect",
            ),
        ] {
            let error = with(more).unwrap_err();
            assert!(error.contains(wrong), "{error}");
        }
        let heavy = r#"{"address":"10.0.0.1","port":80,"scheme":"http","weight":65536}"#;
        assert_eq!(
            read(heavy),
            Err("weight: is 65536 (expected at most 65535)".to_owned())
        );
        for wrong in ["", "[]", "{}", r#"{"address":"x","port":0}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
