//! Prometheus: it scrapes callboard, and finds through it whom else to scrape.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::peers::{self, Server};
use crate::support::tokens::{auth, outcome};
use crate::support::{Callboard, Instance, Setup, eventually};

/// The configuration that is to be used with callboard.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prometheus/prometheus.yml")
}

async fn targets(callboard: &Callboard, query: &str) -> Vec<Value> {
    let url = callboard.api(&format!("/sd/prometheus{query}"));
    let reply = callboard.client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "application/json");
    reply.json().await.unwrap()
}

#[tokio::test]
async fn instances_are_targets_with_what_is_known_of_them() {
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    assert_eq!(targets(&callboard, "").await, Vec::<Value>::new());
    let extra = json!({"tags": ["v2"], "zone": "a", "metadata": {"build.no": "7"}});
    callboard.register("web", &one, extra).await;
    callboard.register("api", &two, json!({"zone": "b"})).await;
    let found = targets(&callboard, "?service=web").await;
    let expected = json!([{
        "targets": [format!("127.0.0.1:{}", one.port)],
        "labels": {
            "__meta_callboard_service": "web",
            "__meta_callboard_instance": "one",
            "__meta_callboard_zone": "a",
            "__meta_callboard_tags": ",v2,",
            "__meta_callboard_availability": "ready",
            "__meta_callboard_scheme": "http",
            "__meta_callboard_metadata_build_no": "7",
        },
    }]);
    assert_eq!(Value::from(found), expected);
    for (query, count) in [
        ("", 2),
        ("?zone=b", 1),
        ("?tag=v2", 1),
        ("?tag=v2&zone=b", 0),
    ] {
        assert_eq!(targets(&callboard, query).await.len(), count, "{query}");
    }
    let url = callboard.instance_url("web", &one);
    let drain = callboard.client.put(format!("{url}/drain"));
    drain.send().await.unwrap();
    let found = targets(&callboard, "?service=web").await;
    assert_eq!(
        found[0]["labels"]["__meta_callboard_availability"],
        "draining"
    );
    callboard.client.delete(url).send().await.unwrap();
    assert!(targets(&callboard, "?service=web").await.is_empty());
}

#[tokio::test]
async fn targets_take_the_scope_to_read_and_known_parameters() {
    let tokens = auth(&[("reader", "read"), ("writer", "\"register:web\"")]);
    let callboard = Setup::default().registry(&tokens).start();
    for (token, path, status) in [
        (None, "/api/v1/sd/prometheus", 401),
        (Some("writer"), "/api/v1/sd/prometheus", 403),
        (Some("reader"), "/api/v1/sd/prometheus", 200),
        (Some("reader"), "/api/v1/sd/prometheus?servise=web", 422),
    ] {
        let (told, _) = outcome(&callboard, token, ("GET", path, Value::Null)).await;
        assert_eq!(told, status, "{token:?} {path}");
    }
}

#[test]
fn the_configuration_for_prometheus_is_a_valid_one() {
    let Some(promtool) = peers::program("promtool", "prometheus::the_configuration") else {
        return;
    };
    let checked = Command::new(promtool)
        .args(["check", "config"])
        .arg(shipped())
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// A Prometheus that goes by the shipped configuration, faster.
struct Prometheus {
    url: String,
    client: reqwest::Client,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn beside(callboard: &Callboard, program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = callboard.registry.strip_prefix("http://").unwrap();
        let text = std::fs::read_to_string(shipped()).unwrap();
        let quick = text.replace("callboard:8500", own).replace("15s", "300ms");
        assert!(quick.matches("300ms").count() >= 2 && quick.matches(own).count() >= 2);
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, quick).unwrap();
        let address = format!("127.0.0.1:{}", peers::free_port());
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        Self {
            url: format!("http://{address}/api/v1"),
            client: reqwest::Client::new(),
            _server: Server::start(&mut command),
            _folder: folder,
        }
    }

    /// What it answers, if it does.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).unwrap();
        let reply: Value = self.client.get(url).send().await.ok()?.json().await.ok()?;
        Some(reply["data"].clone())
    }

    /// The value of an expression that has one.
    async fn value(&self, expression: &str) -> Option<String> {
        let data = self.ask("/query", &[("query", expression)]).await?;
        Some(data["result"][0]["value"][1].as_str()?.to_owned())
    }

    /// The instances it knows of services, with their labels.
    async fn found(&self) -> Option<Vec<Value>> {
        let data = self.ask("/targets", &[("state", "active")]).await?;
        let targets = data["activeTargets"].as_array()?.iter();
        let found = targets.filter(|target| target["labels"]["job"] == "services");
        Some(found.cloned().collect())
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_callboard_and_finds_instances_through_it() {
    let test = "prometheus::a_real_prometheus";
    let Some(program) = peers::program("prometheus", test) else {
        return;
    };
    let callboard = Callboard::trusting();
    let [one, two] = ["one", "two"].map(Instance::start);
    let extra = json!({"tags": ["v2"], "zone": "a", "metadata": {"metrics_path": "/figures"}});
    callboard.register("web", &one, extra).await;
    callboard.register("web", &two, json!({})).await;
    let prometheus = Prometheus::beside(&callboard, &program);
    eventually("callboard is scraped", async || {
        let up = prometheus.value("up{job=\"callboard\"}").await?;
        (up == "1").then_some(())
    })
    .await;
    eventually("there are series of callboard's", async || {
        prometheus
            .value("count({__name__=~\"callboard_.+\"})")
            .await
    })
    .await;
    let found = eventually("both instances are found", async || {
        let found = prometheus.found().await?;
        (found.len() == 2).then_some(found)
    })
    .await;
    let target = found
        .iter()
        .find(|it| it["labels"]["instance"] == "one")
        .unwrap();
    assert_eq!(
        target["labels"],
        json!({"job": "services", "service": "web", "instance": "one", "zone": "a"})
    );
    let url = format!("http://127.0.0.1:{}/figures", one.port);
    assert_eq!(target["scrapeUrl"], json!(url));
    assert_eq!(target["discoveredLabels"]["__meta_callboard_tags"], ",v2,");
    let before = one.hits();
    eventually("the instance is asked", async || {
        (one.hits() > before).then_some(())
    })
    .await;

    let url = callboard.instance_url("web", &one);
    callboard.client.delete(url).send().await.unwrap();
    eventually("who signed out is gone", async || {
        let found = prometheus.found().await?;
        (found.len() == 1 && found[0]["labels"]["instance"] == "two").then_some(())
    })
    .await;
}
