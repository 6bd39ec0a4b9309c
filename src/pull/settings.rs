//! What to follow, and what to show there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls_pki_types::CertificateDer;

/// Which registries to follow and how to reach them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The registries, one of which is followed at a time. At least one.
    pub from: Vec<Origin>,
    /// What to show them.
    pub token: Option<Token>,
    /// The authorities that vouch for them; empty for those the system trusts.
    pub ca: Vec<CertificateDer<'static>>,
}

/// Where a registry is: the scheme, host and port of its control plane, as `http://10.0.0.1:8500`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin(Arc<str>);

/// Why a text is no [`Origin`]. The text itself, which may hold a password, is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It cannot be read as a URL with a host.
    #[error("is not a URL")]
    NotUrl,
    /// It is neither `http` nor `https`.
    #[error("is neither http:// nor https://")]
    Scheme,
    /// It holds a user name or a password.
    #[error("holds a user name or a password, which belongs in a token")]
    Credentials,
    /// It goes on behind the port.
    #[error("has something behind its host and port")]
    Path,
}

/// A secret that says who is asking. Shown to registries, and to nobody else.
#[derive(Clone, PartialEq)]
pub struct Token(HeaderValue);

/// A token that no header can carry. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is empty or holds a character that a token cannot have")]
pub struct TokenError;

impl Origin {
    /// As text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the way there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| match url.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback()),
            None => false,
        })
    }

    pub(super) fn to_shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        // `10.0.0.1:8500` and `callboard:8500` would be read as a URL of an odd scheme, or as none.
        if !text.contains("://") {
            return Err(OriginError::NotUrl);
        }
        let url = Url::parse(text).map_err(|_| OriginError::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(OriginError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OriginError::Credentials);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(OriginError::Path);
        }
        Ok(Self(url.origin().ascii_serialization().into()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Token {
    /// The value of the `Authorization` header that shows it.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads a token; the white space around it, such as the line's end in a file, is none of it.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError);
        }
        let mut header =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| TokenError)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (text, origin) in [
            ("http://10.0.0.1:8500", "http://10.0.0.1:8500"),
            ("HTTPS://Board.Example.com/", "https://board.example.com"),
            ("http://[::1]:8500/", "http://[::1]:8500"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), origin);
        }
        for (text, error) in [
            ("10.0.0.1:8500", OriginError::NotUrl),
            ("board:8500", OriginError::NotUrl),
            ("http://", OriginError::NotUrl),
            ("http://a:99999", OriginError::NotUrl),
            ("ftp://a", OriginError::Scheme),
            ("http://me@a", OriginError::Credentials),
            ("http://me:secret@a", OriginError::Credentials),
            ("http://a/api/v1", OriginError::Path),
            ("http://a/?b", OriginError::Path),
            ("http://a/#b", OriginError::Path),
        ] {
            assert_eq!(text.parse::<Origin>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_token_is_not_shown_to_people() {
        let token: Token = "  hush\n".parse().unwrap();
        assert_eq!(token.header(), "Bearer hush");
        assert!(!format!("{token:?}{:?}", token.header()).contains("hush"));
        for wrong in ["", " \n", "a b", "a\r\nHost: b", "ä"] {
            assert_eq!(wrong.parse::<Token>(), Err(TokenError), "{wrong:?}");
        }
    }
}
