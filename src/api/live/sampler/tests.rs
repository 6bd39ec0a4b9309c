//! Samples of real clusters at moments of the tests' own.

use http::StatusCode;
use serde_json::{Value, json};

use crate::api::Api;
use crate::api::native::testing::{api, member};
use crate::registry::command::Command;
use crate::registry::event::Actor;

use super::*;

/// An API whose figures are sampled when a test says so.
struct Scene {
    api: Api,
    now: Instant,
    _leave: tokio::sync::watch::Sender<bool>,
}

impl Scene {
    fn new() -> Self {
        let (leave, closing) = tokio::sync::watch::channel(false);
        Self {
            api: api(closing),
            now: Instant::now(),
            _leave: leave,
        }
    }

    async fn with(service: &str) -> Self {
        let scene = Self::new();
        change(&scene.api, service, "1", 1).await;
        scene
    }

    fn traffic(&self, service: &str) -> Arc<Traffic> {
        let cluster = self.api.clusters.find(service).unwrap();
        Arc::clone(cluster.traffic())
    }

    fn answer(&self, service: &str, count: usize, status: u16, millis: u64) {
        let traffic = self.traffic(service);
        let requests = traffic.requests(&Arc::from("route"));
        for _ in 0..count {
            requests.count(Some(StatusCode::from_u16(status).unwrap()));
            traffic.durations.record(Duration::from_millis(millis));
        }
    }

    /// The next sample, after this time.
    fn sample(&mut self, seconds: u64) -> Arc<Tick> {
        self.now += Duration::from_secs(seconds);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        self.api.live.sample(self.now, at);
        Arc::clone(&self.api.live.follow().borrow())
    }
}

/// Registers an instance with this weight, or signs it out with 0.
async fn change(api: &Api, service: &str, id: &str, weight: u32) {
    let command = match weight {
        0 => Command::Deregister {
            service: service.parse().unwrap(),
            id: id.parse().unwrap(),
            generation: None,
        },
        _ => Command::Register(crate::instance::Instance {
            // Believed without a probe.
            check: crate::instance::check::CheckOverride::off(),
            ..crate::instance::Instance::clone(&member(service, id, 1).instance)
        }),
    };
    api.registry
        .submit(command, Actor::Callboard)
        .await
        .unwrap();
}

