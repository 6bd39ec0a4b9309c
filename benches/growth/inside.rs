//! Picks, heartbeats and membership changes, through the library: processor time alone would not tell
//! nanoseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::balance::{Algorithm, Balance};
use callboard::cluster::clusters::Clusters;
use callboard::cluster::pick::Tried;
use callboard::cluster::policy::Policy;
use callboard::instance::Instance;
use callboard::registry::Registry;
use callboard::registry::command::Command;
use callboard::registry::event::Actor;

use crate::common;
use crate::series::{Scale, Series};

const ALGORITHMS: [(Algorithm, &str); 5] = [
    (Algorithm::RoundRobin, "pick, round_robin"),
    (Algorithm::Random, "pick, random"),
    (Algorithm::PeakEwma, "pick, peak_ewma"),
    (Algorithm::RingHash, "pick, ring_hash"),
    (Algorithm::Maglev, "pick, maglev"),
];

/// How many are asked for in turn at most: few enough to stay in the processor's caches, so that what is
/// measured is the search and not how far away memory is.
pub(crate) const FEW: usize = 64;
/// How far apart two neighbours are that are asked for one after the other; prime, so that all are others.
pub(crate) const STRIDE: usize = 7_919;

/// Something of which each call is timed, so often.
pub(crate) type Calls = Box<dyn FnMut(usize)>;

pub(crate) fn measure(scale: &Scale) -> Vec<Series> {
    let mut all = vec![
        by_instances(scale, "pick", Algorithm::LeastRequest),
        by_services(scale),
    ];
    for (algorithm, name) in ALGORITHMS {
        all.push(by_instances(scale, name, algorithm));
    }
    for along in [Along::Instances, Along::Services] {
        all.push(heartbeats(scale, along));
        all.push(changes(scale, along));
    }
    all
}

#[derive(Clone, Copy)]
enum Along {
    Instances,
    Services,
}

impl Along {
    fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances of a service",
            Self::Services => "services",
        }
    }

    fn world(self, size: usize) -> World {
        let (services, each) = match self {
            Self::Instances => (1, size),
            Self::Services => (size, 1),
        };
        World::new(Balance::default().algorithm, services, each)
    }
}

/// A registry, and what requests are chosen from.
struct World {
    registry: Registry,
    clusters: Clusters,
    services: usize,
    each: usize,
}

impl World {
    fn new(algorithm: Algorithm, services: usize, each: usize) -> Self {
        let policy = Policy {
            balance: Balance {
                algorithm,
                ..Balance::default()
            },
            check: None,
            ..Policy::default()
        };
        let (registry, clusters) = common::with_clusters(policy);
        common::fill(&registry, common::batches(services, each));
        Self {
            registry,
            clusters,
            services,
            each,
        }
    }

    /// The services and ids of a few instances, far from each other.
    fn names(&self) -> Vec<(String, String)> {
        let count = self.services * self.each;
        let names = (0..count.min(FEW)).map(|n| {
            let n = n * STRIDE % count;
            let instance = common::instance(n / self.each, n % self.each);
            (instance.service.to_string(), instance.id.to_string())
        });
        names.collect()
    }
}

fn by_instances(scale: &Scale, name: &'static str, algorithm: Algorithm) -> Series {
    let world = |size| picks(World::new(algorithm, 1, size));
    Series::new((name, "ns"), Along::Instances.name(), turns(scale, world))
}

fn by_services(scale: &Scale) -> Series {
    let along = Along::Services;
    Series::new(
        ("pick", "ns"),
        along.name(),
        turns(scale, |size| picks(along.world(size))),
    )
}

/// A pick and its end, as a request sees them, of one service after the other.
fn picks(world: World) -> Calls {
    let services: Vec<_> = world
        .names()
        .into_iter()
        .map(|(service, _)| service)
        .collect();
    let (mut hash, mut at) = (0_u64, 0);
    Box::new(move |count| {
        let (tried, now) = (Tried::default(), Instant::now());
        for _ in 0..count {
            hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
            at = (at + 1) % services.len();
            let cluster = world.clusters.find(&services[at]).unwrap();
            assert!(cluster.pick(hash, &tried, now).is_ok());
        }
    })
}

fn heartbeats(scale: &Scale, along: Along) -> Series {
    let world = |size| -> Calls {
        let world = along.world(size);
        let (names, mut at) = (world.names(), 0);
        Box::new(move |count| {
            let now = Instant::now();
            for _ in 0..count {
                at = (at + 1) % names.len();
                let (service, id) = &names[at];
                let renewed = world
                    .registry
                    .renew(service, id, None, &Actor::Callboard, now);
                assert!(renewed.is_ok());
            }
        })
    };
    Series::new(("heartbeat", "ns"), along.name(), turns(scale, world))
}

/// From submitting another weight to its acknowledgement: decided, reconciled, published, and answered
/// across two threads. Nothing is stored.
fn changes(scale: &Scale, along: Along) -> Series {
    let world = |size| -> Calls {
        let world = along.world(size);
        let runtime = Arc::new(common::runtime());
        let middle = common::instance(world.services / 2, world.each / 2);
        let mut weight = 1;
        Box::new(move |count| {
            for _ in 0..count {
                weight = 3 - weight;
                let changed = Instance {
                    weight,
                    ..middle.clone()
                };
                let change = world
                    .registry
                    .submit(Command::Register(changed), Actor::Callboard);
                assert!(runtime.block_on(change).is_ok());
            }
        })
    };
    let turns = turns(scale, world).into_iter();
    let micros = turns.map(|(size, turns)| {
        let micros = turns.into_iter().map(|nanos| nanos / 1e3);
        (size, micros.collect::<Vec<_>>())
    });
    let series = Series::new(("membership change", "µs"), along.name(), micros);
    match along {
        Along::Instances => series.growing("a change of a service makes its picker anew"),
        Along::Services => series,
    }
}

/// The nanoseconds of a call, for each size in each turn.
pub(crate) fn turns(scale: &Scale, world: impl Fn(usize) -> Calls) -> Vec<(usize, Vec<f64>)> {
    let mut worlds: Vec<_> = (scale.sizes.iter())
        .map(|size| {
            let mut calls = world(*size);
            let count = enough(&mut calls, scale.moment);
            (*size, calls, count, Vec::with_capacity(scale.turns))
        })
        .collect();
    for _ in 0..scale.turns {
        for (_, calls, count, turns) in &mut worlds {
            let started = Instant::now();
            calls(*count);
            turns.push(started.elapsed().as_secs_f64() * 1e9 / *count as f64);
        }
    }
    worlds
        .into_iter()
        .map(|(size, _, _, turns)| (size, turns))
        .collect()
}

/// How many calls take a moment.
fn enough(calls: &mut Calls, moment: Duration) -> usize {
    let mut count = 1;
    loop {
        let started = Instant::now();
        calls(count);
        if started.elapsed() >= moment {
            return count;
        }
        count *= 2;
    }
}
