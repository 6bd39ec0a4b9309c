use proptest::prelude::*;

use super::*;

fn head(bytes: &str) -> Option<Head> {
    parse(bytes.as_bytes(), &Method::GET).unwrap()
}

/// The lines of an answer's head as the client gets them, but for callboard's own.
fn written(bytes: &str, method: &Method) -> Vec<String> {
    let head = parse(bytes.as_bytes(), method).unwrap().unwrap();
    let mut into = Vec::new();
    head.write(&mut into, bytes.as_bytes(), "id", true);
    let text = String::from_utf8(into).unwrap();
    let own = ["X-Request-Id: ", "Date: ", "Connection: "];
    text.strip_suffix("\r\n\r\n")
        .unwrap()
        .split("\r\n")
        .filter(|line| !own.iter().any(|own| line.starts_with(own)))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_body_is_framed_as_status_and_fields_say() {
    let chunked = Body::Chunked(Chunks::default());
    for (start, expected) in [
        ("200 OK\r\n", Body::UntilClose),
        ("200 OK\r\nContent-Length: 0\r\n", Body::Done),
        (
            "200 OK\r\ncontent-length: 5, 5\r\nContent-Length:05\r\n",
            Body::Length(5),
        ),
        ("200 OK\r\nTransfer-Encoding: Chunked\r\n", chunked),
        ("200 OK\r\nTransfer-Encoding : chunked\r\n", chunked),
        (
            "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            chunked,
        ),
        ("204 No Content\r\nContent-Length: 5\r\n", Body::Done),
        (
            "304 Not Modified\r\nTransfer-Encoding: chunked\r\n",
            Body::Done,
        ),
        ("103 Early Hints\r\nContent-Length: 5\r\n", Body::Done),
    ] {
        let bytes = format!("HTTP/1.1 {start}\r\n");
        assert_eq!(head(&bytes).unwrap().body, expected, "{start:?}");
        let answer = parse(bytes.as_bytes(), &Method::HEAD).unwrap().unwrap();
        assert_eq!(answer.body, Body::Done, "{start:?}");
    }
}

#[test]
fn an_answer_that_could_be_read_in_two_ways_is_refused() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "X-Folded: a\r\n b\r\n",
        "X-Bad: a\0b\r\n",
        "X-Bad: a\rb\r\n",
        ": nameless\r\n",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert!(parse(bytes.as_bytes(), &Method::GET).is_err(), "{fields:?}");
    }
    for start in [
        "HTTP/2.0 200 OK",
        "HTTP/1.1 099 No",
        "HTTP/1.1 20 No",
        "ICY 200 OK",
    ] {
        let bytes = format!("{start}\r\n\r\n");
        assert!(parse(bytes.as_bytes(), &Method::GET).is_err(), "{start:?}");
    }
}

#[test]
fn a_connection_is_kept_when_both_ends_surely_agree_where_the_answer_ended() {
    for (start, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true),
        ("HTTP/1.1 204 No Content", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", true),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive",
            true,
        ),
        ("HTTP/1.1 200 OK", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5", false),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, close",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 5",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            false,
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5", false),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked",
            false,
        ),
    ] {
        let bytes = format!("{start}\r\n\r\n");
        assert_eq!(head(&bytes).unwrap().keeps, keeps, "{start:?}");
    }
}

#[test]
fn a_reason_may_be_missing_or_anything() {
    for (line, expected) in [
        ("HTTP/1.1 200", "HTTP/1.1 200 "),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        (
            "HTTP/1.1 200 Quite  all right",
            "HTTP/1.1 200 Quite  all right",
        ),
        ("HTTP/1.1 200 Tr\u{e8}s bien", "HTTP/1.1 200 "),
    ] {
        let bytes = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(written(&bytes, &Method::GET)[0], expected, "{line:?}");
    }
}

