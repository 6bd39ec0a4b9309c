//! What the data plane adds to a membership change, and what a pick costs with everything around
//! the picker: the atomic pointer, the thread's randomness, the guard that counts it as in flight.

mod common;

use std::time::Instant;

use callboard::balance::{Algorithm, Balance};
use callboard::cluster::clusters::Clusters;
use callboard::cluster::pick::Tried;
use callboard::cluster::policy::Policy;
use callboard::registry::Registry;
use callboard::registry::command::Command;
use divan::{Bencher, black_box};

/// Callboard's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RoundRobin,
    Algorithm::Random,
    Algorithm::LeastRequest,
    Algorithm::PeakEwma,
    Algorithm::RingHash,
    Algorithm::Maglev,
];

/// One service of `members` instances, balanced by `algorithm`, without checks.
fn world(algorithm: Algorithm, members: usize) -> (Registry, Clusters) {
    let policy = Policy {
        balance: Balance {
            algorithm,
            ..Balance::default()
        },
        check: None,
        ..Policy::default()
    };
    let (registry, clusters) = common::with_clusters(policy);
    common::fill(&registry, common::batches(1, members));
    (registry, clusters)
}

/// From submitting one changed weight in a service of 10,000 to its acknowledgement: decided,
/// stored, reconciled, published, answered across two threads.
#[divan::bench(args = ALGORITHMS, sample_count = 200, sample_size = 1)]
fn change_one_of_10_000(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (registry, _clusters) = world(algorithm, 10_000);
    let mut changed = common::instance(0, 5_000);
    bencher.bench_local(|| {
        changed.weight = 3 - changed.weight;
        let command = Command::Register(changed.clone());
        common::fill(&registry, vec![vec![command]]);
    });
}

/// A pick and its end, as a request sees them.
#[divan::bench(args = ALGORITHMS, consts = [10, 10_000], sample_size = 1_000)]
fn pick_and_drop<const MEMBERS: usize>(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (_registry, clusters) = world(algorithm, MEMBERS);
    let cluster = clusters.find("service-0");
    let (tried, now) = (Tried::default(), Instant::now());
    let mut hash = 0_u64;
    bencher.bench_local(|| {
        hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let pick = cluster
            .as_ref()
            .map(|cluster| cluster.pick(hash, &tried, now));
        assert!(black_box(pick).is_some_and(|pick| pick.is_ok()));
    });
}
