//! What one reader has yet to be told, and the text that tells it, a chunk at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::names::{InstanceId, ServiceName};
use crate::registry::snapshot::{Member, Revision};
use crate::registry::watch::Missed;

use super::changes::{Change, Seen};
use super::sse;
use super::texts::Texts;
use super::view::Views;

/// How long a reader that was cut off is asked to wait before it comes back.
const RETRY: Duration = Duration::from_secs(2);
/// A chunk ends with the event, or the member of a snapshot, that takes it past this many bytes.
const CHUNK: usize = 16 * 1_024;
/// How many texts are looked up at once.
const BATCH: usize = 32;

/// How far one reader is.
pub(super) struct Backlog {
    /// What the reader knows once what is unsent is sent.
    seen: Seen,
    unsent: Unsent,
    /// The index of the last step that was sent whole.
    told: Revision,
    begun: bool,
}

enum Unsent {
    /// Every member that was seen, or every one after `last`.
    Snapshot { last: Option<Arc<Member>> },
    /// The differences between what it knows and what was seen.
    Changes(VecDeque<Change>),
}

#[derive(Serialize)]
struct Removed<'a> {
    service: &'a ServiceName,
    id: &'a InstanceId,
}

impl Backlog {
    /// All there is, for a reader that knows nothing.
    pub(super) fn everything(seen: Seen) -> Self {
        Self {
            told: seen.index,
            seen,
            unsent: Unsent::Snapshot { last: None },
            begun: false,
        }
    }

    /// What a reader missed.
    pub(super) fn of_missed(missed: &Missed, only: Option<&ServiceName>) -> Self {
        let mut seen = Seen::of(&missed.now, only);
        seen.index = seen.index.max(missed.knows);
        Self {
            seen,
            unsent: Unsent::Changes(Seen::made_up(missed, only)),
            told: missed.knows,
            begun: false,
        }
    }

    /// The index up to which the reader knows everything once all is sent.
    pub(super) fn index(&self) -> Revision {
        self.seen.index
    }

    /// Goes on to what is true now. Everything before has been sent.
    pub(super) fn step(&mut self, now: Seen) {
        self.unsent = Unsent::Changes(self.seen.until(&now));
        self.seen = now;
    }

    /// As much of what is unsent as goes into one chunk; empty when all is sent.
    pub(super) fn chunk(
        &mut self,
        texts: &Texts,
        views: &Views<'_>,
    ) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(&mut out);
        }
        while out.len() < CHUNK {
            let is_done = match &mut self.unsent {
                Unsent::Snapshot { last } => {
                    let listed = list(&self.seen, last, &mut out, texts, views)?;
                    if listed {
                        out.push(b']');
                        sse::end(&mut out, self.told);
                        self.unsent = Unsent::Changes(VecDeque::new());
                    }
                    listed
                }
                Unsent::Changes(changes) if changes.is_empty() => true,
                Unsent::Changes(changes) => {
                    let step = (self.told, self.seen.index);
                    tell(changes, step, &mut out, texts, views)?;
                    changes.is_empty()
                }
            };
            if is_done {
                self.told = self.seen.index;
                break;
            }
        }
        Ok(out)
    }

    fn begin(&self, out: &mut Vec<u8>) {
        sse::retry(out, RETRY);
        match self.unsent {
            Unsent::Snapshot { .. } => {
                sse::begin(out, "snapshot");
                out.push(b'[');
            }
            Unsent::Changes(_) => sse::comment(out, "resumed"),
        }
    }
}

/// Writes the next members of a list, from the one after `last` on; says whether there are no more.
fn list(
    seen: &Seen,
    last: &mut Option<Arc<Member>>,
    out: &mut Vec<u8>,
    texts: &Texts,
    views: &Views<'_>,
) -> Result<bool, serde_json::Error> {
    let rest = seen.members(last.as_deref());
    let batch: Vec<_> = rest.take(BATCH).cloned().collect();
    let made = texts.of(batch.iter(), views)?;
    let is_last = batch.is_empty();
    for (member, text) in batch.into_iter().zip(made) {
        if last.replace(member).is_some() {
            out.push(b',');
        }
        out.extend_from_slice(&text);
        if out.len() >= CHUNK {
            break;
        }
    }
    Ok(is_last)
}

/// Writes the next of the `changes` that lead from one index to another.
fn tell(
    changes: &mut VecDeque<Change>,
    (from, to): (Revision, Revision),
    out: &mut Vec<u8>,
    texts: &Texts,
    views: &Views<'_>,
) -> Result<(), serde_json::Error> {
    let batch = changes.len().min(BATCH);
    let upserted = changes.iter().take(batch).filter_map(Change::upserted);
    let mut made = texts.of(upserted, views)?.into_iter();
    for _ in 0..batch {
        let Some(change) = changes.pop_front() else {
            break;
        };
        let index = if changes.is_empty() { to } else { from };
        match change {
            Change::Upsert(_) => {
                let text = made.next().unwrap_or_default();
                sse::event(out, "upsert", &text, index);
            }
            Change::Remove(service, id) => {
                let (service, id) = (&service, &id);
                let text = serde_json::to_vec(&Removed { service, id })?;
                sse::event(out, "remove", &text, index);
            }
        }
        if out.len() >= CHUNK {
            break;
        }
    }
    Ok(())
}
