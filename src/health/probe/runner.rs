//! The one task behind a prober: takes commands, starts the probes whose turn it is, and hands
//! their answers on.

use std::collections::HashMap;
use std::future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrand::Rng;
use futures_util::FutureExt;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::ask::Asker;
use super::failure::Failure;
use super::schedule::{Key, Schedule, gap};
use super::{Pace, Sink};
use crate::dial::Target;
use crate::instance::check::Check;

/// How many commands are taken in between two looks at the schedule.
const COMMAND_BATCH: usize = 1024;

/// What handles tell the runner.
pub(super) enum Command {
    Watch(Key, Watched),
    ProbeNow(Key),
    Unwatch(Key),
}

/// One instance under watch.
pub(super) struct Watched {
    pub(super) target: Target,
    pub(super) check: Check,
    pub(super) sink: Arc<dyn Sink>,
    /// Set at the very moment its handle goes, ahead of the command that says so.
    pub(super) dropped: Arc<AtomicBool>,
}

pub(super) struct Runner {
    inbox: UnboundedReceiver<Command>,
    concurrency: usize,
    asker: Arc<Asker>,
    entries: HashMap<Key, Entry>,
    schedule: Schedule,
    probes: JoinSet<Done>,
    rng: Rng,
    /// Whether the last probe could not be carried out for want of something of our own.
    starved: bool,
}

struct Entry {
    watched: Arc<Watched>,
    /// Stops the probe under way, or the last one, which is past stopping.
    probe: Option<AbortHandle>,
}

/// What a finished probe leaves behind.
struct Done {
    key: Key,
    started: Instant,
    first: bool,
    pace: Pace,
    shortage: Option<String>,
}

impl Runner {
    pub(super) fn new(inbox: UnboundedReceiver<Command>, concurrency: usize) -> Self {
        Self {
            inbox,
            concurrency,
            asker: Arc::new(Asker::new()),
            entries: HashMap::new(),
            schedule: Schedule::default(),
            probes: JoinSet::new(),
            rng: Rng::new(),
            starved: false,
        }
    }

    /// Works until every handle is gone; dropping the future stops every probe.
    pub(super) async fn run(mut self) {
        let mut commands = Vec::new();
        loop {
            let wake = self.start_due();
            tokio::select! {
                received = self.inbox.recv_many(&mut commands, COMMAND_BATCH) => {
                    if received == 0 {
                        return;
                    }
                    for command in commands.drain(..) {
                        self.obey(command);
                    }
                }
                Some(done) = self.probes.join_next() => self.finish(done),
                () = sleep_or_never(wake) => {}
            }
        }
    }

    /// Starts what is due while there are slots, and says when to look again without any other
    /// cause.
    fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.probes.len() < self.concurrency {
            let Some(key) = self.schedule.start_next(now) else {
                return self.schedule.next_due();
            };
            if let Some(entry) = self.entries.get_mut(&key) {
                let first = entry.probe.is_none();
                let asker = Arc::clone(&self.asker);
                let watched = Arc::clone(&entry.watched);
                let probe = probe(asker, watched, key, first);
                entry.probe = Some(self.probes.spawn(probe));
            }
        }
        None
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Watch(key, watched) => {
                let entry = Entry {
                    watched: Arc::new(watched),
                    probe: None,
                };
                self.entries.insert(key, entry);
                self.schedule.add(key, Instant::now());
            }
            Command::ProbeNow(key) => self.schedule.urge(key, Instant::now()),
            Command::Unwatch(key) => {
                self.schedule.remove(key);
                if let Some(probe) = self.entries.remove(&key).and_then(|entry| entry.probe) {
                    probe.abort();
                }
            }
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        let done = match done {
            Ok(done) => done,
            Err(broken) => match self.broken(&broken) {
                Some(done) => done,
                None => return,
            },
        };
        self.note_shortage(done.shortage.as_deref());
        if let Some(entry) = self.entries.get(&done.key) {
            let interval = entry.watched.check.interval;
            let next = done.started + gap(interval, done.pace, done.first, &mut self.rng);
            self.schedule.finished(done.key, next, Instant::now());
        }
    }

    /// A task that ended without a word was stopped with its watch, or its sink panicked. The
    /// latter must not cost the instance its further probes.
    fn broken(&self, error: &JoinError) -> Option<Done> {
        if error.is_cancelled() {
            return None;
        }
        let is_it = |entry: &Entry| entry.probe.as_ref().is_some_and(|p| p.id() == error.id());
        let (&key, entry) = self.entries.iter().find(|(_, entry)| is_it(entry))?;
        log::error!(
            "probe of {}: its answer could not be delivered: {error}",
            entry.watched.target.address
        );
        Some(Done {
            key,
            started: Instant::now(),
            first: false,
            pace: Pace::Steady,
            shortage: None,
        })
    }

    fn note_shortage(&mut self, shortage: Option<&str>) {
        match (self.starved, shortage) {
            (false, Some(reason)) => log::warn!(
                "probing => starved: {reason}; instances keep their last verdict (expected enough \
                 memory and file descriptors, see ulimit -n)"
            ),
            (true, None) => log::info!("starved => probing"),
            _ => {}
        }
        self.starved = shortage.is_some();
    }
}

/// Asks once and delivers the answer.
async fn probe(asker: Arc<Asker>, watched: Arc<Watched>, key: Key, first: bool) -> Done {
    let started = Instant::now();
    // The answer is read by code that is not ours, from an instance that may send anything: a bug
    // found that way is this instance's failure and nobody else's.
    let asking = AssertUnwindSafe(asker.ask(&watched.target, &watched.check));
    let answer = asking.catch_unwind().await.unwrap_or_else(|_| {
        Err(Failure::Instance(format!(
            "check of {}: its answer could not be read",
            watched.target.address
        )))
    });

    let (pace, shortage) = match answer {
        _ if watched.dropped.load(Ordering::SeqCst) => (Pace::Steady, None),
        Ok(()) => (watched.sink.answered(Ok(())), None),
        Err(Failure::Instance(reason)) => (watched.sink.answered(Err(reason)), None),
        Err(Failure::Local(reason)) => (Pace::Steady, Some(reason)),
    };
    Done {
        key,
        started,
        first,
        pace,
        shortage,
    }
}

async fn sleep_or_never(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => future::pending().await,
    }
}
