//! One bearer's credentials.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::names::ServiceName;

use super::scope::Scope;

/// The SHA-256 of a token's secret.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of a secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// One that is written as 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        let digit = |digit: u8| char::from(digit).to_digit(16);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?;
        }
        Some(Self(bytes))
    }
}

/// In constant time.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Digest {}

/// Shows nothing: a digest of a secret that somebody chose can be searched for.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

/// A token as callboard knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    name: Arc<str>,
    digest: Digest,
    scopes: Box<[Scope]>,
}

impl Token {
    /// A token by its name, which is what it is called in the journal and in errors.
    pub fn new(name: &str, digest: Digest, scopes: &[Scope]) -> Self {
        Self {
            name: name.into(),
            digest,
            scopes: scopes.into(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is good for.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The digest of its secret.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) fn is(&self, shown: &Digest) -> bool {
        self.digest == *shown
    }

    /// Whether its bearer may do everything.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }

    /// Whether its bearer may read.
    pub fn reads(&self) -> bool {
        let mut scopes = self.scopes.iter();
        scopes.any(|scope| matches!(scope, Scope::Admin | Scope::Read))
    }

    /// Whether its bearer may register anything.
    pub fn writes(&self) -> bool {
        self.scopes.iter().any(Scope::writes)
    }

    /// Whether its bearer may register instances of `service`.
    pub fn registers(&self, service: &ServiceName) -> bool {
        self.scopes.iter().any(|scope| scope.covers(service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, B.1: the SHA-256 of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_is_read_in_hexadecimal() {
        assert_eq!(Digest::from_hex(ABC), Some(Digest::of(b"abc")));
        assert_eq!(
            Digest::from_hex(&ABC.to_uppercase()),
            Some(Digest::of(b"abc"))
        );
        assert_ne!(Digest::from_hex(ABC), Some(Digest::of(b"abd")));
        for text in [
            "",
            "ba78",
            &ABC[1..],
            &format!("{ABC}0"),
            &ABC.replace('b', "g"),
        ] {
            assert_eq!(Digest::from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_shows_no_digest() {
        let token = Token::new("ci", Digest::of(b"abc"), &[Scope::Read]);
        let shown = format!("{token:?}");
        assert!(shown.contains("Digest(…)"), "{shown}");
        assert!(!shown.contains("186") && !shown.contains("ba78"), "{shown}");
    }

    #[test]
    fn scopes_add_up() {
        let scopes = |scopes: &[Scope]| Token::new("ci", Digest::of(b"abc"), scopes);
        let (orders, cart) = ("orders".parse().unwrap(), "cart".parse().unwrap());
        let of_orders = Scope::Service("orders".parse().unwrap());

        let nothing = scopes(&[]);
        assert!(!nothing.reads() && !nothing.writes() && !nothing.is_admin());
        let both = scopes(&[of_orders, Scope::Read]);
        assert!(both.reads() && both.writes() && !both.is_admin());
        assert!(both.registers(&orders) && !both.registers(&cart));
        let admin = scopes(&[Scope::Admin]);
        assert!(admin.reads() && admin.writes() && admin.is_admin() && admin.registers(&cart));
    }
}
