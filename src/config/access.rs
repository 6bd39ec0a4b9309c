//! `registry.auth`: whose tokens are good for what.
//!
//! Secrets come as a hash, in an environment variable or in a file. Of the latter two only the hash
//! is kept.
//!
//! Architecture invariant: no finding in here repeats what was written. A secret is easily put where
//! a name, a path or a hash belongs, and findings end up in logs; see also
//! [`Path::is_secret`].

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::raw;
use super::report::{Path, Report};
use super::scalar::{Scalar, scalar, scalars};
use super::variants::Auth;
use crate::api::access::{Access, Digest, Scope, Token};
use crate::files;

/// The most tokens: each one is compared with the token of each call.
const MAX_TOKENS: usize = 1_000;
/// The fewest bytes of a secret: 96 random bits in base64.
const MIN_SECRET: usize = 16;
/// The most bytes of a secret, which has to fit into a header.
const MAX_SECRET: u64 = 4_096;

scalars! {
    /// What a token is called.
    TokenName(String), "a name of 1 to 64 of A-Z a-z 0-9 . _ -", token_name;
    /// The SHA-256 of a secret.
    Sha256(Digest), "64 hexadecimal digits, as printf %s TOKEN | sha256sum prints them", |text| {
        Digest::from_hex(text).ok_or_else(|| "is no SHA-256".to_owned())
    };
    /// The environment variable that holds a secret.
    Variable(String), "the name of an environment variable such as ORDERS_TOKEN", variable;
    /// The file that holds a secret.
    SecretFile(PathBuf), "the path of a file", |text| match text {
        "" => Err("is empty".to_owned()),
        path => Ok(PathBuf::from(path)),
    };
    /// What a token is good for.
    TokenScope(Scope), "read, admin, register:SERVICE, register:PREFIX* or register:*", |text| {
        text.parse().map_err(|wrong: crate::api::access::NoScope| wrong.to_string())
    };
}

/// Who may call.
pub(super) fn access(raw: &raw::Registry, report: &mut Report) -> Access {
    let Some(Auth::Settings(settings)) = &raw.auth else {
        return Access::Anybody;
    };
    let auth = Path::default().key("registry").key("auth");
    let Some(several) = &settings.tokens else {
        if report.whole(&auth) {
            report.error(&auth, format!("has no tokens ({EXPECTED_TOKENS})"));
        }
        return Access::Tokens(Vec::new());
    };
    let path = auth.key("tokens");
    if several.0.is_empty() && report.whole(&path) {
        report.error(&path, format!("is empty ({EXPECTED_TOKENS})"));
    }
    if several.0.len() > MAX_TOKENS {
        let message = format!("has too many items (expected at most {MAX_TOKENS})");
        report.error(&path, message);
    }
    let mut reader = Tokens::default();
    for (position, raw) in several.0.iter().take(MAX_TOKENS).enumerate() {
        reader.read(&raw.0, &path.item(position), report);
    }
    Access::Tokens(reader.tokens)
}

const EXPECTED_TOKENS: &str =
    "expected for example tokens: [{name: ci, env: CI_TOKEN, scopes: [read]}]";

/// The tokens read so far.
#[derive(Default)]
struct Tokens {
    tokens: Vec<Arc<Token>>,
    names: HashSet<String>,
}

impl Tokens {
    fn read(&mut self, raw: &raw::Token, path: &Path, report: &mut Report) {
        let name = self.name(raw, path, report);
        let digest = self.digest(raw, path, report);
        let scopes: Vec<Scope> = match &raw.scopes {
            Some(scopes) => scopes.0.iter().map(|scope| scope.0.clone()).collect(),
            None => Vec::new(),
        };
        let list = path.key("scopes");
        if scopes.is_empty() && report.whole(path) && report.whole(&list) {
            report.error(path, "has no scopes (expected for example scopes: [read])");
        }
        if let (Some(name), Some(digest)) = (name, digest) {
            self.tokens
                .push(Arc::new(Token::new(name, digest, &scopes)));
        }
    }

