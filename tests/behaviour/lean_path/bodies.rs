//! Bodies, and the fields that frame them, as they should be and as they should not.

use proptest::prelude::*;
use proptest::sample::select;

/// The fields that frame a body, and the body.
pub(super) type Framed = (Vec<u8>, Vec<u8>);

fn framed(framing: &str, body: &str) -> Framed {
    (framing.into(), body.into())
}

/// A body that is what its length says.
fn of_length(body: Vec<u8>) -> Framed {
    (
        format!("Content-Length: {}\r\n", body.len()).into_bytes(),
        body,
    )
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let long = (1usize..40_000).prop_map(|length| b"0123456789abcde\n".repeat(length.div_ceil(16)));
    prop_oneof![
        6 => prop::collection::vec(any_byte(), 1..40),
        1 => long,
        // Too long to be kept for another try.
        1 => Just(b"0123456789abcde\n".repeat(5_000)),
    ]
}

fn any_byte() -> impl Strategy<Value = u8> {
    0u8..=255
}

/// A body in chunks, with all that may be around them.
fn in_chunks(data: Vec<u8>, size: usize) -> Framed {
    let mut body = Vec::new();
    for (place, chunk) in data.chunks(size).enumerate() {
        let extension = [""; 4]
            .iter()
            .chain(&[";a=\"b;c\"", " ;x", ";"])
            .nth(place % 7);
        let size = match place % 3 {
            0 => format!("{:x}", chunk.len()),
            1 => format!("{:X}", chunk.len()),
            _ => format!("00{:x}", chunk.len()),
        };
        body.extend(format!("{size}{}\r\n", extension.unwrap()).bytes());
        body.extend([chunk, b"\r\n"].concat());
    }
    let trailers = ["", "X-Sum: 7\r\n", "Content-Length: 3\r\nX-Mark: EVIL\r\n"][data.len() % 3];
    body.extend(format!("0\r\n{trailers}\r\n").bytes());
    (b"Transfer-Encoding: chunked\r\n".to_vec(), body)
}

fn chunked() -> impl Strategy<Value = Framed> {
    (data(), 1usize..5_000).prop_map(|(data, size)| {
        let size = size.max(data.len() / 50);
        in_chunks(data, size)
    })
}

fn malformed() -> impl Strategy<Value = Framed> {
    select(vec![
        ("Transfer-Encoding: chunked\r\n", "x\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", "hello"),
        (
            "Transfer-Encoding: \x0bchunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding:\r\n", ""),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        ("Content-Length: 5, 6\r\n", "hello!"),
        ("Content-Length: +5\r\n", "hello"),
        ("Content-Length: -5\r\n", "hello"),
        ("Content-Length: 0x5\r\n", "hello"),
        ("Content-Length:\r\n", ""),
        ("Content-Length: 5,\r\n", "hello"),
        ("Content-Length: 5 5\r\n", "hello"),
        ("Content-Length: 99999999999999999999\r\n", "hello"),
    ])
    .prop_map(|(framing, body)| framed(framing, body))
}

/// Lengths that are in order, however they are written.
fn unusual() -> impl Strategy<Value = Framed> {
    select(vec![
        ("Content-Length: 5, 5\r\n", "hello"),
        ("Content-Length: 5\r\ncontent-length:5\r\n", "hello"),
        ("Content-Length:  005 \t\r\n", "hello"),
        ("CONTENT-LENGTH: 0\r\n", ""),
    ])
    .prop_map(|(framing, body)| framed(framing, body))
}

/// The body of a request.
pub(super) fn of_request() -> impl Strategy<Value = Framed> {
    prop_oneof![
        10 => Just(framed("", "")),
        6 => data().prop_map(of_length),
        2 => unusual(),
        2 => chunked(),
        1 => malformed(),
        // What follows is its body.
        1 => Just(framed("Content-Length: 40\r\n", "short")),
        // A body that looks like a request.
        1 => Just(of_length(b"GET /web/evil HTTP/1.1\r\nHost: a\r\n\r\n".to_vec())),
        1 => Just(in_chunks(b"GET /web/evil HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), 40)),
    ]
}

/// The body of an answer, and whether only the end of the connection tells that there is no more.
pub(super) fn of_answer() -> impl Strategy<Value = (Framed, bool)> {
    let cut = |(framing, mut body): Framed| {
        body.truncate(body.len() / 2);
        ((framing, body), true)
    };
    prop_oneof![
        8 => data().prop_map(|data| (of_length(data), false)),
        2 => Just((framed("Content-Length: 0\r\n", ""), false)),
        2 => unusual().prop_map(|body| (body, false)),
        5 => chunked().prop_map(|body| (body, false)),
        1 => chunked().prop_map(|(_, body)| ((b"TRANSFER-ENCODING:\tChunked \r\n".to_vec(), body), false)),
        1 => chunked().prop_map(|(framing, body)| (([&b"Content-Length: 3\r\n"[..], &framing].concat(), body), false)),
        2 => malformed().prop_map(|body| (body, true)),
        2 => data().prop_map(|data| ((Vec::new(), data), true)),
        1 => data().prop_map(of_length).prop_map(cut),
        1 => chunked().prop_map(cut),
    ]
}
