//! What one pick costs, and what one rebuild costs, by algorithm, size and weights.
//!
//! The allocation columns must stay empty for picks.

#![expect(clippy::unwrap_used, reason = "the names are constants of this file")]

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::balance::{Algorithm, Balance, Candidates, Choice, Picker, ewma};
use callboard::endpoint::{Endpoint, Standing};
use callboard::instance::check::CheckOverride;
use callboard::instance::{Instance, Scheme};
use divan::{AllocProfiler, Bencher};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = cases(&[10, 10_000]), sample_size = 1_000)]
fn pick(bencher: Bencher<'_, '_>, case: &Case) {
    let fleet = case.fleet();
    let weights = registered(&fleet);
    let picker = Picker::build(&case.settings(), everybody(&fleet, &weights), None);
    let mut rng = fastrand::Rng::with_seed(1);
    let now = Instant::now();
    bencher.bench_local(move || {
        let hash = rng.u64(..);
        let choice = Choice {
            hash,
            in_flight: 100,
            now,
            admits: |endpoint: &Endpoint| endpoint.standing() == Standing::Usable,
            rng: &mut rng,
        };
        picker.pick(choice).map(|endpoint| endpoint.key())
    });
}

#[divan::bench(args = cases(&[10_000]), sample_count = 20)]
fn build(bencher: Bencher<'_, '_>, case: &Case) {
    let fleet = case.fleet();
    let weights = registered(&fleet);
    let settings = case.settings();
    bencher.bench_local(|| Picker::build(&settings, everybody(&fleet, &weights), None));
}

#[divan::bench(args = cases(&[10_000]), sample_count = 20)]
fn rebuild_with_the_same_members(bencher: Bencher<'_, '_>, case: &Case) {
    let fleet = case.fleet();
    let weights = registered(&fleet);
    let settings = case.settings();
    let previous = Picker::build(&settings, everybody(&fleet, &weights), None);
    bencher.bench_local(|| Picker::build(&settings, everybody(&fleet, &weights), Some(&previous)));
}

struct Case {
    algorithm: Algorithm,
    endpoints: u32,
    mixed: bool,
}

fn cases(sizes: &[u32]) -> Vec<Case> {
    let algorithms = [
        Algorithm::RoundRobin,
        Algorithm::Random,
        Algorithm::LeastRequest,
        Algorithm::PeakEwma,
        Algorithm::RingHash,
        Algorithm::Maglev,
    ];
    let case = |endpoints, algorithm, mixed| Case {
        algorithm,
        endpoints,
        mixed,
    };
    let of_size = |size: &u32| {
        let size = *size;
        algorithms.map(|algorithm| [case(size, algorithm, false), case(size, algorithm, true)])
    };
    sizes.iter().flat_map(of_size).flatten().collect()
}

impl Case {
    fn settings(&self) -> Balance {
        Balance {
            algorithm: self.algorithm,
            ..Balance::default()
        }
    }

    fn fleet(&self) -> Vec<Arc<Endpoint>> {
        let now = Instant::now();
        let endpoint = |index| {
            let weight = if self.mixed { 1 + index * 7 % 10 } else { 1 };
            let endpoint = endpoint(index, weight);
            ewma::observe(
                &endpoint,
                Duration::from_micros(500 + u64::from(index)),
                now,
            );
            Arc::new(endpoint)
        };
        (0..self.endpoints).map(endpoint).collect()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = if self.mixed { "mixed" } else { "equal" };
        write!(f, "{:?}, {} {weights}", self.algorithm, self.endpoints)
    }
}

fn registered(fleet: &[Arc<Endpoint>]) -> Vec<u32> {
    fleet.iter().map(|endpoint| endpoint.weight).collect()
}

fn everybody<'a>(fleet: &'a [Arc<Endpoint>], weights: &'a [u32]) -> Candidates<'a> {
    Candidates {
        members: fleet,
        eligible: fleet,
        weights,
    }
}

fn endpoint(index: u32, weight: u32) -> Endpoint {
    let instance = Instance {
        service: "web".parse().unwrap(),
        id: format!("web-{index:05}").parse().unwrap(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into(),
        scheme: Scheme::Http,
        weight,
        zone: None,
        tags: Default::default(),
        metadata: Default::default(),
        ttl: None,
        check: CheckOverride::default(),
        generation: None,
    };
    Endpoint::new(Arc::new(instance), Standing::Usable)
}
