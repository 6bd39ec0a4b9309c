//! One dialable member of a cluster, with its live load.
//!
//! An [`Endpoint`] is what pickers choose among and what a request in flight holds. Its description
//! never changes; its [`Live`] part is shared by every endpoint made for the same registration at
//! the same address, so a new weight or tag keeps the load figures.
//!
//! Architecture invariant: nothing here takes a lock, and nothing here knows why an endpoint may or
//! may not be used. `health` decides that and leaves a [`Standing`] behind.

mod parting;
mod place;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::instance::Instance;
use parting::Parting;
use place::Place;
pub use place::Ticket;

/// What pickers need to know of an endpoint's availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// May take requests.
    Usable = 0,
    /// Takes requests only while its cluster is in panic.
    LastResort = 1,
    /// Takes no requests at all: draining, down or gone.
    Barred = 2,
    /// Takes one request at a time, whoever holds its [`Ticket`]; in panic, any.
    OnTrial = 3,
}

/// What moments are counted from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn millis(now: Instant) -> u64 {
    now.saturating_duration_since(*ORIGIN).as_millis() as u64
}

/// One member of a cluster.
#[derive(Debug)]
pub struct Endpoint {
    /// What registered.
    pub instance: Arc<Instance>,
    /// Where to connect to.
    pub address: Address,
    /// The share of traffic, as registered.
    pub weight: u32,
    /// Which life of the process at this address it describes.
    life: u32,
    live: Arc<Live>,
}

/// The part of an endpoint that changes while it serves.
#[derive(Debug)]
pub struct Live {
    /// Unique among all endpoints of this process; a new address makes a new one.
    key: u64,
    standing: AtomicU8,
    /// How often it became usable, or registered anew.
    comebacks: AtomicU32,
    in_flight: AtomicU32,
    served: AtomicU64,
    /// When it last answered a request: milliseconds since [`ORIGIN`], plus one; 0 is never.
    answered: AtomicU64,
    /// Peak-EWMA state; `balance::ewma` owns its meaning.
    ewma: AtomicU64,
    /// How long it says it keeps unused connections: seconds plus one; 0 is unsaid.
    keep_alive: AtomicU32,
    tallies: Tallies,
    place: Place,
    parting: Parting,
    /// The life of the process that registered last.
    life: AtomicU32,
}

/// Cells that count what became of an endpoint's requests; `health::outlier` owns their meaning.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Failures in a row.
    pub runs: AtomicU64,
    /// Successes and failures of the recent past, by time.
    pub recent: [AtomicU64; RECENT],
}

/// How many cells the recent past is counted in.
pub const RECENT: usize = 8;

impl Endpoint {
    /// An endpoint nobody has used yet.
    pub fn new(instance: Arc<Instance>, standing: Standing) -> Self {
        static NEXT_KEY: AtomicU64 = AtomicU64::new(1);
        let live = Live {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            standing: AtomicU8::new(standing as u8),
            comebacks: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            served: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            ewma: AtomicU64::new(0),
            keep_alive: AtomicU32::new(0),
            tallies: Tallies::default(),
            place: Place::default(),
            parting: Parting::default(),
            life: AtomicU32::new(0),
        };
        Self::with_live(instance, Arc::new(live), 0)
    }

    /// The same endpoint under a changed description: load figures and standing stay.
    pub fn updated(&self, instance: Arc<Instance>) -> Self {
        let is_new_life = instance.generation != self.instance.generation;
        let life = self.life.wrapping_add(u32::from(is_new_life));
        self.live.life.store(life, Ordering::Relaxed);
        Self::with_live(instance, Arc::clone(&self.live), life)
    }

    fn with_live(instance: Arc<Instance>, live: Arc<Live>, life: u32) -> Self {
        Self {
            address: instance.address.clone(),
            weight: instance.weight,
            instance,
            life,
            live,
        }
    }

    /// A number no other endpoint of this process has had.
    pub fn key(&self) -> u64 {
        self.live.key
    }

    /// Which kept connections may carry its requests: a new life of the process at the same address
    /// must not be sent to over the old one's.
    pub fn connection_group(&self) -> u64 {
        self.live.key ^ self.instance.generation.unwrap_or(0).rotate_left(32)
    }

    /// Whether it may take requests.
    pub fn standing(&self) -> Standing {
        match self.live.standing.load(Ordering::SeqCst) {
            0 => Standing::Usable,
            1 => Standing::LastResort,
            3 => Standing::OnTrial,
            _ => Standing::Barred,
        }
    }

    /// Says whether it may take requests from now on.
    pub fn set_standing(&self, standing: Standing) {
        if standing == Standing::Usable && self.standing() != Standing::Usable {
            self.come_back();
        }
        self.live.standing.store(standing as u8, Ordering::SeqCst);
    }

