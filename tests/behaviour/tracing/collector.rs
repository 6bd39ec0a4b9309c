//! A collector: the OTLP receiver of the OpenTelemetry Collector, and the spans it has received.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{eventually, peers};

/// It ends when dropped.
pub(super) struct Collector {
    process: Child,
    /// It ends with its input.
    _orders: ChildStdin,
    port: u16,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span, as a collector shows it.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty if there is none.
    pub(super) parent: String,
    pub(super) name: String,
    /// Its number in OTLP: 2 for a server's, 3 for a client's.
    pub(super) kind: u64,
    /// Its number in OTLP: 2 is an error.
    pub(super) status: u64,
    pub(super) state: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) resource: BTreeMap<String, String>,
}

pub(super) const SERVER: u64 = 2;
pub(super) const CLIENT: u64 = 3;
pub(super) const ERROR: u64 = 2;

impl Collector {
    /// One on a free port; `None` skips `test`.
    pub(super) fn start(test: &str) -> Option<Self> {
        let mut process = Command::new(peers::program("otlpcollector", test)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let first = lines.next().expect("it says where it is").unwrap();
        let port = first.strip_prefix("listening on ").unwrap();
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let received = Arc::clone(&spans);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let batch: Value = serde_json::from_str(&line).unwrap();
                received.lock().unwrap().extend(read(&batch));
            }
        });
        Some(Self {
            process,
            _orders: orders,
            port: port.parse().unwrap(),
            spans,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of the request of this id, its own first and the tries as they began, once they are
    /// there.
    pub(super) async fn request(&self, id: &str) -> Vec<Span> {
        eventually(&format!("the spans of {id} come"), || async {
            let spans = self.spans();
            let server = spans
                .iter()
                .find(|span| span["callboard.request_id"] == *id)?;
            let server = server.clone();
            let mut all = vec![server.clone()];
            all.extend(spans.into_iter().filter(|span| span.parent == server.id));
            Some(all)
        })
        .await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An attribute; empty if there is none.
impl std::ops::Index<&str> for Span {
    type Output = str;

    fn index(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

fn read(batch: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in list(&batch["resourceSpans"]) {
        for scope in list(&resource["scopeSpans"]) {
            assert_eq!(scope["scope"]["name"], "callboard");
            for span in list(&scope["spans"]) {
                let text = |name| span[name].as_str().unwrap_or_default().to_owned();
                spans.push(Span {
                    trace: text("traceId"),
                    id: text("spanId"),
                    parent: text("parentSpanId"),
                    name: text("name"),
                    kind: span["kind"].as_u64().unwrap(),
                    status: span["status"]["code"].as_u64().unwrap_or_default(),
                    state: text("traceState"),
                    attributes: attributes(&span["attributes"]),
                    resource: attributes(&resource["resource"]["attributes"]),
                });
                let time = |name| text(name).parse::<u128>().unwrap();
                assert!(
                    time("startTimeUnixNano") <= time("endTimeUnixNano"),
                    "{span}"
                );
            }
        }
    }
    spans
}

fn attributes(list: &Value) -> BTreeMap<String, String> {
    let attributes = self::list(list).iter().map(|attribute| {
        let value = attribute["value"].as_object().unwrap().values().next();
        let value = match value.unwrap() {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        (attribute["key"].as_str().unwrap().to_owned(), value)
    });
    attributes.collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
