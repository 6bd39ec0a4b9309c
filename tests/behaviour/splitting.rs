//! Splits: users stay on their side, shares follow the weights, and operators move them while
//! requests flow.

use serde_json::{Value, json};

use crate::support::tokens::{auth, call, outcome};
use crate::support::{Callboard, Instance, Setup, tally};

const ROUTE: &str = "routes: [{match: {path: /shop}, name: shop, split_on: 'cookie:user', \
                     split: [{service: web, weight: 90}, {service: next, weight: 10}]}]";

async fn with_both_sides(setup: Setup) -> (Callboard, [Instance; 2]) {
    let callboard = setup.registry("admission: trust").start();
    let sides = ["web", "next"].map(Instance::start);
    for side in &sides {
        callboard.register(&side.id, side, json!({})).await;
    }
    (callboard, sides)
}

async fn side_of(callboard: &Callboard, user: usize) -> String {
    let request = (callboard.client)
        .get(callboard.url("/shop/"))
        .header("Cookie", format!("a=b; user=u{user}"));
    let reply: Value = request.send().await.unwrap().json().await.unwrap();
    reply["id"].as_str().unwrap().to_owned()
}

async fn sides_of(callboard: &Callboard, users: usize) -> Vec<String> {
    let mut sides = Vec::with_capacity(users);
    for user in 0..users {
        sides.push(side_of(callboard, user).await);
    }
    sides
}

fn split(web: u32, next: u32) -> Value {
    json!({"split": [{"service": "web", "weight": web}, {"service": "next", "weight": next}]})
}

const SPLIT: &str = "/api/v1/routes/shop/split";

async fn set(callboard: &Callboard, to: Value) -> reqwest::Response {
    call(callboard, None, ("PUT", SPLIT, to)).await
}