fn told(tick: &Tick, knows: Option<u64>) -> Value {
    let text = tick.tell(knows).unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    let (_, data) = text.trim_end().split_once("data: ").unwrap();
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn rates_are_differences_over_the_time_that_really_passed() {
    let mut scene = Scene::with("web").await;
    scene.answer("web", 30, 200, 1);
    scene.sample(1);
    scene.answer("web", 18, 200, 10);
    scene.answer("web", 2, 503, 400);
    scene
        .traffic("web")
        .retries
        .fetch_add(5, std::sync::atomic::Ordering::Relaxed);
    // The process stood still for nine seconds.
    let event = told(&scene.sample(10), None);
    let row = &event["services"][0];
    assert_eq!(
        (&row["rate"], &row["errors"], &row["retries"]),
        (&json!(2.0), &json!(0.2), &json!(0.5)),
        "{event}"
    );
    assert_eq!(
        (&row["p50"], &row["p90"], &row["p99"]),
        (&json!(0.01), &json!(0.01), &json!(0.4))
    );
    assert_eq!(row["availability"], json!({"ready": 1}));
    let total = &event["total"];
    for field in ["rate", "errors", "retries", "p50", "p99"] {
        assert_eq!(total[field], row[field], "{field}");
    }
    assert_eq!(
        (&total["services"], &total["instances"]),
        (&json!(1), &json!(1))
    );
    let history: Vec<_> = event["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["rate"])
        .collect();
    assert_eq!(history, [&json!(30.0), &json!(2.0)]);
}

#[tokio::test]
async fn a_service_without_requests_has_no_percentiles_and_is_told_of_once() {
    let mut scene = Scene::with("web").await;
    let first = scene.sample(1);
    let event = told(&first, None);
    assert_eq!(event["complete"], json!(true));
    let row = &event["services"][0];
    assert_eq!((&row["rate"], &row["p50"]), (&json!(0.0), &Value::Null));
    let next = told(&scene.sample(1), Some(first.number));
    assert_eq!(next["complete"], json!(false));
    assert_eq!(next["services"], json!([]));
    assert!(next.get("history").is_none());
}

#[tokio::test]
async fn percentiles_of_all_are_those_of_all_requests_and_no_mean() {
    let mut scene = Scene::with("a").await;
    change(&scene.api, "b", "1", 1).await;
    scene.answer("a", 98, 200, 1);
    scene.answer("b", 2, 200, 1_000);
    let event = told(&scene.sample(1), None);
    let total = &event["total"];
    assert_eq!((&total["p50"], &total["p99"]), (&json!(0.001), &json!(1.0)));
    assert_eq!(event["services"][1]["p50"], json!(1.0));
}

#[tokio::test]
async fn whoever_was_away_is_told_of_all_that_changed_meanwhile() {
    let mut scene = Scene::with("a").await;
    for service in ["b", "c"] {
        change(&scene.api, service, "1", 1).await;
    }
    let knows = scene.sample(1).number;
    scene.answer("a", 1, 200, 1);
    scene.sample(1);
    change(&scene.api, "c", "1", 0).await;
    scene.sample(1);
    change(&scene.api, "b", "2", 1).await;
    let event = told(&scene.sample(1), Some(knows));
    let services: Vec<_> = (event["services"].as_array().unwrap().iter())
        .map(|row| {
            (
                row["service"].as_str().unwrap(),
                row["instances"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(services, [("a", 1), ("b", 2)]);
    assert_eq!(event["removed"], json!(["c"]));
    change(&scene.api, "c", "1", 1).await;
    let event = told(&scene.sample(1), Some(knows));
    assert_eq!(event["removed"], json!([]));
    assert_eq!(event["services"][2]["service"], json!("c"));
}

#[tokio::test]
async fn a_service_that_comes_back_is_not_taken_for_a_rush() {
    let mut scene = Scene::with("web").await;
    scene.answer("web", 1_000, 200, 1);
    scene.sample(1);
    change(&scene.api, "web", "1", 0).await;
    scene.sample(1);
    change(&scene.api, "web", "1", 1).await;
    scene.answer("web", 3, 200, 1);
    let event = told(&scene.sample(1), None);
    assert_eq!(event["services"][0]["rate"], json!(3.0));
}

#[tokio::test]
async fn removals_nobody_remembers_make_the_next_event_complete() {
    let mut scene = Scene::with("web").await;
    let knows = scene.sample(1).number;
    for number in 0..=REMOVED {
        let name = format!("s{number}");
        change(&scene.api, &name, "1", 1).await;
    }
    scene.sample(1);
    for number in 0..=REMOVED {
        let name = format!("s{number}");
        change(&scene.api, &name, "1", 0).await;
    }
    let tick = scene.sample(1);
    let event = told(&tick, Some(knows));
    assert_eq!(event["complete"], json!(true));
    assert_eq!(event["services"].as_array().unwrap().len(), 1);
    assert_eq!(tick.removed.len(), REMOVED);
}

#[tokio::test]
async fn those_who_know_the_same_share_one_text() {
    let mut scene = Scene::with("web").await;
    let tick = scene.sample(1);
    let [one, other] = [tick.tell(None).unwrap(), tick.tell(None).unwrap()];
    assert_eq!(one.as_ptr(), other.as_ptr());
    let tick = scene.sample(1);
    for knows in 0..100 {
        tick.tell(Some(knows)).unwrap();
    }
}

#[tokio::test]
async fn one_service_is_told_of_alone_with_its_own_past() {
    let mut scene = Scene::with("a").await;
    change(&scene.api, "b", "1", 1).await;
    scene.answer("a", 5, 200, 1);
    scene.answer("b", 7, 200, 1);
    scene.sample(1);
    let tick = scene.sample(1);
    let service = "a".parse().unwrap();
    let history = scene.api.live.history(&service);
    let text = tick.tell_of(&service, None, &history).unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    let (_, data) = text.trim_end().split_once("data: ").unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["services"].as_array().unwrap().len(), 1);
    let rates: Vec<_> = event["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["rate"])
        .collect();
    assert_eq!(rates, [&json!(5.0), &json!(0.0)]);
    change(&scene.api, "a", "1", 0).await;
    let mut after = scene.sample(1);
    for _ in 0..LINGER {
        after = scene.sample(1);
    }
    let text = after.tell_of(&service, Some(tick.number), &[]).unwrap();
    assert!(
        std::str::from_utf8(&text)
            .unwrap()
            .contains("\"removed\":[\"a\"]")
    );
}

#[tokio::test]
async fn a_service_that_is_asked_for_in_vain_is_shown_for_a_while() {
    let mut scene = Scene::with("web").await;
    scene.sample(1);
    change(&scene.api, "web", "1", 0).await;
    assert_eq!(told(&scene.sample(1), None)["services"], json!([]));
    scene.answer("web", 4, 503, 1);
    let event = told(&scene.sample(1), None);
    let row = &event["services"][0];
    assert_eq!(
        (&row["instances"], &row["errors"]),
        (&json!(0), &json!(4.0))
    );
    for _ in 0..=LINGER {
        scene.sample(1);
    }
    let tick = scene.sample(1);
    assert_eq!(told(&tick, None)["services"], json!([]));
    assert_eq!(told(&tick, Some(3))["removed"], json!(["web"]));
}
