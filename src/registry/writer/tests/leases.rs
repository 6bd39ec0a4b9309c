//! Leases that run out, are renewed, and outlive a restart.

use super::*;

fn short_lived(service: &str, id: &str) -> Command {
    Command::Register(Instance {
        ttl: Some(Duration::from_millis(20)),
        ..instance(service, id)
    })
}

fn named(service: &str, id: &str) -> Key {
    (service.parse().unwrap(), id.parse().unwrap())
}

async fn gone(registry: &Registry, service: &str, id: &str) {
    let mut follower = registry.follow(Some(&service.parse().unwrap()));
    let mut seen = Revision(0);
    while registry.snapshot().member(service, id).is_some() {
        seen = follower.passed(seen).await;
    }
}

/// A writer without its thread, to be driven under simulated time, that remembers one member.
fn writer(shelf: &Shelf, now: Instant) -> (Writer, Arc<Lease>) {
    let context = Context {
        rules: &rules(),
        actor: &PEER,
        now,
        at: SystemTime::UNIX_EPOCH,
    };
    let applied = State::default().apply(&register("web", "a"), context);
    let (_, event) = applied.unwrap();
    shelf.0.events.lock().unwrap().extend(event);
    let rules = Arc::new(ArcSwap::from_pointee(rules()));
    let writer = Writer::new(
        Box::new(shelf.clone()),
        rules,
        Arc::new(Witness::default()),
        now,
        Revision(1),
    )
    .unwrap();
    let member = writer.published.snapshot().load();
    let lease = member.member("web", "a").unwrap().lease.clone().unwrap();
    (writer, lease)
}

#[tokio::test]
async fn a_lease_that_runs_out_takes_its_member_along() {
    let shelf = Shelf::default();
    let (registry, witness) = start(shelf.clone());
    registry.submit(register("web", "b"), PEER).await.unwrap();
    registry
        .submit(short_lived("web", "a"), PEER)
        .await
        .unwrap();
    gone(&registry, "web", "a").await;
    assert!(registry.snapshot().member("web", "b").is_some());
    let last = shelf.events().pop().unwrap();
    assert_eq!(
        (last.change, last.actor),
        (Change::Expired, Actor::Callboard)
    );
    assert!(matches!(
        registry.renew("web", "a", None, &PEER, Instant::now()),
        Err(Refusal::NotFound { .. })
    ));
    let back = registry
        .submit(short_lived("web", "a"), PEER)
        .await
        .unwrap();
    assert!(back.created);
    assert!(witness.sees("web", "b"));
}

#[test]
fn whoever_cannot_be_taken_out_because_the_store_refuses_stays_until_that_can_be_stored() {
    let (shelf, start) = (Shelf::default(), Instant::now());
    let (mut writer, lease) = writer(&shelf, start);
    let key = named("web", "a");
    writer.expire_due(start + TTL);
    let fails = Testimony::Fails("refused".to_owned());
    writer.suspects.testify(&key, fails.clone(), start + TTL);
    shelf.refuse(true);
    writer.expire_due(start + TTL);
    assert_eq!(shelf.0.appends.load(SeqCst), 1);
    assert!(writer.state.snapshot().member("web", "a").is_some());
    assert_eq!(lease.renew(start + TTL), Renewal::Settled, "still counts");
    writer.settle(std::slice::from_ref(&key), start + TTL);

    shelf.refuse(false);
    writer.expire_due(start + TTL + RETRY);
    assert!(lease.deadline().is_some(), "it was renewed meanwhile");
    writer.expire_due(start + TTL + TTL);
    writer.suspects.testify(&key, fails, start + TTL + TTL);
    writer.expire_due(start + TTL + TTL);
    assert!(writer.state.snapshot().member("web", "a").is_none());
    let last = shelf.events().pop().unwrap();
    assert_eq!(last.change, Change::Expired);
    assert_eq!(last.why.unwrap(), "lease ran out 0s ago; probe: refused");
}

