//! The two names everything else hangs on, parsed once at the edge and never checked again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest service name or instance id, in bytes.
pub const MAX_NAME_LEN: usize = 128;

/// The name clients call a service by: 1–128 of `[a-z0-9._:-]`; upper case is folded when parsed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// The name of one instance, unique within its service: 1–128 of `[A-Za-z0-9._:-]`, case kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

/// Why a text is neither a [`ServiceName`] nor an [`InstanceId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("is empty (expected 1 to {MAX_NAME_LEN} of A-Z a-z 0-9 . _ : -)")]
    Empty,
    /// The text has more than [`MAX_NAME_LEN`] bytes.
    #[error("has {0} bytes (expected 1 to {MAX_NAME_LEN} of A-Z a-z 0-9 . _ : -)")]
    TooLong(usize),
    /// The text holds a character that names may not hold.
    #[error("holds {0:?} (expected 1 to {MAX_NAME_LEN} of A-Z a-z 0-9 . _ : -)")]
    Character(char),
    /// The text is `.` or `..`, which a URL path cannot carry as a segment.
    #[error(
        "is {0:?}, which a URL path cannot carry (expected 1 to {MAX_NAME_LEN} of A-Z a-z 0-9 . _ : -)"
    )]
    DotSegment(String),
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_LEN {
        return Err(NameError::TooLong(text.len()));
    }
    if text == "." || text == ".." {
        return Err(NameError::DotSegment(text.to_owned()));
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-')))
    {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(()),
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse()
                    .map_err(|error| serde::de::Error::custom(format!("{text:?} {error}")))
            }
        }
    };
}
text_newtype!(ServiceName);
text_newtype!(InstanceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_lower_cased_and_an_instance_id_is_not() {
        assert_eq!(
            "Web.API".parse::<ServiceName>().unwrap().as_str(),
            "web.api"
        );
        assert_eq!("Web-1".parse::<InstanceId>().unwrap().as_str(), "Web-1");
    }

    #[test]
    fn names_that_break_the_rules_say_which_rule() {
        assert_eq!("".parse::<InstanceId>(), Err(NameError::Empty));
        assert_eq!("a/b".parse::<InstanceId>(), Err(NameError::Character('/')));
        assert_eq!("ä".parse::<ServiceName>(), Err(NameError::Character('ä')));
        assert_eq!(
            "x".repeat(129).parse::<ServiceName>(),
            Err(NameError::TooLong(129))
        );
        assert!("x".repeat(128).parse::<ServiceName>().is_ok());
        assert!("..".parse::<InstanceId>().is_err());
    }
}
