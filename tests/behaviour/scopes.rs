//! What each scope lets a bearer do, call by call, and what belongs to whom.

use serde_json::{Value, json};

use crate::support::tokens::{auth, call, outcome};
use crate::support::{Callboard, Setup};

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Takes {
    Nothing,
    Read,
    /// To register for `orders-eu`.
    Orders,
    /// To change how callboard works.
    Admin,
}

/// Tokens and what they are good for.
const TOKENS: &[(&str, &str, &[Takes])] = &[
    ("reader", "read", &[Takes::Read]),
    ("orders", "\"register:Orders-*\"", &[Takes::Orders]),
    ("exact", "\"register:orders-eu\"", &[Takes::Orders]),
    ("cart", "\"register:cart\", \"register:order\"", &[]),
    ("any", "\"register:*\"", &[Takes::Orders]),
    (
        "both",
        "\"register:orders-eu\", read",
        &[Takes::Read, Takes::Orders],
    ),
    ("ops", "admin", &[Takes::Read, Takes::Orders, Takes::Admin]),
];

/// Every call there is; the id is one that nobody has registered.
fn calls(id: &str) -> Vec<(&'static str, String, Value, Takes)> {
    let service = "/api/v1/services/orders-eu".to_owned();
    let instance = format!("{service}/instances/{id}");
    let registration = json!({"port": 9, "check": "off"});
    let read = |path: String| ("GET", path, Value::Null, Takes::Read);
    let write = |method, path, body| (method, path, body, Takes::Orders);
    let admin = |method, body| {
        let path = "/api/v1/routes/cart/split".to_owned();
        (method, path, body, Takes::Admin)
    };
    let open = |path: &str| ("GET", path.to_owned(), Value::Null, Takes::Nothing);
    vec![
        open("/"),
        open("/healthz"),
        open("/readyz"),
        read("/api/v1/services".to_owned()),
        read(service.clone()),
        read(format!("{service}/instances")),
        read(instance.clone()),
        read("/api/v1/watch".to_owned()),
        read("/metrics".to_owned()),
        read("/api/v1/routes".to_owned()),
        read("/api/v1/routes/cart/split".to_owned()),
        admin("PUT", json!({"split": [{"service": "cart"}]})),
        admin("DELETE", Value::Null),
        read("/no/such/path".to_owned()),
        write("PATCH", instance.clone(), json!({"weight": 2})),
        write("PUT", format!("{instance}/lease"), Value::Null),
        write("PUT", format!("{instance}/drain"), Value::Null),
        write("DELETE", format!("{instance}/drain"), Value::Null),
        write("DELETE", instance.clone(), Value::Null),
        write("DELETE", format!("{instance}?drain=1s"), Value::Null),
        write("PUT", instance, registration),
    ]
}

fn start() -> Callboard {
    let tokens: Vec<_> = TOKENS
        .iter()
        .map(|(name, scopes, _)| (*name, *scopes))
        .collect();
    let setup = Setup::default().registry(&auth(&tokens));
    setup.registry("admission: trust").start()
}

