//! Active checks: asks every watched instance at its own rhythm, all at once within a cap.
//!
//! One task keeps the rhythm of all watches in one deadline-ordered set and sleeps to its head, so
//! a watch costs an entry in that set and nothing else: no task, no timer and no connector of its
//! own. Probes themselves run concurrently, each in a short-lived task under the check's timeout, so
//! an instance that never answers holds one slot of the cap for that long and delays nobody
//! otherwise. While every slot is taken, first probes and those asked for by
//! [`Watch::probe_now`] go before routine ones: an instance nobody has heard from yet, or whose
//! lease is in doubt, waits for an answer; the others only for confirmation.
//!
//! # Rhythm
//!
//! The first probe is due at once. The next ones follow the check's interval, measured from start to
//! start, so that an instance that times out is not asked less often than one that answers. Each
//! interval is moved by up to a tenth either way (HAProxy's `spread-checks`), and the second probe
//! comes at a random moment within the first interval (Envoy's `initial_jitter` with the delay
//! moved behind the first probe): ten thousand instances restored at once from the journal are spread
//! evenly from their second probe on, rather than asked in one burst every interval.
//!
//! [`Pace::Brisk`] asks after a quarter of the interval, at least 100 ms and never later than the
//! interval (HAProxy's `fastinter`): with the default check, a dead instance is out about 2.5 s
//! after its first failure instead of 10 s.
//!
//! # Whose fault
//!
//! Only what the instance does counts against it. When callboard itself cannot open a socket (no
//! file descriptors, no memory), the probe gives no answer at all: the last known verdict holds and
//! the log says so, because a proxy short of descriptors must not declare the whole world dead.

mod ask;
mod failure;
mod grpc;
mod http;
mod runner;
mod schedule;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::dial::Target;
use crate::instance::check::Check;
use runner::{Command, Runner, Watched};
use schedule::Key;

/// Where the answers of one watched instance go.
pub trait Sink: Send + Sync + 'static {
    /// Takes one probe's answer: `Ok`, or why it failed, in words that name the address. Says how
    /// soon to ask again.
    ///
    /// Runs on the prober's runtime, at most once at a time for one watch: it must not block.
    fn answered(&self, answer: Result<(), String>) -> Pace;
}

/// How soon the next probe should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the check's interval.
    Steady,
    /// Sooner: the verdict is changing.
    Brisk,
}

/// Starts and stops probing. Cheap to clone.
#[derive(Clone)]
pub struct Prober {
    commands: UnboundedSender<Command>,
    next_key: Arc<AtomicU64>,
}

/// Keeps one instance probed until it is dropped. From then on its [`Sink`] hears nothing more,
/// except an answer that was being delivered at that very moment.
pub struct Watch {
    key: Key,
    commands: UnboundedSender<Command>,
    dropped: Arc<AtomicBool>,
}

impl Prober {
    /// A prober that runs at most `concurrency` probes at once (at least one), and the future that
    /// does the work: spawn it once on a tokio runtime; it ends when every `Prober` and `Watch` is
    /// gone.
    pub fn new(concurrency: usize) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (commands, inbox) = unbounded_channel();
        let prober = Self {
            commands,
            next_key: Arc::default(),
        };
        (prober, Runner::new(inbox, concurrency.max(1)).run())
    }

    /// Probes `target` from now on, the first time at once.
    ///
    /// The prober holds `sink` until the watch is dropped, so a sink that owns its own watch keeps
    /// both alive for good.
    pub fn watch(&self, target: Target, check: Check, sink: Arc<dyn Sink>) -> Watch {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let dropped = Arc::new(AtomicBool::new(false));
        let watched = Watched {
            target,
            check,
            sink,
            dropped: Arc::clone(&dropped),
        };
        let watch = Watch {
            key,
            commands: self.commands.clone(),
            dropped,
        };
        watch.tell(Command::Watch(key, watched));
        watch
    }
}

impl Watch {
    /// Asks again at once (or, with a probe under way, right after it).
    pub fn probe_now(&self) {
        self.tell(Command::ProbeNow(self.key));
    }

    fn tell(&self, command: Command) {
        // Nobody listens once the prober's future is gone, which is only so at shutdown.
        let _ = self.commands.send(command);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.tell(Command::Unwatch(self.key));
    }
}
