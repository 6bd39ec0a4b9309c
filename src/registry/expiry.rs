//! Which leases run out next.
//!
//! A heap ordered by the deadline each lease had when it was last looked at. Heartbeats never touch
//! it: deadlines only move into the future, so an entry can be too early but never too late. When
//! one is due its real deadline is read again, and the entry goes back or its holder is handed out.
//! A lease that is renewed all the time thus costs O(log n) once per ttl instead of once per
//! heartbeat (the deadline-ordered set of tokio's mini-redis, with lazy deletion).
//!
//! Members that left, or got another lease, leave their entry behind. It holds the lease weakly and
//! is dropped when it comes up; so that long leases that come and go cannot pile up until then, dead
//! entries are swept whenever the heap has doubled since the last sweep: O(1) per entry, amortised.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::names::{InstanceId, ServiceName};

use super::lease::Lease;

/// Fewer entries than this are never swept.
const SWEEP_FLOOR: usize = 1_024;

/// A member and the lease it holds.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The member's service.
    pub service: ServiceName,
    /// The member.
    pub id: InstanceId,
    /// Its lease.
    pub lease: Arc<Lease>,
}

/// The leases that will run out, soonest first.
#[derive(Debug)]
pub struct Expiry {
    heap: BinaryHeap<Entry>,
    sweep_at: usize,
}

impl Default for Expiry {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sweep_at: SWEEP_FLOOR,
        }
    }
}

impl Expiry {
    /// Waits for `holder`'s lease to run out. To be called once for every lease, and again for one
    /// that [`Expiry::due`] handed out and that runs on.
    pub fn watch(&mut self, holder: &Holder) {
        let Some(due) = holder.lease.deadline() else {
            return;
        };
        if self.heap.len() >= self.sweep_at {
            self.heap.retain(|entry| entry.lease.strong_count() > 0);
            self.sweep_at = SWEEP_FLOOR.max(2 * self.heap.len());
        }
        self.heap.push(Entry {
            due,
            service: holder.service.clone(),
            id: holder.id.clone(),
            lease: Arc::downgrade(&holder.lease),
        });
    }

    /// When to call [`Expiry::due`] next: no lease runs out before.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.due)
    }

    /// Takes out everyone whose lease has run out by `now`. They have not expired yet: that is for
    /// [`Lease::expire`] to say, which a heartbeat may still beat.
    pub fn due(&mut self, now: Instant) -> Vec<Holder> {
        let mut due = Vec::new();
        while self.heap.peek().is_some_and(|entry| entry.due <= now) {
            let Some(entry) = self.heap.pop() else { break };
            let Some(lease) = entry.lease.upgrade() else {
                continue;
            };
            match lease.deadline() {
                Some(later) if later > now => self.heap.push(Entry {
                    due: later,
                    ..entry
                }),
                Some(_) => due.push(Holder {
                    service: entry.service,
                    id: entry.id,
                    lease,
                }),
                None => {}
            }
        }
        due
    }
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    service: ServiceName,
    id: InstanceId,
    lease: Weak<Lease>,
}

/// Soonest is greatest, for a heap that pops the greatest.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn holder(id: &str, ttl: Duration, now: Instant) -> Holder {
        Holder {
            service: "web".parse().unwrap(),
            id: id.parse().unwrap(),
            lease: Arc::new(Lease::new(ttl, now)),
        }
    }

    fn ids(holders: &[Holder]) -> Vec<&str> {
        holders.iter().map(|holder| holder.id.as_str()).collect()
    }

    #[test]
    fn leases_come_up_soonest_first_and_not_before_their_time() {
        let start = Instant::now();
        let mut expiry = Expiry::default();
        let (a, b) = (
            holder("a", 3 * SECOND, start),
            holder("b", 2 * SECOND, start),
        );
        expiry.watch(&a);
        expiry.watch(&b);
        assert_eq!(expiry.next(), Some(start + 2 * SECOND));
        assert!(expiry.due(start + SECOND).is_empty());
        assert_eq!(ids(&expiry.due(start + 3 * SECOND)), ["b", "a"]);
        assert_eq!(expiry.next(), None);
    }

    #[test]
    fn a_lease_renewed_meanwhile_goes_back_to_its_new_deadline() {
        let start = Instant::now();
        let mut expiry = Expiry::default();
        let a = holder("a", 2 * SECOND, start);
        expiry.watch(&a);
        a.lease.renew(start + SECOND);
        assert!(expiry.due(start + 2 * SECOND).is_empty());
        assert_eq!(expiry.next(), Some(start + 3 * SECOND));
        assert_eq!(ids(&expiry.due(start + 3 * SECOND)), ["a"]);
    }

    #[test]
    fn leases_that_nobody_holds_any_more_never_come_up_and_do_not_pile_up() {
        let start = Instant::now();
        let mut expiry = Expiry::default();
        let stays = holder("stays", SECOND, start);
        expiry.watch(&stays);
        for _ in 0..100_000 {
            expiry.watch(&holder("comes-and-goes", 3_600 * SECOND, start));
        }
        assert!(expiry.heap.len() <= SWEEP_FLOOR);
        assert_eq!(ids(&expiry.due(start + 4_000 * SECOND)), ["stays"]);
        assert!(expiry.heap.is_empty());
    }
}
