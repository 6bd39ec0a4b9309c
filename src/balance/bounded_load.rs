//! Consistent hashing with bounded loads.
//!
//! Hashing alone gives a popular key's endpoint all of that key's load. The bound (V. Mirrokni,
//! M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018) is a capacity of
//! `c` times an endpoint's fair share of the requests in flight, the new one included; an endpoint
//! at its capacity passes the key on to the key's next choice. As `c ≥ 1` the capacities add up to
//! at least the load, so somebody always has room, and keys move only while load is really uneven.

use crate::endpoint::Endpoint;

/// The bound of one cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoundedLoad {
    factor: f64,
    total_weight: f64,
}

impl BoundedLoad {
    /// Bounds endpoints that weigh `total_weight` together to `factor` times their share; a factor
    /// below 1 counts as 1.
    pub(super) fn new(factor: f64, total_weight: u64) -> Self {
        Self {
            factor: factor.max(1.0),
            total_weight: total_weight as f64,
        }
    }

    /// Whether `endpoint` may take one more while the cluster has `in_flight` requests in hand.
    pub(super) fn has_room(&self, endpoint: &Endpoint, in_flight: u64) -> bool {
        f64::from(endpoint.in_flight()) < self.capacity(endpoint.weight, in_flight)
    }

    fn capacity(&self, weight: u32, in_flight: u64) -> f64 {
        let load = in_flight as f64 + 1.0;
        (self.factor * load * f64::from(weight) / self.total_weight).ceil()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::fleet;
    use super::*;

    #[test]
    fn capacity_is_the_factor_times_the_fair_share_rounded_up() {
        let bound = BoundedLoad::new(1.25, 4);
        assert_eq!(bound.capacity(1, 0), 1.0);
        assert_eq!(bound.capacity(1, 7), 3.0);
        assert_eq!(bound.capacity(3, 7), 8.0);
        assert_eq!(BoundedLoad::new(1.0, 49).capacity(1, 48), 1.0);
    }

    #[test]
    fn a_factor_that_is_no_bound_counts_as_one() {
        assert_eq!(BoundedLoad::new(0.1, 2).capacity(1, 9), 5.0);
        assert_eq!(BoundedLoad::new(f64::NAN, 2).capacity(1, 9), 5.0);
    }

    #[test]
    fn an_endpoint_at_its_capacity_has_no_room() {
        let endpoint = &fleet(&[1])[0];
        let bound = BoundedLoad::new(1.0, 2);
        assert!(bound.has_room(endpoint, 1));
        endpoint.start();
        assert!(!bound.has_room(endpoint, 1));
        assert!(bound.has_room(endpoint, 2));
    }
}
