//! A cluster at one moment, as figures show it.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::health::availability::Availability;

use super::Cluster;

/// What is going on in a cluster.
#[derive(Clone, Debug)]
pub struct Reading {
    /// How many instances there are of each availability, in the order of [`Availability::ALL`].
    pub availability: [u32; Availability::ALL.len()],
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
            availability: [0; Availability::ALL.len()],
            endpoints: Vec::new(),
            panic: self.active.load().panic,
            queued,
            held,
        };
        let control = self.control();
        reading.endpoints.reserve_exact(control.slots.len());
        for slot in control.slots.values() {
            reading.availability[slot.availability() as usize] += 1;
            reading.endpoints.push(Arc::clone(&slot.endpoint));
        }
        reading
    }
}
