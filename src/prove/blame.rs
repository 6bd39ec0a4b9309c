//! Which failed requests an instance is to blame for that died or stood still with them in hand.
//!
//! A request that may not be repeated, and that was sent to such an instance, has an outcome nobody
//! knows: it must fail, and the client must be told so. A request that was not sent must not fail.

use std::collections::HashSet;
use std::ops::Range;

use super::fleet::Member;
use super::record::Record;
use super::tally::Failure;

/// How much later, in milliseconds, a client on a busy machine may see what happened.
const GRACE_MS: u64 = 1_000;

/// An instance that stopped answering.
#[derive(Debug)]
pub(super) struct Lost {
    id: String,
    address: String,
    /// When failures are its fault.
    span_ms: Range<u64>,
    /// The POSTs it says it was sent.
    posts: HashSet<u64>,
}

impl Lost {
    /// `member`, which did not answer during this time. Its record is read now.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub(super) fn new(member: &Member, span_ms: Range<u64>) -> Result<Self, String> {
        let record = Record::read(&member.record).map_err(|e| format!("{}: {e}", member.id))?;
        Ok(Self {
            id: member.id.clone(),
            address: member.address(),
            span_ms: span_ms.start..span_ms.end + GRACE_MS,
            posts: record.posts.into_iter().collect(),
        })
    }

    /// Why this instance is to blame for `failure`, if it is.
    fn explains(&self, failure: &Failure) -> Option<String> {
        if failure.kind.is_repeatable() || !self.span_ms.contains(&failure.at_ms) {
            return None;
        }
        let id = &self.id;
        // Only a gateway's answer leaves open what became of the request.
        if !failure.saw.starts_with("502 ") && !failure.saw.starts_with("504 ") {
            return None;
        }
        if self.posts.contains(&failure.tag) {
            return Some(format!("{id} had received it"));
        }
        // What it was sent and had not read yet is in no record.
        let unsent = ["connection_refused", "connection_timeout", "destination_"];
        let sent = !unsent.iter().any(|error| failure.saw.contains(error));
        let named = names(&failure.saw, &self.address);
        (sent && named).then(|| format!("it had been sent to {id}"))
    }
}

/// Says of a failure which of the `lost` is to blame, if one is.
pub(super) fn blame(lost: &[Lost]) -> impl Fn(&Failure) -> Option<String> {
    |failure| lost.iter().find_map(|lost| lost.explains(failure))
}

/// Whether `text` names this very address, and not a longer one that begins with it.
fn names(text: &str, address: &str) -> bool {
    text.match_indices(address).any(|(at, _)| {
        let next = text[at + address.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::tally::Kind;

    fn lost() -> Lost {
        Lost {
            id: "web-1".to_owned(),
            address: "127.0.0.1:900".to_owned(),
            span_ms: 100..200,
            posts: [7].into(),
        }
    }

    fn explained(kind: Kind, at_ms: u64, tag: u64, saw: &str) -> bool {
        let failure = Failure {
            at_ms,
            kind,
            tag,
            saw: saw.to_owned(),
            phase: String::new(),
            explained: None,
        };
        blame(&[lost()])(&failure).is_some()
    }

    const BROKE: &str =
        "502 callboard; error=connection_terminated; details=\"instance at 127.0.0.1:900: broke\"";

    #[test]
    fn a_post_that_was_sent_to_the_dead_is_explained() {
        assert!(explained(Kind::Post, 100, 8, BROKE));
        assert!(explained(Kind::PostNew, 101, 7, "502 callboard"));
    }

    #[test]
    fn a_get_is_never_explained() {
        assert!(!explained(Kind::Get, 100, 7, BROKE));
    }

    #[test]
    fn neither_is_what_was_never_sent_or_failed_elsewhere_or_at_another_time() {
        let refused = BROKE.replace("connection_terminated", "connection_refused");
        assert!(!explained(Kind::Post, 100, 8, &refused));
        assert!(!explained(
            Kind::Post,
            100,
            8,
            &BROKE.replace(":900", ":9001")
        ));
        assert!(!explained(Kind::Post, 99, 7, BROKE));
        assert!(!explained(Kind::Post, 200, 7, BROKE));
        assert!(!explained(Kind::Post, 100, 8, "502 callboard"));
    }

    #[test]
    fn a_broken_connection_to_callboard_itself_is_nobody_else_s_fault() {
        assert!(!explained(Kind::Post, 100, 7, "kept connection: reset"));
        assert!(!explained(Kind::Post, 100, 7, "an answer of service shop"));
    }
}