    fn name<'raw>(
        &mut self,
        raw: &'raw raw::Token,
        path: &Path,
        report: &mut Report,
    ) -> Option<&'raw str> {
        let Some(TokenName(name)) = &raw.name else {
            if report.whole(path) {
                report.error(path, "has no name (expected for example name: ci)");
            }
            return None;
        };
        if !self.names.insert(name.clone()) {
            let message = "is the name of another token, too (expected one of its own)";
            report.error(&path.key("name"), message);
        }
        Some(name)
    }

    fn digest(&self, raw: &raw::Token, path: &Path, report: &mut Report) -> Option<Digest> {
        let (key, digest) = match (&raw.sha256, &raw.env, &raw.file) {
            (Some(Sha256(digest)), None, None) => ("sha256", Ok(*digest)),
            (None, Some(Variable(name)), None) => ("env", from_variable(name)),
            (None, None, Some(SecretFile(file))) => ("file", from_file(file)),
            (None, None, None) => {
                if report.whole(path) {
                    report.error(path, "has no secret (expected one of sha256, env and file)");
                }
                return None;
            }
            _ => {
                report.error(
                    path,
                    "has more than one secret (expected one of sha256, env and file)",
                );
                return None;
            }
        };
        match digest {
            Ok(digest) => {
                if self.tokens.iter().any(|token| token.digest() == digest) {
                    let message = "is the secret of another token, too (expected one of its own)";
                    report.error(&path.key(key), message);
                }
                Some(digest)
            }
            Err(message) => {
                report.error(&path.key(key), message);
                None
            }
        }
    }
}

fn from_variable(name: &str) -> Result<Digest, String> {
    match std::env::var_os(name) {
        Some(secret) => digest_of(secret.as_encoded_bytes()),
        None => Err("is not set (expected a variable that holds the token)".to_owned()),
    }
}

fn from_file(path: &std::path::Path) -> Result<Digest, String> {
    let secret = files::read(path, MAX_SECRET + 2).map_err(|error| {
        format!("cannot be read: {error} (expected a file that holds the token)")
    })?;
    let secret = secret.strip_suffix(b"\n").unwrap_or(&secret);
    digest_of(secret.strip_suffix(b"\r").unwrap_or(secret))
}

fn digest_of(secret: &[u8]) -> Result<Digest, String> {
    let wrong = match secret.len() {
        0 => "holds nothing",
        length if length < MIN_SECRET => "holds a token that is too short",
        length if length as u64 > MAX_SECRET => "holds a token that is too long",
        _ if !secret.iter().all(u8::is_ascii_graphic) => {
            "holds spaces or characters that no header carries"
        }
        _ => return Ok(Digest::of(secret)),
    };
    Err(format!(
        "{wrong} (expected a random text of {MIN_SECRET} to {MAX_SECRET} visible ASCII characters)"
    ))
}

fn token_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("is no token's name".to_owned())
    }
}

fn variable(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !text.is_empty() && text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
    {
        Ok(text.to_owned())
    } else {
        Err("is no variable's name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_fits_a_header() {
        let secret = b"0123456789abcdef";
        assert_eq!(digest_of(secret), Ok(Digest::of(secret)));
        for (secret, wrong) in [
            (&b""[..], "holds nothing"),
            (b"0123456789abcde", "too short"),
            (b"0123456789 abcdef", "spaces or characters"),
            (b"0123456789\xffabcdef", "spaces or characters"),
            (&[b'x'; 4_097], "too long"),
        ] {
            assert!(digest_of(secret).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_end_of_a_files_line_is_no_part_of_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, digest) in [
            ("0123456789abcdef", true),
            ("0123456789abcdef\n", true),
            ("0123456789abcdef\r\n", true),
            ("0123456789abcdef\n\n", false),
            (" 0123456789abcdef", false),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = from_file(&path);
            assert_eq!(read.is_ok(), digest, "{text:?}");
            assert!(read.is_err() || read == Ok(Digest::of(b"0123456789abcdef")));
        }
    }
}
