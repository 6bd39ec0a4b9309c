//! Connections that switch protocols: what passes through, and how they end.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::scripted::{Scripted, Step};
use crate::support::upgraded::{
    GOING_AWAY, GONE, Switching, ask, ends, hears, hears_masked_goodbye, passes,
};
use crate::support::wire::{connect, read_all, read_head, read_one};
use crate::support::{Callboard, Instance, Setup, eventually};

/// A text message of a server.
const HELLO: &[u8] = &[0x81, 5, b'h', b'e', b'l', b'l', b'o'];

fn callboard(defaults: &str) -> Callboard {
    Setup::default()
        .registry("admission: trust")
        .proxy("clients: {head_timeout: 1s, idle: 1s}")
        .top(&format!("defaults: {{{defaults}}}"))
        .start()
}

/// Waits about a second, and longer than any limit of HTTP that the tests set: as long as callboard
/// waits for a client that says nothing.
async fn pass_time(callboard: &Callboard) {
    read_all(&mut connect(callboard).await).await;
}

async fn drain(callboard: &Callboard, method: reqwest::Method, id: &str) {
    let url = callboard.api(&format!("/services/web/instances/{id}/drain"));
    let reply = callboard.client.request(method, url).send().await.unwrap();
    assert!(reply.status().is_success(), "{reply:?}");
}

#[tokio::test]
async fn any_protocol_passes_and_each_side_ends_by_itself() {
    let callboard = callboard("");
    let web = Switching::start(&callboard, "web", "web-1").await;
    for protocol in ["websocket", "chat/1.0", "tcp"] {
        let (mut client, mut instance) = web.switch(&callboard, "web", protocol).await;
        passes(&mut client, &mut instance, b"any bytes").await;
        passes(&mut instance, &mut client, &[0xff; 100_000]).await;
        client.write_all(b"last").await.unwrap();
        client.shutdown().await.unwrap();
        hears(&mut instance, b"last").await;
        ends(&mut instance).await;
        passes(&mut instance, &mut client, b"still here").await;
        drop(instance);
        ends(&mut client).await;
        callboard.until_in_flight("web", "web-1", 0).await;
    }
}

