//! A cluster at one moment, as figures show it.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::health::availability::Availability;

use super::slot::Slot;
use super::{Cluster, Control};

/// How many instances there are of each availability, in the order of [`Availability::ALL`].
pub type Census = [u32; Availability::ALL.len()];

/// What is going on in a cluster.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How many instances there are of each availability.
    pub availability: Census,
    /// Its endpoints.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Whether it is in panic.
    pub panic: bool,
    /// Requests that wait for others to finish.
    pub queued: u32,
    /// Requests that wait for an instance to become available.
    pub held: u32,
}

impl Cluster {
    /// What is going on now.
    pub fn read(&self) -> Reading {
        let (queued, held) = self.line.counts();
        let mut reading = Reading {
            availability: Census::default(),
            endpoints: Vec::new(),
            panic: self.active.load().panic,
            queued,
            held,
        };
        let control = self.control();
        reading.endpoints.reserve_exact(control.slots.len());
        reading.availability = control.count(|slot| {
            reading.endpoints.push(Arc::clone(&slot.endpoint));
        });
        reading
    }

    /// How many instances there are now. Looks at all of them.
    pub fn census(&self) -> Census {
        self.control().count(|_| ())
    }
}

impl Control {
    /// Counts its slots, and has `each` look at every one.
    fn count(&self, mut each: impl FnMut(&Slot)) -> Census {
        let mut census = Census::default();
        for slot in self.slots.values() {
            census[slot.availability() as usize] += 1;
            each(slot);
        }
        census
    }
}
