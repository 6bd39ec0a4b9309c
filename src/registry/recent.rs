//! The membership as it was not long ago, so that a reader who was cut off is told what it missed
//! and not everything again.
//!
//! Keeping a snapshot costs only what has changed since, because snapshots share the rest. Not every
//! one is kept: they are some time apart, and a reader goes back to the newest kept one that it is
//! no older than. The difference from there to now holds all that is new or changed. But it says
//! nothing of members that came *and* went after the kept snapshot, and the reader may have heard of
//! their coming. So between two kept snapshots it is noted who left, and when.
//!
//! What is kept is bounded by number, and by an upper estimate of the memory that nothing else holds
//! any more. Beyond either, the oldest goes: readers from before then start over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::ordmap::DiffItem;

use crate::instance::Instance;
use crate::names::{InstanceId, ServiceName};

use super::snapshot::{Member, Members, Revision, Snapshot};

/// The least time between two kept snapshots. With [`MAX_KEPT`] of them, the membership may change
/// without a pause for two minutes before a reader is too old: longer than a restart or a failover
/// of whatever stands between it and callboard.
const SPACING: Duration = Duration::from_millis(250);
const MAX_KEPT: usize = 512;
/// The most that may be held, in bytes.
const BUDGET: usize = 64 << 20;
/// What one change leaves behind in the trees: the nodes on the way to it, two or three in each of
/// the two maps, of 16 entries each.
const NODES: usize = 2_048;

/// A member that left, and the revision its service had after that.
type Departure = (Revision, ServiceName, InstanceId);

/// Snapshots of the recent past, oldest first; never empty.
#[derive(Debug)]
pub(super) struct Recent {
    kept: VecDeque<Kept>,
    /// The sum of their weights.
    held: usize,
}

#[derive(Debug)]
struct Kept {
    snapshot: Arc<Snapshot>,
    at: Instant,
    /// Who left between this snapshot and the next kept one.
    departed: Arc<Vec<Departure>>,
    /// The memory that changes between the two left to this one, in bytes, at most.
    weight: usize,
}

/// How to bring a reader up to date.
#[derive(Clone, Debug)]
pub struct Missed {
    /// A snapshot that the reader is no older than.
    pub base: Arc<Snapshot>,
    /// What it is brought up to date to.
    pub now: Arc<Snapshot>,
    /// Up to where it knows everything.
    pub knows: Revision,
    departed: Vec<Arc<Vec<Departure>>>,
}

impl Missed {
    /// Everyone who left after what the reader knows, whether they are back or not, and maybe some
    /// who left `now` since.
    pub fn departed(&self) -> impl Iterator<Item = (&ServiceName, &InstanceId)> {
        let departed = self.departed.iter().flat_map(|departed| departed.iter());
        departed
            .filter(|(revision, ..)| *revision > self.knows)
            .map(|(_, service, id)| (service, id))
    }
}

impl Recent {
    pub(super) fn new(snapshot: Arc<Snapshot>, now: Instant) -> Self {
        Self {
            kept: VecDeque::from([Kept::new(snapshot, now)]),
            held: 0,
        }
    }

    /// Takes note that `before` became `after`.
    pub(super) fn changed(&mut self, before: &Snapshot, after: &Arc<Snapshot>, now: Instant) {
        let Some(last) = self.kept.back_mut() else {
            return;
        };
        self.held -= last.weight;
        last.note(before, after);
        self.held += last.weight;
        if now.saturating_duration_since(last.at) >= SPACING || last.weight > BUDGET {
            self.kept.push_back(Kept::new(Arc::clone(after), now));
        }
        while self.kept.len() > MAX_KEPT || self.held > BUDGET {
            let oldest = self.kept.pop_front();
            self.held -= oldest.map_or(0, |kept| kept.weight);
        }
    }

    /// What a reader of one service, or of all, missed up to `now` who knows everything up to
    /// `knows`; `None` if that is too long ago to tell.
    pub(super) fn since(
        &self,
        only: Option<&ServiceName>,
        knows: Revision,
        now: Arc<Snapshot>,
    ) -> Option<Missed> {
        let after = self
            .kept
            .partition_point(|kept| kept.snapshot.revision_followed(only) <= knows);
        let base = after.checked_sub(1)?;
        Some(Missed {
            base: Arc::clone(&self.kept.get(base)?.snapshot),
            now,
            knows,
            departed: self
                .kept
                .range(base..)
                .map(|kept| Arc::clone(&kept.departed))
                .collect(),
        })
    }
}

impl Kept {
    fn new(snapshot: Arc<Snapshot>, at: Instant) -> Self {
        Self {
            snapshot,
            at,
            departed: Arc::default(),
            weight: 0,
        }
    }

    fn note(&mut self, before: &Snapshot, after: &Snapshot) {
        let nobody = Members::default();
        for service in before.services.diff(&after.services) {
            let (service, old, new) = match service {
                DiffItem::Add(service, new) => (service, &nobody, &**new),
                DiffItem::Update {
                    old: (service, old),
                    new: (_, new),
                } => (service, &**old, &**new),
                DiffItem::Remove(service, old) => (service, &**old, &nobody),
            };
            for member in old.instances.diff(&new.instances) {
                self.weight += NODES;
                match member {
                    DiffItem::Add(..) => {}
                    DiffItem::Update {
                        old: (_, old),
                        new: (_, new),
                    } => self.weight += weight(old, Some(new)),
                    DiffItem::Remove(id, old) => {
                        self.weight += weight(old, None);
                        let revision = after.revision_of(service.as_str());
                        let departure = (revision, service.clone(), id.clone());
                        Arc::make_mut(&mut self.departed).push(departure);
                    }
                }
            }
        }
    }
}

/// What is left to hold of `old` once `new` has taken its place, in bytes.
fn weight(old: &Member, new: Option<&Arc<Member>>) -> usize {
    let shared = new.is_some_and(|new| Arc::ptr_eq(&old.instance, &new.instance));
    let instance = if shared { 0 } else { size(&old.instance) };
    size_of::<Member>() + instance
}

fn size(instance: &Instance) -> usize {
    /// A string's own fields and its share of a tree node.
    const TEXT: usize = 64;
    let tags = instance.tags.iter().map(|tag| TEXT + tag.len());
    let metadata = instance.metadata.iter();
    let metadata = metadata.map(|(key, value)| 2 * TEXT + key.len() + value.len());
    size_of::<Instance>() + tags.chain(metadata).sum::<usize>()
}

#[cfg(test)]
mod tests;
