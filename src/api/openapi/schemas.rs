//! Schemas of values that are parsed by hand. Each says what its parser takes, no less; where a
//! schema cannot say it (bytes, ranges of durations), the description does.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::api::problem::Kind;
use crate::health::availability::Availability;
use crate::instance::Scheme;
use crate::names::{InstanceId, MAX_NAME_LEN, ServiceName};
use crate::registry::snapshot::Revision;
use crate::units::DurationText;

/// 1 to 128 of the characters of names, without `.` and `..`, which a path cannot carry.
const NAME: &str = r"^(\.{0,2}[A-Za-z0-9_:-]|\.{3})[A-Za-z0-9._:-]*$";

/// The durations that are sure to be understood. Longer words for the units are too, and finer
/// fractions where they come out even.
const DURATION: &str = r"^(0|([0-9]{1,9}((\.[0-9]{1,3})?(ms|s)|(\.[0-9])?(m|h|d)))+)$";

/// A [`DURATION`], or nothing.
pub(in crate::api) const DURATION_OR_NOTHING: &str =
    r"^(0|([0-9]{1,9}((\.[0-9]{1,3})?(ms|s)|(\.[0-9])?(m|h|d)))*)$";

/// A string that matches `pattern`.
pub(in crate::api) fn text(pattern: &str, description: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .examples([Value::from(example)])
}

/// A string out of `words`.
fn word<'a>(words: impl IntoIterator<Item = &'a str>, description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.into_iter().map(str::to_owned)))
        .description(Some(description))
}

/// A whole number from `min` to `max`.
pub(in crate::api) fn whole(min: u64, max: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(min))
        .maximum(Some(max))
}

/// A moment: a time, or how long ago it was.
pub(in crate::api) fn moment() -> AnyOfBuilder {
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    AnyOfBuilder::new()
        .item(time)
        .item(text(DURATION, "How long ago.", "15m"))
        .examples(["2026-11-22T20:00:00Z", "15m"])
}

/// An IP address, version 4 or 6.
pub(in crate::api) fn ip_address(description: &str) -> AnyOfBuilder {
    let version = |format| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
    };
    AnyOfBuilder::new()
        .item(version(KnownFormat::Ipv4))
        .item(version(KnownFormat::Ipv6))
        .description(Some(description))
        .examples(["10.0.0.5", "fd00::5"])
}

fn name(description: &str, example: &str) -> ObjectBuilder {
    text(NAME, description, example)
        .min_length(Some(1))
        .max_length(Some(MAX_NAME_LEN))
}

/// Gives a type the schema that an expression builds.
macro_rules! schema {
    ($type:ty, $name:literal, $schema:expr) => {
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

schema!(
    ServiceName,
    "ServiceName",
    name("The name of a service. It is lower-cased.", "web")
);
schema!(
    InstanceId,
    "InstanceId",
    name("The name of an instance within its service.", "web-1")
);
schema!(
    DurationText,
    "Duration",
    text(DURATION, "A duration: numbers with units.", "15s")
);
schema!(
    Availability,
    "Availability",
    word(
        Availability::ALL.map(Availability::as_str),
        "What an instance is at this moment: `starting` has yet to pass its first probe, `ready` \
         and `suspect` take traffic, `draining` finishes what it has, `unhealthy` fails its \
         probes, `ejected` failed its requests and waits to be tried again, `down` has left."
    )
);
schema!(
    Scheme,
    "Scheme",
    word(
        Scheme::ALL.map(Scheme::as_str),
        "What the instance speaks: HTTP/1.1 in clear text (`http`, unless given) or over TLS \
         (`https`), HTTP/2 in clear text (`h2c`) or over TLS (`h2`), or bytes for TCP listeners in \
         clear text (`tcp`) or over TLS (`tls`)."
    )
);
schema!(
    Revision,
    "Index",
    whole(0, u64::MAX).description(Some(
        "A point in the history of changes. It grows with every change."
    ))
);
schema!(
    Kind,
    "ProblemType",
    text(
        "^urn:callboard:problem:[a-z-]+$",
        "What kind of problem it is; stable, for programs to go by. Every reply lists the kinds \
         it may hold.",
        "urn:callboard:problem:unknown-instance"
    )
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use crate::units::parse_duration;

    use super::*;

    /// Texts that match `pattern`, which is anchored.
    fn matching(pattern: &str) -> impl Strategy<Value = String> + use<> {
        string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
    }

    proptest! {
        #[test]
        fn what_the_pattern_of_durations_admits_is_understood(text in matching(DURATION)) {
            prop_assert!(parse_duration(&text).is_ok(), "{text:?}");
        }

        #[test]
        fn what_the_pattern_of_names_admits_is_a_name(text in matching(NAME)) {
            prop_assume!(text.len() <= MAX_NAME_LEN);
            prop_assert!(text.parse::<ServiceName>().is_ok(), "{text:?}");
            prop_assert!(text.parse::<InstanceId>().is_ok(), "{text:?}");
        }
    }

    #[test]
    fn words_are_written_as_described() {
        for scheme in Scheme::ALL {
            assert_eq!(serde_json::to_value(scheme).unwrap(), scheme.as_str());
        }
        for availability in Availability::ALL {
            assert_eq!(
                serde_json::to_value(availability).unwrap(),
                availability.as_str()
            );
        }
    }
}
