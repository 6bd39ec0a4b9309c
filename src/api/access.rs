//! Who may call the control plane, and what for.
//!
//! Callers show a bearer token (RFC 6750). A token is a name, the hash of a secret and a few scopes;
//! the secret itself is kept nowhere, so that neither a configuration that leaks nor a dump of the
//! process gives anybody one. The hash is SHA-256 without salt or stretching: tokens are random
//! texts, not passwords that people choose, so there is no dictionary to try.
//!
//! The presented secret is hashed and compared with every stored hash, each in constant time and
//! without stopping at the right one: how long a refusal takes says nothing of the tokens there are.

mod scope;
mod token;

use std::sync::Arc;

use axum::http::{HeaderMap, header};

use super::problem::{Kind, Problem};

pub use scope::{NoScope, Scope};
pub use token::{Digest, Token};

/// Who may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Access {
    /// Anybody who reaches the listener, for everything.
    #[default]
    Anybody,
    /// The bearers of these, each for what its scopes say.
    Tokens(Vec<Arc<Token>>),
}

impl Access {
    /// The token that a request shows; `None` where none is asked for.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] when it shows none, [`Kind::InvalidToken`] when it shows one that
    /// is not known.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<Option<Arc<Token>>, Problem> {
        let Self::Tokens(tokens) = self else {
            return Ok(None);
        };
        let shown = Digest::of(bearer(headers)?);
        let mut known = None;
        for token in tokens {
            if token.is(&shown) {
                known = Some(token);
            }
        }
        let unknown = || {
            let detail = "the token is not known (expected one that registry.auth names)";
            Problem::new(Kind::InvalidToken, detail)
        };
        known.cloned().map(Some).ok_or_else(unknown)
    }

    /// Whether somebody who was let in with `token` would be let in again, for the same.
    pub(super) fn still_knows(&self, token: Option<&Token>) -> bool {
        match (self, token) {
            (Self::Anybody, _) => true,
            (Self::Tokens(_), None) => false,
            (Self::Tokens(tokens), Some(token)) => tokens.iter().any(|known| **known == *token),
        }
    }
}

/// The secret in the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let scheme = given.next().and_then(|value| {
        let (scheme, rest) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest)
    });
    match (scheme.map(<[u8]>::trim_ascii), given.next()) {
        (None, None) => {
            let detail = "no token is shown (expected the header Authorization: Bearer TOKEN)";
            Err(Problem::new(Kind::Unauthenticated, detail))
        }
        (Some(secret), None) if !secret.is_empty() => Ok(secret),
        _ => {
            let detail = "the Authorization header is malformed (expected one, with one token)";
            Err(Problem::new(Kind::InvalidToken, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(secrets: &[&str]) -> Access {
        let tokens = secrets.iter().enumerate().map(|(number, secret)| {
            let digest = Digest::of(secret.as_bytes());
            let token = Token::new(&format!("token-{number}"), digest, &[Scope::Read]);
            Arc::new(token)
        });
        Access::Tokens(tokens.collect())
    }

    fn identify(access: &Access, values: &[&str]) -> Result<Option<String>, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        match access.identify(&headers) {
            Ok(token) => Ok(token.map(|token| token.name().to_string())),
            Err(problem) => {
                let shown = serde_json::to_string(&problem).unwrap();
                assert!(!shown.contains("guessed"), "{shown}");
                assert_eq!(problem.status(), 401);
                Err(problem.status())
            }
        }
    }

    #[test]
    fn a_bearer_is_known_by_its_token() {
        let access = access(&["the-first-secret", "the-second-secret"]);
        for (values, name) in [
            (["Bearer the-first-secret"], "token-0"),
            (["bearer the-second-secret"], "token-1"),
            (["BEARER  the-second-secret "], "token-1"),
        ] {
            assert_eq!(identify(&access, &values), Ok(Some(name.to_owned())));
        }
    }

    #[test]
    fn whoever_shows_no_known_token_is_nobody() {
        let access = access(&["the-first-secret"]);
        let refused: &[&[&str]] = &[
            &[],
            &["Bearer guessed"],
            &["Bearer the-first-secre"],
            &["Bearer the-first-secret-guessed"],
            &["Bearer "],
            &["Bearer"],
            &["the-first-secret"],
            &["Basic dGhlLWZpcnN0LXNlY3JldA=="],
            &["Bearer the-first-secret", "Bearer the-first-secret"],
            &["Basic guessed", "Bearer the-first-secret"],
        ];
        for values in refused {
            assert_eq!(identify(&access, values), Err(401), "{values:?}");
        }
    }

    #[test]
    fn without_tokens_nobody_is_asked_for_one() {
        assert_eq!(identify(&Access::Anybody, &["Bearer guessed"]), Ok(None));
    }
}
