//! Getting an endpoint for an attempt, waiting for one where the policy allows it.
//!
//! There are two reasons to wait, and one [`line`](super::line) for both. At a limit of
//! [`Limits`](super::policy::Limits) a request waits for others to finish; without any available
//! instance it is held, if the policy has a [`Hold`](super::policy::Hold), until one is published.
//! Whatever frees something, a [`Pick`] that ends, a publication, a limit that grows, *serves* the line:
//! it takes endpoints on behalf of those who wait, first come first served, until the next one
//! cannot be helped. So nobody is woken in vain, nobody is forgotten, and a newcomer who finds
//! somebody waiting lines up too. When a service comes back, those who were held go on through the same
//! limits as everybody.
//!
//! A retry that is bound to instances which are full steps aside for those behind it. Retries may
//! fill half of the queue only: under load the first tries come first.
//!
//! Who waits holds nothing, and is in flight nowhere.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::Cluster;
use super::line::{Given, Kind, Locked};
use super::pick::{Entry, Nobody, Pick, Tried};
use super::policy::Policy;

/// Why an attempt gets no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nobody to pick, and nothing to wait for.
    Nobody(Nobody),
    /// So many wait already.
    Crowded(Nobody, u32),
    /// It has waited this long in vain.
    Waited(Nobody, Duration),
}

/// On what terms a request waits.
struct Terms {
    kind: Kind,
    /// How many may wait.
    places: u32,
    /// How long each of them may.
    patience: Duration,
}

impl Cluster {
    /// The endpoint that [`Cluster::acquire`] would give at once, if it would.
    pub fn acquire_now(self: &Arc<Self>, hash: u64, tried: &Tried, now: Instant) -> Option<Pick> {
        // What is explained is explained by the whole of it.
        let is_simple = self.line.is_empty() && tried.eye().is_none();
        is_simple.then(|| self.pick(hash, tried, now).ok())?
    }

    /// Chooses an endpoint as [`Cluster::pick`] does, and waits for one as the policy says, at most
    /// until `deadline`. Dropping the future gives the place in the line up.
    ///
    /// # Errors
    /// When the attempt gets none.
    pub async fn acquire(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        deadline: Instant,
    ) -> Result<Pick, Refusal> {
        if self.line.is_empty() {
            match self.pick(hash, tried, Instant::now()) {
                Ok(pick) => return Ok(pick),
                Err(nobody) if terms(&self.active.load().policy, nobody, tried).is_none() => {
                    self.see_refused(hash, tried, false);
                    return Err(Refusal::Nobody(nobody));
                }
                Err(_) => {}
            }
        }
        let waited = self.wait(hash, tried, deadline).await;
        if let Err(refusal) = &waited {
            self.see_refused(hash, tried, matches!(refusal, Refusal::Waited(..)));
        }
        waited
    }

    /// Whether somebody waits here.
    pub(super) fn is_awaited(&self) -> bool {
        !self.line.is_empty()
    }

    /// Gives those who wait what there is to give.
    pub(super) fn serve(self: &Arc<Self>) {
        if !self.line.is_empty() {
            let unclaimed = self.serve_locked(&mut self.line.lock()).unclaimed;
            drop(unclaimed);
        }
    }

    async fn wait(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        deadline: Instant,
    ) -> Result<Pick, Refusal> {
        let started = Instant::now();
        let (mut place, lined_up) = self.line_up(hash, tried);
        let (obstacle, patience) = match lined_up {
            LinedUp::Waits(obstacle, patience) => {
                if let Some(eye) = tried.eye() {
                    eye.waits(obstacle);
                }
                (obstacle, patience)
            }
            LinedUp::Refused(refusal) => return Err(refusal),
            LinedUp::Given => return place.given(None),
        };
        let until = deadline.min(started + patience);
        match timeout_at(until.into(), &mut place.receiver).await {
            Ok(Ok(given)) => given.map_err(Refusal::Nobody),
            Ok(Err(_)) | Err(_) => {
                self.line.lock().remove(place.ticket);
                let now = Instant::now();
                let obstacle = self.look(hash, tried, now).unwrap_or(obstacle);
                let waited = until.saturating_duration_since(started);
                place.given(Some(Refusal::Waited(obstacle, waited)))
            }
        }
    }

