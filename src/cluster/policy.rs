//! The settings of one service, as the data plane uses them.

use std::collections::HashMap;
use std::time::Duration;

use crate::balance::Balance;
use crate::instance::check::Check;
use crate::names::ServiceName;

/// How one service's requests are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How requests are spread.
    pub balance: Balance,
    /// The active check of instances that bring none; `None` is off.
    pub check: Option<Check>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The share of available instances, 0 to 1, below which availability is ignored.
    pub panic_threshold: f64,
    /// How long a drain waits for requests in flight.
    pub drain: Duration,
}

/// The time limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To establish one connection to an instance.
    pub connect: Duration,
    /// From the request's arrival to the head of the response, all tries included; also the longest
    /// silence within a response. A head that trickles in is held to the silence only.
    pub request: Duration,
    /// How long an unused connection to an instance is kept.
    pub idle: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            check: Some(Check::default()),
            timeouts: Timeouts::default(),
            panic_threshold: 0.5,
            drain: Duration::from_secs(30),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            request: Duration::from_secs(30),
            idle: Duration::from_secs(60),
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
}
