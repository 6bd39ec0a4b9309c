//! Keys whose value is either a word or a mapping.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::raw::{
    AccessLogSettings, AuthSettings, CheckSettings, ExplainSettings, HedgeSettings, HoldSettings,
    ListenerSettings, MetricsSettings, OutlierSettings, PullSettings, PullTokenSettings,
    RetrySettings, SlowStartSettings, StoreSettings, TracesSettings,
};
use super::scalar::{
    CollectorUrl, Grace, LogPath, Period, Place, RegistryUrl, Scalar, is_off, quoted,
};
use super::shape::{Section, Several};

/// One of `proxy.listen`: an address, or a mapping that has one.
#[derive(Debug)]
pub(super) struct Listener(pub(super) ListenerSettings);

/// `check`: `off`, or what differs from the more general check.
#[derive(Debug)]
pub(super) enum Check {
    Off,
    Settings(CheckSettings),
}

/// `registry.store`: a kind, or a mapping that names one with its settings.
#[derive(Debug)]
pub(super) struct Store(pub(super) StoreSettings);

/// `registry.auth`: explicitly none, or whose tokens are good for what.
#[derive(Debug)]
pub(super) enum Auth {
    None,
    Settings(AuthSettings),
}

/// `registry.pull`: where from, or a mapping that has it.
#[derive(Debug)]
pub(super) struct Pull(pub(super) PullSettings);

/// `registry.pull.token`: where it is, never what it is.
#[derive(Debug)]
pub(super) struct PullToken(pub(super) PullTokenSettings);

/// Declares values that are `off` or a mapping.
macro_rules! off_or_settings {
    ($($(#[$doc:meta])* $name:ident($settings:ty), $expected:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) enum $name {
            Off,
            Settings($settings),
        }

        impl WordOrMapping for $name {
            const EXPECTED: &'static str = $expected;

            fn word(text: &str) -> Result<Self, String> {
                if is_off(text) {
                    return Ok(Self::Off);
                }
                Err(format!("{} is not such a mapping", quoted(text)))
            }

            fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
                <$settings>::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
            }
        }
    )+};
}

off_or_settings! {
    /// `retry`: `off`, or what differs from the more general one.
    Retry(RetrySettings), "off, or a mapping such as {attempts: 2}";
    /// `retry.hedge`.
    Hedge(HedgeSettings), "off, or a mapping such as {after: p95}";
    /// `outlier`: `off`, or what differs from the more general one.
    Outlier(OutlierSettings), "off, or a mapping such as {consecutive_failures: 5}";
    /// `telemetry.metrics`.
    MetricsOrOff(MetricsSettings), "off, or a mapping such as {instances: 2000}";
    /// `telemetry.explain`.
    Explain(ExplainSettings), "off, or a mapping such as {sample: 1%}";
}

/// `slow_start`: how long, or a mapping that has it.
#[derive(Debug)]
pub(super) struct SlowStart(pub(super) SlowStartSettings);

/// `hold`: `off`, how long, or a mapping that has it.
#[derive(Debug)]
pub(super) enum Hold {
    Off,
    Settings(HoldSettings),
}

/// `telemetry.access_log`: `off`, where to, or a mapping that has it.
#[derive(Debug)]
pub(super) enum AccessLog {
    Off,
    Settings(AccessLogSettings),
}

/// `telemetry.traces`: `off`, where to, or a mapping that has it.
#[derive(Debug)]
pub(super) enum Traces {
    Off,
    Settings(TracesSettings),
}

/// What is written as a word or as a mapping, or perhaps as a list.
trait WordOrMapping: Sized {
    /// What is expected, to follow "expected".
    const EXPECTED: &'static str;

    /// Reads the word; the error is what is wrong, without what was expected.
    fn word(text: &str) -> Result<Self, String>;

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;

    fn list<'de, A: SeqAccess<'de>>(_: A) -> Result<Self, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Seq, &Self::EXPECTED))
    }
}

impl WordOrMapping for Listener {
    const EXPECTED: &'static str = Place::EXPECTED;

