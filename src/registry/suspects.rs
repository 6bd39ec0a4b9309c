//! Members whose lease has run out, and how long each may stay.
//!
//! A missed heartbeat alone proves little: a garbage collection, a lost packet or a busy registry
//! misses one as well as a crash does. So whoever misses its time becomes a suspect and is asked
//! ([`Observer::leases_changed`](super::Observer::leases_changed)), and three kinds of evidence
//! decide together:
//!
//! Trip conditions, whichever comes first:
//! * a probe of the suspect fails, with no request answered by it meanwhile: it goes at once;
//! * two more ttls pass without a heartbeat: it goes, whatever its probes say. Something answers
//!   there, but whoever promised to renew does not.
//!
//! Recovery condition: a heartbeat. As long as the suspect is here it counts, however late.
//!
//! A suspect that nobody has failed to reach never goes while its service is losing more than half
//! of its members within one ttl. That many at once are more likely cut off from callboard than
//! dead (Eureka's self-preservation, but per service, for services of any size, and without shielding
//! those that are proven dead).
//!
//! Architecture invariant: no clock is read and nobody is asked in here.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::names::{InstanceId, ServiceName};
use crate::units::format_duration;

use super::expiry::Holder;

/// How many ttls a suspect that nobody failed to reach may stay.
const GRACE_TTLS: u32 = 2;
/// How often a suspect is looked at again that stays beyond that, as a part of its ttl.
const REVIEW_PART: u32 = 4;
/// The least time between two looks.
const MIN_REVIEW: Duration = Duration::from_millis(10);

/// What became known of a suspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// It answers: to a probe or to a request.
    Answers,
    /// It does not: why, in words that name the address.
    Fails(String),
}

/// All suspects.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    by_member: HashMap<Key, Suspect>,
    /// By when each is to be looked at.
    queue: BTreeSet<(Instant, Key)>,
    by_service: HashMap<ServiceName, Losses>,
}

/// A suspect whose time is up.
#[derive(Debug)]
pub(super) struct Condemned {
    pub(super) holder: Holder,
    pub(super) missed_at: Instant,
    /// For the journal.
    pub(super) why: String,
    testimony: Option<Testimony>,
}

pub(super) type Key = (ServiceName, InstanceId);

#[derive(Debug)]
struct Suspect {
    holder: Holder,
    missed_at: Instant,
    look_at: Instant,
    testimony: Option<Testimony>,
}

/// What a service is losing.
#[derive(Debug, Default)]
struct Losses {
    suspects: usize,
    /// When each of those that went lately no longer counts.
    gone: VecDeque<Instant>,
}

impl Suspects {
    /// The lease of `holder` ran out at `missed_at`.
    pub(super) fn add(&mut self, holder: Holder, missed_at: Instant) {
        let look_at = grace(&holder, missed_at);
        let key = key(&holder);
        self.remove(&key);
        self.queue.insert((look_at, key.clone()));
        self.by_service.entry(key.0.clone()).or_default().suspects += 1;
        let suspect = Suspect {
            holder,
            missed_at,
            look_at,
            testimony: None,
        };
        self.by_member.insert(key, suspect);
    }

    /// Takes what became known of a member into account, if it is a suspect.
    pub(super) fn testify(&mut self, key: &Key, testimony: Testimony, now: Instant) {
        let failed = self.is_unreachable(key);
        let Some(suspect) = self.by_member.get_mut(key) else {
            return;
        };
        let grace = grace(&suspect.holder, suspect.missed_at);
        let fails = matches!(testimony, Testimony::Fails(_));
        suspect.testimony = Some(testimony);
        if fails {
            self.look_at(key, now);
        } else if failed {
            self.look_at(key, grace.max(now));
        }
    }

    /// It is no suspect any more: it renewed, left or got another lease. Gives its holder back if it
    /// was one.
    pub(super) fn clear(&mut self, key: &Key) -> Option<Holder> {
        self.remove(key).map(|suspect| suspect.holder)
    }

    /// Nobody is a suspect any more. Gives all holders back.
    pub(super) fn clear_all(&mut self) -> Vec<Holder> {
        let suspects = std::mem::take(self).by_member;
        suspects
            .into_values()
            .map(|suspect| suspect.holder)
            .collect()
    }

