//! HTTP/2 from clients that are broken, slow or malicious: their connections end, callboard stays, and
//! nothing of them is left.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, Http2, PING,
    PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, code, fields, frame, get, head, request, whole,
};
use crate::support::wire::{assert_refusal, connect, read_all, say};
use crate::support::{Callboard, Instance, Setup, eventually};

const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What a flood may leave behind, in bytes: pages that the allocator has yet to return.
const LEFT: usize = 64 << 20;

async fn with_web(clients: &str) -> (Callboard, Instance) {
    let callboard = Setup::default()
        .proxy(&format!("clients: {{{clients}}}"))
        .registry("admission: trust")
        .start();
    let web = Instance::start("web-1");
    callboard
        .register("web", &web, json!({"check": "off"}))
        .await;
    (callboard, web)
}

/// That callboard serves as ever, and has let go of all requests.
async fn is_well(callboard: &Callboard, web: &Instance) {
    eventually("no request is in flight", || async {
        let now = callboard.instance("web", web).await?;
        (now["in_flight"] == 0).then_some(())
    })
    .await;
    let reply = Http2::connect(callboard).await.get("/web/").await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(!callboard.log().contains("panicked"), "{}", callboard.log());
}

fn goaway(frames: &[Frame]) -> Option<u32> {
    frames.iter().rfind(|frame| frame.kind == GOAWAY).map(code)
}

/// The server's setting of this number.
fn setting(frame: &Frame, number: u16) -> Option<u32> {
    let mut settings = frame.payload.chunks_exact(6);
    let found = settings.find(|setting| setting[..2] == number.to_be_bytes())?;
    Some(u32::from_be_bytes(found[2..].try_into().unwrap()))
}

#[tokio::test]
async fn no_more_streams_are_served_than_are_allowed() {
    let (callboard, web) = with_web("max_streams: 2").await;
    let mut client = Frames::connect(&callboard, &[]).await;
    let settings = client.until(|frame| frame.kind == SETTINGS).await;
    assert_eq!(setting(&settings, 3), Some(2));
    assert_eq!(setting(&settings, 6), Some(64 << 10), "max_head");
    client.say(&frame(SETTINGS, ACK, 0, &[])).await;
    for stream in [1, 3] {
        client.say(&get(stream, "/web/held")).await;
    }
    eventually("two are held", || async {
        (web.holding() == 2).then_some(())
    })
    .await;
    client.say(&get(5, "/web/held")).await;
    let refused = client.until(|frame| frame.kind == RST_STREAM).await;
    assert_eq!((refused.stream, code(&refused)), (5, REFUSED_STREAM));
    web.release(2);
    for _ in 0..2 {
        client
            .until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0)
            .await;
    }
    client.say(&get(7, "/web/")).await;
    client
        .until(|frame| frame.kind == DATA && frame.stream == 7)
        .await;
    assert_eq!(web.hits(), 3);
}

