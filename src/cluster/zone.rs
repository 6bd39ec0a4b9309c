//! Keeping requests in the proxy's own zone, as far as that can take them.
//!
//! Crossing zones costs time and money, so a request goes to an instance of the proxy's zone first.
//! Three things let it go further:
//!
//! - *Capacity is missing.* Of a zone that has lost a part of its instances, the rest takes up to 1.4
//!   times what it took before, and no more: the share that stays is `1.4 × usable / registered`
//!   weight, Envoy's overprovisioning factor of priority levels. Effective weights count, so that a
//!   zone whose only instance is in slow start, or reports that it can do little, keeps little.
//! - *Too much at once.* Each zone is taken to have proxies of its own, and an average zone to be
//!   made for its own clients, as in Envoy's zone-aware routing. A zone with less than the average
//!   weight gets so many times its share of what is in flight as there are zones, and then no more:
//!   with one instance of ten in two zones, a fifth. A zone that answers slowly comes to that point
//!   sooner. A few requests in flight are no load yet, and stay. Comparing an average zone's load with
//!   that of others would send a part of it away at all times, for of the requests that instances
//!   elsewhere have in hand a proxy sees only its own. The limit of requests in flight at one
//!   instance bounds what it gets in any case:
//! - *Nobody admits it.* All of the zone were tried, or are full, or have just left.
//!
//! What goes further goes to everybody by weight, the own zone included; the share that stays makes
//! up for that.
//!
//! Instances without a zone are of another one. Where all are of one zone, nobody comes first, nor
//! in panic, when every instance is needed. The hash algorithms know no zones: a key has its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;

use crate::balance::{Balance, Candidates, Picker};
use crate::endpoint::Endpoint;
use crate::health::availability::Availability;

use super::slot::Slot;

/// How many times what it took before an endpoint takes so that requests stay in their zone.
const OVERPROVISIONING: f64 = 1.4;
/// So many requests in flight for each local endpoint are not worth comparing.
const NO_LOAD: f64 = 2.0;

/// The endpoints in the proxy's zone, and how much they may be preferred.
pub(super) struct Local {
    pub(super) picker: Picker,
    preference: Preference,
}

impl Local {
    /// `None` if nobody is to be preferred. `slots` are all members, `eligible` those that may be
    /// picked and `weights` their effective weights.
    pub(super) fn build(
        balance: &Balance,
        zone: &str,
        slots: &[&Slot],
        eligible: &[Arc<Endpoint>],
        weights: &[u32],
        previous: Option<&Self>,
    ) -> Option<Self> {
        if balance.algorithm.hashes() {
            return None;
        }
        let (local, local_weights): (Vec<_>, Vec<_>) = (eligible.iter().cloned())
            .zip(weights.iter().copied())
            .filter(|(endpoint, _)| is_in(zone, endpoint))
            .unzip();
        if local.is_empty() || local.len() == eligible.len() {
            return None;
        }
        let candidates = Candidates {
            members: &local,
            eligible: &local,
            weights: &local_weights,
        };
        Some(Self {
            picker: Picker::build(balance, candidates, previous.map(|local| &local.picker)),
            preference: Standings::take(zone, slots).preference(),
        })
    }

    /// Whether the next request may stay in the zone, while there are so many in flight in it, and so
    /// many everywhere.
    pub(super) fn takes(&self, local: u64, everywhere: u64, rng: &mut Rng) -> bool {
        self.preference.has_room(local, everywhere)
            && (self.preference.chance >= 1.0 || rng.f64() < self.preference.chance)
    }
}

/// Whether `endpoint` is of this zone.
pub(super) fn is_in(zone: &str, endpoint: &Endpoint) -> bool {
    endpoint.instance.zone.as_deref() == Some(zone)
}

/// How the zone compares with the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Standings {
    /// The effective weight of its usable endpoints.
    usable: f64,
    /// The weight of all its endpoints that have ever been usable.
    registered: f64,
    /// How many usable endpoints it has.
    endpoints: usize,
    /// The effective weight of all usable endpoints.
    usable_everywhere: f64,
    /// How many zones there are.
    zones: usize,
}