    /// Takes note that what was seen of it before says nothing of it any more: the instance has
    /// registered anew.
    pub fn come_back(&self) {
        self.live.comebacks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it came back: by becoming usable, or by registering anew.
    pub fn comebacks(&self) -> u32 {
        self.live.comebacks.load(Ordering::Relaxed)
    }

    /// How many requests it has in hand.
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight.load(Ordering::SeqCst)
    }

    /// How many requests it has been given and has finished, whatever came of them.
    pub fn served(&self) -> u64 {
        self.live.served.load(Ordering::Relaxed)
    }

    /// Counts one more request in hand. Pairs with [`Endpoint::finish`].
    pub fn start(&self) {
        self.live.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    /// As [`Endpoint::start`], if fewer than `most` are in hand; says whether it did.
    pub fn start_below(&self, most: Option<u32>) -> bool {
        let Some(most) = most else {
            self.start();
            return true;
        };
        self.live
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| {
                (count < most).then_some(count + 1)
            })
            .is_ok()
    }

    /// Takes back a [`Endpoint::start`] whose request was never given to the instance.
    pub fn abandon(&self) {
        self.live.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Counts one request done.
    pub fn finish(&self) {
        self.live.served.fetch_add(1, Ordering::Relaxed);
        self.live.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Says that it has just answered a request, whatever the answer.
    pub fn mark_answer(&self, now: Instant) {
        self.live.answered.store(millis(now) + 1, Ordering::Relaxed);
    }

    /// Whether it answered a request no longer ago than `within`.
    pub fn has_answered(&self, within: Duration, now: Instant) -> bool {
        match self.live.answered.load(Ordering::Relaxed) {
            0 => false,
            at => u128::from((millis(now) + 1).saturating_sub(at)) <= within.as_millis(),
        }
    }

    /// Takes down how long it says it keeps unused connections.
    pub fn announce_keep_alive(&self, timeout: Duration) {
        self.live
            .keep_alive
            .store(announcement(timeout), Ordering::Relaxed);
    }

    /// How long unused connections to it may be kept, given that callboard itself keeps them for
    /// `idle`: a second less than it announced, so that callboard is the first to close them.
    pub fn connection_idle(&self, idle: Duration) -> Duration {
        kept_for(self.live.keep_alive.load(Ordering::Relaxed), idle)
    }

    /// The cell that holds the moving average of its response time.
    pub fn ewma(&self) -> &AtomicU64 {
        &self.live.ewma
    }

    /// The cells that count what became of its requests.
    pub fn tallies(&self) -> &Tallies {
        &self.live.tallies
    }

    /// Whether the process it describes is the one that registered last: what a request to an earlier
    /// one met with says nothing of the present one.
    pub fn is_current(&self) -> bool {
        self.live.life.load(Ordering::Relaxed) == self.life
    }

    /// Says when those who still use a connection to it must let go; `None` is not at all.
    pub fn part(&self, at: Option<Instant>) {
        self.live.parting.set(at);
    }

    /// Ends when a connection to it that has no end of its own must be let go.
    pub async fn parted(&self) {
        self.live.parting.come().await;
    }

    /// Takes the place of the one request that an endpoint on trial may have; `None` while it is
    /// taken.
    pub fn take_place(&self) -> Option<Ticket> {
        self.live.place.take()
    }

    /// Whether a request on trial is under way.
    pub fn is_taken(&self) -> bool {
        self.live.place.is_taken()
    }

    /// Whether `ticket` is still that of the request on trial.
    pub fn is_held_by(&self, ticket: &Ticket) -> bool {
        self.live.place.is_held_by(ticket)
    }

    /// Lets the next request have the place, unless it was freed before.
    pub fn give_back(&self, ticket: Ticket) {
        self.live.place.give_back(ticket);
    }

    /// Takes the place away from whoever holds it.
    pub fn free_place(&self) {
        self.live.place.free();
    }
}

/// The form in which an announced time is kept: seconds plus one, as 0 is unsaid.
fn announcement(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_secs().saturating_add(1)).unwrap_or(u32::MAX)
}

fn kept_for(announcement: u32, idle: Duration) -> Duration {
    match announcement {
        0 => idle,
        said => idle.min(Duration::from_secs(said.saturating_sub(2).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_kept_a_second_shorter_than_was_announced() {
        let idle = Duration::from_secs(60);
        assert_eq!(kept_for(0, idle), idle);
        for (announced, kept) in [(5, 4), (1, 0), (0, 0), (61, 60), (u64::MAX, 60)] {
            let said = announcement(Duration::from_secs(announced));
            assert_eq!(kept_for(said, idle).as_secs(), kept, "{announced}");
        }
    }
}