#[tokio::test]
async fn an_instance_hears_who_asks_and_what_for_and_its_first_words_are_not_lost() {
    let callboard = callboard("");
    let say = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
               Sec-WebSocket-Accept: s3p\r\n\r\nfirst words";
    let web = Scripted::always("web-1", [Step::Say(say), Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let mut client = connect(&callboard).await;
    let request = "GET /web/chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade, X-Own\r\n\
                   Upgrade: websocket\r\nX-Own: 1\r\nSec-WebSocket-Key: dGhl\r\n\
                   Sec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.contains("\r\nSec-WebSocket-Accept: s3p\r\n"), "{head}");
    assert!(head.contains("\r\nX-Request-Id: "), "{head}");
    hears(&mut client, b"first words").await;
    let head = &web.heads()[0];
    for part in [
        "get /chat http/1.1\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-key: dghl\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nx-forwarded-for: 127.0.0.1\r\n",
        "\r\nvia: 1.1 callboard\r\n",
    ] {
        assert!(head.contains(part), "no {part:?} in {head}");
    }
    assert!(!head.contains("x-own"), "{head}");
}

#[tokio::test]
async fn silence_ends_a_tunnel_only_when_it_is_told_to() {
    let tiny = "request: 800ms, between_bytes: 200ms, idle: 200ms, total: 800ms";
    let patient = callboard(&format!("timeouts: {{{tiny}}}"));
    let web = Switching::start(&patient, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&patient, "web", "websocket").await;
    pass_time(&patient).await;
    passes(&mut client, &mut instance, b"still").await;
    passes(&mut instance, &mut client, b"there").await;

    let strict = callboard(&format!("timeouts: {{{tiny}, tunnel: 300ms}}"));
    let web = Switching::start(&strict, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&strict, "web", "websocket").await;
    passes(&mut client, &mut instance, b"word").await;
    ends(&mut client).await;
    ends(&mut instance).await;
}

#[tokio::test]
async fn a_handshake_goes_on_to_an_instance_that_can_be_reached() {
    let callboard = callboard("retry: {attempts: 0}, outlier: off, balance: round_robin");
    let dead = Instance::dead("web-0");
    callboard
        .register("web", &dead, json!({"check": "off"}))
        .await;
    let web = Switching::start(&callboard, "web", "web-1").await;
    for _ in 0..10 {
        let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
        passes(&mut client, &mut instance, b"hello").await;
    }
}

#[tokio::test]
async fn an_answer_that_does_not_agree_is_an_answer_like_any_other() {
    let callboard = callboard("");
    let refusal =
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 4\r\n\r\nno!\n";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for (answer, status, body) in [
        (refusal, "426", "no!\n"),
        (chunks, "200", "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let web = Scripted::always("web-1", [Step::Say(answer)]).await;
        callboard.register_scripted("web", &web).await;
        let mut client = connect(&callboard).await;
        let plain = "GET /nobody/ HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = ask("web", "websocket") + plain;
        client.write_all(both.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        hears(&mut client, body.as_bytes()).await;
        // The connection is kept.
        let next = read_one(&mut client).await.unwrap();
        assert!(next.starts_with("HTTP/1.1 404 "), "{next}");
        callboard.until_in_flight("web", "web-1", 0).await;
    }
}

#[tokio::test]
async fn a_switch_to_what_was_not_asked_for_is_refused() {
    let callboard = callboard("retry: off");
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "no HTTP at all\r\n\r\n",
        "",
    ] {
        let steps = [Step::Say(answer), Step::Close];
        let web = Scripted::always("web-1", steps).await;
        callboard.register_scripted("web", &web).await;
        let mut client = connect(&callboard).await;
        let request = ask("web", "websocket");
        client.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?}: {head}");
    }
}

#[tokio::test]
async fn an_instance_that_does_not_answer_a_handshake_is_too_late() {
    let callboard = callboard("timeouts: {request: 300ms}, retry: off");
    let web = Scripted::always("web-1", [Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let mut client = connect(&callboard).await;
    let request = ask("web", "websocket");
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert!(head.contains("request of 300ms ran out"), "{head}");
}

#[tokio::test]
async fn who_leaves_during_a_handshake_is_in_flight_no_more() {
    let callboard = callboard("");
    let web = Scripted::always("web-1", [Step::Stall]).await;
    callboard.register_scripted("web", &web).await;
    let mut client = connect(&callboard).await;
    let request = ask("web", "websocket");
    client.write_all(request.as_bytes()).await.unwrap();
    callboard.until_in_flight("web", "web-1", 1).await;
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    callboard.until_in_flight("web", "web-1", 0).await;
}

#[tokio::test]
async fn what_may_be_ignored_is_served_as_an_ordinary_request() {
    let callboard = callboard("");
    let web = Instance::start("web-1");
    callboard
        .register("web", &web, json!({"check": "off"}))
        .await;
    let h2c = "GET /web/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n\
               Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let body = "GET /web/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Content-Length: 5\r\n\r\nhello";
    let unnamed = "GET /web/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let old = "GET /web/ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
               Upgrade: websocket\r\n\r\n";
    for request in [h2c, body, unnamed, old] {
        let mut client = connect(&callboard).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let reply = read_one(&mut client).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 "), "{request}: {reply}");
        let echo: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
        let headers = echo["headers"].as_object().unwrap();
        for name in ["upgrade", "http2-settings"] {
            assert!(!headers.contains_key(name), "{request}: {echo}");
        }
        assert_eq!(echo["body"] == "hello", request == body);
    }
}

#[tokio::test]
async fn a_drain_ends_tunnels_politely_at_its_deadline() {
    let callboard = callboard("drain: 500ms");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    let (mut other, mut other_instance) = web.switch(&callboard, "web", "other").await;
    callboard.until_in_flight("web", &web.id, 2).await;
    // A message is under way, and gets through before the last word.
    passes(&mut instance, &mut client, &HELLO[..3]).await;
    drain(&callboard, reqwest::Method::PUT, "web-1").await;
    hears_masked_goodbye(&mut instance).await;
    instance.write_all(&HELLO[3..]).await.unwrap();
    hears(&mut client, &HELLO[3..]).await;
    hears(&mut client, &GOING_AWAY).await;
    client.write_all(&GONE).await.unwrap();
    instance.write_all(&GOING_AWAY).await.unwrap();
    for end in [&mut client, &mut instance, &mut other, &mut other_instance] {
        ends(end).await;
    }
    callboard.until_in_flight("web", "web-1", 0).await;
}

#[tokio::test]
async fn a_sign_out_with_a_drain_leaves_nobody_behind() {
    let callboard = callboard("drain: 1h");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    let url = callboard.api("/services/web/instances/web-1?drain=3s");
    let leaving = tokio::spawn(callboard.client.delete(url).send());
    hears(&mut client, &GOING_AWAY).await;
    client.write_all(&GONE).await.unwrap();
    hears_masked_goodbye(&mut instance).await;
    instance.write_all(&GOING_AWAY).await.unwrap();
    ends(&mut client).await;
    assert_eq!(leaving.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn who_does_not_answer_the_last_word_is_not_waited_for() {
    let callboard = callboard("drain: 0s");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    drain(&callboard, reqwest::Method::PUT, "web-1").await;
    hears(&mut client, &GOING_AWAY).await;
    hears_masked_goodbye(&mut instance).await;
    ends(&mut client).await;
    ends(&mut instance).await;
    callboard.until_in_flight("web", "web-1", 0).await;
}

#[tokio::test]
async fn neither_a_drain_that_is_called_off_nor_a_plain_sign_out_ends_tunnels() {
    let callboard = callboard("drain: 800ms");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    drain(&callboard, reqwest::Method::PUT, "web-1").await;
    drain(&callboard, reqwest::Method::DELETE, "web-1").await;
    pass_time(&callboard).await;
    passes(&mut client, &mut instance, b"still").await;
    let url = callboard.api("/services/web/instances/web-1");
    let gone = callboard.client.delete(url).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    pass_time(&callboard).await;
    passes(&mut instance, &mut client, b"there").await;
}

#[tokio::test]
async fn a_callboard_that_leaves_ends_tunnels_politely_at_the_end_of_its_grace() {
    let mut callboard = Setup::default()
        .registry("admission: trust")
        .proxy("shutdown_grace: 3s")
        .start();
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    callboard.signal("TERM");
    eventually("it leaves", || async {
        callboard
            .log()
            .contains("leaving: 1 requests")
            .then_some(())
    })
    .await;
    passes(&mut client, &mut instance, b"still here").await;
    passes(&mut instance, &mut client, HELLO).await;
    hears(&mut client, &GOING_AWAY).await;
    // Bytes that were no frames leave no room for a last word, nor need one.
    drop(instance);
    client.write_all(&GONE).await.unwrap();
    ends(&mut client).await;
    assert!(callboard.ended().await.success());
}

#[tokio::test]
async fn tunnels_stay_with_the_process_that_was_replaced() {
    let mut callboard = Setup::default().registry("admission: trust").start();
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, mut instance) = web.switch(&callboard, "web", "websocket").await;
    let mut old = callboard.upgrade();
    // What came before the old process stopped to accept is the old one's still.
    let (mut newer, mut newer_instance) = loop {
        let tunnel = web.switch(&callboard, "web", "websocket").await;
        if callboard.described("web", "web-1").await["in_flight"] == 1 {
            break tunnel;
        }
    };
    passes(&mut newer, &mut newer_instance, b"new").await;
    passes(&mut client, &mut instance, b"old").await;
    assert!(old.runs());
    drop(client);
    ends(&mut instance).await;
    drop(instance);
    eventually("the old process has left", || {
        let runs = old.runs();
        async move { (!runs).then_some(()) }
    })
    .await;
    passes(&mut newer_instance, &mut newer, b"newer").await;
}

#[tokio::test]
async fn a_side_that_does_not_read_holds_the_other_back_and_costs_no_memory() {
    let callboard = callboard("");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let (mut client, instance) = web.switch(&callboard, "web", "other").await;
    let before = callboard.resident();
    let piece = vec![1; 1 << 20];
    let mut sent = 0_usize;
    // Until all buffers of the system are full.
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), client.write(&piece)).await
    {
        sent += written.unwrap();
        assert!(sent < 200 << 20, "somebody takes whatever comes");
    }
    assert!(callboard.resident() < before + (16 << 20));
    assert_eq!(count(instance, sent).await, sent);
}

async fn count(mut stream: TcpStream, most: usize) -> usize {
    let mut bytes = vec![0; 1 << 16];
    let mut count = 0;
    while count < most {
        count += stream.read(&mut bytes).await.unwrap();
    }
    count
}

#[tokio::test]
async fn a_connection_for_one_request_only_may_become_a_tunnel() {
    let callboard = callboard("");
    let web = Switching::start(&callboard, "web", "web-1").await;
    let request = ask("web", "websocket").replace("Upgrade\r\n", "Upgrade, close\r\n");
    let (mut client, mut instance) = web.switch_by(&callboard, &request, "websocket").await;
    passes(&mut client, &mut instance, b"any bytes").await;
    passes(&mut instance, &mut client, b"and back").await;
}

#[tokio::test]
async fn an_agreement_is_passed_on_however_it_comes() {
    let callboard = callboard("");
    let steps: Vec<Step> = [
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 101 Switch",
        "ing\r\n",
    ]
    .into_iter()
    .flat_map(|part| [Step::Say(part), Step::Pause(Duration::from_millis(20))])
    .chain([
        Step::Say("Upgrade: WebSocket\r\nConnection: upgrade\r\nContent-Length: 9\r\n\r\n"),
        Step::Say("said"),
        Step::Stall,
    ])
    .collect();
    let web = Scripted::always("web-1", steps).await;
    callboard.register_scripted("web", &web).await;
    let mut client = connect(&callboard).await;
    let request = ask("web", "websocket");
    client.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        !head.to_ascii_lowercase().contains("content-length"),
        "{head}"
    );
    hears(&mut client, b"said").await;
}
