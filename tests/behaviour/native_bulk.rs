//! The native API: many at once.

use serde_json::{Value, json};

use crate::support::{Callboard, Setup};

async fn post(callboard: &Callboard, path: &str, body: Value) -> (u16, Value) {
    let request = callboard.client.post(callboard.api(path)).json(&body);
    let reply = request.send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

fn statuses(items: &Value) -> Vec<u64> {
    let items = items.as_array().unwrap();
    items
        .iter()
        .map(|item| item["status"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_status_in_order() {
    let callboard = Callboard::trusting();
    let batch = json!({"instances": [
        {"service": "web", "id": "a", "port": 80, "generation": 2},
        {"service": "web", "id": "a", "port": 81, "generation": 2},
        {"service": "web", "id": "a", "port": 82, "generation": 1},
        {"service": "web", "id": "b", "port": 0},
        {"service": "web", "port": 80},
        "nonsense",
        {"service": "web", "id": "c", "port": 80, "address": "0.0.0.0"},
        {"service": "api", "id": "d", "port": 80},
    ]});
    let (status, items) = post(&callboard, "/instances:batch", batch).await;
    assert_eq!(status, 200);
    assert_eq!(statuses(&items), [201, 200, 409, 422, 422, 422, 422, 201]);
    assert_eq!(
        (&items[0]["service"], &items[0]["id"]),
        (&json!("web"), &json!("a"))
    );
    assert_eq!(items[0].get("error"), None);
    assert_eq!(items[3]["error"]["errors"][0]["field"], "port");
    assert_eq!(items[3]["id"], "b");
    assert_eq!(items[6]["error"]["errors"][0]["field"], "address");
}

#[tokio::test]
async fn a_batch_does_not_wait_for_probes() {
    let callboard = Setup::default().start();
    let instances: Vec<_> = (0..500)
        .map(|n| json!({"service": "web", "id": format!("i{n}"), "address": "192.0.2.1", "port": 80}))
        .collect();
    let (status, items) = post(
        &callboard,
        "/instances:batch",
        json!({"instances": instances}),
    )
    .await;
    assert_eq!(status, 200);
    assert!(statuses(&items).iter().all(|status| *status == 202));
}

#[tokio::test]
async fn too_many_items_are_refused_as_a_whole() {
    let callboard = Callboard::trusting();
    let item = json!({"service": "web", "id": "a", "port": 80});
    let batch = json!({"instances": vec![item; 501]});
    let (status, problem) = post(&callboard, "/instances:batch", batch).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("instances"))
    );
    let (status, problem) = post(&callboard, "/leases:renew", json!({"lease": []})).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (422, &json!("lease"))
    );
}

#[tokio::test]
async fn many_leases_are_renewed_at_once() {
    let callboard = Callboard::trusting();
    let batch = json!({"instances": [
        {"service": "web", "id": "a", "port": 80, "generation": 2, "check": "off"},
    ]});
    post(&callboard, "/instances:batch", batch).await;
    let renewals = json!({"leases": [
        {"service": "web", "id": "a"},
        {"service": "web", "id": "a", "generation": 1},
        {"service": "web", "id": "b"},
        {"service": "web"},
    ]});
    let (status, items) = post(&callboard, "/leases:renew", renewals).await;
    assert_eq!(status, 200);
    assert_eq!(statuses(&items), [204, 409, 404, 422]);
    assert_eq!(
        items[2]["error"]["type"],
        "urn:callboard:problem:unknown-instance"
    );
}
