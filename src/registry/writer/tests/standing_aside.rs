//! Another process has the store for a while, or for good.

use std::path::Path;

use futures_util::FutureExt;

use super::*;
use crate::registry::store::sqlite::{Settings, SqliteStore};
use crate::registry::suspension::Reopen;

fn open(folder: &Path) -> Result<Box<dyn Store>, StoreError> {
    let settings = Settings {
        path: folder.join("a.db"),
        ..Settings::default()
    };
    Ok(Box::new(SqliteStore::open(settings)?))
}

fn reopen(folder: &Path) -> Reopen {
    let folder = folder.to_owned();
    Box::new(move || open(&folder))
}

fn start_in(folder: &Path) -> (Registry, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    let registry = Registry::start(open(folder).unwrap(), rules(), witness.clone());
    (registry.unwrap(), witness)
}

#[tokio::test]
async fn a_suspended_registry_goes_on_beyond_every_revision_that_another_one_reserved() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, witness) = start_in(folder.path());
    let a = registry.submit(register("web", "a"), PEER).await.unwrap();
    let lease = a.member.lease.clone().unwrap();
    open(folder.path()).err().expect("it has the store");

    let suspended = registry.suspend(reopen(folder.path())).await.unwrap();
    assert_eq!(suspended.carried, None);
    let mut waiting = Box::pin(registry.submit(register("web", "b"), PEER));
    assert!((&mut waiting).now_or_never().is_none());
    let reserved = {
        let (other, seen) = start_in(folder.path());
        assert!(seen.sees("web", "a"));
        let reserved = other.snapshot().revision;
        other
            .suspend(reopen(folder.path()))
            .await
            .unwrap()
            .give_up();
        reserved
    };
    assert!(reserved > a.revision);
    let deadline = lease.deadline();
    suspended.resume().await;
    let b = waiting.await.unwrap();
    assert!(b.revision > reserved);
    assert!(witness.sees("web", "b"));
    assert!(lease.deadline() > deadline, "and no lease lost that time");
    assert_eq!(
        registry.snapshot().member("web", "a").unwrap().recalled,
        None,
        "nothing changed, so nobody has to be heard of again"
    );
}

#[tokio::test]
async fn what_another_one_changed_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, witness) = start_in(folder.path());
    for (service, id) in [("web", "a"), ("web", "b"), ("orders", "c")] {
        registry.submit(register(service, id), PEER).await.unwrap();
    }
    let suspended = registry.suspend(reopen(folder.path())).await.unwrap();
    let changed = {
        let (other, _) = start_in(folder.path());
        other.submit(deregister("web", "a"), PEER).await.unwrap();
        other.submit(deregister("orders", "c"), PEER).await.unwrap();
        let changed = other.snapshot().revision;
        other
            .suspend(reopen(folder.path()))
            .await
            .unwrap()
            .give_up();
        changed
    };
    suspended.resume().await;
    assert!(registry.snapshot().revision > changed);
    assert_eq!(
        [("web", "a"), ("web", "b"), ("orders", "c")]
            .map(|(service, id)| witness.sees(service, id)),
        [false, true, false]
    );
}

#[tokio::test]
async fn whoever_forgets_to_decide_leaves_the_registry_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, _) = start_in(folder.path());
    drop(registry.suspend(reopen(folder.path())).await.unwrap());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    drop(registry.suspend(reopen(folder.path())));
    registry.submit(register("web", "b"), PEER).await.unwrap();
}

#[tokio::test]
async fn a_registry_that_gave_up_refuses_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, _) = start_in(folder.path());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    let suspended = registry.suspend(reopen(folder.path())).await.unwrap();
    let waiting = tokio::spawn({
        let registry = registry.clone();
        async move { registry.submit(register("web", "b"), PEER).await }
    });
    suspended.give_up();
    // One that would change nothing as well: its lease is for somebody else to renew.
    let repeated = registry.submit(register("web", "a"), PEER).await;
    for refused in [waiting.await.unwrap(), repeated] {
        let refusal = refused.unwrap_err().to_string();
        assert!(refusal.contains("ask again"), "{refusal}");
    }
    assert!(registry.suspend(reopen(folder.path())).await.is_err());
    let (other, _) = start_in(folder.path());
    assert!(other.snapshot().member("web", "a").is_some());
    assert!(other.snapshot().member("web", "b").is_none());
}

#[tokio::test]
async fn a_store_in_memory_stays_and_its_membership_is_told() {
    let (registry, _) = start(MemoryStore::default());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    let never: Reopen = Box::new(|| Err(StoreError::Failed("never asked for".to_owned())));
    let suspended = registry.suspend(never).await.unwrap();
    let carried = suspended.carried.clone().unwrap();
    assert_eq!(carried.members.len(), 1);
    assert_eq!(carried.last, registry.snapshot().revision);
    suspended.resume().await;
    let b = registry.submit(register("web", "b"), PEER).await.unwrap();
    assert_eq!(b.revision, carried.last.next());
}
