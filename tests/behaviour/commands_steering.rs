//! The commands that change something: instances in and out of traffic, shares and splits.

use serde_json::{Value, json};

use crate::support::commands::{Running, say};
use crate::support::{Callboard, Instance, Setup, eventually};

async fn one() -> (Callboard, Instance) {
    let callboard = Callboard::trusting();
    let web = Instance::start("web-1");
    callboard.register("web", &web, json!({})).await;
    (callboard, web)
}

async fn shown(callboard: &Callboard, web: &Instance, field: &str) -> Value {
    callboard.instance("web", web).await.unwrap()[field].clone()
}

#[tokio::test]
async fn an_instance_is_drained_and_comes_back() {
    let (callboard, web) = one().await;
    let said = say(&callboard.registry, &["drain", "web", "web-1"]).well();
    assert_eq!(said.out, "web/web-1 drains, with 0 requests in flight\n");
    assert_eq!(shown(&callboard, &web, "availability").await, "draining");
    let said = say(&callboard.registry, &["undrain", "web", "web-1"]).well();
    assert_eq!(said.out, "web/web-1 gets requests again\n");
    assert_eq!(shown(&callboard, &web, "availability").await, "ready");
    let said = say(&callboard.registry, &["drain", "web", "web-1", "--json"]).well();
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["draining"], true);
    assert_eq!(
        say(&callboard.registry, &["undrain", "web", "web-1", "--json"])
            .well()
            .out,
        ""
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_drain_ends_with_the_last_request() {
    let (callboard, web) = one().await;
    let held = callboard.hold_one("web", &web).await;
    let mut waiting = Running::start(&callboard.registry, &["drain", "web", "web-1", "--wait"]);
    callboard.until("web", &web, "draining").await;
    assert!(waiting.runs());
    let said = say(
        &callboard.registry,
        &["drain", "web", "web-1", "--wait", "10ms"],
    );
    assert_eq!((said.code, said.out.as_str()), (Some(3), ""), "{said:?}");
    assert!(
        said.err
            .contains("still has 1 requests in flight after 10ms"),
        "{said:?}"
    );
    assert!(waiting.runs());
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
    let said = waiting.ended().await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out
            .starts_with("web/web-1 is drained: nothing is in flight after "),
        "{said:?}"
    );
    assert!(
        said.err
            .contains("web/web-1 drains, with 1 requests in flight"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_drain_notices_that_it_was_ended_and_that_the_instance_left() {
    let (callboard, web) = one().await;
    let held = callboard.hold_one("web", &web).await;
    let waiting = Running::start(&callboard.registry, &["drain", "web", "web-1", "--wait"]);
    callboard.until("web", &web, "draining").await;
    say(&callboard.registry, &["undrain", "web", "web-1"]).well();
    let said = waiting.ended().await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("does not drain any more"), "{said:?}");

    let waiting = Running::start(
        &callboard.registry,
        &["drain", "web", "web-1", "--wait", "1h"],
    );
    callboard.until("web", &web, "draining").await;
    say(&callboard.registry, &["deregister", "web", "web-1"]).well();
    let said = waiting.ended().await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("has left meanwhile"), "{said:?}");
    web.release(1);
    let _ = held.await;
}

#[tokio::test]
async fn a_weight_is_changed() {
    let (callboard, web) = one().await;
    let said = say(&callboard.registry, &["weight", "web", "web-1", "5"]).well();
    assert_eq!(said.out, "web/web-1 has weight 5\n");
    assert_eq!(shown(&callboard, &web, "weight").await, 5);
    let said = say(
        &callboard.registry,
        &["weight", "web", "web-1", "0", "--json"],
    )
    .well();
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["weight"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_signed_out_after_its_requests() {
    let (callboard, web) = one().await;
    let held = callboard.hold_one("web", &web).await;
    let arguments = ["deregister", "web", "web-1", "--drain", "10m"];
    let mut leaving = Running::start(&callboard.registry, &arguments);
    callboard.until("web", &web, "draining").await;
    assert!(leaving.runs());
    web.release(1);
    held.await.unwrap().unwrap();
    let said = leaving.ended().await.well();
    assert_eq!(
        said.out,
        "web/web-1 is signed out, with nothing in flight; it has served 1 requests\n"
    );
    eventually("it is gone", || async {
        callboard
            .instance("web", &web)
            .await
            .is_none()
            .then_some(())
    })
    .await;
    callboard.register("web", &web, json!({})).await;
    let said = say(&callboard.registry, &["deregister", "web", "web-1"]).well();
    assert_eq!(said.out, "web/web-1 is signed out\n");
}

#[tokio::test]
async fn a_split_is_shown_set_and_reset() {
    let routes = "routes: [{name: shop, match: {path: /shop/}, split: [{service: a, weight: 3}, {service: b, weight: 1}]}]";
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(routes)
        .start();
    let said = say(&callboard.registry, &["split", "shop"]).well();
    assert_eq!(said.words(1), ["a", "3", "75.0%"]);
    assert_eq!(said.words(2), ["b", "1", "25.0%"]);
    let said = say(&callboard.registry, &["split", "shop", "a=1", "C=9"]);
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(
        said.err.contains("--force sets it nevertheless"),
        "{said:?}"
    );
    let said = say(
        &callboard.registry,
        &["split", "shop", "a=1", "C=9", "--force"],
    )
    .well();
    assert_eq!(said.out, "shop: a=3 b=1 → a=1 c=9\n");
    let said = say(&callboard.registry, &["split", "shop"]);
    assert!(said.err.contains("is not the configuration's"), "{said:?}");
    let said = say(&callboard.registry, &["routes"]).well();
    assert_eq!(
        said.words(1),
        ["shop", "path", "/shop", "a=1", "c=9", "(set", "by", "hand)"]
    );
    let said = say(&callboard.registry, &["split", "shop", "--reset"]).well();
    assert_eq!(said.out, "shop: a=1 c=9 → a=3 b=1\n");
    let said = say(&callboard.registry, &["split", "shop", "a", "--json"]).well();
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["split"], json!([{"service": "a", "weight": 1}]));
    let said = say(&callboard.registry, &["split", "shop", "a", "a=2"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("one of each"), "{said:?}");
    let said = say(&callboard.registry, &["split", "shop", "a=0"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("only weights of 0"), "{said:?}");
    let said = say(&callboard.registry, &["split", "shp", "a"]);
    assert_eq!(said.code, Some(4));
    assert!(said.err.contains("did you mean shop?"), "{said:?}");
}
