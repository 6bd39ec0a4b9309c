//! A second instance is asked when the first takes too long, within the budget, and whoever wins, the
//! client gets one whole answer.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::scripted::{Scripted, Step};
use crate::support::{Callboard, Instance, Setup, eventually};

fn setup(retry: &str) -> Setup {
    Setup::default().registry("admission: trust").top(&format!(
        "defaults: {{check: off, balance: round_robin, outlier: off, retry: {{{retry}}}}}"
    ))
}

/// One instance that answers what the other holds.
async fn with_two(retry: &str) -> (Callboard, [Instance; 2]) {
    let callboard = setup(retry).start();
    let instances = ["slow", "quick"].map(Instance::start);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    instances[1].release(100_000);
    (callboard, instances)
}

#[tokio::test]
async fn an_instance_that_hangs_costs_no_request_and_holds_none() {
    let (callboard, [slow, quick]) = with_two("hedge: {after: 20ms}").await;
    for _ in 0..20 {
        assert_eq!(callboard.answerer("/web/held").await, "quick");
    }
    assert_eq!(quick.hits(), 20);
    let now = callboard.instance("web", &slow).await.unwrap();
    assert_eq!(now["in_flight"], 0, "what lost was let go of");
    // Nothing is left of those requests on the connections that are used from here on.
    slow.release(100_000);
    for number in 0..40 {
        let reply = callboard.get(&format!("/web/{number}")).await;
        let reply: Value = reply.json().await.unwrap();
        assert_eq!(reply["target"], format!("/{number}"));
    }
}

#[tokio::test]
async fn the_answer_is_the_same_as_without_hedging() {
    let (callboard, _instances) = with_two("hedge: {after: 10s}").await;
    for method in ["GET", "HEAD"] {
        let request = (callboard.client)
            .request(method.parse().unwrap(), callboard.url("/web/a?b"))
            .header("X-Request-Id", "r-1")
            .header("Connection", "close");
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["x-request-id"], "r-1");
        assert_eq!(reply.headers()["x-upstream"], "yes");
        for name in ["x-private", "keep-alive"] {
            assert!(!reply.headers().contains_key(name), "{name}");
        }
        let length: usize = reply.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let body = reply.bytes().await.unwrap();
        if method == "HEAD" {
            assert!(body.is_empty() && length > 0);
            continue;
        }
        assert_eq!(body.len(), length);
        let echo: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(echo["target"], "/a?b");
        assert_eq!(echo["headers"]["x-request-id"], "r-1");
        assert_eq!(echo["headers"]["x-forwarded-for"], "127.0.0.1");
        assert_eq!(echo["headers"]["via"], "1.1 callboard");
        assert!(echo["headers"]["connection"].is_null());
    }
}

#[tokio::test]
async fn other_requests_are_never_sent_twice() {
    let (callboard, [slow, quick]) = with_two("hedge: {after: 1ms}").await;
    let url = callboard.url("/web/held");
    let posts: Vec<_> = (0..4)
        .map(|_| tokio::spawn(callboard.client.post(&url).send()))
        .collect();
    eventually("two are held", || async {
        (slow.holding() == 2).then_some(())
    })
    .await;
    // Requests of another kind show that there was time to send more.
    callboard.answerers("/web/", 50).await;
    assert_eq!(slow.holding(), 2);
    slow.release(2);
    for post in posts {
        assert_eq!(post.await.unwrap().unwrap().status(), 200);
    }
    let posts = slow.hits() + quick.hits();
    assert!((54..=104).contains(&posts), "{posts}");
}

#[tokio::test]
async fn the_budget_bounds_what_is_asked_twice() {
    let callboard = setup("budget: 0%, budget_min: 2, hedge: {after: 1ms}").start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let url = callboard.url("/web/held");
    let gets: Vec<_> = (0..20)
        .map(|_| tokio::spawn(callboard.client.get(&url).send()))
        .collect();
    let holding = || instances.iter().map(Instance::holding).sum::<usize>();
    eventually("all are held, two of them twice", || async {
        (holding() == 22).then_some(())
    })
    .await;
    callboard.answerers("/web/", 20).await;
    assert!(holding() <= 22, "{}", holding());
    instances.iter().for_each(|instance| instance.release(100));
    for get in gets {
        assert_eq!(get.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_percentile_is_known_after_enough_requests() {
    let (callboard, [slow, _quick]) = with_two("hedge: {after: p95}").await;
    let held = callboard.client.get(callboard.url("/web/held")).send();
    let held = tokio::spawn(held);
    let other = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
    eventually("one is held", || async {
        (slow.holding() == 1).then_some(())
    })
    .await;
    callboard.answerers("/web/", 50).await;
    assert_eq!(
        slow.holding(),
        1,
        "nobody was asked twice with so few to go by"
    );
    slow.release(1);
    for get in [held, other] {
        assert_eq!(get.await.unwrap().unwrap().status(), 200);
    }
    callboard.answerers("/web/", 120).await;
    for _ in 0..10 {
        assert_eq!(callboard.answerer("/web/held").await, "quick");
    }
}

/// An instance of `raw` that gives the same bytes in answer to every request and then closes.
/// Each time it does, it says so.
async fn answering(
    callboard: &Callboard,
    id: &str,
    answer: &'static str,
) -> mpsc::UnboundedReceiver<()> {
    let (asked, receiver) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = asked.send(());
        }
    });
    let registered = callboard
        .client
        .put(callboard.api(&format!("/services/raw/instances/{id}")))
        .json(&json!({"address": "127.0.0.1", "port": port, "check": "off"}));
    assert!(registered.send().await.unwrap().status().is_success());
    receiver
}