#[tokio::test]
async fn what_is_no_preface_is_refused_and_half_of_one_not_waited_for() {
    let (callboard, web) = with_web("head_timeout: 1s, idle: 1s").await;
    let other = "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n";
    assert_refusal(&say(&callboard, other).await, 505, "another preface");
    for length in [1, 3, 17, 18, 23] {
        let mut stream = connect(&callboard).await;
        stream.write_all(&PREFACE[..length]).await.unwrap();
        assert_refusal(&read_all(&mut stream).await, 408, "half a preface");
    }
    // All of it, in pieces.
    let mut stream = connect(&callboard).await;
    stream.set_nodelay(true).unwrap();
    for byte in PREFACE {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut client = Frames(stream);
    client.say(&frame(SETTINGS, 0, 0, &[])).await;
    client.say(&get(1, "/web/")).await;
    client
        .until(|frame| frame.kind == DATA && frame.stream == 1)
        .await;
    is_well(&callboard, &web).await;
}

#[tokio::test]
async fn silence_ends_a_connection_with_a_word() {
    let (callboard, web) = with_web("head_timeout: 1s, idle: 1s").await;
    // Nothing, a request and then nothing, and a head that does not end.
    let mut silent = Frames::connect(&callboard, &[]).await;
    let mut once = Frames::connect(&callboard, &[]).await;
    once.say(&get(1, "/web/")).await;
    let mut endless = Frames::connect(&callboard, &[]).await;
    endless
        .say(&frame(HEADERS, END_STREAM, 1, &head("GET", "/web/")))
        .await;
    for client in [&mut silent, &mut once, &mut endless] {
        assert_eq!(goaway(&client.rest().await), Some(NO_ERROR));
    }
    let mut mute = connect(&callboard).await;
    mute.write_all(PREFACE).await.unwrap();
    mute.write_all(&[0, 0]).await.unwrap();
    read_all(&mut mute).await;
    is_well(&callboard, &web).await;
}

#[tokio::test]
async fn heads_are_held_to_their_limits() {
    let (callboard, web) = with_web("max_head: 4KiB, max_headers: 10").await;
    let client = Http2::connect(&callboard).await;
    let with = |count: usize, length: usize| {
        let mut request = request("GET", "/web/");
        for number in 0..count {
            let name: http::HeaderName = format!("x-{number}").parse().unwrap();
            request
                .headers_mut()
                .insert(name, "v".repeat(length).parse().unwrap());
        }
        request
    };
    for (count, length, status) in [
        (5, 100, 200),
        (20, 1, 431),
        (1, 5_000, 431),
        (9, 1_000, 431),
    ] {
        let (reply, _) = client.send(with(count, length), true).await.unwrap();
        let reply = whole(reply).await.unwrap();
        assert_eq!(reply.status, status, "{count} of {length}");
    }
    let (reply, _) = client.send(with(20, 1), true).await.unwrap();
    let reply = whole(reply).await.unwrap();
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["type"], "urn:callboard:problem:head-too-large");
    assert_eq!(
        problem["request_id"],
        reply.headers["x-request-id"].to_str().unwrap()
    );
    is_well(&callboard, &web).await;
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_refused_and_too_much_of_it_ends_the_connection() {
    let (callboard, web) = with_web("").await;
    let mut client = Frames::connect(&callboard, &[]).await;
    let connect = fields(&[(":method", "CONNECT"), (":authority", "a:1")]);
    let two_hosts = [head("GET", "/web/"), fields(&[("host", "b")])].concat();
    let no_host = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/web/")]);
    let dots = head("GET", "/web/../x");
    let refused = [connect, two_hosts, no_host, dots];
    for (stream, block) in (1..).step_by(2).zip(&refused) {
        client
            .say(&frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            .await;
        client
            .until(|frame| frame.kind == DATA && frame.stream == stream)
            .await;
    }
    let upper = [head("GET", "/web/"), fields(&[("connection", "close")])].concat();
    client
        .say(&frame(HEADERS, END_HEADERS | END_STREAM, 21, &upper))
        .await;
    client
        .until(|frame| frame.kind == RST_STREAM && frame.stream == 21)
        .await;
    client.say(&get(23, "/web/")).await;
    client
        .until(|frame| frame.kind == DATA && frame.stream == 23)
        .await;
    for stream in (25..125).step_by(2) {
        let block = [head("GET", "/web/"), fields(&[("host", "b")])].concat();
        client
            .say(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block))
            .await;
    }
    assert_eq!(goaway(&client.rest().await), Some(ENHANCE_YOUR_CALM));
    assert_eq!(web.hits(), 1);
    is_well(&callboard, &web).await;
}

#[tokio::test]
async fn frames_that_make_no_sense_end_the_connection() {
    let (callboard, web) = with_web("").await;
    let broken: &[(&str, Vec<u8>)] = &[
        ("data for nobody", frame(DATA, 0, 1, b"x")),
        (
            "a head without a stream",
            frame(HEADERS, 5, 0, &head("GET", "/")),
        ),
        ("a stream of the server's", get(2, "/")),
        ("fields beyond the table", frame(HEADERS, 5, 1, &[0xff; 8])),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a push", frame(5, 4, 1, &[0, 0, 0, 2])),
        ("a ping of seven bytes", frame(PING, 0, 0, &[0; 7])),
        ("a frame too large", frame(DATA, 0, 1, &[0; 20_000])),
        ("a continuation of nothing", frame(CONTINUATION, 4, 1, &[])),
        (
            "a window beyond all bounds",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        ),
        ("noise", vec![0xa5; 4_096]),
    ];
    for (what, bytes) in broken {
        let mut client = Frames::connect(&callboard, &[]).await;
        client.say(bytes).await;
        let said = goaway(&client.rest().await);
        assert!(said.is_none_or(|code| code != NO_ERROR), "{what}");
    }
    is_well(&callboard, &web).await;
}

#[tokio::test]
async fn requests_given_up_as_fast_as_they_are_begun_end_the_connection() {
    let (callboard, web) = with_web("").await;
    let before = callboard.resident();
    let cancel = 8_u32.to_be_bytes();
    // At once, and so slowly that each is begun upon.
    for pause in [None, Some(Duration::from_micros(100))] {
        let mut client = Frames::connect(&callboard, &[]).await;
        for stream in (1..20_000).step_by(2) {
            let mut bytes = get(stream, "/web/held");
            if pause.is_some() && !client.say(&bytes).await {
                break;
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
                bytes.clear();
            }
            bytes.extend(frame(RST_STREAM, 0, stream, &cancel));
            if !client.say(&bytes).await {
                break;
            }
        }
        let said = goaway(&client.rest().await);
        assert!(
            said.is_none_or(|code| code == ENHANCE_YOUR_CALM),
            "{said:?}"
        );
    }
    web.release(100_000);
    is_well(&callboard, &web).await;
    assert!(
        callboard.resident() < before + LEFT,
        "{}",
        callboard.resident()
    );
}

#[tokio::test]
async fn floods_of_what_costs_little_end_or_are_borne() {
    let (callboard, web) = with_web("").await;
    let before = callboard.resident();
    let continued = frame(CONTINUATION, 0, 1, &fields(&[("a", "b")]).repeat(1_000));
    let many = |bytes: Vec<u8>| bytes.repeat(1_000);
    let floods: [(&str, Vec<u8>, Vec<u8>); 4] = [
        (
            "continuations",
            frame(HEADERS, END_STREAM, 1, &head("GET", "/")),
            continued,
        ),
        (
            "empty continuations",
            frame(HEADERS, END_STREAM, 1, &head("GET", "/")),
            many(frame(CONTINUATION, 0, 1, &[])),
        ),
        (
            "empty data",
            frame(HEADERS, END_HEADERS, 1, &head("POST", "/web/")),
            many(frame(DATA, 0, 1, &[])),
        ),
        (
            "windows of nothing",
            get(1, "/web/held"),
            many(frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
        ),
    ];
    for (what, start, flood) in floods {
        let mut client = Frames::connect(&callboard, &[]).await;
        client.say(&start).await;
        let mut ended = false;
        for _ in 0..2_000 {
            if !client.say(&flood).await {
                ended = true;
                break;
            }
        }
        assert!(ended || !client.rest().await.is_empty(), "{what}");
    }
    // Nobody reads what these are answered with.
    for flood in [frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut client = Frames::connect(&callboard, &[]).await;
        let flood = flood.repeat(1_000);
        let flooding = async { while client.say(&flood).await {} };
        let stuck = tokio::time::timeout(Duration::from_secs(5), flooding).await;
        drop(stuck);
    }
    web.release(1_000);
    is_well(&callboard, &web).await;
    assert!(
        callboard.resident() < before + LEFT,
        "{}",
        callboard.resident()
    );
}

#[tokio::test]
async fn a_client_that_opens_no_window_holds_up_nobody_and_holds_little() {
    let (callboard, web) = with_web("").await;
    let before = callboard.resident();
    // SETTINGS_INITIAL_WINDOW_SIZE of 0.
    let mut client = Frames::connect(&callboard, &[0, 4, 0, 0, 0, 0]).await;
    let block = head("POST", "/web/");
    let large = frame(DATA, 0, 1, &[b'x'; 16_000]);
    client.say(&frame(HEADERS, END_HEADERS, 1, &block)).await;
    for _ in 0..4 {
        client.say(&large).await;
    }
    client.say(&frame(DATA, END_STREAM, 1, &[])).await;
    client
        .until(|frame| frame.kind == HEADERS && frame.stream == 1)
        .await;
    let other = Http2::connect(&callboard).await;
    assert_eq!(other.get("/web/").await.unwrap().status, 200);
    // Opened in the end, it lets the answer through.
    client
        .say(&frame(WINDOW_UPDATE, 0, 1, &100_000_u32.to_be_bytes()))
        .await;
    client
        .say(&frame(WINDOW_UPDATE, 0, 0, &100_000_u32.to_be_bytes()))
        .await;
    let last = |frame: &Frame| frame.kind == DATA && frame.flags & END_STREAM != 0;
    client.until(last).await;
    is_well(&callboard, &web).await;
    assert!(
        callboard.resident() < before + LEFT,
        "{}",
        callboard.resident()
    );
}

#[tokio::test]
async fn a_client_that_ignores_the_goodbye_holds_up_no_leaving() {
    let (mut callboard, _web) = with_web("idle: 1h, head_timeout: 1h").await;
    let mut silent = Frames::connect(&callboard, &[]).await;
    let mut served = Frames::connect(&callboard, &[]).await;
    served.say(&get(1, "/web/")).await;
    (served.until(|frame| frame.kind == DATA && frame.flags & END_STREAM != 0)).await;
    let mut unsaid = connect(&callboard).await;
    unsaid.write_all(&PREFACE[..5]).await.unwrap();
    silent.until(|frame| frame.kind == SETTINGS).await;
    callboard.signal("TERM");
    for client in [&mut silent, &mut served] {
        let told = client.until(|frame| frame.kind == GOAWAY).await;
        assert_eq!(code(&told), NO_ERROR);
    }
    drop(unsaid);
    assert!(callboard.ended().await.success());
}
