//! What a change on the disk, heartbeats of several threads, a listing, an expiry and a restart cost in
//! the registry alone. Nothing is stored but where it says so.

#![expect(clippy::expect_used, reason = "a bench that cannot start may stop")]

mod common;

use std::time::{Instant, SystemTime};

use callboard::instance::Instance;
use callboard::registry::Registry;
use callboard::registry::command::Command;
use callboard::registry::event::Actor;
use callboard::registry::expiry::Expiry;
use callboard::registry::snapshot::Revision;
use callboard::registry::state::{Context, State};
use callboard::registry::store::Store;
use callboard::registry::store::sqlite::{Settings, SqliteStore, Sync};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

fn world(services: usize, each: usize) -> Registry {
    let registry = common::empty();
    common::fill(&registry, common::batches(services, each));
    registry
}

/// One instance is replaced, until the caller has its answer: with a store on this machine's disk, in the
/// system's folder for temporary files.
#[divan::bench(args = [Sync::Full, Sync::Normal])]
fn one_change_on_disk(bencher: Bencher<'_, '_>, sync: Sync) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(on_disk(&folder, sync)).expect("a store");
    let (registry, runtime) = (common::over(Box::new(store)), common::runtime());
    let mut weight = 1;
    bencher.bench_local(|| {
        weight = weight % 60_000 + 1;
        let replaced = Instance {
            weight,
            ..common::instance(1, 1)
        };
        runtime.block_on(registry.submit(Command::Register(replaced), Actor::Callboard))
    });
}

/// 100,000 instances come back from the disk.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn restart_with_100_000(bencher: Bencher<'_, '_>) {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || SqliteStore::open(on_disk(&folder, Sync::Normal)).expect("a store");
    fill(&mut open());
    bencher.bench_local(|| {
        let recovered = open().recover().expect("the members");
        assert_eq!(recovered.members.len(), 100_000);
        State::restore(recovered, Instant::now(), Revision(1))
    });
}

/// Keeps the registrations of 100,000 instances in `store`.
fn fill(store: &mut SqliteStore) {
    store.recover().expect("a new file");
    let mut state = State::default();
    for batch in common::batches(1_000, 100) {
        let before = state.snapshot().clone();
        let apply = |command| {
            let context = Context {
                rules: &common::rules(),
                actor: &Actor::Callboard,
                now: Instant::now(),
                at: SystemTime::now(),
            };
            let applied = state.apply(&command, context);
            applied.expect("an admitted instance").1
        };
        let events: Vec<_> = batch.into_iter().filter_map(apply).collect();
        store.append(&events, &before).expect("room");
    }
}

fn on_disk(folder: &tempfile::TempDir, sync: Sync) -> Settings {
    Settings {
        path: folder.path().join("callboard.db"),
        sync,
        ..Settings::default()
    }
}

/// The same registration again, as clients without heartbeats do.
#[divan::bench]
fn the_same_again(bencher: Bencher<'_, '_>) {
    let (registry, runtime) = (world(1_000, 100), common::runtime());
    bencher.bench_local(|| {
        let same = common::instance(500, 50);
        runtime.block_on(registry.submit(Command::Register(same), Actor::Callboard))
    });
}

#[divan::bench(threads = [1, 2])]
fn renew(bencher: Bencher<'_, '_>) {
    let registry = world(1_000, 100);
    let now = Instant::now();
    bencher.bench(|| {
        registry.renew(
            black_box("service-500"),
            black_box("service-500-50"),
            None,
            &Actor::Callboard,
            now,
        )
    });
}

/// Every member of a service of 10,000 is looked at once.
#[divan::bench]
fn list_10_000(bencher: Bencher<'_, '_>) {
    let registry = world(1, 10_000);
    bencher.bench_local(|| {
        let snapshot = registry.snapshot();
        let members = snapshot.members(black_box("service-0"));
        members.map_or(0, |members| {
            let members = members.instances.values();
            members
                .map(|member| u64::from(member.instance.weight))
                .sum::<u64>()
        })
    });
}

/// 100,000 leases that run out at the same time.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn expire_100_000(bencher: Bencher<'_, '_>) {
    let (rules, now, at) = (common::rules(), Instant::now(), SystemTime::now());
    bencher
        .with_inputs(|| {
            let (mut state, mut expiry) = (State::default(), Expiry::default());
            for command in common::batches(1_000, 100).into_iter().flatten() {
                let context = Context {
                    rules: &rules,
                    actor: &Actor::Callboard,
                    now,
                    at,
                };
                state
                    .apply(&command, context)
                    .expect("an admitted instance");
            }
            for holder in state.take_granted() {
                expiry.watch(&holder);
            }
            (state, expiry)
        })
        .bench_local_values(|(mut state, mut expiry)| {
            let later = now + rules.max_ttl;
            let mut events = Vec::new();
            for holder in expiry.due(later) {
                if holder.lease.expire(later) {
                    events.extend(state.expire(&holder, String::new(), at));
                }
            }
            assert_eq!(events.len(), 100_000);
            (state, events)
        });
}
