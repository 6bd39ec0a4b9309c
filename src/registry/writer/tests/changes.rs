//! What callers are told, and when.

use super::*;

#[tokio::test]
async fn what_is_acknowledged_is_stored_published_and_observed() {
    let shelf = Shelf::default();
    let (registry, witness) = start(shelf.clone());
    let applied = registry.submit(register("web", "a"), PEER).await.unwrap();
    assert!(applied.created);
    assert_eq!(shelf.events().len(), 1);
    assert_eq!(shelf.events()[0].actor, PEER);
    assert_eq!(registry.snapshot().revision, applied.revision);
    assert_eq!(registry.revision_of("web"), applied.revision);
    assert!(registry.snapshot().member("web", "a").is_some());
    assert!(witness.sees("web", "a"));
    registry.submit(deregister("web", "a"), PEER).await.unwrap();
    assert!(!witness.sees("web", "a"));
    assert_eq!(
        *witness.changed.lock().unwrap(),
        [["web".to_owned()], ["web".to_owned()]]
    );
}

#[tokio::test]
async fn a_batch_has_one_result_for_each_command_in_order_and_one_append() {
    let shelf = Shelf::default();
    let (registry, witness) = start(shelf.clone());
    let results = registry
        .submit_all(
            vec![
                register("web", "a"),
                deregister("web", "nobody"),
                register("web", "a"),
                register("orders", "b"),
                deregister("web", "a"),
            ],
            PEER,
        )
        .await;
    assert!(results[0].as_ref().unwrap().created);
    assert!(matches!(results[1], Err(Refusal::NotFound { .. })));
    assert!(!results[2].as_ref().unwrap().created);
    assert!(results[3].as_ref().unwrap().created);
    assert_eq!(
        results[4].as_ref().unwrap().member.instance.id.as_str(),
        "a"
    );
    assert_eq!(shelf.0.appends.load(SeqCst), 1);
    assert_eq!(witness.changed.lock().unwrap().len(), 1);
    assert!(registry.submit_all(Vec::new(), PEER).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_callers_each_find_their_own_change_published() {
    let shelf = Shelf::default();
    let (registry, witness) = start(shelf.clone());
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let (registry, witness) = (registry.clone(), witness.clone());
            tokio::spawn(async move {
                let (service, id) = (format!("s{}", n % 7), format!("i{n}"));
                let applied = registry
                    .submit(register(&service, &id), PEER)
                    .await
                    .unwrap();
                assert!(registry.revision_of(&service) >= applied.revision);
                assert!(registry.snapshot().member(&service, &id).is_some());
                assert!(witness.sees(&service, &id));
                applied.revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for caller in callers {
        revisions.push(caller.await.unwrap());
    }
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), 200, "each change has its own revision");
    let stored: Vec<_> = shelf.events().iter().map(|event| event.revision).collect();
    assert_eq!(stored, revisions, "the store holds all of them, in order");
}

#[tokio::test]
async fn a_touch_wakes_followers_of_the_service_and_stores_nothing() {
    let shelf = Shelf::default();
    let (registry, _) = start(shelf.clone());
    let applied = registry.submit(register("web", "a"), PEER).await.unwrap();
    let mut web = registry.follow(Some(&"web".parse().unwrap()));
    let mut all = registry.follow(None);
    registry.touch(
        &"web".parse().unwrap(),
        &"nobody".parse().unwrap(),
        Fitness::Fit,
    );
    registry.touch(&"web".parse().unwrap(), &"a".parse().unwrap(), Fitness::Fit);
    let revision = web.passed(applied.revision).await;
    assert_eq!(revision, applied.revision.next());
    assert_eq!(all.passed(applied.revision).await, revision);
    let snapshot = registry.snapshot();
    let member = snapshot.member("web", "a").unwrap();
    assert_eq!(
        (member.modified, member.observed),
        (applied.revision, revision)
    );
    assert_eq!(shelf.events().len(), 1);
}

#[tokio::test]
async fn whoever_waits_for_a_service_nobody_registered_wakes_when_one_does() {
    let (registry, _) = start(MemoryStore::default());
    let seen = registry.revision_of("web");
    assert!(seen > Revision(0), "an index is never 0");
    let mut web = registry.follow(Some(&"web".parse().unwrap()));
    let waiting = tokio::spawn(async move { web.passed(seen).await });
    registry
        .submit(register("orders", "a"), PEER)
        .await
        .unwrap();
    let applied = registry.submit(register("web", "a"), PEER).await.unwrap();
    assert_eq!(waiting.await.unwrap(), applied.revision);
}

#[tokio::test]
async fn new_rules_hold_for_later_registrations_only() {
    let (registry, _) = start(MemoryStore::default());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    registry.set_rules(Rules {
        allow: Vec::new(),
        ..rules()
    });
    assert!(registry.rules().allow.is_empty());
    assert!(matches!(
        registry.submit(register("web", "b"), PEER).await,
        Err(Refusal::Invalid {
            field: "address",
            ..
        })
    ));
    assert!(registry.snapshot().member("web", "a").is_some());
}

#[tokio::test]
async fn the_thread_ends_with_the_last_handle() {
    let (registry, witness) = start(MemoryStore::default());
    let other = registry.clone();
    drop(registry);
    other.submit(register("web", "a"), PEER).await.unwrap();
    drop(other);
    while Arc::strong_count(&witness) > 1 {
        tokio::task::yield_now().await;
    }
}