impl Standings {
    fn take(zone: &str, slots: &[&Slot]) -> Self {
        let mut standings = Self::default();
        let mut zones = BTreeSet::new();
        for slot in slots {
            let endpoint = &*slot.endpoint;
            let availability = slot.availability();
            let usable = slot.is_usable();
            let weight = f64::from(endpoint.weight);
            let effective = if usable {
                weight * slot.share.factor()
            } else {
                0.0
            };
            standings.usable_everywhere += effective;
            zones.insert(endpoint.instance.zone.as_deref());
            if is_in(zone, endpoint) {
                standings.usable += effective;
                standings.endpoints += usize::from(usable);
                // Whoever has yet to start has not taken anything so far either.
                if availability != Availability::Starting {
                    standings.registered += weight;
                }
            }
        }
        standings.zones = zones.len();
        standings
    }

    fn preference(&self) -> Preference {
        let share = self.usable / self.usable_everywhere.max(f64::MIN_POSITIVE);
        let stays = OVERPROVISIONING * self.usable / self.registered.max(f64::MIN_POSITIVE);
        let chance = if stays >= 1.0 {
            1.0
        } else {
            // What is not kept comes back to the zone by its share.
            ((stays - share) / (1.0 - share)).max(0.0)
        };
        Preference {
            chance,
            in_flight: self.zones as f64 * share,
            spare: NO_LOAD * self.endpoints as f64,
        }
    }
}

/// How much comes to the zone first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Preference {
    /// The chance of a request to be kept.
    chance: f64,
    /// The part of all requests in flight that the zone may have, more than 1 being all; and how many
    /// it may have besides.
    in_flight: f64,
    spare: f64,
}

impl Preference {
    fn has_room(&self, local: u64, everywhere: u64) -> bool {
        local as f64 + 1.0 <= self.in_flight * (everywhere as f64 + 1.0) + self.spare
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As many usable endpoints of weight 1 here, of so many, and elsewhere.
    fn standings(usable: usize, of: usize, elsewhere: usize, zones: usize) -> Standings {
        Standings {
            usable: usable as f64,
            registered: of as f64,
            endpoints: usable,
            usable_everywhere: (usable + elsewhere) as f64,
            zones,
        }
    }

    fn assert_near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-9, "{actual}, not {expected}");
    }

    #[test]
    fn a_healthy_zone_keeps_everything_until_it_lacks_more_than_two_in_seven() {
        assert_eq!(standings(7, 7, 14, 3).preference().chance, 1.0);
        assert_eq!(standings(5, 7, 14, 3).preference().chance, 1.0);
        assert!(standings(4, 7, 14, 3).preference().chance < 1.0);
    }

    #[test]
    fn with_half_a_zone_gone_the_rest_takes_seven_tenths_of_its_requests() {
        for (elsewhere, zones) in [(4, 2), (8, 3), (90, 4)] {
            let half = standings(2, 4, elsewhere, zones);
            let chance = half.preference().chance;
            let share = 2.0 / (2.0 + elsewhere as f64);
            assert_near(chance + (1.0 - chance) * share, 0.7);
        }
    }

    #[test]
    fn a_zone_that_has_nearly_all_of_what_is_left_is_not_preferred_below_its_share() {
        assert_near(
            standings(2, 4, 1, 2).preference().chance,
            (0.7 - 2.0 / 3.0) * 3.0,
        );
        assert_eq!(standings(1, 4, 1, 2).preference().chance, 0.0);
    }

    #[test]
    fn an_average_zone_has_room_for_all_there_is() {
        for (here, elsewhere, zones) in [(3, 6, 3), (1, 1, 2), (5, 4, 2), (10, 90, 10)] {
            let preference = standings(here, here, elsewhere, zones).preference();
            assert!(preference.has_room(1_000_000, 1_000_000));
        }
    }

    #[test]
    fn a_small_zone_has_room_for_a_few_and_for_a_multiple_of_its_share() {
        let preference = standings(1, 1, 9, 2).preference();
        assert!(preference.has_room(0, 0) && preference.has_room(1, 1));
        assert!(!preference.has_room(2, 2));
        assert!(preference.has_room(20, 100) && !preference.has_room(22, 100));
    }

    proptest! {
        #[test]
        fn a_chance_is_one(
            usable in 0usize..100,
            lost in 0usize..100,
            elsewhere in 0usize..1_000,
            zones in 1usize..10,
        ) {
            let preference = standings(usable, usable + lost, elsewhere, zones).preference();
            prop_assert!((0.0..=1.0).contains(&preference.chance), "{preference:?}");
            prop_assert!(usable == 0 || preference.has_room(0, 0));
        }
    }
}
