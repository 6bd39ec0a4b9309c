//! Deadlines that Pingora cannot be given: its limits on an instance's answer start anew with every
//! read, so a head that trickles in byte by byte would never end.
//!
//! While an attempt waits for its answer, the connection's task knows the file of the connection to
//! the instance and when it must be over. [`watched`] looks at the clock whenever the task sleeps, and
//! shuts that connection down when the time has come; Pingora then finds it closed. No other task is
//! involved and the attempt is alive while the task sleeps in it, so the file is still the one that was
//! meant.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use log::debug;
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};
use tokio::time::{Sleep, sleep_until};

tokio::task_local! {
    static WATCH: Watch;
}

/// What one task waits for.
#[derive(Debug, Default)]
struct Watch {
    until: Cell<Option<(RawFd, Instant)>>,
    fired: Cell<bool>,
}

/// Runs what serves one client's connection, so that [`set`] has an effect within it.
pub async fn watched<F: Future>(work: F) -> F::Output {
    let watched = Watched {
        work: Box::pin(work),
        alarm: None,
    };
    WATCH.scope(Watch::default(), watched).await
}

/// Shuts the connection `file` down at `deadline`, unless [`clear`] or another `set` comes first.
pub(super) fn set(file: RawFd, deadline: Instant) {
    let _ = WATCH.try_with(|watch| {
        watch.fired.set(false);
        watch.until.set(Some((file, deadline)));
    });
}

/// The attempt is over, or has its answer. Must be called before its connection is given away.
pub(super) fn clear() {
    let _ = WATCH.try_with(|watch| watch.until.set(None));
}

/// Whether the last deadline set came before it was cleared.
pub(super) fn has_fired() -> bool {
    WATCH.try_with(|watch| watch.fired.get()).unwrap_or(false)
}

struct Watched<F> {
    work: Pin<Box<F>>,
    /// Kept from one deadline to the next: most are cleared long before they come, and an alarm that
    /// rings too early costs less than setting it anew each time.
    alarm: Option<Pin<Box<Sleep>>>,
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
        let Some((file, deadline)) = WATCH.try_with(|watch| watch.until.get()).ok().flatten()
        else {
            return false;
        };
        let alarm = match &mut self.alarm {
            Some(alarm) if alarm.deadline() <= deadline.into() => alarm,
            alarm => alarm.insert(Box::pin(sleep_until(deadline.into()))),
        };
        loop {
            if alarm.as_mut().poll(context).is_pending() {
                return false;
            }
            if alarm.deadline() >= deadline.into() {
                break;
            }
            alarm.as_mut().reset(deadline.into());
        }
        self.alarm = None;
        let _ = WATCH.try_with(|watch| {
            watch.until.set(None);
            watch.fired.set(true);
        });
        match shutdown(file, Shutdown::Both) {
            Ok(()) | Err(Errno::ENOTCONN) => {}
            Err(error) => debug!("cannot shut a connection down: {error}"),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_read_ends_at_the_deadline_and_not_at_one_that_was_cleared() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let _silent = listener.accept().await.unwrap();
        watched(async {
            let soon = || Instant::now() + Duration::from_millis(20);
            set(stream.as_raw_fd(), soon());
            clear();
            set(stream.as_raw_fd(), soon() + Duration::from_secs(60));
            set(stream.as_raw_fd(), soon());
            assert!(!has_fired());
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            assert!(has_fired());
        })
        .await;
    }
}
