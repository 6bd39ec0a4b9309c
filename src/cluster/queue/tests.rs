use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use imbl::OrdMap;
use proptest::prelude::*;
use tokio::task::JoinHandle;

use super::*;
use crate::cluster::limit::Limit;
use crate::cluster::policy::{Admission, Hold, Limits};
use crate::cluster::testing;
use crate::endpoint::Standing;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

fn limits(in_flight: Option<u32>, per_instance: Option<u32>, queue: u32) -> Policy {
    Policy {
        check: None,
        limits: Limits {
            in_flight,
            in_flight_per_instance: per_instance,
            queue,
            queue_timeout: LONG,
            adaptive: false,
        },
        ..Policy::default()
    }
}

fn holding(max: u32, timeout: Duration) -> Policy {
    Policy {
        hold: Some(Hold { timeout, max }),
        ..limits(None, None, 10)
    }
}

fn cluster(policy: Policy, members: u16) -> Arc<Cluster> {
    let cluster = testing::cluster(&policy, None);
    publish(&cluster, 1..=members);
    cluster
}

fn publish(cluster: &Arc<Cluster>, ports: impl IntoIterator<Item = u16>) {
    let member = |port: u16| {
        let mut member = testing::member(&format!("web-{port}"));
        Arc::make_mut(&mut member.instance).address = testing::address(port);
        (member.instance.id.clone(), Arc::new(member))
    };
    let members: OrdMap<_, _> = ports.into_iter().map(member).collect();
    cluster.reconcile(&members);
}

async fn get(cluster: &Arc<Cluster>, tried: &Tried) -> Result<Pick, Refusal> {
    cluster.acquire(0, tried, Instant::now() + LONG).await
}

/// One who waits, once it does.
async fn waiter(cluster: &Arc<Cluster>, tried: Tried) -> JoinHandle<Result<Pick, Refusal>> {
    let before = waiting(cluster);
    let waiter = tokio::spawn({
        let cluster = Arc::clone(cluster);
        async move { get(&cluster, &tried).await }
    });
    while waiting(cluster) == before && !waiter.is_finished() {
        tokio::task::yield_now().await;
    }
    waiter
}

fn waiting(cluster: &Cluster) -> usize {
    let mut line = cluster.line.lock();
    let (mut count, mut from) = (0, 0);
    while let Some((ticket, _)) = line.next(from) {
        count += 1;
        from = ticket + 1;
    }
    count
}

fn pick(cluster: &Arc<Cluster>) -> Result<Pick, Nobody> {
    cluster.pick(0, &Tried::default(), Instant::now())
}

fn having_tried(pick: &Pick) -> Tried {
    let mut tried = Tried::default();
    tried.add(pick.endpoint());
    tried
}

