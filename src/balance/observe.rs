//! How a picker came to its choice, told while it chooses.
//!
//! A picker tells an [`Observer`] what it looks at with the very figures it compares, so that an
//! explanation is of the choice that was made and not of one like it. Nobody listens to nearly all
//! choices: `()` hears nothing, and the picker compiled for it does what it would do without.

use std::fmt;
use std::sync::Arc;

use crate::endpoint::Endpoint;

/// Hears how a picker comes to its choice.
pub trait Observer {
    /// This endpoint came up: it was drawn, it was its turn, or the key led to it.
    fn drew(&mut self, endpoint: &Arc<Endpoint>);

    /// It was compared by this many requests in flight, and this is how the algorithm rates it: less is
    /// better. `None` where it has nothing to rate by.
    fn rated(&mut self, endpoint: &Arc<Endpoint>, in_flight: u32, score: Option<f64>);

    /// It was passed over.
    fn passed(&mut self, endpoint: &Arc<Endpoint>, obstacle: Obstacle);

    /// What was decided last was decided for this.
    fn chose(&mut self, why: Why);
}

impl Observer for () {
    fn drew(&mut self, _: &Arc<Endpoint>) {}

    fn rated(&mut self, _: &Arc<Endpoint>, _: u32, _: Option<f64>) {}

    fn passed(&mut self, _: &Arc<Endpoint>, _: Obstacle) {}

    fn chose(&mut self, _: Why) {}
}

/// Why an endpoint that came up was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Whoever asked does not admit it.
    NotAdmitted,
    /// It has as many requests in flight as [bounded load](super::bounded_load) gives it.
    Bounded,
}

/// Why an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rotation came to it, after this many turns of others that may not be picked.
    Turn(u32),
    /// It was drawn by weight, after this many that may not be picked.
    Drawn(u32),
    /// It was both of the two drawn.
    DrawnTwice,
    /// Neither of the two drawn has a request in flight, and it was the first.
    BothIdle,
    /// Nothing speaks for the second of the two drawn.
    Even,
    /// It has fewer requests in flight, for its weight, than the other one drawn.
    LessLoaded,
    /// It would answer sooner than the other one drawn.
    Sooner,
    /// One of the two drawn has no estimate yet, and it has no more requests in flight than the other.
    Unknown,
    /// The other one drawn may not be picked.
    OtherOut,
    /// Hardly anybody may be picked, so everybody was looked at in turn.
    Looked,
    /// The key leads to it, after this many others that may not be picked or have no room.
    Key(u32),
    /// The key leads to it, and nobody has room.
    NoRoom,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn(0) => "its turn",
            Self::Turn(skipped) => {
                return write!(
                    f,
                    "its turn, after {skipped} of those that may not be picked"
                );
            }
            Self::Drawn(0) => "drawn by weight",
            Self::Drawn(skipped) => {
                return write!(f, "drawn by weight, after {skipped} that may not be picked");
            }
            Self::DrawnTwice => "the only one drawn",
            Self::BothIdle => "the first of 2 drawn by weight, both idle",
            Self::Even => "the first of 2 drawn by weight, equally loaded",
            Self::LessLoaded => "the less loaded of 2 drawn",
            Self::Sooner => "the sooner to answer of 2 drawn",
            Self::Unknown => {
                "the less loaded of 2 drawn, as the response time of one of them is not known"
            }
            Self::OtherOut => "the better of 2 drawn may not be picked",
            Self::Looked => "found by looking at all in turn, as few may be picked",
            Self::Key(0) => "owner of the key's slot",
            Self::Key(skipped) => {
                return write!(
                    f,
                    "choice {} of the key, as those before may not be picked or are at their bound",
                    skipped + 1
                );
            }
            Self::NoRoom => "first choice of the key, as all are at their bound",
        })
    }
}
