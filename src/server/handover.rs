//! One process takes another's place without a request or a registration being lost.
//!
//! ```text
//! successor                               predecessor
//! hello          ─────────────────────▶   same user? nobody else at it?
//!                ◀─────────────────────   welcome, with every listening socket
//! binds what is new, closes what is gone
//! ready          ─────────────────────▶   shuts the control plane; callers wait in the queue of the
//!                                         socket, which both have; lets go of the store
//!                ◀─────────────────────   yours
//! opens the store; starts to take requests
//! serving        ─────────────────────▶   never takes the store back from here on
//!                ◀─────────────────────   go
//! opens the control plane                 stops accepting, finishes its requests, ends
//! ```
//!
//! Until `serving` the predecessor can take everything back: when the successor says that it failed,
//! says nothing in time, or is gone. The successor has acknowledged nothing by then, because its
//! control plane opens after `go`. A predecessor that dies on the way leaves a successor that has the
//! sockets, and goes on as soon as it can have the store. A predecessor that takes the place back says
//! so first ([`Message::Withdrawn`]), so that this cannot be mistaken for its death.
//!
//! What a process knows without its store does not pass over: requests in flight stay with the
//! predecessor; latencies, ejections and probes begin anew, except that how probes found an instance
//! last is remembered as over a restart.

mod channel;
mod giving;
mod held;
mod message;
mod notify;
mod place;
mod service;
mod taking;

use std::io;
use std::time::Duration;

pub(super) use giving::Giver;
pub(super) use held::{Held, Holdings};
pub(super) use place::Place;
pub(super) use service::{Failure, Handover, placed};
pub(super) use taking::{Carried, Offer, Successor, take_sockets};

use channel::ChannelError;
use message::Message;

/// How long the other process may take over a step that is done at once.
const STEP: Duration = Duration::from_secs(10);
/// How long it may take to shut the control plane and the store.
const LETTING_GO: Duration = Duration::from_secs(30);
/// How long it may take to read the store and to start.
const STARTING: Duration = Duration::from_secs(60);

/// Why a process could not take another's place.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The configuration names no socket to reach the other at.
    #[error("proxy.upgrade_socket is off (expected the socket of the running callboard)")]
    Off,
    /// No process is there.
    #[error("nobody to take over from at {path} ({error}); start with `callboard run`")]
    Nobody {
        /// The socket.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The other refused.
    #[error("the running callboard refuses: {0}")]
    Refused(String),
    /// The other took its place back.
    #[error("the running callboard took its place back: {0}")]
    Withdrawn(String),
    /// The two keep their registrations in different places.
    #[error(
        "the running callboard keeps its registrations in {theirs} and this configuration names \
         {ours} (expected the same; a change of registry.store needs a restart)"
    )]
    OtherStore {
        /// The running one's.
        theirs: String,
        /// This one's.
        ours: String,
    },
    /// They do not understand each other.
    #[error("cannot speak with the running callboard: {0}")]
    Channel(String),
}

impl From<ChannelError> for TakeOverError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error.to_string())
    }
}
