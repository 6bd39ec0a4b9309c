//! Which part of the keys goes to another instance when a service's hashing changes: found out by
//! asking the tables themselves for a sample.

use std::sync::Arc;
use std::time::Instant;

use crate::balance::{Balance, Candidates, Choice, Picker, hash};
use crate::endpoint::{Endpoint, Standing};
use crate::instance::Instance;

/// How many keys are tried.
const SAMPLE: u32 = 10_000;

/// The share of keys, 0 to 1, that another of these `instances` would be asked for, if all of them were
/// available and idle; `None` if there is nobody to ask.
pub(super) fn moved(old: &Balance, new: &Balance, instances: &[Arc<Instance>]) -> Option<f64> {
    let members: Vec<_> = instances
        .iter()
        .filter(|instance| instance.weight > 0)
        .map(|instance| Arc::new(Endpoint::new(Arc::clone(instance), Standing::Usable)))
        .collect();
    if members.is_empty() {
        return None;
    }
    let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
    let [before, after] = [old, new].map(|balance| {
        let candidates = Candidates {
            members: &members,
            eligible: &members,
            weights: &weights,
        };
        Picker::build_whole(balance, candidates)
    });
    let mut rng = fastrand::Rng::with_seed(0);
    let now = Instant::now();
    let mut owner = |picker: &Picker, hash: u64| {
        let choice = Choice {
            hash,
            in_flight: 0,
            now,
            admits: |_: &Endpoint| true,
            rng: &mut rng,
        };
        picker.pick(choice).map(|endpoint| endpoint.key())
    };
    let differs = |&number: &u32| {
        let hash = hash::of(&number.to_be_bytes());
        owner(&before, hash) != owner(&after, hash)
    };
    let moved = (0..SAMPLE).filter(differs).count();
    Some(moved as f64 / f64::from(SAMPLE))
}
