use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::OrdMap;
use proptest::prelude::*;

use super::super::Cluster;
use super::super::load::Report;
use super::super::pick::{Pick, Tried};
use super::super::policy::{Admission, Policy, SlowStart};
use super::super::testing::{cluster, member};
use super::effective;
use crate::balance::{Algorithm, Balance};
use crate::names::InstanceId;
use crate::registry::snapshot::{Fitness, Member};

const WINDOW: Duration = Duration::from_secs(600);
const PICKS: usize = 4_000;

/// A cluster in the zone `east`, and its members.
struct Fleet {
    cluster: Arc<Cluster>,
    members: OrdMap<InstanceId, Arc<Member>>,
    start: Instant,
}

impl Fleet {
    fn new(policy: Policy) -> Self {
        Self {
            cluster: cluster(&policy, Some("east")),
            members: OrdMap::new(),
            start: Instant::now(),
        }
    }

    /// Members that have been there for longer than any window.
    fn settled(policy: Policy, ids: &[&str]) -> Self {
        let mut fleet = Self::new(policy);
        fleet.join(ids, |member| member.recalled = Some(Fitness::Fit));
        fleet
    }

    /// Adds members, all at once and as `change` makes them.
    fn join(&mut self, ids: &[&str], change: impl Fn(&mut Member)) {
        for id in ids {
            let mut member = member(id);
            change(&mut member);
            let id = member.instance.id.clone();
            self.members.insert(id, Arc::new(member));
        }
        self.cluster.reconcile(&self.members);
    }

    /// Changes one member.
    fn amend(&mut self, id: &str, change: impl Fn(&mut Member)) {
        let id: InstanceId = id.parse().unwrap();
        let mut member = Member::clone(&self.members[&id]);
        change(&mut member);
        member.observed = member.observed.next();
        self.members.insert(id, Arc::new(member));
        self.cluster.reconcile(&self.members);
    }

    fn probed(&self, id: &str, answer: Result<(), &str>) {
        let id: InstanceId = id.parse().unwrap();
        let key = self.cluster.control().slots[&id].endpoint.key();
        let answer = answer.map_err(str::to_owned);
        self.cluster.probed(&id, key, answer, Instant::now());
    }

    fn tick(&self, after: Duration) {
        self.cluster.tick(self.start + after);
    }

    fn report(&self, id: &str, qps: f64, utilization: f64, after: Duration) {
        let report = Report {
            qps: Some(qps),
            utilization: Some(utilization),
            ..Report::default()
        };
        self.cluster.report(id, report, self.start + after);
    }

    fn weight(&self, id: &str) -> f64 {
        self.cluster.status(id).unwrap().effective_weight
    }

    fn weights<const N: usize>(&self, ids: [&str; N]) -> [f64; N] {
        ids.map(|id| self.weight(id))
    }

    fn pick(&self) -> Pick {
        self.pick_besides(&Tried::default())
    }

    fn pick_besides(&self, tried: &Tried) -> Pick {
        let hash = fastrand::u64(..);
        self.cluster.pick(hash, tried, Instant::now()).ok().unwrap()
    }

    /// The part of requests, each done before the next, that goes to `id`.
    fn part_of(&self, id: &str) -> f64 {
        let hits = (0..PICKS).filter(|_| name(&self.pick()) == id).count();
        hits as f64 / PICKS as f64
    }
}

fn name(pick: &Pick) -> &str {
    pick.endpoint().instance.id.as_str()
}

fn zone(name: &str) -> impl Fn(&mut Member) {
    move |member| {
        Arc::make_mut(&mut member.instance).zone = Some(name.to_owned());
        member.recalled = Some(Fitness::Fit);
    }
}

fn policy(algorithm: Algorithm) -> Policy {
    Policy {
        balance: Balance {
            algorithm,
            ..Balance::default()
        },
        ..Policy::default()
    }
}

fn slow(algorithm: Algorithm) -> Policy {
    Policy {
        slow_start: SlowStart {
            window: WINDOW,
            aggression: 1.0,
        },
        ..policy(algorithm)
    }
}

const DRAWING: [Algorithm; 4] = [
    Algorithm::RoundRobin,
    Algorithm::Random,
    Algorithm::LeastRequest,
    Algorithm::PeakEwma,
];

