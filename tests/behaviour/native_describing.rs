//! The API's description of itself.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::support::Callboard;

/// What a path item may hold besides its methods.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

async fn described(callboard: &Callboard) -> Value {
    let reply = callboard.client.get(callboard.api("/openapi.json"));
    let reply = reply.send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "application/json");
    reply.json().await.unwrap()
}

/// Every `(path, method, operation)`.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

/// Every value below `value`, itself included.
fn all(value: &Value) -> Vec<&Value> {
    let below: Vec<_> = match value {
        Value::Array(items) => items.iter().flat_map(all).collect(),
        Value::Object(fields) => fields.values().flat_map(all).collect(),
        _ => Vec::new(),
    };
    [value].into_iter().chain(below).collect()
}

#[tokio::test]
async fn the_document_says_what_it_is() {
    let document = described(&Callboard::trusting()).await;
    let version = document["openapi"].as_str().unwrap();
    assert!(version.starts_with("3.1."), "{version}");
    assert_eq!(document["info"]["title"], "callboard");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
    assert_eq!(
        document["security"],
        serde_json::json!([{}, {"bearer": []}])
    );
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    let document = described(&Callboard::trusting()).await;
    let mut references = 0;
    for value in all(&document) {
        let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
            continue;
        };
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
        references += 1;
    }
    assert!(references > 50, "only {references} references");

    let operations: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(_, _, operation)| &operation["operationId"])
        .map(|id| id.as_str().unwrap().to_owned())
        .collect();
    let linked: BTreeSet<_> = all(&document)
        .into_iter()
        .filter_map(|value| value.get("links")?.as_object())
        .flat_map(|links| links.values())
        .map(|link| link["operationId"].as_str().unwrap().to_owned())
        .collect();
    assert!(linked.contains("deregisterInstance"), "{linked:?}");
    assert!(linked.is_subset(&operations), "{linked:?}");
}

#[tokio::test]
async fn every_operation_is_named_and_says_what_it_answers() {
    let document = described(&Callboard::trusting()).await;
    let tags: BTreeSet<_> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let what = format!("{method} {path}");
        assert!(METHODS.contains(&method), "{what}");
        assert!(
            names.insert(operation["operationId"].as_str().unwrap()),
            "{what}"
        );
        assert!(
            operation["summary"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{what}"
        );
        assert!(
            tags.contains(operation["tags"][0].as_str().unwrap()),
            "{what}"
        );

        let replies = operation["responses"].as_object().unwrap();
        assert!(
            replies.keys().any(|status| status.starts_with('2')),
            "{what}"
        );
        for (status, reply) in replies {
            assert!(
                !reply["description"].as_str().unwrap().is_empty(),
                "{what}: {status}"
            );
            if status.starts_with('4') {
                let schema = &reply["content"]["application/problem+json"]["schema"];
                assert_eq!(
                    schema["$ref"], "#/components/schemas/Problem",
                    "{what}: {status}"
                );
            }
        }
        if path.starts_with("/api/v1/") {
            assert!(replies.contains_key("422"), "{what}");
        }

        let declared: BTreeSet<_> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let templated: BTreeSet<_> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        assert_eq!(declared, templated, "{what}");
    }
}

#[tokio::test]
async fn a_path_takes_the_methods_described_and_no_others() {
    let callboard = Callboard::trusting();
    let document = described(&callboard).await;
    for (path, item) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{service}", "web").replace("{id}", "web-1");
        let url = format!("{}{concrete}", callboard.registry);
        let reply = callboard.client.request(Method::TRACE, &url).send().await;
        let reply = reply.unwrap();
        assert_eq!(reply.status(), 405, "{path}");
        let allowed: BTreeSet<_> = reply.headers()["allow"]
            .to_str()
            .unwrap()
            .split(',')
            .map(str::to_lowercase)
            .filter(|method| method != "head")
            .collect();
        let described: BTreeSet<_> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_not_described_is_refused() {
    let callboard = Callboard::trusting();
    let document = described(&callboard).await;
    for (path, method, operation) in operations(&document) {
        if !path.starts_with("/api/v1/") {
            continue;
        }
        let concrete = path.replace("{service}", "web").replace("{id}", "web-1");
        let url = format!("{}{concrete}?colour=red", callboard.registry);
        let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let reply = callboard.client.request(method, url).body("{}").send();
        let reply = reply.await.unwrap();
        assert_eq!(reply.status(), 422, "{}", operation["operationId"]);
        let problem: Value = reply.json().await.unwrap();
        assert_eq!(problem["errors"][0]["field"], "colour");
    }
}
