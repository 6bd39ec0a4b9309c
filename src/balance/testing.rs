//! What the tests of all algorithms use.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use proptest::test_runner::{Config, RngSeed};

use super::hashed::{Member, Table};
use super::{Algorithm, Balance, Candidates, Choice, Picker, hash};
use crate::endpoint::{Endpoint, Standing};
use crate::instance::check::CheckOverride;
use crate::instance::{Instance, Scheme};
use crate::names::InstanceId;

/// The same `cases` cases in every run.
pub(super) fn config(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(0xca11),
        failure_persistence: None,
        ..Config::default()
    }
}

/// Usable endpoints of these weights, sorted by id.
pub(super) fn fleet(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    let endpoint = |(index, weight)| {
        let instance = Instance {
            service: "web".parse().unwrap(),
            id: format!("web-{index:05}").parse().unwrap(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_080)).into(),
            scheme: Scheme::Http,
            weight,
            zone: None,
            tags: Default::default(),
            metadata: Default::default(),
            ttl: None,
            check: CheckOverride::default(),
            generation: None,
        };
        Arc::new(Endpoint::new(Arc::new(instance), Standing::Usable))
    };
    weights.iter().copied().enumerate().map(endpoint).collect()
}

/// The table members of a [`fleet`].
pub(super) fn members(weights: &[u32]) -> Vec<Member> {
    fleet(weights)
        .iter()
        .map(|endpoint| Member {
            id: endpoint.instance.id.clone(),
            weight: endpoint.weight,
        })
        .collect()
}

/// Whom each of `count` keys belongs to.
pub(super) fn owners<T: Table>(members: &[Member], count: u64) -> Vec<InstanceId> {
    let table = T::build(members);
    let owner = |key: u64| table.choices(hash::of(&key.to_le_bytes())).next().unwrap();
    (0..count)
        .map(|key| members[owner(key)].id.clone())
        .collect()
}

/// Picks among a fleet with a fixed seed, each with a key of its own.
pub(super) struct Draws {
    pub(super) picker: Picker,
    pub(super) now: Instant,
    endpoints: Vec<Arc<Endpoint>>,
    rng: Rng,
    refused: Vec<u64>,
}

impl Draws {
    pub(super) fn new(algorithm: Algorithm, endpoints: &[Arc<Endpoint>], seed: u64) -> Self {
        let settings = Balance {
            algorithm,
            bounded_load: None,
            ..Balance::default()
        };
        Self::with(&settings, endpoints, seed)
    }

    pub(super) fn with(settings: &Balance, endpoints: &[Arc<Endpoint>], seed: u64) -> Self {
        let candidates = Candidates {
            members: endpoints,
            eligible: endpoints,
            weights: &endpoints.iter().map(|e| e.weight).collect::<Vec<_>>(),
        };
        Self {
            picker: Picker::build(settings, candidates, None),
            now: Instant::now(),
            endpoints: endpoints.to_vec(),
            rng: Rng::with_seed(seed),
            refused: Vec::new(),
        }
    }

    /// Admits these no longer.
    pub(super) fn without(mut self, indices: &[usize]) -> Self {
        let key = |index: &usize| self.endpoints[*index].key();
        self.refused = indices.iter().map(key).collect();
        self
    }

    /// The index picked for a random key.
    pub(super) fn next(&mut self) -> Option<usize> {
        let key = self.rng.u64(..);
        self.next_for(key)
    }

    /// The index picked for this hash.
    pub(super) fn next_for(&mut self, hash: u64) -> Option<usize> {
        let in_flight = self
            .endpoints
            .iter()
            .map(|e| u64::from(e.in_flight()))
            .sum();
        let picked = self.picker.pick(Choice {
            hash,
            in_flight,
            now: self.now,
            admits: |endpoint: &Endpoint| !self.refused.contains(&endpoint.key()),
            rng: &mut self.rng,
        })?;
        self.endpoints.iter().position(|e| e.key() == picked.key())
    }

    /// How often each index comes up in `picks` picks.
    pub(super) fn counts(&mut self, picks: u32) -> Vec<u64> {
        let mut counts = vec![0; self.endpoints.len()];
        for _ in 0..picks {
            counts[self.next().unwrap()] += 1;
        }
        counts
    }
}

/// Asserts that every count is within five standard deviations of its weight's share.
pub(super) fn assert_shares(counts: &[u64], weights: &[u32]) {
    let picks = counts.iter().sum::<u64>() as f64;
    let total = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
    for (count, weight) in counts.iter().zip(weights) {
        let share = f64::from(*weight) / total;
        let off = 5.0 * (picks * share * (1.0 - share)).sqrt() + 1.0;
        let difference = *count as f64 - picks * share;
        assert!(difference.abs() <= off, "{counts:?} for {weights:?}");
    }
}
