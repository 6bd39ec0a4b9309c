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

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use log::debug;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use pingora::protocols::l4::ext::get_tcp_info;
use tokio::time::{Sleep, sleep_until};

tokio::task_local! {
    static WATCH: Watch;
}

/// The settings that may run out in the middle of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    FirstByte,
    BetweenBytes,
    Request,
    Total,
}

/// When a connection to an instance must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// At this moment, whatever comes.
    At(Instant, Timer),
    /// When nothing has come for so long, and at `total` in any case.
    Flow {
        silence: Duration,
        total: Option<Instant>,
    },
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

#[derive(Clone, Copy, Debug)]
struct Until {
    /// The connection's file, if it carries nothing else.
    file: Option<RawFd>,
    due: Instant,
    limit: Limit,
    /// It was due once, and the system could not say when something came last.
    is_doubted: bool,
}

/// Runs what serves one client's connection, so that [`set`] has an effect within it.
pub async fn watched<F: Future>(work: F) -> F::Output {
    let watched = Watched {
        work: Box::pin(work),
        alarm: None,
    };
    WATCH.scope(Watch::default(), watched).await
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

impl Limit {
    /// When to look next, if something came just `now`.
    fn due(self, now: Instant) -> Instant {
        match self {
            Self::At(at, _) => at,
            Self::Flow { silence, total } => {
                let next = now + silence;
                total.map_or(next, |total| total.min(next))
            }
        }
    }
}

/// What to do about a connection whose limit is due.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    ShutDown(Timer),
    LookAgain(Instant),
    /// The same, and for the last time.
    Doubt(Instant),
    LeaveAlone,
}

impl Until {
    fn verdict(&self, stalled: bool, now: Instant) -> Verdict {
        let (silence, total) = match self.limit {
            Limit::At(_, timer) => return Verdict::ShutDown(timer),
            Limit::Flow { silence, total } => (silence, total),
        };
        if total.is_some_and(|total| total <= now) {
            return Verdict::ShutDown(Timer::Total);
        }
        let Some(file) = self.file else {
            return if stalled {
                Verdict::LookAgain(self.limit.due(now))
            } else {
                Verdict::ShutDown(Timer::BetweenBytes)
            };
        };
        match heard(file) {
            Heard::Unread => Verdict::LookAgain(self.limit.due(now)),
            Heard::End => Verdict::LeaveAlone,
            Heard::Ago(ago) if ago < silence => {
                Verdict::LookAgain(self.limit.due(now).min(now + (silence - ago)))
            }
            Heard::Unknown if !self.is_doubted => Verdict::Doubt(self.limit.due(now)),
            Heard::Ago(_) | Heard::Unknown => Verdict::ShutDown(Timer::BetweenBytes),
        }
    }
}

/// What has come on a connection.
enum Heard {
    /// Something that was not read yet.
    Unread,
    /// Its end.
    End,
    /// All was read, and the last of it came so long ago.
    Ago(Duration),
    /// All was read, and nobody knows when the last of it came.
    Unknown,
}