    fn word(text: &str) -> Result<Self, String> {
        Ok(Self(ListenerSettings {
            address: Some(Place::parse(text)?),
            ..ListenerSettings::default()
        }))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        ListenerSettings::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl WordOrMapping for Check {
    const EXPECTED: &'static str = "off, or a mapping such as {tcp: {}} or {http: {path: /health}}";

    fn word(text: &str) -> Result<Self, String> {
        match text {
            _ if is_off(text) => Ok(Self::Off),
            "tcp" => Ok(Self::Settings(CheckSettings {
                tcp: Some(Section::default()),
                ..CheckSettings::default()
            })),
            "http" => Err("an http check has no path".to_owned()),
            "grpc" => Ok(Self::Settings(CheckSettings {
                grpc: Some(Section::default()),
                ..CheckSettings::default()
            })),
            _ => Err(format!("{} is no check", quoted(text))),
        }
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        CheckSettings::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
    }
}

impl WordOrMapping for Store {
    const EXPECTED: &'static str =
        "sqlite, memory, or a mapping such as {sqlite: {path: data/callboard.db}}";

    fn word(text: &str) -> Result<Self, String> {
        let settings = StoreSettings::default();
        match text {
            "memory" => Ok(Self(StoreSettings {
                memory: Some(Section::default()),
                ..settings
            })),
            "sqlite" => Ok(Self(StoreSettings {
                sqlite: Some(Section::default()),
                ..settings
            })),
            "etcd" => Err("etcd is not available in this version".to_owned()),
            _ => Err(format!("{} is no store", quoted(text))),
        }
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        StoreSettings::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl WordOrMapping for Auth {
    const EXPECTED: &'static str =
        "none, or a mapping such as {tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}]}";

    /// Whatever the word is, it is not repeated: it may be a token.
    fn word(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            _ => Err("is no kind of authentication".to_owned()),
        }
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        AuthSettings::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
    }
}

impl WordOrMapping for Pull {
    const EXPECTED: &'static str = RegistryUrl::EXPECTED;

    fn word(text: &str) -> Result<Self, String> {
        Ok(Self::from(Several(vec![RegistryUrl::parse(text)?])))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        PullSettings::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }

    fn list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let urls = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(Self::from(Several(urls)))
    }
}

impl From<Several<RegistryUrl>> for Pull {
    fn from(from: Several<RegistryUrl>) -> Self {
        Self(PullSettings {
            from: Some(from),
            ..PullSettings::default()
        })
    }
}

impl WordOrMapping for PullToken {
    const EXPECTED: &'static str = "{env: NAME} or {file: PATH}";

    fn word(_: &str) -> Result<Self, String> {
        Err("a token is not written into this file".to_owned())
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        PullTokenSettings::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl WordOrMapping for SlowStart {
    const EXPECTED: &'static str = "a duration such as 30s, or a mapping such as {window: 30s}";

    fn word(text: &str) -> Result<Self, String> {
        let window = if is_off(text) { "0s" } else { text };
        Ok(Self(SlowStartSettings {
            window: Some(Grace::parse(window)?),
            ..SlowStartSettings::default()
        }))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        SlowStartSettings::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl WordOrMapping for Hold {
    const EXPECTED: &'static str = "off, a duration such as 5s, or a mapping such as {timeout: 5s}";

    fn word(text: &str) -> Result<Self, String> {
        if is_off(text) {
            return Ok(Self::Off);
        }
        Ok(Self::Settings(HoldSettings {
            timeout: Some(Period::parse(text)?),
            ..HoldSettings::default()
        }))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        HoldSettings::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
    }
}

impl WordOrMapping for AccessLog {
    const EXPECTED: &'static str = "off, stdout, the path of a file, or a mapping such as {path: access.log, format: combined}";

    fn word(text: &str) -> Result<Self, String> {
        if is_off(text) {
            return Ok(Self::Off);
        }
        Ok(Self::Settings(AccessLogSettings {
            path: Some(LogPath::parse(text)?),
            ..AccessLogSettings::default()
        }))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        AccessLogSettings::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
    }
}

impl WordOrMapping for Traces {
    const EXPECTED: &'static str = "off, a URL such as http://127.0.0.1:4318, or a mapping such as {endpoint: http://127.0.0.1:4318, sample: 1%}";

    fn word(text: &str) -> Result<Self, String> {
        if is_off(text) {
            return Ok(Self::Off);
        }
        Ok(Self::Settings(TracesSettings {
            endpoint: Some(CollectorUrl::parse(text)?),
            ..TracesSettings::default()
        }))
    }

    fn mapping<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        TracesSettings::deserialize(MapAccessDeserializer::new(map)).map(Self::Settings)
    }
}

fn unexpected<E: Error>(wrong: &dyn fmt::Display, expected: &str) -> E {
    E::custom(format!("{wrong} (expected {expected})"))
}

struct WordOrMappingVisitor<T>(PhantomData<T>);

impl<'de, T: WordOrMapping> Visitor<'de> for WordOrMappingVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::word(text.trim()).map_err(|wrong| unexpected(&wrong, T::EXPECTED))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::mapping(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }
}

macro_rules! deserialize_word_or_mapping {
    ($($name:ident)+) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WordOrMappingVisitor(PhantomData))
            }
        }
    )+};
}
deserialize_word_or_mapping!(
    Listener Check Store Auth Pull PullToken Retry Hedge Outlier SlowStart Hold MetricsOrOff
    AccessLog Traces Explain
);
