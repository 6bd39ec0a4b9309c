//! Who is let in: the owners of instances, the limits, and what may not come back.

use super::*;
use crate::registry::command::Patch;
use crate::registry::{Limits, Rules};

fn bearer(name: &str, admin: bool) -> Actor {
    Actor::Peer {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        token: Some(name.into()),
        admin,
    }
}

/// Every command about an instance that is there.
fn commands(service: &str, id: &str) -> [Command; 4] {
    let mut replaced = instance(service, id);
    replaced.weight = 7;
    let (service, id) = (replaced.service.clone(), replaced.id.clone());
    [
        Command::Register(replaced),
        Command::Patch {
            service: service.clone(),
            id: id.clone(),
            patch: Patch {
                weight: Some(9),
                ..Patch::default()
            },
            if_match: None,
        },
        Command::Drain {
            service: service.clone(),
            id: id.clone(),
            draining: true,
            generation: None,
        },
        deregister(service.as_str(), id.as_str()),
    ]
}

#[tokio::test]
async fn only_the_owner_and_administrators_change_an_instance() {
    let (registry, _) = start(MemoryStore::default());
    let owner = bearer("orders", false);
    for allowed in [&owner, &bearer("ops", true)] {
        registry
            .submit(register("web", "a"), owner.clone())
            .await
            .unwrap();
        let member = registry.snapshot().member("web", "a").cloned().unwrap();
        assert_eq!(member.owner.as_deref(), Some("orders"));
        for stranger in [bearer("cart", false), bearer("Orders", false)] {
            for command in commands("web", "a") {
                let refused = registry.submit(command, stranger.clone()).await;
                assert!(matches!(refused, Err(Refusal::NotOwner { .. })));
            }
            let renewed = registry.renew("web", "a", None, &stranger, Instant::now());
            assert!(matches!(renewed, Err(Refusal::NotOwner { .. })));
        }
        registry
            .renew("web", "a", None, allowed, Instant::now())
            .unwrap();
        for command in commands("web", "a") {
            let applied = registry.submit(command, allowed.clone()).await.unwrap();
            assert_eq!(applied.member.owner.as_deref(), Some("orders"));
        }
    }
    assert!(registry.snapshot().member("web", "a").is_none());
}

#[tokio::test]
async fn an_instance_without_an_owner_belongs_to_the_first_token_that_registers_it() {
    let (registry, _) = start(MemoryStore::default());
    registry.submit(register("web", "a"), PEER).await.unwrap();
    let first = bearer("orders", false);
    let applied = registry.submit(register("web", "a"), first).await.unwrap();
    assert_eq!(applied.member.owner.as_deref(), Some("orders"));
    let second = bearer("cart", false);
    let refused = registry.submit(register("web", "a"), second).await;
    assert!(matches!(refused, Err(Refusal::NotOwner { .. })));
}

#[tokio::test]
async fn at_a_limit_newcomers_are_refused_until_somebody_leaves() {
    let (registry, _) = start(MemoryStore::default());
    registry.set_rules(Rules {
        limits: Limits {
            services: 2,
            instances: 4,
            instances_per_service: 3,
        },
        ..rules()
    });
    let outcome = async |command: Command| match registry.submit(command, PEER).await {
        Ok(_) => "ok",
        Err(Refusal::Limit { name, .. }) => name,
        Err(other) => panic!("{other}"),
    };
    for id in ["a", "b", "c"] {
        assert_eq!(outcome(register("web", id)).await, "ok");
    }
    assert_eq!(outcome(register("web", "d")).await, "instances_per_service");
    assert_eq!(outcome(register("cart", "a")).await, "ok");
    assert_eq!(outcome(register("cart", "b")).await, "instances");
    let mut replaced = instance("web", "a");
    replaced.weight = 7;
    assert_eq!(outcome(Command::Register(replaced)).await, "ok");
    assert_eq!(outcome(deregister("web", "a")).await, "ok");
    assert_eq!(outcome(register("orders", "a")).await, "services");
    assert_eq!(outcome(deregister("cart", "a")).await, "ok");
    assert_eq!(outcome(register("orders", "a")).await, "ok");
    assert_eq!(outcome(register("web", "d")).await, "ok");
}

#[tokio::test]
async fn a_batch_is_weighed_one_by_one() {
    let (registry, _) = start(MemoryStore::default());
    registry.set_rules(Rules {
        limits: Limits {
            instances: 2,
            ..Limits::default()
        },
        ..rules()
    });
    let batch = ["a", "b", "c"].map(|id| register("web", id)).to_vec();
    let results = registry.submit_all(batch, PEER).await;
    assert!(results[0].is_ok() && results[1].is_ok());
    assert!(matches!(results[2], Err(Refusal::Limit { value: 2, .. })));
}

#[tokio::test]
async fn what_is_no_longer_allowed_does_not_come_back_from_the_store() {
    let shelf = Shelf::default();
    let (registry, _) = start(shelf.clone());
    let mut elsewhere = instance("web", "b");
    elsewhere.address = "192.168.0.1:8080".parse().unwrap();
    for command in [register("web", "a"), Command::Register(elsewhere)] {
        registry.submit(command, PEER).await.unwrap();
    }
    drop(registry);

    let narrowed = Rules {
        allow: vec!["10.0.0.0/8".parse().unwrap()],
        ..rules()
    };
    let witness = Arc::new(Witness::default());
    let registry = Registry::start(Box::new(shelf.clone()), narrowed, witness.clone()).unwrap();
    assert!(witness.sees("web", "a") && !witness.sees("web", "b"));
    assert!(registry.snapshot().member("web", "b").is_none());
    let last = shelf.events().pop().unwrap();
    assert_eq!(last.change, Change::Deregistered);
    assert_eq!(last.actor, Actor::Callboard);
    assert_eq!(
        last.why.unwrap(),
        "address: is 192.168.0.1 (expected an address in 10.0.0.0/8)"
    );
}