#[test]
fn leases_run_longer_by_the_time_the_process_stood_still() {
    let (shelf, start) = (Shelf::default(), Instant::now());
    let (mut writer, lease) = writer(&shelf, start);
    writer.forgive(3 * TTL);
    writer.expire_due(start + 3 * TTL);
    assert_eq!(lease.deadline(), Some(start + 4 * TTL));
    assert!(writer.suspects.next().is_none());
    writer.expire_due(start + 4 * TTL);
    assert!(writer.suspects.next().is_some());

    writer.forgive(5 * TTL);
    assert!(
        writer.suspects.next().is_none(),
        "suspects have more time too"
    );
    writer.expire_due(start + 8 * TTL);
    assert!(writer.suspects.next().is_none());
    writer.expire_due(start + 9 * TTL);
    assert!(writer.suspects.next().is_some());
}

#[tokio::test]
async fn a_heartbeat_keeps_a_member_and_a_late_life_fences_it() {
    let (registry, _) = start(MemoryStore::default());
    let mut second_life = instance("web", "a");
    second_life.generation = Some(2);
    registry
        .submit(Command::Register(second_life), PEER)
        .await
        .unwrap();
    let now = Instant::now();
    assert_eq!(
        registry.renew("web", "a", Some(2), &PEER, now),
        Ok(Some(TTL))
    );
    assert_eq!(registry.renew("web", "a", None, &PEER, now), Ok(Some(TTL)));
    assert_eq!(
        registry.renew("web", "a", Some(1), &PEER, now),
        Err(Refusal::Fenced {
            given: 1,
            current: 2
        })
    );
    let fixed = Instance {
        ttl: None,
        ..instance("web", "fixed")
    };
    registry
        .submit(Command::Register(fixed), PEER)
        .await
        .unwrap();
    assert_eq!(registry.renew("web", "fixed", None, &PEER, now), Ok(None));
}

/// Heartbeats race the expiry for leases of 10 ms. Whoever is told that a lease is renewed must
/// find its member there for all of the ttl.
#[test]
fn a_renewed_lease_is_never_expired_under_its_holder() {
    let registry = start_among_the_dead(MemoryStore::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ttl = Duration::from_millis(10);
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (registry, runtime) = (&registry, runtime.handle());
            scope.spawn(move || {
                let id = format!("i{n}");
                let command = Command::Register(Instance {
                    ttl: Some(ttl),
                    ..instance("web", &id)
                });
                let mut expiries = 0;
                let end = Instant::now() + Duration::from_millis(400);
                while Instant::now() < end {
                    let at = Instant::now();
                    if registry.renew("web", &id, None, &PEER, at).is_ok() {
                        let snapshot = registry.snapshot();
                        let there = snapshot.member("web", &id).is_some();
                        assert!(there || at.elapsed() >= ttl);
                        let next = at + ttl - Duration::from_micros(fastrand::u64(0..200));
                        while Instant::now() < next {
                            std::thread::yield_now();
                        }
                    } else {
                        expiries += 1;
                        let registered = registry.submit(command.clone(), PEER);
                        runtime.block_on(registered).unwrap();
                    }
                }
                assert!(expiries > 0, "registered at least once");
            });
        }
    });
}

#[tokio::test]
async fn a_registry_starts_where_the_store_left_off() {
    let shelf = Shelf::default();
    let before = {
        let (registry, _) = start(shelf.clone());
        registry.submit(register("web", "a"), PEER).await.unwrap();
        registry
            .submit(short_lived("web", "short"), PEER)
            .await
            .unwrap();
        registry.snapshot()
    };
    let (registry, witness) = start(Shelf(Arc::new(ShelfState {
        events: Mutex::new(shelf.events()),
        ..ShelfState::default()
    })));
    assert!(
        witness.sees("web", "a"),
        "observed before the start is over"
    );
    assert!(registry.revision_of("web") > before.revision);
    gone(&registry, "web", "short").await;
    assert!(registry.snapshot().member("web", "a").is_some());
}