    /// When to call [`Suspects::due`] next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(look_at, _)| *look_at)
    }

    /// Takes out those whose time is up by `now`; `members` is how many a service has.
    pub(super) fn due(
        &mut self,
        now: Instant,
        members: impl Fn(&ServiceName) -> usize,
    ) -> Vec<Condemned> {
        let mut condemned: Vec<Condemned> = Vec::new();
        let mut leaving: HashMap<ServiceName, usize> = HashMap::new();
        while let Some((look_at, key)) = self.queue.first().cloned() {
            if look_at > now {
                break;
            }
            let staying = |service| {
                let leaving = leaving.get(service).copied().unwrap_or_default();
                members(service).saturating_sub(leaving)
            };
            if !self.is_unreachable(&key) && self.is_mass_loss(&key.0, staying(&key.0), now) {
                self.look_again(&key, now);
                continue;
            }
            let Some(suspect) = self.remove(&key) else {
                break;
            };
            let until = now + bounded(suspect.holder.lease.ttl());
            let losses = self.by_service.entry(key.0.clone()).or_default();
            losses.gone.push_back(until);
            *leaving.entry(key.0).or_default() += 1;
            condemned.push(Condemned {
                why: suspect.why(now),
                missed_at: suspect.missed_at,
                holder: suspect.holder,
                testimony: suspect.testimony,
            });
        }
        if !condemned.is_empty() {
            self.by_service.retain(|_, losses| losses.matter(now));
        }
        condemned
    }

    /// A condemned suspect could not be taken out; it comes up again at `look_at`, unless it is found
    /// to answer before that.
    pub(super) fn spare(&mut self, condemned: Condemned, look_at: Instant) {
        let key = key(&condemned.holder);
        self.add(condemned.holder, condemned.missed_at);
        self.look_at(&key, look_at);
        if let Some(suspect) = self.by_member.get_mut(&key) {
            suspect.testimony = condemned.testimony;
        }
        if let Some(losses) = self.by_service.get_mut(&key.0) {
            losses.gone.pop_back();
        }
    }

    fn is_unreachable(&self, key: &Key) -> bool {
        let suspect = self.by_member.get(key);
        suspect.is_some_and(|suspect| matches!(suspect.testimony, Some(Testimony::Fails(_))))
    }

    fn is_mass_loss(&mut self, service: &ServiceName, members: usize, now: Instant) -> bool {
        let Some(losses) = self.by_service.get_mut(service) else {
            return false;
        };
        losses.matter(now);
        let gone = losses.gone.len();
        2 * (losses.suspects + gone) > members + gone
    }

    fn look_again(&mut self, key: &Key, now: Instant) {
        if let Some(suspect) = self.by_member.get(key) {
            let wait = bounded(suspect.holder.lease.ttl()) / REVIEW_PART;
            self.look_at(key, now + wait.max(MIN_REVIEW));
        }
    }

    fn look_at(&mut self, key: &Key, at: Instant) {
        if let Some(suspect) = self.by_member.get_mut(key) {
            self.queue.remove(&(suspect.look_at, key.clone()));
            suspect.look_at = at;
            self.queue.insert((at, key.clone()));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Suspect> {
        let suspect = self.by_member.remove(key)?;
        self.queue.remove(&(suspect.look_at, key.clone()));
        if let Some(losses) = self.by_service.get_mut(&key.0) {
            losses.suspects -= 1;
            if losses.suspects == 0 && losses.gone.is_empty() {
                self.by_service.remove(&key.0);
            }
        }
        Some(suspect)
    }
}

impl Losses {
    /// Forgets what no longer counts; says whether anything is left.
    fn matter(&mut self, now: Instant) -> bool {
        self.gone.retain(|until| *until > now);
        self.suspects > 0 || !self.gone.is_empty()
    }
}

/// Until when it may stay without a heartbeat.
fn grace(holder: &Holder, missed_at: Instant) -> Instant {
    missed_at + bounded(holder.lease.ttl().saturating_mul(GRACE_TTLS))
}

/// Short enough to be added to any moment.
fn bounded(duration: Duration) -> Duration {
    duration.min(Duration::from_secs(100 * 365 * 24 * 60 * 60))
}

impl Suspect {
    fn why(&self, now: Instant) -> String {
        let overdue = now.saturating_duration_since(self.missed_at);
        let overdue = format_duration(overdue);
        match &self.testimony {
            Some(Testimony::Fails(why)) => format!("lease ran out {overdue} ago; probe: {why}"),
            Some(Testimony::Answers) => format!(
                "lease ran out {overdue} ago and was not renewed since, although the instance answers"
            ),
            None => format!(
                "lease ran out {overdue} ago and was not renewed since; no probe has answered"
            ),
        }
    }
}

fn key(holder: &Holder) -> Key {
    (holder.service.clone(), holder.id.clone())
}
