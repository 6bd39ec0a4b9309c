//! Building blocks of the JSON clients send: values that know their own limits and say what they
//! expected, instead of naming a Rust type.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::address::{self, MAX_PATH, UNIX};
use crate::api::openapi::schemas;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integer<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Serialize for Integer<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<const MIN: u64, const MAX: u64> PartialSchema for Integer<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        schemas::whole(MIN, MAX).into()
    }
}

impl<const MIN: u64, const MAX: u64> ToSchema for Integer<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("IntegerFrom{MIN}To{MAX}"))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Integer<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for Whole<MIN, MAX> {
            type Value = Integer<MIN, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                if (MIN..=MAX).contains(&number) {
                    Ok(Integer(number))
                } else {
                    Err(E::invalid_value(Unexpected::Unsigned(number), &self))
                }
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                match whole(number) {
                    Some(number) => self.visit_u64(number),
                    None => Err(E::invalid_value(Unexpected::Float(number), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }
        }
        deserializer.deserialize_u64(Whole)
    }
}

/// `number` if it is whole: JSON has one kind of number, and 80.0 is as whole as 80. Beyond 2^53 a
/// float is not sure to be the number that was written.
pub(super) fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

/// Any `u64`.
pub(super) type Generation = Integer<0, { u64::MAX }>;

/// Where an instance is: an IP address, or a Unix socket. Names are refused: resolving them is up to
/// whoever registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Ip(IpAddr),
    Unix(address::Address),
}

impl PartialSchema for Address {
    fn schema() -> RefOr<Schema> {
        let socket = schemas::text(
            r"^unix:/[^\x00-\x1F\x7F-\x9F]*$",
            "A Unix socket.",
            "unix:/run/app.sock",
        );
        schemas::ip_address(
            "An IP address, or the absolute path of a Unix socket in at most 107 bytes. Names are \
             not resolved.",
        )
        .item(socket.max_length(Some(UNIX.len() + MAX_PATH)))
        .into()
    }
}

impl ToSchema for Address {}

/// The IP address of somebody.
pub(super) struct IpAddress;

impl PartialSchema for IpAddress {
    fn schema() -> RefOr<Schema> {
        schemas::ip_address("An IP address.").into()
    }
}

impl ToSchema for IpAddress {}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Literal;
        impl Visitor<'_> for Literal {
            type Value = Address;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an IP address such as 10.0.0.5 or fd00::5 (names are not resolved), or a Unix \
                     socket such as unix:/run/app.sock",
                )
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Address, E> {
                let read = if text.starts_with(UNIX) {
                    text.parse().ok().map(Address::Unix)
                } else {
                    (text.parse::<IpAddr>().ok()).map(|ip| Address::Ip(ip.to_canonical()))
                };
                read.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Literal)
    }
}

/// A figure of reported load: a number that is not negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure(pub(super) f64);

impl PartialSchema for Figure {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number);
        number.minimum(Some(0)).into()
    }
}

impl ToSchema for Figure {}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Figure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of at least 0")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Figure, E> {
                if number.is_finite() && number >= 0.0 {
                    Ok(Figure(number))
                } else {
                    Err(E::invalid_value(Unexpected::Float(number), &self))
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Figure, E> {
                Ok(Figure(number as f64))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Figure, E> {
                Err(E::invalid_value(Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_f64(Number)
    }
}

/// A JSON object as a `T`. serde alone would read a `T` from a list of its fields' values too, in the
/// order of its source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Object<T>(pub(super) T);

impl<T: Serialize> Serialize for Object<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// Tells a field that is `null` (`Some(None)`) from one that is missing (`None`, with
/// `#[serde(default)]`).
pub(super) fn nullable<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error<T: serde::de::DeserializeOwned + fmt::Debug>(value: serde_json::Value) -> String {
        serde_json::from_value::<T>(value).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_number_says_its_limits() {
        type Port = Integer<1, 65_535>;
        for right in [json!(8080), json!(8080.0)] {
            assert_eq!(serde_json::from_value::<Port>(right).unwrap().0, 8080);
        }
        for wrong in [
            json!(0),
            json!(65_536),
            json!(-1),
            json!(80.5),
            json!(-80.0),
            json!(1e300),
            json!("80"),
        ] {
            let error = error::<Port>(wrong);
            assert!(
                error.ends_with("expected a whole number from 1 to 65535"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_name_is_no_address() {
        assert!(error::<Address>(json!("db.internal")).contains("names are not resolved"));
        assert!(error::<Address>(json!(7)).contains("expected an IP address"));
        assert!(error::<Address>(json!("unix:app.sock")).contains("a Unix socket such as"));
        let mapped: Address = serde_json::from_value(json!("::ffff:10.0.0.5")).unwrap();
        assert_eq!(mapped, Address::Ip("10.0.0.5".parse().unwrap()));
        let socket: Address = serde_json::from_value(json!("unix:/run/a.sock")).unwrap();
        assert_eq!(socket, Address::Unix("unix:/run/a.sock".parse().unwrap()));
    }

    #[test]
    fn a_figure_is_not_negative() {
        let figure = |value| serde_json::from_value::<Figure>(value).unwrap();
        assert_eq!(figure(json!(0.7)), Figure(0.7));
        assert_eq!(figure(json!(120)), Figure(120.0));
        assert!(error::<Figure>(json!(-1)).contains("at least 0"));
        assert!(error::<Figure>(json!(-0.5)).contains("at least 0"));
        assert!(error::<Figure>(json!("many")).contains("at least 0"));
    }

    #[test]
    fn an_object_is_not_read_from_a_list() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        struct Sample {
            ttl: String,
        }
        let right: Object<Sample> = serde_json::from_value(json!({"ttl": "5s"})).unwrap();
        assert_eq!(right.0.ttl, "5s");
        for wrong in [json!(["5s"]), json!([]), json!("5s"), json!(null)] {
            let error = error::<Object<Sample>>(wrong);
            assert!(error.ends_with("expected an object"), "{error}");
        }
    }
}
