//! What a pick saw: who there was, who was out of the question and for what, and how the choice came
//! about.
//!
//! It is put together where the choice is made, from the same [`Active`] and with the figures that the
//! picker compared, and only for requests that carry an [`Eye`]. Everybody else pays a look at an
//! empty pointer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::address::Address;
use crate::balance::Algorithm;
use crate::balance::observe::{Observer, Obstacle, Why};
use crate::endpoint::{Endpoint, Standing};
use crate::health::availability::Availability;
use crate::names::InstanceId;

use super::Cluster;
use super::active::Active;
use super::pick::{Nobody, Tried};
use super::slot::Slot;
use super::zone;

/// The most candidates of one sight.
pub const CANDIDATES: usize = 50;

/// The most bytes of a reason that is shown.
const REASON: usize = 200;

/// What one pick saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// How requests are spread.
    pub algorithm: Algorithm,
    /// Whether last resorts served.
    pub panic: bool,
    /// The proxy's zone, if its instances came before others; with whether the request stayed in it.
    pub zone: Option<(Arc<str>, bool)>,
    /// The registry's revision that the clusters had come to.
    pub revision: u64,
    /// Why the one chosen was; `None` if nobody was.
    pub why: Option<Why>,
    /// The members, at most [`CANDIDATES`]: the one chosen, those that came up, those excluded, others.
    pub candidates: Vec<Candidate>,
    /// How many members there were.
    pub total: usize,
}

impl Sight {
    /// What it stands for if the choice could not be kept: nobody was chosen.
    pub fn refused(mut self) -> Self {
        self.why = None;
        for candidate in &mut self.candidates {
            candidate.chosen = false;
        }
        self
    }
}

/// One member as a pick saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Who it is.
    pub instance: InstanceId,
    /// Where it is.
    pub address: Address,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// What it was when the picker was made.
    pub availability: Availability,
    /// Its weight as registered.
    pub weight: u32,
    /// What that counted for, given slow start and reported load.
    pub effective_weight: f64,
    /// Requests it had in hand, this one apart.
    pub in_flight: u32,
    /// What the algorithm compared it by; less is better.
    pub score: Option<f64>,
    /// Whether it came up.
    pub drawn: bool,
    /// Whether it was chosen.
    pub chosen: bool,
    /// Why it was out of the question.
    pub excluded: Option<Excluded>,
}

/// Why a member was out of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It is not available, for this reason.
    Unavailable(Availability, Option<Arc<str>>),
    /// Its weight is 0.
    Weightless,
    /// The request has tried it.
    Tried,
    /// It has left, or no longer takes requests, since the picker was made.
    Left,
    /// It is on trial after an ejection, and another request has the one place.
    OnTrial,
    /// It has as many requests in flight as one instance may have.
    Full(u32),
    /// It has as many requests in flight as bounded load gives it.
    Bounded,
    /// It is of another zone than the one that the request stayed in.
    OtherZone,
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(availability, None) => write!(f, "{availability}"),
            Self::Unavailable(availability, Some(why)) => write!(f, "{availability}: {why}"),
            Self::Weightless => f.write_str("weight 0"),
            Self::Tried => f.write_str("tried before"),
            Self::Left => f.write_str("has just left or begun to drain"),
            Self::OnTrial => f.write_str("on trial after its ejection, with another request"),
            Self::Full(most) => write!(f, "at its limit of {most} in flight"),
            Self::Bounded => f.write_str("at its bound of bounded_load"),
            Self::OtherZone => f.write_str("other zone"),
        }
    }
}

/// Where the picks of one request leave what they see. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Eye(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    sight: ArcSwapOption<Sight>,
    /// What the request waited for.
    obstacle: ArcSwapOption<Nobody>,
}

impl Eye {
    /// Takes what the last pick saw.
    pub fn sight(&self) -> Option<Sight> {
        self.0.sight.swap(None).map(Arc::unwrap_or_clone)
    }

    /// Takes what the last pick waited for, if it did.
    pub fn waited_for(&self) -> Option<Nobody> {
        self.0.obstacle.swap(None).map(|obstacle| *obstacle)
    }

    pub(super) fn waits(&self, obstacle: Nobody) {
        self.0.obstacle.store(Some(Arc::new(obstacle)));
    }

    pub(super) fn leave(&self, sight: Sight) {
        self.0.sight.store(Some(Arc::new(sight)));
    }
}

/// A member as an explanation needs it, beside the picker.
pub(super) struct Known {
    endpoint: Arc<Endpoint>,
    factor: f32,
    availability: Availability,
    /// Why it is not ready.
    reason: Option<Arc<str>>,
    /// Whether the picker knows it as one that may be picked.
    is_eligible: bool,
}

impl Known {
    pub(super) fn of(slot: &Slot, is_eligible: bool) -> Self {
        let (availability, reason) = slot.explained();
        Self {
            endpoint: Arc::clone(&slot.endpoint),
            factor: slot.share.factor() as f32,
            availability,
            reason,
            is_eligible,
        }
    }
}

