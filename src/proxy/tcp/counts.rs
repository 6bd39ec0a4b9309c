//! What became of clients' connections, for those who watch.
//!
//! Counting is adding to an atomic. The list of services is copied when a service gets its first
//! connection; it grows no longer than the listeners' settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::names::ServiceName;
use crate::proxy::listener::Listener;
use crate::proxy::relay::Traffic;

/// The shortest time between two warnings about one service.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What moments are counted from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Why a connection is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No instance is available.
    Unavailable,
    /// As many connections are open as may be.
    OverLimit,
    /// No instance could be connected to.
    Unconnected,
    /// No instance could be connected to in time.
    TimedOut,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Unavailable,
        Self::OverLimit,
        Self::Unconnected,
        Self::TimedOut,
    ];

    /// The word for it in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::OverLimit => "over_limit",
            Self::Unconnected => "connect_failed",
            Self::TimedOut => "timed_out",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "no instance is available",
            Self::OverLimit => "a limit of the service is reached (see limits)",
            Self::Unconnected => "no instance could be connected to",
            Self::TimedOut => "no instance could be connected to in time (see timeouts.connect)",
        })
    }
}

/// The figures of all connections.
#[derive(Debug, Default)]
pub struct Counts {
    listeners: [Flow; Listener::SCHEMES.len()],
    services: ArcSwap<HashMap<ServiceName, Service>>,
    unrouted: AtomicU64,
}

/// The figures of one service, by whether callboard ends TLS.
#[derive(Clone, Debug, Default)]
struct Service {
    plain: Arc<Tally>,
    secured: Arc<Tally>,
}

/// How many connections there are, and ever were.
#[derive(Debug, Default)]
struct Flow {
    open: AtomicU64,
    all: AtomicU64,
}

/// The figures of one service on one kind of listener.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Tally {
    flow: Flow,
    failed: [AtomicU64; Reason::ALL.len()],
    traffic: Traffic,
    /// When there was a warning: milliseconds since [`ORIGIN`], plus one; 0 is never.
    warned: AtomicU64,
}

/// One connection that is open; closed when dropped.
pub(in crate::proxy) struct Open<'a>(&'a Flow);

/// How many connections there are, and ever were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Now.
    pub open: u64,
    /// Ever, the present ones included.
    pub accepted: u64,
}

/// The figures of one service at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// The service.
    pub service: ServiceName,
    /// What its clients speak with callboard: `tcp` or `tls`.
    pub protocol: &'static str,
    /// Its connections.
    pub connections: Connections,
    /// Those that were not passed on.
    pub failed: [(Reason, u64); Reason::ALL.len()],
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

impl Counts {
    /// Counts a connection that came to `listener`.
    pub(in crate::proxy) fn accept(&self, listener: &Listener) -> Open<'_> {
        self.listeners[listener.scheme_index()].enter()
    }

    /// The figures of `service`, on listeners that end TLS or do not.
    pub(in crate::proxy) fn of(&self, service: &ServiceName, is_tls: bool) -> Arc<Tally> {
        let pick = |found: &Service| Arc::clone(if is_tls { &found.secured } else { &found.plain });
        if let Some(found) = self.services.load().get(service) {
            return pick(found);
        }
        self.services.rcu(|services| {
            let mut services = HashMap::clone(services);
            services.entry(service.clone()).or_default();
            services
        });
        self.services
            .load()
            .get(service)
            .map_or_else(Arc::default, pick)
    }

    /// Counts a connection that is for no service.
    pub(in crate::proxy) fn fail_unrouted(&self) {
        self.unrouted.fetch_add(1, Ordering::Relaxed);
    }

    /// The connections of each kind of listener, by its scheme.
    pub fn by_scheme(&self) -> impl Iterator<Item = (&'static str, Connections)> {
        let flows = self.listeners.iter().map(Flow::now);
        Listener::SCHEMES.into_iter().zip(flows)
    }

    /// How many connections were for no service.
    pub fn unrouted(&self) -> u64 {
        self.unrouted.load(Ordering::Relaxed)
    }

    /// The figures of services that had connections, in order of their names.
    pub fn services(&self) -> Vec<Figures> {
        let services = self.services.load();
        let mut figures: Vec<_> = services
            .iter()
            .flat_map(|(service, both)| {
                [("tcp", &both.plain), ("tls", &both.secured)]
                    .map(|(protocol, tally)| tally.figures(service, protocol))
            })
            .filter(|figures| figures.connections.accepted > 0)
            .collect();
        figures.sort_by(|a, b| (&a.service, a.protocol).cmp(&(&b.service, b.protocol)));
        figures
    }
}

impl Tally {
    pub(super) fn open(&self) -> Open<'_> {
        self.flow.enter()
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(super) fn fail(&self, why: Reason) {
        self.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is time for another warning; if so, the next is due in a while.
    pub(super) fn may_warn(&self, now: Instant) -> bool {
        let since_origin = now.saturating_duration_since(*ORIGIN);
        let now = u64::try_from(since_origin.as_millis()).map_or(u64::MAX, |millis| millis + 1);
        let every = WARN_EVERY.as_millis() as u64;
        self.warned
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                (last == 0 || now >= last.saturating_add(every)).then_some(now)
            })
            .is_ok()
    }

    fn figures(&self, service: &ServiceName, protocol: &'static str) -> Figures {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Figures {
            service: service.clone(),
            protocol,
            connections: self.flow.now(),
            failed: Reason::ALL.map(|why| (why, load(&self.failed[why as usize]))),
            received: load(&self.traffic.from_clients),
            sent: load(&self.traffic.from_instances),
        }
    }
}

impl Flow {
    fn enter(&self) -> Open<'_> {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    fn now(&self) -> Connections {
        Connections {
            open: self.open.load(Ordering::Relaxed),
            accepted: self.all.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_open_until_it_is_dropped_and_counted_for_good() {
        let counts = Counts::default();
        let service: ServiceName = "redis".parse().unwrap();
        let tally = counts.of(&service, false);
        let open = tally.open();
        tally.fail(Reason::TimedOut);
        let figures = counts.services();
        assert_eq!(figures.len(), 1);
        assert_eq!(
            figures[0].connections,
            Connections {
                open: 1,
                accepted: 1
            }
        );
        assert_eq!(figures[0].failed[3], (Reason::TimedOut, 1));
        drop(open);
        let after = &counts.services()[0];
        assert_eq!(
            after.connections,
            Connections {
                open: 0,
                accepted: 1
            }
        );
    }

    #[test]
    fn there_is_a_warning_a_minute() {
        let tally = Tally::default();
        let now = *ORIGIN;
        assert!(tally.may_warn(now));
        assert!(!tally.may_warn(now + WARN_EVERY / 2));
        assert!(tally.may_warn(now + WARN_EVERY));
        assert!(!tally.may_warn(now + WARN_EVERY));
    }
}
