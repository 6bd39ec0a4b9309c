//! Everything an instance can do wrong, and what the client sees of it.

use std::time::Duration;

use serde_json::json;

use crate::support::scripted::{Scripted, Step};
use crate::support::{Callboard, Instance, Setup, eventually};

use Step::{Close, Pause, ReadBody, Repeat, Reset, Say, Stall};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const AT_ONCE: Duration = Duration::ZERO;

/// A callboard whose services never lose an instance by themselves.
fn callboard(more: &str) -> Callboard {
    let line = format!("defaults: {{balance: round_robin, check: off, outlier: off{more}}}");
    Setup::default()
        .registry("admission: trust")
        .top(&line)
        .start()
}

/// What a reply says in `Proxy-Status`.
fn proxy_status(reply: &reqwest::Response) -> String {
    let status = reply.headers().get("proxy-status");
    status.map_or_else(String::new, |status| status.to_str().unwrap().to_owned())
}

/// What goes wrong before there is an answer, with the error type it is told as.
fn faults() -> Vec<(&'static str, Vec<Step>, &'static str)> {
    let terminated = "error=connection_terminated;";
    let malformed = "error=http_protocol_error;";
    vec![
        ("closes", vec![ReadBody, Close], terminated),
        ("resets", vec![ReadBody, Reset], terminated),
        (
            "closes in the head",
            vec![ReadBody, Say("HTTP/1.1 200 OK\r\nContent-Le"), Close],
            terminated,
        ),
        (
            "garbage",
            vec![ReadBody, Say("\x01\x02 what?\r\n\r\n"), Stall],
            malformed,
        ),
        (
            "endless head",
            vec![
                ReadBody,
                Say("HTTP/1.1 200 OK\r\n"),
                Repeat("X-More: and more and more and more\r\n", AT_ONCE),
            ],
            malformed,
        ),
        (
            "endless line",
            vec![
                ReadBody,
                Say("HTTP/1.1 200 OK\r\nX: "),
                Repeat("and more ".repeat(4_096).leak(), AT_ONCE),
            ],
            malformed,
        ),
        (
            "endless interim answers",
            vec![
                ReadBody,
                Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", AT_ONCE),
            ],
            malformed,
        ),
        (
            "two lengths",
            vec![
                ReadBody,
                Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
                Stall,
            ],
            malformed,
        ),
    ]
}

