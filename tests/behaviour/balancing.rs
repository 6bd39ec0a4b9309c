//! How requests are spread over instances.

use serde_json::json;

use crate::support::{Callboard, Instance, Setup, tally};

async fn three(policy: &str) -> (Callboard, Vec<Instance>) {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(&format!("services:\n  web: {{{policy}}}"))
        .start();
    let instances = Instance::several("web", 3);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    (callboard, instances)
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let (callboard, _instances) = three("balance: round_robin").await;
    let shares = tally(callboard.answerers("/web/", 30).await);
    assert!(shares.iter().all(|(_, count)| *count == 10), "{shares:?}");
    assert_eq!(shares.len(), 3);
}

#[tokio::test]
async fn round_robin_follows_weights_and_a_weight_of_zero_takes_none() {
    let (callboard, instances) = three("balance: round_robin").await;
    for (instance, weight) in instances.iter().zip([3, 1, 0]) {
        let patched = callboard
            .client
            .patch(callboard.instance_url("web", instance))
            .json(&json!({"weight": weight}))
            .send()
            .await
            .unwrap();
        assert_eq!(patched.status(), 200);
    }
    let shares = tally(callboard.answerers("/web/", 40).await);
    assert_eq!(shares, [("web-1".to_owned(), 30), ("web-2".to_owned(), 10)]);
}

#[tokio::test]
async fn random_least_request_and_peak_ewma_reach_every_instance() {
    for algorithm in ["random", "least_request", "peak_ewma"] {
        let (callboard, _instances) = three(&format!("balance: {algorithm}")).await;
        let shares = tally(callboard.answerers("/web/", 100).await);
        assert_eq!(shares.len(), 3, "{algorithm}: {shares:?}");
    }
}

#[tokio::test]
async fn least_request_avoids_the_busy_instance() {
    let (callboard, instances) = three("balance: least_request").await;
    let held = callboard.hold("web", &instances, 30).await;
    let counts: Vec<_> = instances.iter().map(Instance::holding).collect();
    // Chance alone would let one instance fall to 3 of 30 about once in a thousand runs; two
    // choices keep the counts within a few of each other.
    assert!(
        counts.iter().all(|count| (6..=14).contains(count)),
        "{counts:?}"
    );
    for instance in &instances {
        instance.release(30);
    }
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn hashed_requests_stay_with_one_instance_until_it_leaves() {
    for algorithm in ["ring_hash", "maglev"] {
        for (hash_on, name, value) in [
            ("header:X-User", "X-User", "u"),
            ("cookie:user", "Cookie", "a=1; user=u"),
        ] {
            let policy = format!("balance: {algorithm}, hash_on: \"{hash_on}\"");
            let (callboard, instances) = three(&policy).await;
            let ask = async |user: usize| {
                let request = callboard
                    .client
                    .get(callboard.url("/web/"))
                    .header(name, format!("{value}{user}"));
                let echo: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
                echo["id"].as_str().unwrap().to_owned()
            };
            let mut before = Vec::new();
            for user in 0..60 {
                before.push(ask(user).await);
                assert_eq!(ask(user).await, before[user], "{algorithm} by {hash_on}");
            }
            assert_eq!(tally(before.clone()).len(), 3, "{algorithm} by {hash_on}");
            let url = callboard.instance_url("web", &instances[0]);
            assert_eq!(
                callboard.client.delete(url).send().await.unwrap().status(),
                204
            );
            let mut moved = 0;
            for (user, old) in before.iter().enumerate() {
                let new = ask(user).await;
                assert_ne!(new, "web-1");
                moved += usize::from(old != "web-1" && new != *old);
            }
            // The ring moves nobody else's keys; Maglev's table may move a few.
            let allowed = if algorithm == "maglev" { 12 } else { 0 };
            assert!(moved <= allowed, "{algorithm} by {hash_on} moved {moved}");
        }
    }
}

#[tokio::test]
async fn path_query_and_client_address_can_be_hashed() {
    for (hash_on, path) in [
        ("path", "/web/users/7"),
        ("query:user", "/web/x?user=7"),
        ("client_ip", "/web/y"),
    ] {
        let policy = format!("balance: ring_hash, hash_on: \"{hash_on}\"");
        let (callboard, _instances) = three(&policy).await;
        let shares = tally(callboard.answerers(path, 20).await);
        assert_eq!(shares.len(), 1, "{hash_on}: {shares:?}");
    }
}