fn heard(file: RawFd) -> Heard {
    match recv(file, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Ok(0) => Heard::End,
        Ok(_) => Heard::Unread,
        Err(Errno::EAGAIN) if cfg!(target_os = "linux") => get_tcp_info(file)
            .map_or(Heard::Unknown, |info| {
                Heard::Ago(Duration::from_millis(info.tcpi_last_data_recv.into()))
            }),
        Err(Errno::EAGAIN) => Heard::Unknown,
        Err(_) => Heard::Ago(Duration::MAX),
    }
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
        while let Some(until) = WATCH.try_with(|watch| watch.until.get()).ok().flatten() {
            let due = until.due.into();
            let alarm = match &mut self.alarm {
                Some(alarm) if alarm.deadline() <= due => alarm,
                alarm => alarm.insert(Box::pin(sleep_until(due))),
            };
            if alarm.as_mut().poll(context).is_pending() {
                return false;
            }
            if alarm.deadline() < due {
                alarm.as_mut().reset(due);
                continue;
            }
            self.alarm = None;
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
mod tests {
    use std::os::fd::AsRawFd;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        (stream.unwrap(), listener.accept().await.unwrap().0)
    }

    fn at(in_time: Duration) -> Limit {
        Limit::At(Instant::now() + in_time, Timer::FirstByte)
    }

    #[tokio::test]
    async fn a_read_ends_at_the_deadline_and_not_at_one_that_was_cleared() {
        let (mut stream, _silent) = pair().await;
        watched(async {
            let file = Some(stream.as_raw_fd());
            set(file, at(SOON), Instant::now());
            clear();
            set(file, at(SOON + Duration::from_secs(60)), Instant::now());
            set(file, at(SOON), Instant::now());
            assert_eq!(fired(), None);
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(fired(), Some(Timer::FirstByte));
        })
        .await;
    }

    #[tokio::test]
    async fn silence_ends_a_read_but_not_while_something_is_unread() {
        let (mut stream, mut peer) = pair().await;
        let silence = Limit::Flow {
            silence: SOON,
            total: None,
        };
        watched(async {
            peer.write_all(b"ab").await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'a');
            set(Some(stream.as_raw_fd()), silence, Instant::now());
            // However long nobody reads, it is not the peer that is silent.
            tokio::time::sleep(10 * SOON).await;
            assert_eq!(fired(), None);
            assert_eq!(stream.read_u8().await.unwrap(), b'b');
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(fired(), Some(Timer::BetweenBytes));
        })
        .await;
    }

    #[tokio::test]
    async fn silence_ends_a_read_from_a_unix_socket_too() {
        let (mut stream, _silent) = tokio::net::UnixStream::pair().unwrap();
        let silence = Limit::Flow {
            silence: SOON,
            total: None,
        };
        watched(async {
            set(Some(stream.as_raw_fd()), silence, Instant::now());
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(fired(), Some(Timer::BetweenBytes));
        })
        .await;
    }

    #[tokio::test]
    async fn the_total_ends_a_stream_that_is_never_silent() {
        let (mut stream, mut peer) = pair().await;
        let talking = tokio::spawn(async move {
            while peer.write_all(b"more").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        watched(async {
            let now = Instant::now();
            let limit = Limit::Flow {
                silence: Duration::from_secs(60),
                total: Some(now + SOON),
            };
            set(Some(stream.as_raw_fd()), limit, now);
            // What came before the end may still be read after it.
            while stream
                .read(&mut [0; 64])
                .await
                .is_ok_and(|length| length > 0)
            {}
            assert_eq!(fired(), Some(Timer::Total));
        })
        .await;
        drop(stream);
        talking.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_that_its_peer_ended_is_left_alone() {
        let (mut stream, peer) = pair().await;
        drop(peer);
        let silence = Limit::Flow {
            silence: SOON,
            total: None,
        };
        watched(async {
            set(Some(stream.as_raw_fd()), silence, Instant::now());
            tokio::time::sleep(5 * SOON).await;
            assert_eq!(fired(), None);
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn an_attempt_without_a_file_is_given_up_and_nothing_is_shut_down() {
        watched(async {
            set(None, at(SOON), Instant::now());
            assert_eq!(overdue().await, Timer::FirstByte);
            assert_eq!(fired(), Some(Timer::FirstByte));
            clear();
            let mut later = std::pin::pin!(overdue());
            let waits = poll_fn(|context| Poll::Ready(later.as_mut().poll(context).is_pending()));
            assert!(waits.await, "another attempt is not overdue");
        })
        .await;
    }

    #[tokio::test]
    async fn nobody_is_silent_while_the_client_takes_nothing() {
        let silence = Limit::Flow {
            silence: SOON,
            total: None,
        };
        watched(async {
            client_takes(false);
            set(None, silence, Instant::now());
            tokio::time::sleep(5 * SOON).await;
            assert_eq!(fired(), None);
            client_takes(true);
            assert_eq!(overdue().await, Timer::BetweenBytes);
        })
        .await;
    }
}
