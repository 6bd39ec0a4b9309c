//! Which certificate a client is shown: the one for the name it asks for (SNI, RFC 6066, section 3).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::ACME_TLS_1;

/// The certificates by the names they are for. Of several for one name, such as one with an RSA and
/// one with an ECDSA key, the first whose signatures the client knows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// `example.com` for `*.example.com`.
    below: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// For clients that name nothing, or nothing that is known.
    first: Vec<Arc<CertifiedKey>>,
}

impl Shown {
    /// Adds a certificate for these names, in lower case, behind those that are there.
    pub(super) fn add<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a String>,
        key: &Arc<CertifiedKey>,
    ) {
        for name in names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.below, parent),
                None => (&mut self.exact, name.as_str()),
            };
            let keys = map.entry(name.to_owned()).or_default();
            keys.push(Arc::clone(key));
        }
        if self.first.is_empty() {
            self.first.push(Arc::clone(key));
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn of(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = lower_case(name);
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        self.exact
            .get(&*name)
            .or_else(|| self.below.get(parent()?))
            .unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = hello
            .server_name()
            .map_or(self.first.as_slice(), |name| self.of(name));
        let usable = keys
            .iter()
            .find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.or(keys.first()).cloned()
    }
}

/// The certificates that prove to an ACME server who has a name (RFC 8737), by that name.
#[derive(Debug, Default)]
pub(super) struct Proofs(pub(super) HashMap<String, Arc<CertifiedKey>>);

impl Proofs {
    /// Whether this handshake is by an ACME server that wants to see one.
    pub(super) fn are_asked_for(hello: &ClientHello<'_>) -> bool {
        hello
            .alpn()
            .is_some_and(|mut names| names.any(|name| name == ACME_TLS_1))
    }
}

impl ResolvesServerCert for Proofs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = lower_case(hello.server_name()?);
        self.0.get(&*name).cloned()
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificate::Certificate;
    use super::*;

    fn key() -> Arc<CertifiedKey> {
        Certificate::self_signed(&["a".to_owned()]).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_name_is_looked_for_in_full_then_below_its_parent_and_then_the_first_is_shown() {
        let keys = [key(), key(), key(), key()];
        let mut shown = Shown::default();
        assert!(shown.is_empty());
        shown.add(&names(&["first.example.com"]), &keys[0]);
        shown.add(&names(&["*.example.com"]), &keys[1]);
        shown.add(&names(&["shop.example.com", "example.com"]), &keys[2]);
        shown.add(&names(&["shop.example.com"]), &keys[3]);
        for (name, expected) in [
            ("first.example.com", 0),
            ("Other.Example.com", 1),
            ("SHOP.example.com", 2),
            ("example.com", 2),
            ("a.b.example.com", 0),
            ("com", 0),
            ("", 0),
        ] {
            let found = &shown.of(name)[0];
            assert!(Arc::ptr_eq(found, &keys[expected]), "{name}");
        }
        assert_eq!(shown.of("shop.example.com").len(), 2);
    }
}
