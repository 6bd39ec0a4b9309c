//! When requests are due: at once, or by a clock that waits for nobody.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What a lane waits for before it asks.
#[derive(Clone)]
pub(super) enum Pace {
    /// Nothing.
    Closed,
    /// The next moment that a request is due and no other lane has taken.
    Open(Arc<Mutex<UnboundedReceiver<Instant>>>),
}

impl Pace {
    /// When the next request is due, if it ever was.
    pub(super) async fn next(&mut self) -> Option<Instant> {
        match self {
            Self::Closed => None,
            Self::Open(due) => due.lock().await.recv().await,
        }
    }
}

/// A pace of so many requests a second, and the clock that has to run for it.
pub(super) fn open(rate: f64) -> (Pace, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = unbounded_channel();
    let every = Duration::from_secs_f64(1.0 / rate);
    (
        Pace::Open(Arc::new(Mutex::new(receiver))),
        clock(every, sender),
    )
}

/// The runtime's own timer knows milliseconds; requests come closer than that.
async fn clock(every: Duration, sender: UnboundedSender<Instant>) {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer: OwnedFd = timerfd_create(TimerfdClockId::Monotonic, flags).unwrap();
    let every_spec = Timespec::try_from(every).unwrap();
    let spec = Itimerspec {
        it_interval: every_spec,
        it_value: every_spec,
    };
    let started = Instant::now();
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec).unwrap();
    #[expect(
        deprecated,
        reason = "an `OwnedFd` stays what it is, which is all that is asked of it"
    )]
    let timer = AsyncFd::new(timer).unwrap();
    let mut turns = 0_u32;
    loop {
        let mut ready = timer.readable().await.unwrap();
        let mut expired = [0; 8];
        if rustix::io::read(timer.get_ref(), &mut expired).is_err() {
            ready.clear_ready();
            continue;
        }
        ready.clear_ready();
        // Those that were missed are due at their own time all the same.
        for _ in 0..u64::from_ne_bytes(expired) {
            turns += 1;
            if sender.send(started + every * turns).is_err() {
                return;
            }
        }
    }
}
