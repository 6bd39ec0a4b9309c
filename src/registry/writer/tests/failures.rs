//! The store refuses, the observer panics, the writer dies.

use super::*;

#[tokio::test]
async fn a_store_that_refuses_leaves_everything_as_it_was() {
    let shelf = Shelf::default();
    let (registry, witness) = start(shelf.clone());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    let before = registry.snapshot();
    let lease = before.member("web", "a").unwrap().lease.clone().unwrap();
    let deadline = lease.deadline();

    shelf.refuse(true);
    let mut heavier = instance("web", "a");
    heavier.weight = 9;
    let results = registry
        .submit_all(
            vec![
                Command::Register(heavier),
                register("web", "b"),
                deregister("web", "a"),
                deregister("web", "b"),
            ],
            PEER,
        )
        .await;
    for refused in &results[..3] {
        assert_eq!(
            *refused.as_ref().unwrap_err(),
            Refusal::Unavailable("the shelf broke".to_owned())
        );
    }
    assert!(matches!(results[3], Err(Refusal::NotFound { .. })));
    assert!(Arc::ptr_eq(&before, &registry.snapshot()));
    assert_eq!(lease.deadline(), deadline, "nor was its lease renewed");
    assert!(witness.sees("web", "a"));

    let repeated = registry.submit(register("web", "a"), PEER).await.unwrap();
    assert!(!repeated.created, "what needs no store goes on");
    assert!(lease.deadline() > deadline);

    shelf.refuse(false);
    let b = registry.submit(register("web", "b"), PEER).await.unwrap();
    assert_eq!(b.revision, before.revision.next());
    assert_eq!(shelf.events().len(), 2);
}

#[tokio::test]
async fn without_its_writer_the_registry_says_so_and_still_serves_what_it_knows() {
    let shelf = Shelf::default();
    let (registry, _) = start(shelf.clone());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    shelf.0.panics.store(true, SeqCst);
    for _ in 0..2 {
        let results = registry
            .submit_all(vec![register("web", "b"), register("web", "c")], PEER)
            .await;
        assert_eq!(results.len(), 2);
        for result in results {
            assert!(matches!(result, Err(Refusal::Unavailable(_))));
        }
    }
    registry.touch(&"web".parse().unwrap(), &"a".parse().unwrap(), Fitness::Fit);
    assert!(registry.snapshot().member("web", "a").is_some());
    assert!(
        registry
            .renew("web", "a", None, &PEER, Instant::now())
            .is_ok()
    );
}

#[tokio::test]
async fn an_observer_that_panics_is_shown_the_same_services_again() {
    let (registry, witness) = start(MemoryStore::default());
    witness.panics.store(true, SeqCst);
    let applied = registry.submit(register("web", "a"), PEER).await;
    assert!(applied.is_ok(), "it is stored and published all the same");
    witness.panics.store(false, SeqCst);
    registry
        .submit(register("orders", "a"), PEER)
        .await
        .unwrap();
    assert!(witness.sees("web", "a"));
    assert_eq!(
        *witness.changed.lock().unwrap(),
        [["orders".to_owned(), "web".to_owned()]]
    );
}
