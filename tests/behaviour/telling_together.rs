//! All that is told of requests at once: however they end, and whatever is changed meanwhile, each of
//! them has one line in the access log and is counted once.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;

use crate::support::http2::{END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, frame, head};
use crate::support::{Callboard, Instance, Setup, eventually};

const DEFAULTS: &str = "defaults: {check: off, outlier: off, balance: round_robin, \
                        retry: {hedge: {after: 1ms}, budget: 100%}}";

fn telling(telemetry: &str) -> Setup {
    Setup::default()
        .registry("admission: trust")
        .top(DEFAULTS)
        .top(&format!("telemetry: {{{telemetry}}}"))
}

/// The lines of all files that the access log has been in.
fn lines(callboard: &Callboard) -> Vec<String> {
    let mut lines = Vec::new();
    for file in fs::read_dir(callboard.folder()).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with("access.log") {
            let text = fs::read_to_string(file.path()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}

/// The numbers of the requests that have a line, each as often as it has one, once there are `count`.
async fn numbers(callboard: &Callboard, count: usize) -> Vec<usize> {
    let found = eventually(&format!("there are {count} lines"), || async {
        Some(lines(callboard)).filter(|lines| lines.len() >= count)
    })
    .await;
    let mut numbers: Vec<_> = found
        .iter()
        .map(|line| {
            let rest = line
                .split_once("/number-")
                .unwrap_or_else(|| panic!("{line}"));
            let digits = rest.1.split(|c: char| !c.is_ascii_digit()).next();
            digits.unwrap().parse().unwrap_or_else(|_| panic!("{line}"))
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// What all figures of this name and these labels come to.
async fn sum(callboard: &Callboard, name: &str) -> usize {
    let page = callboard.metrics().await;
    let of_name = page.lines().filter(|line| line.starts_with(name));
    let values = of_name.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.sum::<f64>() as usize
}

/// Requests under way, each with a number of its own.
#[derive(Default)]
struct Load {
    sent: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    fn path(&self, held: bool) -> String {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let held = if held { "held/" } else { "" };
        format!("/web/{held}number-{number}")
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// Sends one after the other, and asks for explanations.
    async fn ask(&self, callboard: &Callboard) {
        while self.goes_on() {
            let request = callboard.client.get(callboard.url(&self.path(false)));
            let request = request.header("X-Callboard-Explain", "1").header(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            );
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status(), 200, "{reply:?}");
            reply.bytes().await.unwrap();
        }
    }

    /// Sends those that are held, and resets them.
    async fn reset(&self, callboard: &Callboard, instances: &[Instance]) {
        let holding = || instances.iter().map(Instance::holding).sum::<usize>();
        let mut frames = Frames::connect(callboard, &[]).await;
        for stream in (1..).step_by(2).take_while(|_| self.goes_on()) {
            let before = holding();
            // What is no GET is not hedged, so that each is held once.
            let fields = head("POST", &self.path(true));
            let request = frame(HEADERS, END_HEADERS | END_STREAM, stream, &fields);
            assert!(frames.say(&request).await);
            eventually("it is held", || async {
                (holding() > before).then_some(())
            })
            .await;
            let cancel = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            assert!(frames.say(&cancel).await);
        }
    }

    /// Waits until so many more were sent.
    async fn goes_on_for(&self, more: usize) {
        let before = self.sent.load(Ordering::SeqCst);
        eventually("some more are sent", || async {
            (self.sent.load(Ordering::SeqCst) >= before + more).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_line_and_is_counted_once_whatever_is_changed_meanwhile() {
    // A collector that takes connections and never answers.
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let traces = format!(
        "traces: {{endpoint: \"http://{}\", sample: 100%}}",
        collector.local_addr().unwrap()
    );
    let log = "access_log: {path: access.log";
    let settings = [
        format!("{log}}}, {traces}, explain: {{sample: 100%}}"),
        format!("{log}, format: combined}}, explain: off"),
        format!("{log}, fields: [path, 'header:x-a']}}, {traces}, explain: {{kept: 1}}"),
        format!("{log}, sample: 100%}}, metrics: {{instances: 1}}"),
    ];
    let callboard = telling(&settings[0]).start();
    let instances = Instance::several("web", 2);
    let dead = Instance::dead("dead");
    for instance in instances.iter().chain([&dead]) {
        callboard.register("web", instance, json!({})).await;
    }
    let load = Load::default();
    let change = async {
        let file = callboard.folder().join("access.log");
        for (round, settings) in settings.iter().cycle().skip(1).take(8).enumerate() {
            load.goes_on_for(20).await;
            callboard.rewrite(&telling(settings));
            callboard.reload("configuration reloaded").await;
            fs::rename(&file, file.with_extension(format!("log.{round}"))).unwrap();
            callboard.signal("USR1");
            eventually("there is a new file", || async {
                file.exists().then_some(())
            })
            .await;
        }
        load.stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(
        load.ask(&callboard),
        load.ask(&callboard),
        load.reset(&callboard, &instances),
        change
    );
    let sent = load.sent.load(Ordering::SeqCst);
    let numbers = numbers(&callboard, sent).await;
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
    eventually("all are counted", || async {
        (sum(&callboard, "callboard_requests_total").await >= sent).then_some(())
    })
    .await;
    assert_eq!(sum(&callboard, "callboard_requests_total").await, sent);
    assert!(sum(&callboard, "callboard_request_retries_total").await > 0);
    assert_eq!(
        sum(&callboard, "callboard_access_log_dropped_total").await,
        0
    );
    assert!(!callboard.log().contains("panicked"), "{}", callboard.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_take_each_others_place_lose_and_tear_no_line() {
    let mut callboard = telling("access_log: {path: access.log}").start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let load = std::sync::Arc::new(Load::default());
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build();
    let (client, proxy) = (client.unwrap(), callboard.proxy.clone());
    let asking = [(); 3].map(|()| {
        let (load, client, proxy) = (load.clone(), client.clone(), proxy.clone());
        tokio::spawn(async move {
            while load.goes_on() {
                let url = format!("{proxy}{}", load.path(false));
                let reply = client.get(url).send().await.unwrap();
                assert_eq!(reply.status(), 200, "{reply:?}");
                reply.bytes().await.unwrap();
            }
        })
    });
    let mut old = Vec::new();
    for _ in 0..2 {
        load.goes_on_for(30).await;
        old.push(tokio::task::block_in_place(|| callboard.upgrade()));
    }
    load.goes_on_for(30).await;
    load.stop.store(true, Ordering::SeqCst);
    for asking in asking {
        asking.await.unwrap();
    }
    let sent = load.sent.load(Ordering::SeqCst);
    let numbers = numbers(&callboard, sent).await;
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
}