#[tokio::test]
async fn a_fault_before_the_answer_is_told_and_costs_one_try_when_nobody_else_is_there() {
    let callboard = callboard("");
    for (number, (name, steps, error)) in faults().into_iter().enumerate() {
        let service = format!("faulty-{number}");
        let faulty = Scripted::always("only", steps).await;
        callboard.register_scripted(&service, &faulty).await;
        let url = callboard.url(&format!("/{service}/"));
        for request in [
            callboard.client.get(&url),
            callboard.client.post(&url).body("x"),
        ] {
            let before = faulty.hits();
            let reply = request.send().await.unwrap();
            assert_eq!(reply.status(), 502, "{name}");
            let status = proxy_status(&reply);
            assert!(status.contains(error), "{name}: {status}");
            assert_eq!(faulty.hits() - before, 1, "{name}");
        }
        eventually("nothing is in flight", || async {
            let url = callboard.api(&format!("/services/{service}/instances"));
            let reply = callboard.client.get(url).send().await.unwrap();
            let instances: serde_json::Value = reply.json().await.unwrap();
            (instances[0]["in_flight"] == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_fault_before_the_answer_sends_what_may_be_repeated_to_another_instance() {
    let callboard = callboard("");
    for (number, (name, steps, _)) in faults().into_iter().enumerate() {
        let service = format!("faulty-{number}");
        let faulty = Scripted::always("faulty", steps).await;
        let healthy = Instance::start("healthy");
        callboard.register_scripted(&service, &faulty).await;
        callboard.register(&service, &healthy, json!({})).await;
        let url = callboard.url(&format!("/{service}/"));
        for _ in 0..4 {
            let reply = callboard.client.get(&url).send().await.unwrap();
            assert_eq!(reply.status(), 200, "{name}: {}", proxy_status(&reply));
            let put = callboard.client.put(&url).body("again and again").send();
            let reply: serde_json::Value = put.await.unwrap().json().await.unwrap();
            assert_eq!(reply["body"], "again and again", "{name}");
        }
        assert!((1..=8).contains(&faulty.hits()), "{name}");
        assert_eq!(healthy.hits(), 8, "{name}");
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let post = callboard.client.post(&url).body("once").send();
            statuses.push(post.await.unwrap().status().as_u16());
        }
        assert!(statuses.contains(&502), "{name}: {statuses:?}");
        assert!(statuses.contains(&200), "{name}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_fault_in_the_body_is_seen_by_the_client_and_not_repeated() {
    let callboard = callboard("");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (number, (name, steps)) in [
        (
            "closes",
            vec![
                Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
                Close,
            ],
        ),
        (
            "resets",
            vec![
                Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
                Reset,
            ],
        ),
        ("closes between chunks", vec![Say(chunked), Close]),
        (
            "closes in a chunk",
            vec![Say(chunked), Say("9\r\nnine"), Close],
        ),
        (
            "bad chunk",
            vec![Say(chunked), Say("zz\r\nwhat\r\n"), Stall],
        ),
        (
            "later bad chunk",
            vec![
                Say(chunked),
                Pause(Duration::from_millis(50)),
                Say("-1\r\nwhat\r\n"),
                Stall,
            ],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let service = format!("faulty-{number}");
        let faulty = Scripted::always("faulty", steps).await;
        callboard.register_scripted(&service, &faulty).await;
        let other = Scripted::always("other", [Say(OK)]).await;
        callboard.register_scripted(&service, &other).await;
        let mut cut = 0;
        for _ in 0..4 {
            let reply = callboard.client.get(callboard.url(&format!("/{service}/")));
            match reply.send().await {
                // Come together with its head, it is found before anything was passed on.
                Ok(reply) if name == "bad chunk" && reply.status() == 502 => cut += 1,
                Ok(reply) => {
                    assert_eq!(reply.status(), 200, "{name}");
                    match reply.text().await {
                        Ok(body) => assert_eq!(body, "ok", "{name}"),
                        Err(_) => cut += 1,
                    }
                }
                // The head may not have made it to the client.
                Err(_) => cut += 1,
            }
        }
        assert_eq!(cut, faulty.hits(), "{name}");
        assert_eq!((faulty.hits(), other.hits()), (2, 2), "{name}");
    }
}

#[tokio::test]
async fn what_follows_a_complete_answer_reaches_nobody() {
    let callboard = callboard("");
    let chatty = Scripted::always(
        "chatty",
        [Say(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nmore",
        )],
    )
    .await;
    callboard.register_scripted("web", &chatty).await;
    for _ in 0..3 {
        assert_eq!(callboard.get("/web/").await.text().await.unwrap(), "ok");
    }
    assert_eq!((chatty.hits(), chatty.connections()), (3, 3));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_read_reaches_the_client() {
    let callboard = callboard("");
    for (service, status, steps) in [
        (
            "closes",
            413,
            vec![
                Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"),
                Close,
            ],
        ),
        (
            "closes-kindly",
            401,
            vec![
                Say(
                    "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
                ),
                Close,
            ],
        ),
        (
            "stays",
            200,
            vec![
                Say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbig"),
                Stall,
            ],
        ),
    ] {
        let hasty = Scripted::always("hasty", steps).await;
        callboard.register_scripted(service, &hasty).await;
        for _ in 0..5 {
            let post = callboard
                .client
                .post(callboard.url(&format!("/{service}/")));
            let reply = post.body(vec![b'x'; 200_000]).send().await.unwrap();
            assert_eq!(
                reply.status(),
                status,
                "{service}: {}",
                proxy_status(&reply)
            );
            assert_eq!(reply.text().await.unwrap(), "big");
        }
        assert_eq!(hasty.hits(), 5);
    }
}

const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy";

#[tokio::test]
async fn an_answer_of_a_status_to_be_retried_is_another_instances_if_there_is_one_that_does_better()
{
    let callboard = callboard("");
    let busy = Scripted::always("busy", [ReadBody, Say(BUSY)]).await;
    let healthy = Scripted::always("healthy", [ReadBody, Say(OK)]).await;
    callboard.register_scripted("web", &busy).await;
    callboard.register_scripted("web", &healthy).await;
    for _ in 0..6 {
        let reply = callboard.get("/web/").await;
        assert_eq!(reply.status(), 200, "{}", proxy_status(&reply));
    }
    assert!((1..=6).contains(&busy.hits()));
    assert_eq!(healthy.hits(), 6);
}

#[tokio::test]
async fn when_all_answer_with_such_a_status_the_last_answer_passes_unchanged() {
    let callboard = callboard("");
    let all = [
        Scripted::always("busy-1", [Say(BUSY)]).await,
        Scripted::always("busy-2", [Say(BUSY)]).await,
    ];
    for busy in &all {
        callboard.register_scripted("web", busy).await;
    }
    let reply = callboard.get("/web/").await;
    assert_eq!(reply.status(), 503);
    assert_eq!(reply.headers()["retry-after"], "7");
    assert_eq!(proxy_status(&reply), "");
    assert_eq!(reply.text().await.unwrap(), "busy");
    assert_eq!(all.each_ref().map(Scripted::hits), [1, 1]);
}

#[tokio::test]
async fn no_more_tries_are_made_than_were_allowed() {
    let callboard = callboard(", retry: {attempts: 1}");
    let mut all = Vec::new();
    for number in 0..4 {
        let busy = Scripted::always(&format!("busy-{number}"), [Say(BUSY)]).await;
        callboard.register_scripted("web", &busy).await;
        all.push(busy);
    }
    let reply = callboard.get("/web/").await;
    assert_eq!(reply.status(), 503);
    let mut hits: Vec<_> = all.iter().map(Scripted::hits).collect();
    hits.sort_unstable();
    assert_eq!(hits, [0, 0, 1, 1]);
}

#[tokio::test]
async fn without_retries_every_fault_is_the_clients() {
    let callboard = callboard(", retry: off");
    let faulty = Scripted::always("faulty", [Reset]).await;
    let busy = Scripted::always("busy", [Say(BUSY)]).await;
    let dead = Instance::dead("dead");
    callboard.register_scripted("web", &faulty).await;
    callboard.register_scripted("web", &busy).await;
    callboard.register("web", &dead, json!({})).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let reply = callboard.get("/web/").await;
        let status = proxy_status(&reply);
        let error = status.split("; ").nth(1).unwrap_or_default().to_owned();
        seen.push((reply.status().as_u16(), error));
    }
    seen.sort();
    seen.dedup();
    let expected = [
        (502, "error=connection_refused"),
        (502, "error=connection_terminated"),
        (503, ""),
    ];
    assert_eq!(
        seen,
        expected.map(|(status, error)| (status, error.to_owned()))
    );
    assert_eq!((faulty.hits(), busy.hits()), (2, 2));
}

#[tokio::test]
async fn without_a_budget_only_requests_that_were_not_sent_go_on() {
    let callboard = callboard(", retry: {budget: 0%, budget_min: 0}");
    let (dead, alive) = (Instance::dead("dead"), Instance::start("alive"));
    callboard.register("web", &dead, json!({})).await;
    callboard.register("web", &alive, json!({})).await;
    for _ in 0..4 {
        assert_eq!(callboard.answerer("/web/").await, "alive");
    }
    let busy = Scripted::always("busy", [Say(BUSY)]).await;
    let other = Scripted::always("other", [Say(OK)]).await;
    callboard.register_scripted("busy", &busy).await;
    callboard.register_scripted("busy", &other).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(callboard.get("/busy/").await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
}

#[tokio::test]
async fn a_route_can_turn_the_retries_of_its_service_off() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top("defaults: {balance: round_robin, check: off, outlier: off}")
        .top("routes: [{match: {path: /once}, service: web, retry: off}]")
        .start();
    let faulty = Scripted::always("faulty", [Reset]).await;
    let healthy = Scripted::always("healthy", [Say(OK)]).await;
    callboard.register_scripted("web", &faulty).await;
    callboard.register_scripted("web", &healthy).await;
    for _ in 0..4 {
        assert_eq!(callboard.get("/web/").await.status(), 200);
    }
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(callboard.get("/once").await.status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 502, 502]);
}

#[tokio::test]
async fn a_body_that_is_longer_than_what_is_kept_is_sent_once() {
    let callboard = callboard(", retry: {buffer: 1KiB}");
    let faulty = Scripted::always("faulty", [ReadBody, Reset]).await;
    let healthy = Scripted::always("healthy", [ReadBody, Say(OK)]).await;
    callboard.register_scripted("web", &faulty).await;
    callboard.register_scripted("web", &healthy).await;
    let put = async |length: usize| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            let put = callboard.client.put(callboard.url("/web/"));
            let reply = put.body("x".repeat(length)).send().await.unwrap();
            statuses.push(reply.status().as_u16());
        }
        statuses.sort_unstable();
        statuses
    };
    assert_eq!(put(1_024).await, [200, 200, 200, 200]);
    assert!(healthy.bodies().iter().all(|body| body.len() == 1_024));
    assert_eq!(put(1_025).await, [200, 200, 502, 502]);
}