#[tokio::test]
async fn every_call_is_allowed_to_the_scopes_it_takes_and_to_no_others() {
    let callboard = start();
    for (token, _, good_for) in TOKENS {
        for (method, path, body, takes) in calls(token) {
            let (status, kind) = outcome(&callboard, Some(token), (method, &path, body)).await;
            let allowed = takes == Takes::Nothing || good_for.contains(&takes);
            if allowed {
                assert!(!matches!(status, 401 | 403), "{token}: {method} {path}");
            } else {
                let refused = (403, Some("insufficient-scope".to_owned()));
                assert_eq!((status, kind), refused, "{token}: {method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_shows_no_token_or_an_unknown_one_gets_nowhere() {
    let callboard = start();
    let bulk = |path: &str| ("POST", path.to_owned(), json!({}), Takes::Orders);
    let mut all = calls("nobody");
    all.extend([
        bulk("/api/v1/leases:renew"),
        bulk("/api/v1/instances:batch"),
        bulk("/api/v1/services"),
        ("OPTIONS", "/".to_owned(), Value::Null, Takes::Read),
        (
            "HEAD",
            "/api/v1/services".to_owned(),
            Value::Null,
            Takes::Read,
        ),
        ("GET", "/healthz/".to_owned(), Value::Null, Takes::Read),
        ("GET", "//".to_owned(), Value::Null, Takes::Read),
        ("GET", "/%68ealthz".to_owned(), Value::Null, Takes::Read),
        ("POST", "/readyz".to_owned(), Value::Null, Takes::Read),
    ]);
    for (method, path, body, takes) in all {
        for (token, challenge) in [
            (None, "Bearer realm=\"callboard\""),
            (
                Some("guessed"),
                "Bearer realm=\"callboard\", error=\"invalid_token\"",
            ),
        ] {
            let reply = call(&callboard, token, (method, &path, body.clone())).await;
            if takes == Takes::Nothing {
                assert_eq!(reply.status(), 200, "{method} {path}");
            } else {
                assert_eq!(reply.status(), 401, "{method} {path}");
                assert_eq!(reply.headers()["www-authenticate"], challenge);
            }
        }
    }
}

#[tokio::test]
async fn items_of_a_batch_are_judged_one_by_one() {
    let callboard = start();
    let item = |service: &str| json!({"service": service, "id": "a", "port": 9, "check": "off"});
    let statuses = async |token, path, list: &str, items: Vec<Value>| {
        let reply = call(
            &callboard,
            Some(token),
            ("POST", path, json!({list: items})),
        )
        .await;
        assert_eq!(reply.status(), 200);
        let items: Vec<Value> = reply.json().await.unwrap();
        let statuses = items.iter().map(|item| item["status"].as_u64().unwrap());
        statuses.collect::<Vec<_>>()
    };
    let all = || {
        ["orders-eu", "cart", "orders-us", "b a d"]
            .map(item)
            .to_vec()
    };
    let register = "/api/v1/instances:batch";
    assert_eq!(
        statuses("orders", register, "instances", all()).await,
        [201, 403, 201, 422]
    );
    assert_eq!(
        statuses("cart", register, "instances", all()).await,
        [403, 201, 403, 422]
    );
    assert_eq!(
        statuses("any", register, "instances", all()).await,
        [403, 403, 403, 422],
        "they belong to others"
    );
    assert_eq!(
        statuses("ops", register, "instances", all()).await,
        [200, 200, 200, 422]
    );

    let renew = "/api/v1/leases:renew";
    let all = || {
        let renewal = |service| json!({"service": service, "id": "a"});
        ["orders-eu", "cart", "orders-us"].map(renewal).to_vec()
    };
    assert_eq!(
        statuses("orders", renew, "leases", all()).await,
        [204, 403, 204]
    );
    assert_eq!(
        statuses("any", renew, "leases", all()).await,
        [403, 403, 403]
    );
    assert_eq!(
        statuses("ops", renew, "leases", all()).await,
        [204, 204, 204]
    );
    for path in [register, renew] {
        let refused = outcome(&callboard, Some("reader"), ("POST", path, json!({}))).await;
        assert_eq!(refused, (403, Some("insufficient-scope".to_owned())));
    }
}

#[tokio::test]
async fn instances_belong_to_the_token_that_registered_them() {
    let callboard = start();
    let id = "orders-eu-1";
    let of_instance = |(_, path, ..): &(&str, String, Value, Takes)| path.contains(id);
    let writes = || {
        let writes = calls(id).into_iter().filter(of_instance);
        writes.filter(|(_, _, _, takes)| *takes == Takes::Orders)
    };
    for owner in ["orders", "ops"] {
        let (method, path, body, _) = calls(id).pop().unwrap();
        let registered = call(&callboard, Some(owner), (method, &path, body)).await;
        assert_eq!(registered.status(), 201);
        let shown: Value = registered.json().await.unwrap();
        assert_eq!(shown["id"], id, "its own writes show the instance");
        for stranger in ["exact", "any", "both"] {
            for (method, path, body, _) in writes() {
                let (status, kind) =
                    outcome(&callboard, Some(stranger), (method, &path, body)).await;
                let refused = (403, Some("not-owner".to_owned()));
                assert_eq!((status, kind), refused, "{stranger}: {method} {path}");
            }
        }
        for allowed in [owner, "ops"] {
            for (method, path, body, _) in writes() {
                let (status, kind) =
                    outcome(&callboard, Some(allowed), (method, &path, body)).await;
                assert_ne!(status, 403, "{allowed}: {method} {path}: {kind:?}");
            }
        }
        let gone = call(&callboard, Some("ops"), ("DELETE", &path, Value::Null)).await;
        assert_eq!(gone.status(), 204);
    }
}
