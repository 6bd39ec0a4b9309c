//! Making large hash tables behind the scenes, so that no membership change waits for one.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use log::error;

use crate::balance::{Candidates, Picker};
use crate::endpoint::Endpoint;

use super::Cluster;
use super::active::Active;

impl Cluster {
    /// Starts a thread that ends when the published picker is whole; says whether it runs. Without
    /// it the provisional table serves on, and the next change tries again.
    pub(super) fn spawn_build(self: &Arc<Self>) -> bool {
        let cluster = Arc::clone(self);
        let started = thread::Builder::new()
            .name("callboard-table".to_owned())
            .spawn(move || while !cluster.build_once() {});
        if let Err(error) = &started {
            error!("{}: no thread to make the hash table: {error}", self.name);
        }
        started.is_ok()
    }

    /// Makes one table outside the lock, and publishes it; says whether it still fits.
    fn build_once(self: &Arc<Self>) -> bool {
        let (policy, members) = {
            let control = self.control();
            let members: Vec<Arc<Endpoint>> = Active::members(control.slots.values());
            (Arc::clone(&control.policy), members)
        };
        let candidates = Candidates {
            members: &members,
            eligible: &[],
            weights: &[],
        };
        let whole = Active {
            picker: Picker::build_whole(&policy.balance, candidates),
            panic: false,
            policy,
            local: None,
            known: Box::default(),
        };
        let mut control = self.control();
        let next = Active::build(
            &control.policy,
            control.slots.values(),
            self.zone(),
            &whole,
            Instant::now(),
        );
        let fits = !next.picker.is_provisional();
        control.building = !fits;
        self.active.store(Arc::new(next));
        drop(control);
        self.serve();
        fits
    }
}
