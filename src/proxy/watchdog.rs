//! Deadlines that Pingora cannot be given: its limits on an instance's answer start anew with every
//! read, so a head that trickles in byte by byte would never end, and it knows one limit for the head
//! and the body of a response alike.
//!
//! While an attempt lasts, the connection's task knows the file of the connection to the instance and
//! when it must be over. [`watched`] looks at the clock whenever the task sleeps, and shuts that
//! connection down when the time has come; Pingora then finds it closed. No other task is involved
//! and the attempt is alive while the task sleeps in it, so the file is still the one that was meant.
//!
//! A connection of HTTP/2 carries other requests as well, and an attempt on it has no file of its own.
//! When its time has come, [`overdue`] ends instead: whoever waits for the client meanwhile gives the
//! attempt up, and Pingora resets its stream alone. Its silence is measured from the last piece that
//! came through callboard, and not while the client does not take what is there.
//!
//! Silence is the instance's only if there is nothing of it left to read: a client that reads slowly
//! leaves bytes in the connection's buffer, and those put the deadline off. When the last of them
//! came is asked of the kernel (`TCP_INFO`), since they may be on their way through callboard. Of a Unix
//! socket it does not know, so there the silence may last up to twice as long.

mod limit;

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use log::debug;
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use super::connection::Alarm;

use limit::{Until, Verdict};

pub(super) use limit::{Limit, Timer};

tokio::task_local! {
    static WATCH: Watch;
}

/// What one task waits for.
#[derive(Default)]
struct Watch {
    until: Cell<Option<Until>>,
    fired: Cell<Option<Timer>>,
    /// What ran out on an attempt without a file, until it is over.
    overdue: Cell<Option<Timer>>,
    /// Who waits for that.
    waiting: Cell<Option<Waker>>,
    /// Whether the client does not take what it is sent.
    stalled: Cell<bool>,
}

/// Runs what serves one client's connection, so that [`set`] has an effect within it.
pub fn watched<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let watched = Watched {
        work: Box::pin(work),
        alarm: Alarm::default(),
    };
    WATCH.scope(Watch::default(), watched)
}

/// Shuts the connection `file` down when `limit` is reached, or ends [`overdue`] if the connection is
/// not the attempt's alone; unless [`clear`] or another `set` comes first.
pub(super) fn set(file: Option<RawFd>, limit: Limit, now: Instant) {
    let _ = WATCH.try_with(|watch| {
        watch.fired.set(None);
        watch.overdue.set(None);
        watch.until.set(Some(Until {
            file,
            due: limit.due(now),
            limit,
            is_doubted: false,
        }));
    });
}

/// The attempt is over. Must be called before its connection is given away.
pub(super) fn clear() {
    let _ = WATCH.try_with(|watch| {
        watch.until.set(None);
        watch.overdue.set(None);
    });
}

/// Says whether the client takes what it is sent: while it does not, nobody else is silent.
pub(super) fn client_takes(takes: bool) {
    let _ = WATCH.try_with(|watch| {
        let stalled = watch.stalled.replace(!takes);
        if let (true, true, Some(until)) = (stalled, takes, watch.until.get())
            && until.file.is_none()
        {
            let due = until.limit.due(Instant::now());
            watch.until.set(Some(Until { due, ..until }));
        }
    });
}

/// Ends when a limit is reached on an attempt whose connection carries other requests as well, and
/// which therefore is not shut down: whoever waits for the client meanwhile gives the attempt up.
pub(super) async fn overdue() -> Timer {
    poll_fn(poll_overdue).await
}

/// As [`overdue`], one look at a time.
pub(super) fn poll_overdue(context: &mut Context<'_>) -> Poll<Timer> {
    let looked = WATCH.try_with(|watch| {
        if let Some(timer) = watch.overdue.get() {
            return Poll::Ready(timer);
        }
        let waiting = watch.waiting.take();
        let waiting = waiting.filter(|waker| waker.will_wake(context.waker()));
        let waiting = waiting.unwrap_or_else(|| context.waker().clone());
        watch.waiting.set(Some(waiting));
        Poll::Pending
    });
    looked.unwrap_or(Poll::Pending)
}

/// What ran out, if anything has since the last [`set`].
pub(super) fn fired() -> Option<Timer> {
    WATCH.try_with(|watch| watch.fired.get()).ok().flatten()
}

struct Watched<F> {
    work: Pin<Box<F>>,
    alarm: Alarm,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            if let Poll::Ready(output) = self.work.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if !self.ring(context) {
                return Poll::Pending;
            }
        }
    }
}

impl<F> Watched<F> {
    /// Shuts down what is due; says whether anything was.
    fn ring(&mut self, context: &mut Context<'_>) -> bool {
        while let Some(until) = WATCH.try_with(|watch| watch.until.get()).ok().flatten() {
            if self.alarm.poll(until.due, context).is_pending() {
                return false;
            }
            let stalled = WATCH.try_with(|watch| watch.stalled.get());
            let verdict = until.verdict(stalled.unwrap_or_default(), Instant::now());
            let _ = WATCH.try_with(|watch| match verdict {
                Verdict::LookAgain(due) => watch.until.set(Some(Until { due, ..until })),
                Verdict::Doubt(due) => watch.until.set(Some(Until {
                    due,
                    is_doubted: true,
                    ..until
                })),
                Verdict::LeaveAlone => watch.until.set(None),
                Verdict::ShutDown(timer) => {
                    watch.until.set(None);
                    watch.fired.set(Some(timer));
                    if until.file.is_none() {
                        watch.overdue.set(Some(timer));
                        if let Some(waker) = watch.waiting.take() {
                            waker.wake();
                        }
                    }
                }
            });
            if matches!(verdict, Verdict::ShutDown(_)) {
                let Some(file) = until.file else {
                    return true;
                };
                match shutdown(file, Shutdown::Both) {
                    Ok(()) | Err(Errno::ENOTCONN) => {}
                    Err(error) => debug!("cannot shut a connection down: {error}"),
                }
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