#[tokio::test]
async fn a_user_stays_and_a_side_that_grows_takes_users_and_gives_none() {
    let (callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    let before = sides_of(&callboard, 200).await;
    assert_eq!(before, sides_of(&callboard, 200).await);
    let on_next = before.iter().filter(|side| *side == "next").count();
    assert!((5..50).contains(&on_next), "{on_next} of 200 at 10%");
    let reply = set(&callboard, split(60, 40)).await;
    assert_eq!(reply.status(), 200);
    let after = sides_of(&callboard, 200).await;
    let grown = after.iter().filter(|side| *side == "next").count();
    assert!((45..120).contains(&grown), "{grown} of 200 at 40%");
    for (user, (was, is)) in before.iter().zip(&after).enumerate() {
        assert!(was != "next" || is == "next", "user {user} was moved back");
    }
    // What the order of the sides is makes no difference.
    let turned =
        json!({"split": [{"service": "next", "weight": 40}, {"service": "web", "weight": 60}]});
    assert_eq!(set(&callboard, turned).await.status(), 200);
    assert_eq!(sides_of(&callboard, 200).await, after);
}

#[tokio::test]
async fn requests_without_the_part_are_spread_by_chance() {
    let route = ROUTE
        .replace("weight: 90", "weight: 50")
        .replace("weight: 10", "weight: 50");
    let (callboard, _sides) = with_both_sides(Setup::default().top(&route)).await;
    let shares = tally(callboard.answerers("/shop/", 100).await);
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert!(shares.iter().all(|(_, count)| *count > 20), "{shares:?}");
}

#[tokio::test]
async fn a_side_without_an_instance_is_answered_with_503_and_not_by_the_other() {
    let (callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    let gone = json!({"split": [{"service": "web", "weight": 0}, {"service": "nobody"}]});
    assert_eq!(set(&callboard, gone).await.status(), 200);
    assert_eq!(callboard.get("/shop/").await.status(), 503);
    set(&callboard, split(0, 1)).await;
    assert_eq!(callboard.answerer("/shop/").await, "next");
}

#[tokio::test]
async fn a_split_outlives_a_crash_and_ends_with_its_reset() {
    let (mut callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    set(&callboard, split(0, 1)).await;
    callboard.crash_and_restart(|_| {});
    assert_eq!(callboard.answerer("/shop/").await, "next");
    let shown = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
    let mut expected = split(0, 1);
    expected["overridden"] = json!(true);
    assert_eq!(shown.json::<Value>().await.unwrap(), expected);
    let reset = call(&callboard, None, ("DELETE", SPLIT, Value::Null)).await;
    assert_eq!(reset.status(), 204);
    callboard.crash_and_restart(|_| {});
    let shown = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
    let mut expected = split(90, 10);
    expected["overridden"] = json!(false);
    assert_eq!(shown.json::<Value>().await.unwrap(), expected);
}

#[tokio::test]
async fn a_damaged_file_of_splits_is_set_aside_and_stops_nothing() {
    let (mut callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    set(&callboard, split(0, 1)).await;
    callboard.crash_and_restart(|folder| {
        let file = folder.join("data/callboard.splits.json");
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    });
    let shown = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
    assert_eq!(shown.json::<Value>().await.unwrap()["overridden"], false);
    assert!(callboard.log().contains("splits.json is damaged"));
    assert!(
        (callboard
            .folder()
            .join("data/callboard.splits.json.damaged-1"))
        .exists()
    );
}

#[tokio::test]
async fn a_reload_keeps_a_split_until_the_file_changes_it() {
    let setup = |routes: &str| {
        let setup = Setup::default().registry("admission: trust");
        setup.registry("store: memory").top(routes).log("info")
    };
    let callboard = setup(ROUTE).start();
    let sides = ["web", "next"].map(Instance::start);
    for side in &sides {
        callboard.register(&side.id, side, json!({})).await;
    }
    set(&callboard, split(0, 1)).await;
    let more = format!("{ROUTE}\ndefaults: {{balance: random}}");
    callboard.rewrite(&setup(&more));
    callboard.reload("configuration reloaded").await;
    assert_eq!(callboard.answerer("/shop/").await, "next");
    callboard.rewrite(&setup(&ROUTE.replace("weight: 10", "weight: 0")));
    callboard.reload("configuration reloaded").await;
    assert_eq!(callboard.answerers("/shop/", 10).await, vec!["web"; 10]);
    let log = callboard.log();
    assert!(
        log.contains("changed the split from [web 90, next 10] to [web 0, next 1]"),
        "{log}"
    );
    assert!(log.contains("127.0.0.1"), "{log}");
    assert!(
        log.contains("which ends the [web 0, next 1] that was set"),
        "{log}"
    );
}

#[tokio::test]
async fn routes_are_listed_in_order_with_the_split_in_force() {
    let routes = format!(
        "{}, {{match: {{host: '*.example.com', methods: [GET], headers: {{X-A: b}}}}, \
                          service: web, mirror: {{service: next, share: 10%}}}}]",
        &ROUTE[..ROUTE.len() - 1]
    );
    let (callboard, _sides) = with_both_sides(Setup::default().top(&routes)).await;
    set(&callboard, split(1, 1)).await;
    let list = call(&callboard, None, ("GET", "/api/v1/routes", Value::Null)).await;
    let nothing = Value::Null;
    assert_eq!(
        list.json::<Value>().await.unwrap(),
        json!([
            {
                "name": "shop",
                "match": {"host": nothing, "path": "/shop", "methods": [], "headers": {}},
                "strip_prefix": nothing,
                "split": split(1, 1)["split"],
                "split_on": "cookie:user",
                "overridden": true,
                "mirror": nothing,
            },
            {
                "name": nothing,
                "match": {"host": "*.example.com", "path": nothing, "methods": ["GET"], "headers": {"x-a": "b"}},
                "strip_prefix": nothing,
                "split": [{"service": "web", "weight": 1}],
                "split_on": nothing,
                "overridden": false,
                "mirror": {"service": "next", "share": 0.1},
            },
        ])
    );
}

#[tokio::test]
async fn what_is_no_split_or_no_route_is_refused_and_changes_nothing() {
    let (callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    for (method, path, body, expected) in [
        ("PUT", SPLIT, split(0, 0), (422, "invalid-fields")),
        ("PUT", SPLIT, json!({"split": []}), (422, "invalid-fields")),
        (
            "PUT",
            SPLIT,
            json!({"split": [{"service": "a b"}]}),
            (422, "invalid-fields"),
        ),
        (
            "PUT",
            "/api/v1/routes/cart/split",
            split(1, 1),
            (404, "unknown-route"),
        ),
        (
            "GET",
            "/api/v1/routes/cart/split",
            Value::Null,
            (404, "unknown-route"),
        ),
        (
            "DELETE",
            "/api/v1/routes/cart/split",
            Value::Null,
            (404, "unknown-route"),
        ),
        (
            "DELETE",
            "/api/v1/routes/shop/split?x=1",
            Value::Null,
            (422, "invalid-fields"),
        ),
        (
            "GET",
            "/api/v1/routes/shop",
            Value::Null,
            (404, "no-such-route"),
        ),
    ] {
        let found = outcome(&callboard, None, (method, path, body)).await;
        assert_eq!(
            found,
            (expected.0, Some(expected.1.to_owned())),
            "{method} {path}"
        );
    }
    let shown = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
    assert_eq!(shown.json::<Value>().await.unwrap()["overridden"], false);
}

#[tokio::test]
async fn a_step_that_was_not_seen_is_not_undone() {
    let (callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    let tag = |reply: &reqwest::Response| reply.headers()["etag"].to_str().unwrap().to_owned();
    let first = tag(&call(&callboard, None, ("GET", SPLIT, Value::Null)).await);
    let put = async |tag: &str, to: Value| {
        let url = callboard.api("/routes/shop/split");
        let request = callboard.client.put(url).header("If-Match", tag).json(&to);
        request.send().await.unwrap()
    };
    let second = put(&first, split(80, 20)).await;
    assert_eq!(second.status(), 200);
    let second = tag(&second);
    assert_ne!(first, second);
    assert_eq!(put(&first, split(70, 30)).await.status(), 412);
    assert_eq!(put(&second, split(70, 30)).await.status(), 200);
}

#[tokio::test]
async fn of_several_who_saw_the_same_split_one_changes_it() {
    let (callboard, _sides) = with_both_sides(Setup::default().top(ROUTE)).await;
    let seen = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
    let mut seen = seen.headers()["etag"].clone();
    for round in 0..5 {
        let changing: Vec<_> = (1..=8)
            .map(|number| {
                let to = split(100 * (round + 1), number);
                let request = callboard.client.put(callboard.api("/routes/shop/split"));
                tokio::spawn(request.header("If-Match", seen.clone()).json(&to).send())
            })
            .collect();
        let mut winners = Vec::new();
        for one in changing {
            let reply = one.await.unwrap().unwrap();
            match reply.status().as_u16() {
                200 => winners.push(reply.headers()["etag"].clone()),
                status => assert_eq!(status, 412),
            }
        }
        assert_eq!(winners.len(), 1);
        let shown = call(&callboard, None, ("GET", SPLIT, Value::Null)).await;
        seen = shown.headers()["etag"].clone();
        assert_eq!(seen, winners[0]);
    }
}

#[tokio::test]
async fn only_an_admin_moves_a_split_and_readers_see_it() {
    let tokens = [
        ("reader", "read"),
        ("any", "\"register:*\""),
        ("ops", "admin"),
    ];
    let setup = Setup::default().registry(&auth(&tokens)).top(ROUTE);
    let callboard = setup.registry("admission: trust").log("info").start();
    let lists = [
        ("GET", SPLIT, Value::Null),
        ("GET", "/api/v1/routes", Value::Null),
    ];
    for read in lists {
        assert_eq!(
            outcome(&callboard, Some("reader"), read.clone()).await.0,
            200
        );
        assert_eq!(outcome(&callboard, Some("any"), read.clone()).await.0, 403);
        assert_eq!(outcome(&callboard, None, read).await.0, 401);
    }
    for write in [("PUT", SPLIT, split(1, 1)), ("DELETE", SPLIT, Value::Null)] {
        for token in ["reader", "any"] {
            assert_eq!(outcome(&callboard, Some(token), write.clone()).await.0, 403);
        }
        assert!(outcome(&callboard, Some("ops"), write).await.0 < 300);
    }
    assert!(
        callboard
            .log()
            .contains(r#"(token "ops") changed the split"#)
    );
}

#[tokio::test]
async fn a_callboard_that_mirrors_another_still_moves_its_own_splits() {
    let origin = Callboard::trusting();
    let mirror = Setup::default()
        .registry(&format!("pull: [\"{}\"]", origin.registry))
        .top(ROUTE)
        .start();
    assert_eq!(set(&mirror, split(1, 1)).await.status(), 200);
    let body = json!({"port": 9});
    let register = ("PUT", "/api/v1/services/web/instances/a", body);
    assert_eq!(outcome(&mirror, None, register).await.0, 409);
}
