//! Everything that can happen to a cluster, at once: nothing may be left behind by it, and nobody who
//! waits may be forgotten.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;

use super::load::Report;
use super::pick::{Outcome, Tried};
use super::policy::{Hold, Limits, Panic, SlowStart};
use super::*;
use crate::balance::Algorithm;
use crate::endpoint::Endpoint;
use crate::health::outlier::Outlier;

const LONG: Duration = Duration::from_secs(60);
const IDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

type Seen = Arc<Mutex<HashMap<u64, Arc<Endpoint>>>>;

fn cluster() -> Arc<Cluster> {
    testing::cluster(&patient(Algorithm::RoundRobin), Some("east"))
}

fn member(id: &str, generation: u64, port: u16) -> Member {
    let mut member = testing::member(id);
    let instance = Arc::make_mut(&mut member.instance);
    instance.address = testing::address(port);
    instance.zone = Some("east".to_owned());
    instance.generation = Some(generation);
    member
}

/// Everybody who finds no place waits, and for long.
fn patient(algorithm: Algorithm) -> Policy {
    let mut policy = Policy {
        check: None,
        outlier: Some(Outlier {
            consecutive_failures: 2,
            base_ejection: Duration::from_millis(1),
            max_ejection: Duration::from_millis(3),
            ..Outlier::default()
        }),
        slow_start: SlowStart {
            window: Duration::from_millis(5),
            aggression: 1.0,
        },
        limits: Limits {
            in_flight_per_instance: Some(2),
            queue: 10_000,
            queue_timeout: LONG,
            ..Limits::default()
        },
        hold: Some(Hold {
            timeout: LONG,
            max: 10_000,
        }),
        ..Policy::default()
    };
    policy.balance.algorithm = algorithm;
    policy
}

fn policies() -> Vec<Policy> {
    let mut policies = vec![
        patient(Algorithm::RoundRobin),
        patient(Algorithm::LeastRequest),
        patient(Algorithm::PeakEwma),
        patient(Algorithm::Maglev),
    ];
    policies[1].limits.adaptive = true;
    policies[1].limits.in_flight = Some(6);
    policies[2].panic = Panic::Fail;
    policies[2].limits.in_flight = Some(3);
    policies[2].limits.in_flight_per_instance = None;
    policies[3].outlier = None;
    policies
}