    /// Joins the line and serves it.
    fn line_up(self: &Arc<Self>, hash: u64, tried: &Tried) -> (Place<'_>, LinedUp) {
        let policy = Arc::clone(&self.active.load().policy);
        let mut line = self.line.lock();
        let (ticket, receiver) = line.join(hash, tried.clone());
        let place = Place {
            cluster: self,
            ticket,
            receiver,
        };
        let served = self.serve_locked(&mut line);
        let left_standing = line.find(ticket).map(|waiter| {
            // Serving stops short of those to whom nothing else can happen.
            match waiter.obstacle.or(served.stopped_by) {
                Some(Nobody::Full(limit)) => Nobody::Full(limit),
                _ if tried.is_empty() => Nobody::Available,
                _ => Nobody::Untried,
            }
        });
        let lined_up = match left_standing {
            None => LinedUp::Given,
            Some(obstacle) => match terms(&policy, obstacle, tried) {
                Some(terms) if line.admit(ticket, terms.kind, terms.places) => {
                    LinedUp::Waits(obstacle, terms.patience)
                }
                Some(terms) => LinedUp::Refused(Refusal::Crowded(obstacle, terms.places)),
                None => LinedUp::Refused(Refusal::Nobody(obstacle)),
            },
        };
        drop(line);
        drop(served.unclaimed);
        (place, lined_up)
    }

    fn serve_locked(self: &Arc<Self>, line: &mut Locked<'_>) -> Served {
        let now = Instant::now();
        let mut served = Served::default();
        let mut from = 0;
        while let Some((ticket, waiter)) = line.next(from) {
            from = ticket + 1;
            // Whoever this keeps from anything joins the line, and looks again when it has the lock.
            let (taken, _) = self.take(waiter.hash, &waiter.tried, now, Entry::New);
            if let Err(obstacle) = taken {
                let policy = Arc::clone(&self.active.load().policy);
                if terms(&policy, obstacle, &waiter.tried).is_some() {
                    waiter.obstacle = Some(obstacle);
                    if concerns_all(obstacle, &waiter.tried) {
                        served.stopped_by = Some(obstacle);
                        break;
                    }
                    continue;
                }
            }
            served.unclaimed.extend(line.give(ticket, taken));
        }
        served
    }
}

/// What joining the line came to.
enum LinedUp {
    /// It was given something at once.
    Given,
    /// It waits for this to change, so long at most.
    Waits(Nobody, Duration),
    /// It may not wait. It leaves the line with its place.
    Refused(Refusal),
}

/// What serving the line came to.
#[derive(Default)]
struct Served {
    /// What stood in the way of the one at whom it stopped, and stands in everybody's behind.
    stopped_by: Option<Nobody>,
    /// To be dropped once the line is unlocked: ending a pick serves the line.
    unclaimed: Vec<Given>,
}

/// Whether what stands in the way of one who has `tried` these stands in everybody's.
fn concerns_all(obstacle: Nobody, tried: &Tried) -> bool {
    match obstacle {
        Nobody::Full(limit) => limit.is_shared() || tried.is_empty(),
        Nobody::Available => true,
        Nobody::Untried => false,
    }
}

/// On what terms one waits for this to change; `None` if it does not.
fn terms(policy: &Policy, obstacle: Nobody, tried: &Tried) -> Option<Terms> {
    let limits = &policy.limits;
    match obstacle {
        Nobody::Full(_) => Some(Terms {
            kind: Kind::Queued,
            places: if tried.is_empty() {
                limits.queue
            } else {
                limits.queue / 2
            },
            patience: limits.queue_timeout,
        }),
        // An answer, even a bad one, is worth more than waiting.
        Nobody::Untried if tried.has_answer() => None,
        Nobody::Available | Nobody::Untried => policy.hold.map(|hold| Terms {
            kind: Kind::Held,
            places: hold.max,
            patience: hold.timeout,
        }),
    }
}

/// A place in the line, given up when dropped.
struct Place<'a> {
    cluster: &'a Arc<Cluster>,
    ticket: u64,
    receiver: oneshot::Receiver<Given>,
}

impl Place<'_> {
    /// What it was given, if it was, or else `otherwise`.
    fn given(&mut self, otherwise: Option<Refusal>) -> Result<Pick, Refusal> {
        match self.receiver.try_recv() {
            Ok(given) => given.map_err(Refusal::Nobody),
            Err(_) => Err(otherwise.unwrap_or(Refusal::Nobody(Nobody::Available))),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.cluster.line.lock().remove(self.ticket);
    }
}
