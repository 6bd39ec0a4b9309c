//! What clear-text listeners answer to an ACME server that wants to see whether callboard answers to a
//! name: HTTP-01 (RFC 8555, section 8.3).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

/// Where the server asks; a token follows.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// The answers that are waited for, by token. Cheap to clone; all clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Challenges(Arc<ArcSwap<BTreeMap<Box<str>, Bytes>>>);

impl Challenges {
    /// The answer to a request for `path`; `None` when it is no question that is waited for.
    pub fn answer(&self, path: &str) -> Option<Bytes> {
        let token = path.strip_prefix(PREFIX)?;
        self.0.load().get(token).cloned()
    }

    /// Answers questions for `token` until the offer is dropped.
    pub(super) fn offer(&self, token: &str, answer: &str) -> Offer {
        let answer = Bytes::copy_from_slice(answer.as_bytes());
        self.0.rcu(|pending| {
            let mut pending = BTreeMap::clone(pending);
            pending.insert(token.into(), answer.clone());
            pending
        });
        Offer {
            challenges: self.clone(),
            token: token.into(),
        }
    }
}

/// An answer that is given as long as this lives.
#[derive(Debug)]
pub(super) struct Offer {
    challenges: Challenges,
    token: Box<str>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.challenges.0.rcu(|pending| {
            let mut pending = BTreeMap::clone(pending);
            pending.remove(&self.token);
            pending
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pending_tokens_are_answered_and_only_below_the_prefix() {
        let challenges = Challenges::default();
        let of_listener = challenges.clone();
        let asked = |token: &str| of_listener.answer(&format!("{PREFIX}{token}"));
        assert_eq!(asked("a"), None);
        let first = challenges.offer("a", "a.thumb");
        let second = challenges.offer("b", "b.thumb");
        assert_eq!(asked("a").unwrap(), "a.thumb");
        assert_eq!(asked("b").unwrap(), "b.thumb");
        for other in ["", "c", "a/", "A", "../a"] {
            assert_eq!(asked(other), None, "{other:?}");
        }
        assert_eq!(of_listener.answer("/a"), None);
        drop(first);
        assert_eq!(asked("a"), None);
        assert_eq!(asked("b").unwrap(), "b.thumb");
        drop(second);
        assert_eq!(asked("b"), None);
    }
}
