//! The settings of one service, as the data plane uses them.

mod load;
mod retry;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use load::{Hold, Limits, SlowStart};
pub use retry::{Hedge, Retry, RetryOn};

use crate::balance::Balance;
use crate::health::outlier::Outlier;
use crate::instance::check::Check;
use crate::names::ServiceName;
use crate::tls;

/// How one service's requests are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How requests are spread.
    pub balance: Balance,
    /// The active check of instances that bring none; `None` is off.
    pub check: Option<Check>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// When requests are tried again.
    pub retry: Retry,
    /// When an instance is taken out for failing requests; `None` is never.
    pub outlier: Option<Outlier>,
    /// The share of available instances, 0 to 1, below which the cluster is in panic.
    pub panic_threshold: f64,
    /// What a cluster in panic does.
    pub panic: Panic,
    /// How the share of newcomers grows.
    pub slow_start: SlowStart,
    /// Whether the load that heartbeats report steers the shares.
    pub load_reports: bool,
    /// Whether instances in the proxy's own zone come first.
    pub prefer_zone: bool,
    /// How much is in flight at a time.
    pub limits: Limits,
    /// Whether requests wait for an instance when there is none.
    pub hold: Option<Hold>,
    /// The longest body of a request, in bytes; `None` is no limit.
    pub max_body: Option<u64>,
    /// Whether requests that must not be sent twice use connections kept from earlier.
    pub reuse: Reuse,
    /// How long a drain waits for requests in flight.
    pub drain: Duration,
    /// How instances that speak TLS are connected to.
    pub tls: Arc<tls::Client>,
    /// How instances behind a TCP listener are told where a connection is from; `None` is not at all.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// A version of the [PROXY protocol](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The time limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To establish one connection to an instance.
    pub connect: Duration,
    /// From the moment one try was sent to the head of its response; `None` leaves it what is left
    /// of `request`.
    pub first_byte: Option<Duration>,
    /// The longest silence within a response.
    pub between_bytes: Duration,
    /// From the request's arrival to the head of the response, waiting and all tries included; the
    /// time in which its body arrives is taken off.
    pub request: Duration,
    /// From the arrival of the request's head to the end of the response; `None` is no limit.
    pub total: Option<Duration>,
    /// How long an unused connection to an instance is kept.
    pub idle: Duration,
    /// The longest silence on a connection that was switched to another protocol, or that a TCP
    /// listener took; `None` is no limit.
    pub tunnel: Option<Duration>,
}

/// What a cluster does when too few of its instances are available for the checks to be right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panic {
    /// Spreads requests over all instances but those that drain or are down.
    #[default]
    Spread,
    /// Goes on believing the checks, and fails requests when nobody is left.
    Fail,
}

/// Which requests use connections kept from earlier ones. An instance may close such a connection
/// in the moment a request is written to it, and nobody can tell whether it saw the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Those that may be sent again when that happens; others get a connection of their own.
    #[default]
    Safe,
    /// All.
    Always,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            check: Some(Check::default()),
            timeouts: Timeouts::default(),
            retry: Retry::default(),
            outlier: Some(Outlier::default()),
            panic_threshold: 0.5,
            panic: Panic::default(),
            slow_start: SlowStart::default(),
            load_reports: true,
            prefer_zone: true,
            limits: Limits::default(),
            hold: None,
            max_body: None,
            reuse: Reuse::default(),
            drain: Duration::from_secs(30),
            tls: Arc::default(),
            proxy_protocol: None,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: None,
            between_bytes: Duration::from_secs(30),
            request: Duration::from_secs(30),
            total: None,
            idle: Duration::from_secs(60),
            tunnel: None,
        }
    }
}

/// Every service's policy, and how instances are admitted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// For services not named in `services`.
    pub default: Policy,
    /// By service.
    pub services: HashMap<ServiceName, Policy>,
    /// What it takes to get traffic.
    pub admission: Admission,
    /// Where this callboard runs.
    pub zone: Option<String>,
}

/// What a new registration must show before it gets traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// An answer to a probe.
    #[default]
    Probe,
    /// Nothing: it is routable once acknowledged.
    Trust,
}

impl Policies {
    /// The policy of `service`.
    pub fn of(&self, service: &str) -> &Policy {
        self.services.get(service).unwrap_or(&self.default)
    }

    /// Keeps what `old` has made of the same settings and files, so that whoever holds on to that hears
    /// of the files' changes.
    pub(super) fn keep_tls(&mut self, old: &Self) {
        let keep = |policy: &mut Policy, old: &Policy| {
            if policy.tls == old.tls {
                policy.tls = Arc::clone(&old.tls);
            }
        };
        keep(&mut self.default, &old.default);
        for (name, policy) in &mut self.services {
            keep(policy, old.of(name.as_str()));
        }
    }

    /// Reads the files again that say how TLS is spoken with instances; says whether any had changed,
    /// and which cannot be read or used, with their settings. Where one cannot, what was read before
    /// stays in force.
    pub fn refresh_tls(&self) -> (bool, Vec<tls::Wrong>) {
        let default = ("defaults".to_owned(), &self.default);
        let own = (self.services.iter())
            .filter(|(_, policy)| !Arc::ptr_eq(&policy.tls, &self.default.tls))
            .map(|(name, policy)| (format!("services.{name}"), policy));
        let (mut changed, mut wrong) = (false, Vec::new());
        for (name, policy) in std::iter::once(default).chain(own) {
            match policy.tls.refresh() {
                Ok(has_changed) => changed |= has_changed,
                Err(one) => wrong.push(tls::Wrong {
                    field: format!("{name}.tls.{}", one.field),
                    ..one
                }),
            }
        }
        (changed, wrong)
    }
}