/// All that comes back for one GET of `/raw/` on a connection of its own.
async fn bytes_of(callboard: &Callboard) -> String {
    let address = callboard.proxy.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /raw/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply).await;
    String::from_utf8(reply).unwrap()
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let callboard = setup("hedge: {after: 10s}").start();
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    answering(&callboard, "raw-1", half).await;
    let reply = bytes_of(&callboard).await;
    assert!(reply.contains("hello"), "{reply}");
    assert!(!reply.contains("\r\n0\r\n"), "{reply}");
}

#[tokio::test]
async fn an_answer_without_a_length_and_interim_ones_are_understood() {
    let callboard = setup("hedge: {after: 10s}").start();
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhello";
    answering(&callboard, "raw-1", answer).await;
    let reply = bytes_of(&callboard).await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    assert!(reply.ends_with("\r\n5\r\nhello\r\n0\r\n\r\n"), "{reply}");
}

#[tokio::test]
async fn a_try_that_fails_is_followed_by_others_on_the_ordinary_path() {
    let callboard = setup("hedge: {after: 10s}").start();
    let dead = ["dead-1", "dead-2"].map(Instance::dead);
    let alive = Instance::start("alive");
    for instance in dead.iter().chain([&alive]) {
        callboard.register("web", instance, json!({})).await;
    }
    for _ in 0..12 {
        assert_eq!(callboard.answerer("/web/").await, "alive");
    }
}

#[tokio::test]
async fn a_try_that_broke_is_followed_by_another_only_where_the_policy_says_so() {
    for (retry, all) in [
        ("hedge: {after: 10s}", true),
        ("on: [connect], hedge: {after: 10s}", false),
    ] {
        let callboard = setup(retry).start();
        answering(&callboard, "raw-1", "").await;
        answering(&callboard, "raw-2", "HTTP/1.1 204 No Content\r\n\r\n").await;
        let mut answered = 0;
        for _ in 0..10 {
            let reply = bytes_of(&callboard).await;
            answered += usize::from(reply.starts_with("HTTP/1.1 204 "));
        }
        assert_eq!(answered == 10, all, "{retry}: {answered} of 10");
    }
}

#[tokio::test]
async fn an_answer_that_is_tried_again_does_not_win_over_one_to_come() {
    let callboard = setup("hedge: {after: 1ms}").start();
    let web = Instance::start("web-1");
    callboard
        .register("raw", &web, json!({"weight": 1_000}))
        .await;
    let poor = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let mut asked = answering(&callboard, "raw-2", poor).await;
    let held = tokio::spawn(callboard.client.get(callboard.url("/raw/held")).send());
    asked.recv().await.unwrap();
    eventually("it is held", || async {
        (web.holding() == 1).then_some(())
    })
    .await;
    web.release(1);
    assert_eq!(held.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn nobody_there_and_nothing_tried_is_told_as_ever() {
    let callboard = setup("hedge: {after: 1ms}").start();
    let dead = Instance::dead("dead-1");
    callboard.register("web", &dead, json!({})).await;
    assert_eq!(callboard.get("/web/").await.status(), 502);
    answering(&callboard, "raw-1", "").await;
    let reply = bytes_of(&callboard).await;
    assert!(reply.starts_with("HTTP/1.1 502 "), "{reply}");
    let gone = callboard.instance_url("web", &dead);
    callboard.client.delete(gone).send().await.unwrap();
    let status = callboard.get("/web/").await.status();
    assert!([404, 503].contains(&status.as_u16()), "{status}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_tries_along() {
    let callboard = setup("hedge: {after: 1ms}").start();
    let instances = Instance::several("web", 2);
    for instance in &instances {
        callboard.register("web", instance, json!({})).await;
    }
    let held = tokio::spawn(callboard.client.get(callboard.url("/web/held")).send());
    eventually("it is held twice", || async {
        let holding: usize = instances.iter().map(Instance::holding).sum();
        (holding == 2).then_some(())
    })
    .await;
    held.abort();
    eventually("nothing is in flight", || async {
        for instance in &instances {
            let now = callboard.instance("web", instance).await?;
            if now["in_flight"] != 0 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test]
async fn an_instance_whose_answers_break_off_is_ejected() {
    let callboard = Setup::default()
        .registry("admission: trust")
        .top(
            "defaults: {check: off, balance: round_robin, retry: {hedge: {after: 1h}}, \
             outlier: {failure_ratio: 30%, min_requests: 4, interval: 1h}}",
        )
        .start();
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
    let broken = Scripted::always("broken", [Step::Say(half), Step::Close]).await;
    let whole = Instance::start("whole");
    callboard.register_scripted("web", &broken).await;
    callboard.register("web", &whole, json!({})).await;
    for _ in 0..30 {
        let reply = callboard.get("/web/").await;
        let _ = reply.bytes().await;
    }
    let url = callboard.api("/services/web/instances/broken");
    let reply = callboard.client.get(url).send().await.unwrap();
    let found: Value = reply.json().await.unwrap();
    assert_eq!(found["availability"], "ejected", "{found}");
}
