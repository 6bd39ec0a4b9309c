//! Why a run is given up.

use crate::names::NameError;
use crate::simulate::world::Time;

/// The most requests in flight, those included that wait: as many as there may be clients.
const MAX_IN_FLIGHT: usize = 1_000_000;

/// Why a run came to no figures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// More is in flight than can be borne.
    #[error(
        "load.rate is too high: after {} s, more than {MAX_IN_FLIGHT} requests are in flight (expected \
         fewer: load.rate times instances[].latency, or times policy.timeouts.request where instances \
         are too slow)",
        after / 1_000_000_000
    )]
    Crowd {
        /// In nanoseconds since the simulation began.
        after: u64,
    },
    /// A name that is known to be good is none. No scenario brings that about.
    #[error(transparent)]
    Name(#[from] NameError),
}

pub(super) fn unless_bearable(in_flight: usize, now: Time) -> Result<(), Halt> {
    match in_flight > MAX_IN_FLIGHT {
        true => Err(Halt::Crowd { after: now }),
        false => Ok(()),
    }
}