/// The membership changes in every way there is.
fn churn(cluster: &Arc<Cluster>, rounds: usize) {
    let mut rng = Rng::with_seed(1);
    let policies = policies();
    let mut members: OrdMap<InstanceId, Arc<Member>> = OrdMap::new();
    for round in 0..rounds {
        let now = Instant::now();
        let name = IDS[rng.usize(..IDS.len())];
        let id: InstanceId = name.parse().unwrap();
        match (rng.u8(..10), members.get(&id)) {
            (0, Some(_)) => drop(members.remove(&id)),
            (1, _) | (_, None) => {
                let port = 1 + rng.u16(..3);
                let mut member = member(name, rng.u64(..3), port);
                let instance = Arc::make_mut(&mut member.instance);
                instance.weight = rng.u32(..3);
                instance.zone = rng.bool().then(|| "east".to_owned());
                members.insert(id, Arc::new(member));
            }
            (2..4, Some(member)) => {
                let mut member = Member::clone(member);
                member.draining = !member.draining;
                members.insert(id, Arc::new(member));
            }
            (4, Some(_)) => {
                let policy = &policies[rng.usize(..policies.len())];
                cluster.configure(policy, Admission::Trust);
            }
            (5, Some(_)) => {
                let report = Report {
                    capacity: Some(rng.f64() * 100.0),
                    ..Report::default()
                };
                cluster.report(name, report, now);
            }
            (6, Some(_)) if round % 50 == 0 => members.clear(),
            _ => cluster.tick(now),
        }
        cluster.reconcile(&members);
        if rng.u8(..4) == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// One client's requests: some of them leave, and whatever can come of the others does.
async fn requests(cluster: Arc<Cluster>, seen: Seen, seed: u64, count: usize) {
    let mut rng = Rng::with_seed(seed);
    for _ in 0..count {
        let mut tried = Tried::default();
        for _ in 0..1 + rng.usize(..3) {
            let patience = Duration::from_micros(rng.u64(..5_000));
            let deadline = Instant::now() + LONG;
            let acquired = cluster.acquire(rng.u64(..), &tried, deadline);
            let Ok(acquired) = tokio::time::timeout(patience, acquired).await else {
                break;
            };
            let Ok(mut pick) = acquired else { break };
            (seen.lock().unwrap()).insert(pick.endpoint.key(), Arc::clone(&pick.endpoint));
            tried.add(pick.endpoint());
            let permit = cluster.try_retry();
            if rng.bool() {
                tokio::task::yield_now().await;
            }
            let now = Instant::now();
            match rng.u8(..8) {
                0 => pick.withdraw(),
                1 => drop(pick),
                2 => pick.report(Outcome::Unreachable, now),
                3 => pick.report(Outcome::Failed, now),
                4 => pick.report(Outcome::Faulted { retry_after: None }, now),
                5 => {
                    pick.report(Outcome::Answered, now);
                    pick.report(Outcome::Failed, now);
                }
                _ => pick.report(Outcome::Answered, now),
            }
            drop(permit);
        }
    }
}

#[test]
fn a_storm_leaves_nothing_behind_and_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let (cluster, seen) = (cluster(), Seen::default());
    runtime.block_on(async {
        let churning = tokio::task::spawn_blocking({
            let cluster = Arc::clone(&cluster);
            move || churn(&cluster, 1_500)
        });
        let clients: Vec<_> = (0..24)
            .map(|seed| tokio::spawn(requests(Arc::clone(&cluster), Arc::clone(&seen), seed, 100)))
            .collect();
        let patient: Vec<_> = (0..200)
            .map(|hash| {
                let cluster = Arc::clone(&cluster);
                tokio::spawn(async move {
                    let deadline = Instant::now() + LONG;
                    let pick = cluster.acquire(hash, &Tried::default(), deadline).await;
                    tokio::task::yield_now().await;
                    pick.map(drop)
                })
            })
            .collect();
        churning.await.unwrap();
        for client in clients {
            client.await.unwrap();
        }
        // With this the weather is fine again, and nothing else happens that would wake anybody.
        let member = |id: &str| (id.parse().unwrap(), Arc::new(member(id, 9, 9)));
        cluster.configure(&patient_at_last(), Admission::Trust);
        cluster.reconcile(&["x", "y"].map(member).into_iter().collect());
        for one in patient {
            let served = tokio::time::timeout(LONG / 2, one).await;
            let served = served.expect("somebody was forgotten").unwrap();
            assert_eq!(served, Ok(()));
        }
    });
    assert!(cluster.line.is_empty());
    assert_eq!((cluster.in_flight(), cluster.retries_under_way()), (0, 0));
    assert_eq!(cluster.local_in_flight.load(Ordering::SeqCst), 0);
    let seen = seen.lock().unwrap();
    assert!(seen.len() > IDS.len(), "{} endpoints", seen.len());
    for endpoint in seen.values() {
        assert_eq!(endpoint.in_flight(), 0);
        assert!(!endpoint.is_taken(), "a trial was never given back");
    }
}

fn patient_at_last() -> Policy {
    Policy {
        outlier: None,
        ..patient(Algorithm::RoundRobin)
    }
}

/// By hand: `cargo test --lib cost_of_a_step -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and tells nothing by itself"]
fn cost_of_a_step() {
    let cluster = cluster();
    let mut policy = patient(Algorithm::LeastRequest);
    policy.slow_start.window = Duration::from_secs(10);
    cluster.configure(&policy, Admission::Trust);
    let many = |from: u32, to: u32| {
        (from..to).map(|n| {
            let member = member(&format!("web-{n:05}"), 1, 9);
            (member.instance.id.clone(), Arc::new(member))
        })
    };
    let old: OrdMap<_, _> = many(0, 5_000)
        .map(|(id, member)| {
            let mut member = Member::clone(&member);
            member.recalled = Some(Fitness::Fit);
            (id, Arc::new(member))
        })
        .collect();
    cluster.reconcile(&old);
    let all: OrdMap<_, _> = old.into_iter().chain(many(5_000, 10_000)).collect();
    let start = Instant::now();
    cluster.reconcile(&all);
    println!("5,000 join 5,000: {:?}", start.elapsed());
    for algorithm in [
        Algorithm::LeastRequest,
        Algorithm::RoundRobin,
        Algorithm::PeakEwma,
    ] {
        policy.balance.algorithm = algorithm;
        cluster.configure(&policy, Admission::Trust);
        let (mut idle, mut busy, mut steps) = (Duration::ZERO, Duration::ZERO, 0_u32);
        for step in 1..100_u64 {
            let before = cluster.active.load_full();
            let now = start + Duration::from_millis(50 * step);
            let clock = Instant::now();
            cluster.tick(now);
            let took = clock.elapsed();
            if Arc::ptr_eq(&before, &cluster.active.load_full()) {
                idle += took;
            } else {
                busy += took;
                steps += 1;
            }
        }
        println!(
            "{algorithm:?}: {steps} rebuilds, {:?} each; others {:?} each",
            busy / steps.max(1),
            idle / (99 - steps).max(1)
        );
    }
}
