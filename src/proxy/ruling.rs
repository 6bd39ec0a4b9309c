//! What follows from the outcome of a try, in words for explanations.

use std::fmt;

use super::retry::{Fault, MAX_TRIES};

/// Whether a request is tried again, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Its answer goes to the client.
    PassedOn,
    /// The settings want it tried again after this.
    Again(Fault),
    /// It is tried again whatever the settings say.
    AgainFor(&'static str),
    /// The settings do not want it tried again after this.
    NotCovered(Fault),
    /// It has been tried again this often already.
    UsedUp(u32),
    /// It has been to as many instances as a request may be.
    TooOften,
    /// It cannot be sent twice, or it ends for another reason.
    Over(&'static str),
}

impl Ruling {
    pub(super) fn is_again(self) -> bool {
        matches!(self, Self::Again(_) | Self::AgainFor(_))
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedOn => f.write_str("passed on"),
            Self::Again(fault) => write!(f, "tried again: {fault} is in retry.on"),
            Self::AgainFor(why) => write!(f, "tried again: {why}"),
            Self::NotCovered(fault) => write!(f, "not tried again: {fault} is not in retry.on"),
            Self::UsedUp(0) => f.write_str("not tried again: retry.attempts is 0"),
            Self::UsedUp(attempts) => {
                write!(
                    f,
                    "not tried again: the {attempts} of retry.attempts are used up"
                )
            }
            Self::TooOften => write!(f, "not tried again: {MAX_TRIES} instances were tried"),
            Self::Over(why) => write!(f, "not tried again: {why}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { timed_out: false } => f.write_str("connect"),
            Self::Connect { timed_out: true } => f.write_str("connect, which timed out,"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Unavailable => f.write_str("UNAVAILABLE, which counts as 503,"),
        }
    }
}