#[test]
fn racing_threads_exceed_neither_limit() {
    let cluster = cluster(limits(Some(5), Some(3), 0), 2);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if let Ok(pick) = pick(&cluster) {
                        assert!(cluster.in_flight() <= 5);
                        assert!(pick.endpoint().in_flight() <= 3);
                    }
                }
            });
        }
    });
    assert_eq!(cluster.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_at_a_limit_is_served_to_the_last() {
    for policy in [
        limits(Some(3), None, 1_000),
        limits(None, Some(1), 1_000),
        limits(Some(2), Some(1), 1_000),
    ] {
        let cluster = cluster(policy, 3);
        let inside = Arc::new(AtomicUsize::new(0));
        let crowd: Vec<_> = (0..500)
            .map(|_| {
                let (cluster, inside) = (Arc::clone(&cluster), Arc::clone(&inside));
                tokio::spawn(async move {
                    let pick = get(&cluster, &Tried::default()).await.ok().unwrap();
                    let now = inside.fetch_add(1, Ordering::SeqCst);
                    assert!(now < 3, "{now} others are in flight");
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(pick);
                })
            })
            .collect();
        for one in crowd {
            one.await.unwrap();
        }
        assert_eq!((cluster.in_flight(), waiting(&cluster)), (0, 0));
    }
}

#[tokio::test]
async fn whoever_came_first_is_served_first_and_newcomers_line_up() {
    let cluster = cluster(limits(Some(1), None, 10), 1);
    let held = pick(&cluster).ok().unwrap();
    let first = waiter(&cluster, Tried::default()).await;
    let second = waiter(&cluster, Tried::default()).await;
    drop(held);
    // The first has not run since, and what became free is its own already.
    let newcomer = waiter(&cluster, Tried::default()).await;
    assert!(!newcomer.is_finished());
    let held = first.await.unwrap().ok().unwrap();
    assert!(!second.is_finished());
    drop(held);
    let held = second.await.unwrap().ok().unwrap();
    assert!(!newcomer.is_finished());
    drop(held);
    assert!(newcomer.await.unwrap().is_ok());
}

#[tokio::test]
async fn one_too_many_is_refused_at_once_and_one_who_left_makes_room() {
    let cluster = cluster(limits(Some(1), None, 1), 1);
    let full = Nobody::Full(Limit::InFlight(1));
    let held = pick(&cluster).ok().unwrap();
    let waiting = waiter(&cluster, Tried::default()).await;
    let refused = get(&cluster, &Tried::default()).await.err();
    assert_eq!(refused, Some(Refusal::Crowded(full, 1)));
    waiting.abort();
    assert!(waiting.await.is_err());
    let next = waiter(&cluster, Tried::default()).await;
    drop(held);
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test]
async fn what_was_given_to_one_who_left_goes_to_the_next() {
    let cluster = cluster(limits(Some(1), None, 10), 1);
    let held = pick(&cluster).ok().unwrap();
    let leaving = waiter(&cluster, Tried::default()).await;
    let next = waiter(&cluster, Tried::default()).await;
    drop(held);
    assert_eq!(cluster.in_flight(), 1, "given to the one who leaves");
    leaving.abort();
    assert!(next.await.unwrap().is_ok());
    assert_eq!(cluster.in_flight(), 0);
}

#[tokio::test]
async fn waiting_ends_with_the_patience_of_the_queue_or_of_the_request() {
    let mut policy = limits(Some(1), None, 10);
    policy.limits.queue_timeout = SHORT;
    let cluster = cluster(policy, 1);
    let full = Nobody::Full(Limit::InFlight(1));
    let held = pick(&cluster).ok().unwrap();
    let refused = get(&cluster, &Tried::default()).await.err();
    assert_eq!(refused, Some(Refusal::Waited(full, SHORT)));
    let out_of_time = cluster.acquire(0, &Tried::default(), Instant::now()).await;
    assert_eq!(
        out_of_time.err(),
        Some(Refusal::Waited(full, Duration::ZERO))
    );
    assert_eq!(waiting(&cluster), 0);
    drop(held);
    assert!(get(&cluster, &Tried::default()).await.is_ok());
}

#[tokio::test]
async fn a_higher_limit_lets_those_in_who_wait() {
    let cluster = cluster(limits(Some(1), None, 10), 1);
    let _held = pick(&cluster).ok().unwrap();
    let waiters = [
        waiter(&cluster, Tried::default()).await,
        waiter(&cluster, Tried::default()).await,
    ];
    cluster.configure(&limits(Some(3), None, 10), Admission::Trust);
    for waiter in waiters {
        assert!(waiter.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn retries_take_half_of_the_queue_at_most() {
    let cluster = cluster(limits(Some(1), None, 2), 2);
    let held = pick(&cluster).ok().unwrap();
    let retry = having_tried(&held);
    let full = Nobody::Full(Limit::InFlight(1));
    let _first = waiter(&cluster, Tried::default()).await;
    let refused = get(&cluster, &retry).await.err();
    assert_eq!(refused, Some(Refusal::Crowded(full, 1)));
    let second = waiter(&cluster, Tried::default()).await;
    assert!(!second.is_finished());
}

#[tokio::test]
async fn a_retry_bound_to_a_full_instance_steps_aside() {
    let cluster = cluster(limits(None, Some(1), 10), 2);
    let one = pick(&cluster).ok().unwrap();
    let other = pick(&cluster).ok().unwrap();
    assert_ne!(one.endpoint().key(), other.endpoint().key());
    let full = Nobody::Full(Limit::PerInstance(1));
    assert_eq!(pick(&cluster).err(), Some(full));
    let retry = waiter(&cluster, having_tried(&one)).await;
    let behind = waiter(&cluster, Tried::default()).await;
    drop(one);
    let served = behind.await.unwrap().ok().unwrap();
    assert!(!retry.is_finished());
    drop(other);
    let served_too = retry.await.unwrap().ok().unwrap();
    assert_ne!(served.endpoint().key(), served_too.endpoint().key());
}

#[tokio::test]
async fn those_who_wait_at_a_limit_are_told_when_the_last_instance_leaves() {
    let cluster = cluster(limits(Some(1), None, 10), 1);
    let _held = pick(&cluster).ok().unwrap();
    let waiter = waiter(&cluster, Tried::default()).await;
    publish(&cluster, []);
    let refused = waiter.await.unwrap().err();
    assert_eq!(refused, Some(Refusal::Nobody(Nobody::Available)));
}

#[tokio::test]
async fn requests_are_held_until_an_instance_is_published_and_go_on_through_the_limits() {
    let mut policy = holding(10, LONG);
    policy.limits.in_flight = Some(2);
    let cluster = cluster(policy, 0);
    let mut held = VecDeque::new();
    for _ in 0..5 {
        held.push_back(waiter(&cluster, Tried::default()).await);
    }
    publish(&cluster, [1]);
    assert_eq!((cluster.in_flight(), waiting(&cluster)), (2, 3));
    while let Some(one) = held.pop_front() {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(cluster.in_flight(), 0);
}

#[tokio::test]
async fn so_many_are_held_and_so_long_and_without_a_hold_nobody() {
    let held = cluster(holding(1, LONG), 0);
    let waiting = waiter(&held, Tried::default()).await;
    let refused = get(&held, &Tried::default()).await.err();
    assert_eq!(refused, Some(Refusal::Crowded(Nobody::Available, 1)));
    waiting.abort();
    let in_vain = cluster(holding(1, SHORT), 0);
    let refused = get(&in_vain, &Tried::default()).await.err();
    assert_eq!(refused, Some(Refusal::Waited(Nobody::Available, SHORT)));
    let unheld = cluster(limits(None, None, 10), 0);
    let refused = get(&unheld, &Tried::default()).await.err();
    assert_eq!(refused, Some(Refusal::Nobody(Nobody::Available)));
}

#[tokio::test]
async fn a_request_is_held_for_an_instance_it_has_tried_until_that_comes_back() {
    let cluster = cluster(holding(10, LONG), 1);
    let dead = pick(&cluster).ok().unwrap();
    let tried = having_tried(&dead);
    let held = waiter(&cluster, tried.clone()).await;
    publish(&cluster, [1]);
    assert!(!held.is_finished(), "nothing was heard of it");
    dead.endpoint().set_standing(Standing::LastResort);
    dead.endpoint().set_standing(Standing::Usable);
    cluster.serve();
    assert!(held.await.unwrap().is_ok());

    let mut answered = having_tried(&dead);
    answered.mark_answer();
    let refused = get(&cluster, &answered).await.err();
    assert_eq!(refused, Some(Refusal::Nobody(Nobody::Untried)));
}

#[test]
fn the_adaptive_limit_takes_the_place_of_the_fixed_one() {
    let mut policy = limits(Some(7), None, 0);
    policy.limits.adaptive = true;
    let cluster = cluster(policy.clone(), 1);
    let take_all = || {
        let mut held = Vec::new();
        loop {
            match pick(&cluster) {
                Ok(pick) => held.push(pick),
                Err(nobody) => return (held, nobody),
            }
        }
    };
    let (mut held, nobody) = take_all();
    assert_eq!(held.len(), 7);
    assert_eq!(nobody, Nobody::Full(Limit::Adaptive(7)));
    let now = Instant::now();
    cluster.adapt(now);
    for turn in 0..20 {
        held[turn % 7].report(crate::cluster::pick::Outcome::Failed, now);
    }
    cluster.adapt(now + Duration::from_millis(50));
    assert_eq!(cluster.adaptive.limit(), 7, "the window is open");
    cluster.adapt(now + Duration::from_millis(100));
    assert_eq!(cluster.adaptive.limit(), 6);
    policy.limits.adaptive = false;
    cluster.configure(&policy, Admission::Trust);
    drop(held);
    assert_eq!(take_all().0.len(), 7);
}

#[test]
fn an_adaptive_limit_that_is_turned_on_under_load_starts_at_what_is_in_flight() {
    let mut policy = limits(None, None, 0);
    let cluster = cluster(policy.clone(), 2);
    let _held: Vec<_> = (0..50).map(|_| pick(&cluster).ok().unwrap()).collect();
    policy.limits.adaptive = true;
    cluster.configure(&policy, Admission::Trust);
    assert_eq!(cluster.adaptive.limit(), 50);
    policy.limits.in_flight = Some(30);
    cluster.configure(&policy, Admission::Trust);
    assert_eq!(cluster.adaptive.limit(), 30);
}

/// What happens to a line.
#[derive(Clone, Debug)]
enum Step {
    Arrives,
    /// The one that was served so many before the last finishes.
    Finishes(prop::sample::Index),
    /// The one at this place of the line leaves.
    Leaves(prop::sample::Index),
    Limit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Arrives),
        3 => any::<prop::sample::Index>().prop_map(Step::Finishes),
        1 => any::<prop::sample::Index>().prop_map(Step::Leaves),
        1 => (1_u32..6).prop_map(Step::Limit),
    ]
}

type Waiting = Pin<Box<dyn Future<Output = Result<Pick, Refusal>>>>;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Nobody waits while there is room, nobody is in flight beyond the limit, and those who are
    /// served are always those who came first.
    #[test]
    fn a_line_is_fair_and_idles_never(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let cluster = cluster(limits(Some(2), None, 1_000), 2);
        let mut limit = 2_usize;
        let mut line: VecDeque<Waiting> = VecDeque::new();
        let mut served: Vec<Pick> = Vec::new();
        for step in steps {
            match step {
                Step::Arrives => {
                    let cluster = Arc::clone(&cluster);
                    line.push_back(Box::pin(async move { get(&cluster, &Tried::default()).await }));
                }
                Step::Finishes(index) if !served.is_empty() => {
                    served.swap_remove(index.index(served.len()));
                }
                Step::Leaves(index) if !line.is_empty() => {
                    line.remove(index.index(line.len()));
                }
                Step::Limit(now) => {
                    limit = now as usize;
                    cluster.configure(&limits(Some(now), None, 1_000), Admission::Trust);
                }
                Step::Finishes(_) | Step::Leaves(_) => {}
            }
            let before = served.len();
            let mut still: VecDeque<Waiting> = VecDeque::new();
            for mut one in std::mem::take(&mut line) {
                match one.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => still.push_back(one),
                    Poll::Ready(pick) => {
                        prop_assert!(still.is_empty(), "somebody was overtaken");
                        served.push(pick.ok().unwrap());
                    }
                }
            }
            line = still;
            prop_assert_eq!(cluster.in_flight(), served.len() as u64);
            prop_assert!(served.len() <= limit.max(before), "more than the limit");
            prop_assert!(line.is_empty() || served.len() >= limit, "somebody waits for nothing");
        }
    }
}