fn assert_about(actual: f64, expected: f64) {
    // Beyond five standard deviations of a count.
    assert!((actual - expected).abs() < 0.04, "{actual}, not {expected}");
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_newcomer_gets_a_tenth_of_its_share_and_then_more_and_more() {
    for algorithm in DRAWING {
        let mut fleet = Fleet::settled(slow(algorithm), &["old"]);
        fleet.join(&["new"], |_| {});
        assert_eq!(fleet.weights(["old", "new"]), [1.0, 0.1]);
        assert_about(fleet.part_of("new"), 0.1 / 1.1);
        fleet.tick(WINDOW / 2);
        assert!((fleet.weight("new") - 0.5).abs() < 0.01);
        assert_about(fleet.part_of("new"), 0.5 / 1.5);
        fleet.tick(WINDOW + seconds(1));
        assert_eq!(fleet.weights(["old", "new"]), [1.0, 1.0]);
        assert_about(fleet.part_of("new"), 0.5);
        assert_eq!(fleet.cluster.control().shares_due, None);
    }
}

#[test]
fn members_that_come_together_share_alike_and_whoever_is_alone_has_all() {
    let mut fleet = Fleet::new(slow(Algorithm::Random));
    fleet.join(&["a"], |_| {});
    assert_eq!(fleet.weight("a"), 1.0);
    fleet.join(&["b", "c"], |_| {});
    assert_eq!(fleet.weights(["a", "b", "c"]), [1.0; 3]);
    fleet.tick(WINDOW / 4);
    assert_eq!(fleet.weights(["b", "c"]), [1.0; 2]);
}

#[test]
fn whoever_was_there_before_a_restart_does_not_start_slowly_unless_it_was_out() {
    let mut fleet = Fleet::new(slow(Algorithm::Random));
    fleet.members = OrdMap::from_iter(["fit", "out"].map(|id| {
        let mut member = member(id);
        member.recalled = Some(if id == "fit" {
            Fitness::Fit
        } else {
            Fitness::Failing
        });
        (member.instance.id.clone(), Arc::new(member))
    }));
    fleet.cluster.reconcile(&fleet.members);
    assert_eq!(fleet.weights(["fit"]), [1.0]);
    fleet.probed("out", Ok(()));
    fleet.probed("out", Ok(()));
    assert_eq!(fleet.weights(["fit", "out"]), [1.0, 0.1]);
}

#[test]
fn whoever_returns_starts_slowly_whatever_it_was_out_for() {
    let mut fleet = Fleet::settled(slow(Algorithm::Random), &["a", "b", "c"]);
    for _ in 0..3 {
        fleet.probed("b", Err("refused"));
    }
    fleet.amend("c", |member| member.draining = true);
    assert_about(fleet.part_of("a"), 1.0);
    fleet.probed("b", Ok(()));
    fleet.probed("b", Ok(()));
    fleet.amend("c", |member| member.draining = false);
    assert_eq!(fleet.weights(["a", "b", "c"]), [1.0, 0.1, 0.1]);
}

#[test]
fn a_new_life_starts_slowly_and_a_new_description_does_not() {
    let mut fleet = Fleet::settled(slow(Algorithm::Random), &["a", "b"]);
    fleet.amend("b", |member| {
        Arc::make_mut(&mut member.instance).weight = 4;
    });
    assert_eq!(fleet.weights(["a", "b"]), [1.0, 4.0]);
    fleet.amend("b", |member| {
        Arc::make_mut(&mut member.instance).generation = Some(2);
    });
    assert_eq!(fleet.weights(["a", "b"]), [1.0, 0.4]);
}

#[test]
fn hashed_requests_know_no_slow_start() {
    for algorithm in [Algorithm::RingHash, Algorithm::Maglev] {
        let mut fleet = Fleet::settled(slow(algorithm), &["old"]);
        fleet.join(&["new"], |_| {});
        assert_eq!(fleet.weights(["old", "new"]), [1.0, 1.0]);
        let part = fleet.part_of("new");
        assert!((0.35..0.65).contains(&part), "{part}");
    }
}

#[test]
fn without_a_window_nobody_starts_slowly_and_setting_one_later_slows_nobody_down() {
    let mut fleet = Fleet::settled(policy(Algorithm::Random), &["old"]);
    fleet.join(&["new"], |_| {});
    assert_eq!(fleet.weights(["old", "new"]), [1.0, 1.0]);
    let slow = slow(Algorithm::Random);
    fleet.cluster.configure(&slow, Admission::Trust);
    assert_eq!(fleet.weights(["old", "new"]), [1.0, 1.0]);
}

#[test]
fn nobody_is_spared_in_panic() {
    let mut fleet = Fleet::settled(slow(Algorithm::Random), &["a", "c", "d", "e"]);
    fleet.join(&["new"], |_| {});
    assert_about(fleet.part_of("new"), 0.1 / 4.1);
    for id in ["c", "d", "e"] {
        for _ in 0..3 {
            fleet.probed(id, Err("refused"));
        }
    }
    assert_about(fleet.part_of("new"), 0.2);
}

#[test]
fn shares_follow_the_capacities_that_are_reported() {
    let fleet = Fleet::settled(policy(Algorithm::Random), &["big", "quiet", "small"]);
    let ids = ["big", "quiet", "small"];
    fleet.report("big", 150.0, 0.5, seconds(0));
    fleet.report("small", 50.0, 0.5, seconds(0));
    fleet.tick(seconds(9));
    assert_eq!(fleet.weights(ids), [1.0; 3], "blacked out");
    fleet.tick(seconds(11));
    assert_eq!(fleet.weights(ids), [1.5, 1.0, 0.5]);
    assert_about(fleet.part_of("big"), 0.5);
    fleet.report("small", 50.0, 0.25, seconds(12));
    fleet.tick(seconds(13));
    assert_eq!(fleet.weights(ids), [1.2, 1.0, 0.8]);

    fleet.tick(seconds(181));
    assert_eq!(fleet.weights(ids), [1.0; 3], "one report is left");
    assert!(fleet.cluster.status("big").unwrap().load.is_none());
    assert!(fleet.cluster.status("small").unwrap().load.is_some());
    fleet.tick(seconds(193));
    assert!(fleet.cluster.status("small").unwrap().load.is_none());
    assert_eq!(fleet.cluster.control().shares_due, None);
}

#[test]
fn a_report_that_bears_a_weight_out_changes_nothing() {
    let mut fleet = Fleet::settled(policy(Algorithm::Random), &["big", "small"]);
    fleet.amend("big", |member| {
        Arc::make_mut(&mut member.instance).weight = 4;
    });
    fleet.report("big", 400.0, 0.5, seconds(0));
    fleet.report("small", 100.0, 0.5, seconds(0));
    fleet.tick(seconds(11));
    assert_eq!(fleet.weights(["big", "small"]), [4.0, 1.0]);
}

#[test]
fn one_wrong_report_moves_nobody_else_and_its_sender_no_further_than_ten_times() {
    let ids = ["a", "b", "c", "liar"];
    let fleet = Fleet::settled(policy(Algorithm::Random), &ids);
    for id in ["a", "b", "c"] {
        fleet.report(id, 100.0, 0.5, seconds(0));
    }
    for (at, qps, utilization, factor) in [(0, 1e300, 1e-300, 10.0), (20, 1e-9, 1e9, 0.1)] {
        fleet.report("liar", qps, utilization, seconds(at));
        fleet.tick(seconds(at + 11));
        assert_eq!(fleet.weights(ids), [1.0, 1.0, 1.0, factor]);
    }
}

#[test]
fn reports_are_shown_and_not_acted_on_where_they_are_off() {
    let policy = Policy {
        load_reports: false,
        ..policy(Algorithm::Random)
    };
    let fleet = Fleet::settled(policy, &["a", "b"]);
    fleet.report("a", 100.0, 0.1, seconds(0));
    fleet.report("b", 100.0, 0.9, seconds(0));
    fleet.tick(seconds(11));
    assert_eq!(fleet.weights(["a", "b"]), [1.0, 1.0]);
    assert_eq!(
        fleet.cluster.status("a").unwrap().load.unwrap().utilization,
        Some(0.1)
    );
}

#[test]
fn the_proxys_zone_comes_first_and_others_when_nobody_there_is_left_to_try() {
    for algorithm in DRAWING {
        let mut fleet = Fleet::new(policy(algorithm));
        fleet.join(&["far-1", "far-2"], zone("west"));
        fleet.join(&["nowhere"], |_| {});
        fleet.join(&["near-1", "near-2"], zone("east"));
        assert!((0..PICKS).all(|_| name(&fleet.pick()).starts_with("near")));
        assert_about(fleet.part_of("near-1"), 0.5);
        let mut tried = Tried::default();
        for _ in 0..2 {
            let pick = fleet.pick_besides(&tried);
            assert!(name(&pick).starts_with("near"));
            tried.add(pick.endpoint());
        }
        assert!(!name(&fleet.pick_besides(&tried)).starts_with("near"));
        fleet.amend("near-1", |member| member.draining = true);
        fleet.amend("near-2", |member| member.draining = true);
        assert!(!name(&fleet.pick()).starts_with("near"));
    }
}

#[test]
fn a_zone_that_lost_half_of_itself_keeps_seven_tenths() {
    let mut fleet = Fleet::new(policy(Algorithm::Random));
    fleet.join(&["far-1", "far-2", "far-3"], zone("west"));
    fleet.join(&["near-1", "near-2"], zone("east"));
    for _ in 0..3 {
        fleet.probed("near-2", Err("refused"));
    }
    assert_about(fleet.part_of("near-1"), 0.7);
    fleet.probed("near-2", Ok(()));
    fleet.probed("near-2", Ok(()));
    assert_about(fleet.part_of("near-1"), 0.5);
}

#[test]
fn an_instance_that_has_yet_to_start_takes_nothing_from_its_zone() {
    let mut fleet = Fleet::new(policy(Algorithm::Random));
    fleet.join(&["far"], zone("west"));
    fleet.join(&["near"], zone("east"));
    fleet.cluster.control().admission = Admission::Probe;
    fleet.join(&["next-1", "next-2"], |member| {
        zone("east")(member);
        member.recalled = None;
    });
    assert_eq!(fleet.part_of("near"), 1.0);
}

#[test]
fn a_small_zone_is_not_given_more_than_a_multiple_of_its_share() {
    let mut fleet = Fleet::new(policy(Algorithm::LeastRequest));
    let far: Vec<String> = (0..9).map(|number| format!("far-{number}")).collect();
    let far: Vec<&str> = far.iter().map(String::as_str).collect();
    fleet.join(&far, zone("west"));
    fleet.join(&["near"], zone("east"));
    let held: Vec<Pick> = (0..200).map(|_| fleet.pick()).collect();
    let near = held.iter().filter(|pick| name(pick) == "near").count();
    assert!((35..=45).contains(&near), "{near} of 200 stayed");
    drop(held);
    assert_eq!(
        fleet
            .cluster
            .local_in_flight
            .load(super::super::Ordering::Relaxed),
        0
    );
    assert_eq!(fleet.part_of("near"), 1.0);
}

#[test]
fn zones_make_no_difference_where_they_are_off_in_panic_and_for_hashes() {
    let build = |policy| {
        let mut fleet = Fleet::new(policy);
        fleet.join(&["far-1", "far-2", "far-3"], zone("west"));
        fleet.join(&["near"], zone("east"));
        fleet
    };
    let off = Policy {
        prefer_zone: false,
        ..policy(Algorithm::Random)
    };
    assert_about(build(off).part_of("near"), 0.25);
    let hashed = build(policy(Algorithm::Maglev)).part_of("near");
    assert_about(hashed, 0.25);
    let panicking = build(policy(Algorithm::Random));
    for id in ["far-1", "far-2", "far-3"] {
        for _ in 0..3 {
            panicking.probed(id, Err("refused"));
        }
    }
    assert_about(panicking.part_of("near"), 0.25);
}

#[test]
fn effective_weights_are_the_registered_ones_until_something_moves() {
    let whole = [(3, 1.0), (65_535, 1.0)];
    assert_eq!(effective(whole.into_iter()), [3, 65_535]);
    let moved = [(1, 0.1), (1, 1.0), (65_535, 10.0)];
    assert_eq!(effective(moved.into_iter()), [100, 1_000, 655_350_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn effective_weights_are_in_proportion_and_never_nothing(
        members in prop::collection::vec((1u32..=65_535, 0.01f64..=10.0), 1..50),
    ) {
        let weights = effective(members.iter().copied());
        let sum: f64 = members.iter().map(|(weight, factor)| f64::from(*weight) * factor).sum();
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        prop_assert!((total / 1_000.0 / sum - 1.0).abs() < 0.05);
        for (weight, (registered, factor)) in weights.iter().zip(&members) {
            prop_assert!(*weight >= 1);
            let exact = f64::from(*registered) * factor * 1_000.0;
            prop_assert!((f64::from(*weight) - exact).abs() <= 0.5);
        }
    }

    #[test]
    fn shares_add_up_whatever_is_reported(
        reports in prop::collection::vec(prop::option::of((0.0f64..1e9, 0.0f64..2.0)), 1..20),
    ) {
        let ids: Vec<String> = (0..reports.len()).map(|index| format!("web-{index:02}")).collect();
        let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
        let fleet = Fleet::settled(policy(Algorithm::Random), &refs);
        for (id, report) in ids.iter().zip(&reports) {
            if let Some((qps, utilization)) = report {
                fleet.report(id, *qps, *utilization, seconds(0));
            }
        }
        fleet.tick(seconds(11));
        let weights: BTreeMap<_, _> = ids.iter().map(|id| (id, fleet.weight(id))).collect();
        prop_assert!(weights.values().all(|weight| (0.1..=10.0).contains(weight)), "{weights:?}");
        let middle = weights.values().any(|weight| *weight >= 1.0);
        prop_assert!(middle, "{weights:?}");
    }
}