impl Cluster {
    /// As [`Cluster::choose`], and leaves what it sees.
    #[cold]
    pub(super) fn choose_seen<'a>(
        &self,
        active: &'a Active,
        (hash, tried, now): (u64, &Tried, Instant),
        eye: &Eye,
    ) -> Result<&'a Arc<Endpoint>, Nobody> {
        let mut listener = Listener {
            active,
            tried,
            notes: Vec::new(),
            why: None,
        };
        let chosen = self.choose_before(active, hash, tried, now, &mut listener);
        let (key, stays) = match &chosen {
            Ok((endpoint, stays)) => (Some(endpoint.key()), *stays),
            Err(_) => (None, false),
        };
        eye.leave(self.sight(&listener, key, stays));
        chosen.map(|(endpoint, _)| endpoint)
    }

    /// Leaves what there is to see for a request that is refused, unless its last look was for that.
    pub(super) fn see_refused(&self, hash: u64, tried: &Tried, afresh: bool) {
        let Some(eye) = tried.eye() else { return };
        if afresh || eye.0.sight.load().is_none() {
            let active = self.active.load();
            let _ = self.choose_seen(&active, (hash, tried, Instant::now()), eye);
        }
    }

    fn sight(&self, listener: &Listener<'_>, chosen: Option<u64>, stays: bool) -> Sight {
        let active = listener.active;
        let zone = (active.local.is_some()).then(|| self.zone()).flatten();
        let away =
            |known: &Known| stays && zone.is_some_and(|zone| !zone::is_in(zone, &known.endpoint));
        let mut ranks: [Vec<Candidate>; 4] = Default::default();
        for known in &active.known {
            let endpoint = &*known.endpoint;
            let key = endpoint.key();
            let is_chosen = chosen == Some(key);
            let note = listener.notes.iter().find(|note| note.key == key);
            let excluded = match note.and_then(|note| note.excluded.clone()) {
                _ if is_chosen => None,
                Some(excluded) => Some(excluded),
                None => listener
                    .exclusion(known)
                    .or_else(|| away(known).then_some(Excluded::OtherZone)),
            };
            let rank = match (&note, &excluded) {
                _ if is_chosen => 0,
                (Some(_), _) => 1,
                (None, Some(_)) => 2,
                (None, None) => 3,
            };
            if ranks[rank].len() == CANDIDATES {
                continue;
            }
            ranks[rank].push(Candidate {
                instance: endpoint.instance.id.clone(),
                address: endpoint.address.clone(),
                zone: endpoint.instance.zone.as_deref().map(Arc::from),
                availability: known.availability,
                weight: endpoint.weight,
                effective_weight: f64::from(endpoint.weight) * f64::from(known.factor),
                in_flight: (note.and_then(|note| note.in_flight))
                    .unwrap_or_else(|| endpoint.in_flight()),
                score: note.and_then(|note| note.score),
                drawn: note.is_some(),
                chosen: is_chosen,
                excluded,
            });
        }
        Sight {
            algorithm: active.policy.balance.algorithm,
            panic: active.panic,
            zone: zone.map(|zone| (Arc::from(zone), stays)),
            revision: self.surroundings.revision.load(Ordering::Relaxed),
            why: listener.why.filter(|_| chosen.is_some()),
            candidates: ranks.into_iter().flatten().take(CANDIDATES).collect(),
            total: active.known.len(),
        }
    }
}

/// Takes down what a picker tells.
struct Listener<'a> {
    active: &'a Active,
    tried: &'a Tried,
    notes: Vec<Note>,
    why: Option<Why>,
}

/// What a picker told of one endpoint.
struct Note {
    key: u64,
    in_flight: Option<u32>,
    score: Option<f64>,
    excluded: Option<Excluded>,
}

impl Listener<'_> {
    fn note(&mut self, endpoint: &Endpoint) -> Option<&mut Note> {
        let key = endpoint.key();
        let place = self.notes.iter().position(|note| note.key == key);
        let place = match place {
            Some(place) => place,
            None if self.notes.len() < CANDIDATES => {
                self.notes.push(Note {
                    key,
                    in_flight: None,
                    score: None,
                    excluded: None,
                });
                self.notes.len() - 1
            }
            None => return None,
        };
        self.notes.get_mut(place)
    }

    fn exclusion(&self, known: &Known) -> Option<Excluded> {
        if known.endpoint.weight == 0 {
            return Some(Excluded::Weightless);
        }
        if !known.is_eligible {
            return Some(Excluded::Unavailable(
                known.availability,
                known.reason.clone(),
            ));
        }
        self.refusal(&known.endpoint)
    }

    /// Why the request does not admit an endpoint that the picker knows.
    fn refusal(&self, endpoint: &Endpoint) -> Option<Excluded> {
        if self.tried.contains(endpoint) {
            return Some(Excluded::Tried);
        }
        if !self.active.lets_in(endpoint) {
            return Some(match endpoint.standing() {
                Standing::OnTrial => Excluded::OnTrial,
                _ => Excluded::Left,
            });
        }
        let most = self.active.policy.limits.in_flight_per_instance?;
        (endpoint.in_flight() >= most).then_some(Excluded::Full(most))
    }
}

impl Observer for Listener<'_> {
    fn drew(&mut self, endpoint: &Arc<Endpoint>) {
        self.note(endpoint);
    }

    fn rated(&mut self, endpoint: &Arc<Endpoint>, in_flight: u32, score: Option<f64>) {
        if let Some(note) = self.note(endpoint) {
            note.in_flight = Some(in_flight);
            note.score = score;
        }
    }

    fn passed(&mut self, endpoint: &Arc<Endpoint>, obstacle: Obstacle) {
        let excluded = match obstacle {
            Obstacle::Bounded => Excluded::Bounded,
            Obstacle::NotAdmitted => self.refusal(endpoint).unwrap_or(Excluded::Left),
        };
        if let Some(note) = self.note(endpoint) {
            note.excluded = Some(excluded);
        }
    }

    fn chose(&mut self, why: Why) {
        self.why = Some(why);
    }
}

/// The beginning of a reason, of bounded length.
pub(super) fn shortened(reason: &str) -> Arc<str> {
    let ends = (0..=REASON.min(reason.len())).rev();
    let end = ends.into_iter().find(|&end| reason.is_char_boundary(end));
    Arc::from(&reason[..end.unwrap_or_default()])
}
