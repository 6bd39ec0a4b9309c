//! Reads a document into the structs of [`raw`](super::raw) and finds all that does not fit.
//!
//! serde stops at the first error. So each error is located by its path and reported, the part it
//! is about is taken out of the document, and what is left is read again, until it fits: every key
//! has a default, so the rest always makes sense. Each round is linear in the document and there
//! are at most [`MAX_ERRORS`](super::report::MAX_ERRORS) of them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::report::{Path, Report};
use super::scalar::{quoted, shortened};
use super::suggest::meant;

/// Reads the document; what did not fit is in `report` and left at its default.
pub(super) fn read<T: DeserializeOwned + Default>(report: &mut Report) -> T {
    while !report.full() {
        let error = match serde_path_to_error::deserialize(report.root.to_value()) {
            Ok(Section(raw)) => return raw,
            Err(error) => error,
        };
        let path = Path::from(error.path());
        let message = error.inner().to_string();
        match path.last_key() {
            Some(key) if message.starts_with(UNKNOWN) => {
                let shown = (!path.is_secret()).then_some(key);
                report.error_at_key(&path, unknown_key(key, shown, &message));
            }
            _ => report.error(&path, reworded(message, path.is_secret())),
        }
        if !report.take_out(&path) {
            break;
        }
    }
    T::default()
}

/// What serde says of a key that no field has, up to the key.
const UNKNOWN: &str = "unknown field `";

/// serde's message of an unknown `key` for operators, with the key that may have been meant; what
/// may be a secret is not `shown`.
fn unknown_key(key: &str, shown: Option<&str>, message: &str) -> String {
    let known: Vec<&str> = message
        .strip_prefix(UNKNOWN)
        .and_then(|rest| rest.strip_prefix(key))
        .unwrap_or_default()
        .split('`')
        .skip(2)
        .step_by(2)
        .collect();
    let hint = match meant(key, known.iter().copied()) {
        Some(word) => format!(", did you mean {word}?"),
        None => String::new(),
    };
    let expected = match known.as_slice() {
        [] => "no keys here".to_owned(),
        known => known.join(", "),
    };
    let shown = shown.map_or(String::new(), |key| format!(" {}", quoted(key)));
    format!("unknown key{shown}{hint} (expected {expected})")
}

/// serde's message of a value for operators, who know of lists and mappings; one that may be
/// `secret` is not repeated.
fn reworded(message: String, secret: bool) -> String {
    let misplaced = message
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.rsplit_once(", expected "));
    let Some((found, expected)) = misplaced else {
        return message;
    };
    let found = match found {
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        "unit value" => "nothing".to_owned(),
        _ if secret => "a word".to_owned(),
        word => shortened(word.strip_prefix("string ").unwrap_or(word)),
    };
    format!("{found} cannot stand here (expected {expected})")
}

/// A mapping; nothing at all is one with no keys. Unlike serde's own structs it is never read from
/// a list.
#[derive(Debug, Default)]
pub(super) struct Section<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Fields<T> {
            type Value = Section<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_unit<E: Error>(self) -> Result<Section<T>, E> {
                Ok(Section::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Section<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Section)
            }
        }
        deserializer.deserialize_any(Fields(PhantomData))
    }
}

/// Reads an optional section whose key alone says something: with nothing behind it, it is given.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Section<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Section::deserialize(deserializer).map(Some)
}

/// A list; one item may stand there without being in a list.
#[derive(Debug)]
pub(super) struct Several<T>(pub(super) Vec<T>);

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Several<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E: Error>(self) -> Result<Several<T>, E> {
                Ok(Several::default())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Several<T>, E> {
                let item = T::deserialize(StrDeserializer::new(text))?;
                Ok(Several(vec![item]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Several<T>, A::Error> {
                let item = T::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Several(vec![item]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Several<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Several)
            }
        }
        deserializer.deserialize_any(Items(PhantomData))
    }
}

/// A mapping whose keys are the operator's, in the order of the file.
#[derive(Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_unit<E: Error>(self) -> Result<Entries<V>, E> {
                Ok(Entries::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_any(Pairs(PhantomData))
    }
}

/// A key that later versions may carry out; whatever its value is, it is refused rather than
/// silently without effect.
#[derive(Debug)]
pub(super) struct Unavailable;

impl<'de> Deserialize<'de> for Unavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Err(D::Error::custom(
            "not available in this version (expected to be left out)",
        ))
    }
}
