//! Where something listens: at an IP address and port, or at a Unix socket's path.
//!
//! Listeners and instances are told of and dialed the same way, so both speak of an [`Address`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the text of a Unix socket's address starts with.
pub const UNIX: &str = "unix:";
/// The longest path of a Unix socket, in bytes: what `sun_path` holds beside its final zero.
pub const MAX_PATH: usize = 107;

/// Where something listens. As text `10.0.0.5:8080`, `[fd00::5]:8080` or `unix:/run/app.sock`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and port.
    Inet(SocketAddr),
    /// A Unix socket's absolute path.
    Unix(Arc<Path>),
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is neither form.
    #[error(
        "is no address (expected an IP address and a port such as 10.0.0.5:8080, or unix: and an \
         absolute path)"
    )]
    Unknown,
    /// The path of a Unix socket is relative.
    #[error("is a relative path (expected for example unix:/run/app.sock)")]
    Relative,
    /// It has a port and needs none, or the other way round.
    #[error(
        "and port do not go together (expected an IP address with a port, or unix: and a path without)"
    )]
    Parts,
    /// The path of a Unix socket does not fit the system's addresses.
    #[error(
        "is too long or holds what is no text (expected a path of at most {MAX_PATH} bytes without \
         control characters)"
    )]
    Unfit,
}

impl Address {
    /// The address of the Unix socket at `path`.
    ///
    /// # Errors
    /// When no socket can be there.
    pub fn unix(path: &Path) -> Result<Self, AddressError> {
        if !path.is_absolute() {
            return Err(AddressError::Relative);
        }
        let is_text = (path.to_str()).is_some_and(|text| !text.chars().any(char::is_control));
        if !is_text || path.as_os_str().len() > MAX_PATH {
            return Err(AddressError::Unfit);
        }
        Ok(Self::Unix(path.into()))
    }

    /// The address that APIs and files show as two fields: an IP address with a port, or `unix:` and a
    /// path without one.
    ///
    /// # Errors
    /// When the two do not go together, or no socket can be at the path.
    pub fn from_parts(address: &str, port: Option<u16>) -> Result<Self, AddressError> {
        match (address.starts_with(UNIX), port) {
            (true, None) => address.parse(),
            (false, Some(port)) => {
                let ip: IpAddr = address.parse().map_err(|_| AddressError::Unknown)?;
                Ok(SocketAddr::new(ip, port).into())
            }
            (true, Some(_)) | (false, None) => Err(AddressError::Parts),
        }
    }

    /// The same address, with an IPv4 address that comes dressed as IPv6 (`::ffff:10.0.0.1`) undressed.
    pub fn to_canonical(&self) -> Self {
        match self {
            Self::Inet(address) => {
                SocketAddr::new(address.ip().to_canonical(), address.port()).into()
            }
            Self::Unix(_) => self.clone(),
        }
    }

    /// The address as [`from_parts`](Self::from_parts) takes it.
    pub fn parts(&self) -> (String, Option<u16>) {
        match self {
            Self::Inet(address) => (address.ip().to_string(), Some(address.port())),
            Self::Unix(_) => (self.to_string(), None),
        }
    }

    /// What a request names as its host that brings no other: the IP address and port, or `localhost`
    /// for a Unix socket, as is the custom.
    pub fn authority(&self) -> String {
        match self {
            Self::Inet(address) => address.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// The IP address and port, if it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The IP address, if there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|address| address.ip())
    }

    /// The Unix socket's path, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Inet(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix(UNIX) {
            Some(path) => Self::unix(Path::new(path)),
            None => text
                .parse()
                .map(Self::Inet)
                .map_err(|_| AddressError::Unknown),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["10.0.0.5:8080", "[fd00::5]:80", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_nobody_can_listen_at_is_no_address() {
        let long = format!("unix:/{}", "a".repeat(MAX_PATH));
        for (text, wrong) in [
            ("10.0.0.5", AddressError::Unknown),
            ("", AddressError::Unknown),
            ("unix:app.sock", AddressError::Relative),
            ("unix:", AddressError::Relative),
            ("unix:/a\0b", AddressError::Unfit),
            ("unix:/a\nb", AddressError::Unfit),
            ("unix:/a\u{9b}b", AddressError::Unfit),
            (&long, AddressError::Unfit),
        ] {
            assert_eq!(text.parse::<Address>(), Err(wrong), "{text}");
        }
    }
}
