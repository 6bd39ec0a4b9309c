//! When a connection must be over, and what is to be done about one that is due.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use pingora::protocols::l4::ext::get_tcp_info;

/// The settings that may run out in the middle of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Timer {
    FirstByte,
    BetweenBytes,
    Request,
    Total,
}

/// When a connection to an instance must be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Limit {
    /// At this moment, whatever comes.
    At(Instant, Timer),
    /// When nothing has come for so long, and at `total` in any case.
    Flow {
        silence: Duration,
        total: Option<Instant>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    /// The connection's file, if it carries nothing else.
    pub(super) file: Option<RawFd>,
    pub(super) due: Instant,
    pub(super) limit: Limit,
    /// It was due once, and the system could not say when something came last.
    pub(super) is_doubted: bool,
}

impl Limit {
    /// When to look next, if something came just `now`.
    pub(super) fn due(self, now: Instant) -> Instant {
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
pub(super) enum Verdict {
    ShutDown(Timer),
    LookAgain(Instant),
    /// The same, and for the last time.
    Doubt(Instant),
    LeaveAlone,
}

impl Until {
    pub(super) fn verdict(&self, stalled: bool, now: Instant) -> Verdict {
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