#[test]
fn an_answer_is_framed_anew_and_once() {
    let get = |fields: &str| {
        let lines = written(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET);
        lines[1..].join("|")
    };
    assert_eq!(get(""), "Transfer-Encoding: chunked");
    assert_eq!(
        get("Content-Length: 5 , 5\r\ncontent-length: 5\r\n"),
        "Content-Length: 5"
    );
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(get(both), "Transfer-Encoding: chunked");
    let named = "Connection: content-length, transfer-encoding, close\r\n";
    assert_eq!(get(&format!("{named}{both}")), "Transfer-Encoding: chunked");
    assert_eq!(
        get(&format!("{named}Content-Length: 5\r\n")),
        "Content-Length: 5"
    );
    for start in ["204 No Content", "103 Early Hints"] {
        let bytes = format!("HTTP/1.1 {start}\r\n{both}\r\n");
        assert_eq!(written(&bytes, &Method::GET).len(), 1, "{start}");
    }
    let bytes = format!("HTTP/1.1 200 OK\r\n{both}\r\n");
    assert_eq!(
        written(&bytes, &Method::HEAD)[1..],
        ["Transfer-Encoding: chunked"]
    );
}

#[test]
fn what_is_meant_for_one_connection_goes_no_further() {
    let bytes = "HTTP/1.1 200 OK\r\nConnection: X-Private, date\r\nKeep-Alive: timeout=5\r\n\
                     x-private: 1\r\nDate: today\r\nUpgrade: x\r\nProxy-Connection: x\r\n\
                     X-Public: 1\r\nContent-Length: 0\r\n\r\n";
    let lines = written(bytes, &Method::GET);
    assert_eq!(lines[1..], ["X-Public: 1", "Content-Length: 0"]);
    let mut into = Vec::new();
    let found = head(bytes).unwrap();
    found.write(&mut into, bytes.as_bytes(), "id", false);
    let text = String::from_utf8(into).unwrap();
    assert!(
        text.contains("\r\nDate: ") && !text.contains("today"),
        "{text}"
    );
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
}

#[test]
fn a_head_that_trickles_in_is_not_parsed_for_every_byte() {
    let line = b"X-More: and more\r\n";
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    let (mut seen, mut looks) = (0, 0);
    while bytes.len() < 10 * SHORT {
        for byte in line {
            bytes.push(*byte);
            looks += usize::from(may_be_whole(&bytes, seen));
            seen = bytes.len();
        }
    }
    assert!(looks <= SHORT, "{looks}");
    assert!(may_be_whole(&[&bytes[..], b"\r\n"].concat(), seen));
    assert!(may_be_whole(&[&bytes[..], b"\n"].concat(), seen));
}

proptest! {
    #[test]
    fn any_answer_is_refused_or_written_as_one_whole_head(
        start in "(HTTP/1\\.[01] (200|204|304|103|999)( OK)?\r\n)?",
        fields in prop::collection::vec(
            "(Content-Length|Transfer-Encoding|Connection|X-A|Date): ?(5|0|5, 5|chunked|close|X-A|)",
            0..5,
        ),
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let bytes = [start.as_bytes(), fields.as_bytes(), &rest, b"\r\n\r\n"].concat();
        for method in [Method::GET, Method::HEAD] {
            let Ok(Some(head)) = parse(&bytes, &method) else { continue };
            prop_assert!(head.length <= bytes.len());
            let mut into = Vec::new();
            head.write(&mut into, &bytes[..head.length], "id", true);
            let again = parse(&into, &method).unwrap().unwrap();
            prop_assert_eq!(again.length, into.len());
            prop_assert_eq!(again.status, head.status);
            // What had no end has chunks now.
            let is_same = again.body == head.body
                || (head.body == Body::UntilClose && matches!(again.body, Body::Chunked(_)));
            prop_assert!(is_same, "{:?} became {:?}", head.body, again.body);
        }
    }

    #[test]
    fn the_beginning_of_a_head_is_no_whole_one(end in 0usize..70) {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nX-B: c\r\nX-C:\r\n\r\n";
        let end = end.min(bytes.len() - 1);
        prop_assert!(parse(&bytes[..end], &Method::GET).unwrap().is_none());
    }
}
