//! A thousand watchers and a thousand long polls at once, some of which stop reading.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::{Callboard, eventually};

const READERS_OF_ALL: usize = 50;
const READERS_OF_QUIET: usize = 550;
/// They ask for everything and never read an answer.
const DEAF: usize = 400;
const POLLS: usize = 1_000;
/// What a crowd may cost over what callboard needed before the changes. Were every change kept for
/// everyone who does not read, it would be ten times that.
const ROOM: usize = 128 << 20;

type Picture = BTreeMap<(String, String), u32>;

/// What of an instance the test looks at.
#[derive(Deserialize)]
struct Seen {
    service: String,
    id: String,
    #[serde(default)]
    weight: u32,
}

/// Follows a stream until it has told everything up to the index that `end` holds, and says how many
/// events that took and what it showed.
async fn follow(
    reply: reqwest::Response,
    started: Arc<AtomicUsize>,
    mut end: watch::Receiver<u64>,
) -> (usize, Picture) {
    let (mut reply, mut text, mut events, mut knows) = (reply, String::new(), 0, 0);
    let mut picture = Picture::new();
    while knows < *end.borrow_and_update() {
        let chunk = tokio::select! {
            chunk = reply.chunk() => chunk.unwrap().unwrap(),
            _ = end.changed() => continue,
        };
        text += std::str::from_utf8(&chunk).unwrap();
        let complete = text.rfind("\n\n").map_or(0, |end| end + 2);
        let rest = text.split_off(complete);
        for block in std::mem::replace(&mut text, rest).split_terminator("\n\n") {
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name));
            let Some(event) = field("event: ") else {
                continue;
            };
            events += 1;
            let index = field("id: ").unwrap().parse().unwrap();
            assert!(index >= knows, "{index} after {knows}");
            knows = index;
            let data = field("data: ").unwrap();
            if event == "snapshot" {
                let all: Vec<Seen> = serde_json::from_str(data).unwrap();
                picture = all.into_iter().map(entry).collect();
                started.fetch_add(1, Ordering::SeqCst);
                continue;
            }
            let (member, weight) = entry(serde_json::from_str(data).unwrap());
            match event {
                "upsert" => picture.insert(member, weight),
                "remove" => picture.remove(&member),
                other => panic!("{other}"),
            };
        }
    }
    (events, picture)
}

fn entry(seen: Seen) -> ((String, String), u32) {
    ((seen.service, seen.id), seen.weight)
}

async fn get(client: reqwest::Client, url: String) -> reqwest::Response {
    let reply = client.get(url).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply
}

/// Asks for everything from a socket that takes next to nothing, and never reads it.
async fn ask_and_forget(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = b"GET /api/v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).await.unwrap();
    stream
}

/// Registers these instances at once.
async fn register(callboard: &Callboard, members: &Picture) {
    let instances: Vec<_> = members
        .iter()
        .map(|((service, id), weight)| {
            json!({"service": service, "id": id, "port": 80, "check": "off", "lease": null,
                "weight": weight, "metadata": {"note": "x".repeat(256)}})
        })
        .collect();
    let url = callboard.api("/instances:batch");
    let body = json!({ "instances": instances });
    let reply = callboard.client.post(url).json(&body).send().await.unwrap();
    assert_eq!(reply.status(), 200);
}

async fn delete(callboard: &Callboard, service: &str, id: &str) {
    let url = callboard.api(&format!("/services/{service}/instances/{id}"));
    let reply = callboard.client.delete(url).send().await.unwrap();
    assert_eq!(reply.status(), 204);
}

fn of_service(service: &str, count: usize, weight: u32) -> Picture {
    (0..count)
        .map(|id| ((service.to_owned(), format!("{service}-{id}")), weight))
        .collect()
}

async fn index(callboard: &Callboard, path: &str) -> u64 {
    let reply = get(callboard.client.clone(), callboard.api(path)).await;
    let index = reply.headers()["callboard-index"].to_str().unwrap();
    index.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_reads_is_told_all_it_asked_for_and_one_that_does_not_costs_little() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let callboard = Callboard::trusting();
    let mut expected = of_service("polled", 1, 1);
    expected.extend(of_service("quiet", 1, 1));
    register(&callboard, &expected).await;

    let (end, ends) = watch::channel(u64::MAX);
    let started = Arc::new(AtomicUsize::new(0));
    let readers = |query: &str, count| -> Vec<_> {
        let url = callboard.api(&format!("/watch{query}"));
        let client = &callboard.client;
        (0..count)
            .map(|_| {
                let (opening, started, ends) = (
                    get(client.clone(), url.clone()),
                    started.clone(),
                    ends.clone(),
                );
                tokio::spawn(async { follow(opening.await, started, ends).await })
            })
            .collect()
    };
    let of_all = readers("", READERS_OF_ALL);
    let of_quiet = readers("?service=quiet", READERS_OF_QUIET);
    let address = callboard.registry.strip_prefix("http://").unwrap();
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        deaf.push(ask_and_forget(address.parse().unwrap()).await);
    }
    let known = index(&callboard, "/services/polled/instances").await;
    let url = callboard.api(&format!("/services/polled/instances?index={known}&wait=5m"));
    let polls: Vec<_> = (0..POLLS)
        .map(|_| tokio::spawn(get(callboard.client.clone(), url.clone())))
        .collect();
    eventually("all readers have begun", || async {
        let begun = started.load(Ordering::SeqCst);
        (begun == READERS_OF_ALL + READERS_OF_QUIET).then_some(())
    })
    .await;

    let before = callboard.resident();
    for weight in 1..=10 {
        let busy = of_service("busy", 400, weight);
        register(&callboard, &busy).await;
        expected.extend(busy);
    }
    for id in 0..100 {
        delete(&callboard, "busy", &format!("busy-{id}")).await;
        expected.remove(&("busy".to_owned(), format!("busy-{id}")));
    }
    assert!(polls.iter().all(|poll| !poll.is_finished()));
    let last = of_service("polled", 1, 9);
    register(&callboard, &last).await;
    expected.extend(last);
    for poll in polls {
        let list: Value = poll.await.unwrap().json().await.unwrap();
        assert_eq!(list[0]["weight"], 9);
    }
    let last = of_service("quiet", 1, 9);
    register(&callboard, &last).await;
    expected.extend(last);
    end.send_replace(index(&callboard, "/services").await);

    for reader in of_all {
        let (_, picture) = reader.await.unwrap();
        assert_eq!(picture, expected);
    }
    expected.retain(|(service, _), _| service == "quiet");
    for reader in of_quiet {
        let (events, picture) = reader.await.unwrap();
        assert_eq!(picture, expected);
        assert_eq!(events, 2, "was told of others");
    }
    let growth = callboard.resident().saturating_sub(before);
    assert!(growth < ROOM, "grew by {growth} bytes");
    drop(deaf);
}
