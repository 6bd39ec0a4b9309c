//! What is said in one exchange: requests and answers near every edge of the grammar.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

use super::bodies;

/// What is sent on one connection, and what the instance answers.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) requests: Vec<Request>,
    /// One for each request that reaches the instance, from the beginning again when there are more.
    pub(super) answers: Vec<Answer>,
    /// Where what the client sends is split, in thousandths.
    pub(super) cuts: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) interim: Vec<u8>,
    pub(super) line: Vec<u8>,
    pub(super) fields: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Whether the instance closes the connection afterwards.
    pub(super) closes: bool,
    /// Whether it answers before it has read the request's body.
    pub(super) is_early: bool,
    /// Where the answer is split, in thousandths.
    pub(super) cut: Option<usize>,
    /// Whether there is more than the answer, as if it were another one.
    pub(super) has_more: bool,
}

/// What a body that must never be seen says.
pub(super) const EVIL: &str = "EVIL";

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cuts {:?}", self.cuts)?;
        for request in &self.requests {
            let (head, body) = (request.head.escape_ascii(), request.body.escape_ascii());
            writeln!(f, "> {head}\n> {body}")?;
        }
        for answer in &self.answers {
            let Answer {
                closes,
                is_early,
                cut,
                has_more,
                ..
            } = answer;
            writeln!(
                f,
                "< closes {closes}, early {is_early}, cut {cut:?}, more {has_more}"
            )?;
            for part in [&answer.interim, &answer.line, &answer.fields, &answer.body] {
                writeln!(f, "< {}", part.escape_ascii())?;
            }
        }
        Ok(())
    }
}

/// Any exchange.
pub(super) fn any() -> impl Strategy<Value = Exchange> {
    let requests = prop::collection::vec(request(), 1..4);
    let answers = prop::collection::vec(answer(), 1..3);
    let cuts = prop::collection::vec(0usize..1_000, 0..3);
    (requests, answers, cuts).prop_map(|(requests, answers, mut cuts)| {
        cuts.sort_unstable();
        Exchange {
            requests,
            answers,
            cuts,
        }
    })
}

/// Mostly one of the first, now and then one of the others.
fn mostly<T: Clone + fmt::Debug + 'static>(
    usual: &[T],
    odd: &[T],
) -> impl Strategy<Value = T> + use<T> {
    prop_oneof![9 => select(usual.to_vec()), 1 => select(odd.to_vec())]
}

const USUAL_FIELDS: &[&[u8]] = &[
    b"Accept: */*",
    b"X-A: 1",
    b"x-a: 2",
    b"X-A:   3  \t",
    b"X-Tight:1",
    b"X-Empty:",
    b"X-Blank:  ",
    b"X-Octets: a\xffb\xc3\xa9",
    b"X-Tab: a\tb",
    b"Cookie: a=1",
    b"cookie: b=2",
    b"Authorization: Basic x",
    b"Range: bytes=0-1",
    b"If-None-Match: \"a\"",
    b"User-Agent: a",
    b"Content-Type: text/plain",
    b"Content-Encoding: gzip",
    b"Via: 1.0 me",
    b"via: 1.1 you\xff",
    b"X-Forwarded-For: 1.2.3.4",
    b"Forwarded: for=1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: evil",
    b"X-Forwarded-Prefix: /p",
    b"X-Forwarded-Client-Cert: x",
    b"X-Request-Id: given",
    b"X-Request-Id: a b",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"tracestate: a=b",
    b"Max-Forwards: 0",
    b"Connection: close",
    b"Connection: keep-alive",
    b"connection: Keep-Alive",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"TE: trailers",
    b"TE: gzip",
    b"Trailer: X-Sum",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Proxy-Authorization: Basic y",
    b"Proxy-Authenticate: z",
];

const ODD_FIELDS: &[&[u8]] = &[
    b"X-Folded: a\r\n b",
    b"X-Feed: a\nX-B: 1",
    b"X Bad: 1",
    b"X-Bad : 1",
    b": nothing",
    b"X-Nul: a\0b",
    b"X-Return: a\rb",
    b"no colon",
    b" X-First: 1",
    b"Connection: X-A",
    b"Connection: keep-alive, X-A",
    b"Connection: close, TE",
    b"Connection:",
    b"Connection: Content-Length",
    b"Connection: Host, X-Forwarded-For",
    b"Upgrade: h2c",
    b"Expect: x",
    b"Host: again",
    b"Content-Type: application/grpc",
];

fn request() -> impl Strategy<Value = Request> {
    let method = mostly(
        &[
            "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS",
        ],
        &["get", "M-SEARCH", "PROPFIND", "TRACE", "CONNECT", "G(T", ""],
    );
    let target = mostly(
        &[
            &b"/web/"[..],
            b"/web/a%20b?x=1&y=%zz",
            b"/web",
            b"/web?x",
            b"/web/?",
            b"/web//a",
            b"/web/??a?b",
            b"/web/a;b=c",
            b"/web/%00",
            b"/web/{a}|^\\\"q\"[]",
            b"/web/$&'()*+,:;=@!~",
        ],
        &[
            b"/web/a/../b",
            b"/web/./a",
            b"/web/%2e%2e/x",
            b"/web/a#b",
            b"/web/<x>",
            b"/web/`",
            b"/web/\xc3\xa9",
            b"/web/\x80",
            b"/web/a b",
            b"/web/\x01",
            b"//web/a",
            b"*",
            b"web/",
            b"http://a/web/?b",
            b"http://web.callboard/a",
            b"http://other/web/",
            b"http://a",
            b"/nobody/",
        ],
    );
    let version = mostly(
        &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
        &["HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/2.0", ""],
    );
    let host = mostly(
        &["Host: a\r\n", "host:a:80\r\n", "HOST: \tweb.callboard \r\n"],
        &[
            "",
            "Host: a b\r\n",
            "Host:\r\n",
            "Host: a/b\r\n",
            "Host: u@a\r\n",
            "Host: [::1]\r\n",
        ],
    );
    let fields = prop::collection::vec(mostly(USUAL_FIELDS, ODD_FIELDS), 0..5);
    let end = mostly(&["\r\n"], &["\r\n", "\n", "\r\n\r\n"]);
    let long = prop_oneof![9 => Just(0), 1 => 0usize..9_000];
    (
        method,
        target,
        version,
        host,
        fields,
        bodies::of_request(),
        end,
        long,
    )
        .prop_map(
            |(method, target, version, host, fields, (framing, body), end, long)| {
                let line = [
                    method.as_bytes(),
                    b" ",
                    target,
                    b" ",
                    version.as_bytes(),
                    b"\r\n",
                ]
                .concat();
                let mut head = [&line[..], host.as_bytes()].concat();
                for field in fields {
                    head.extend([field, b"\r\n"].concat());
                }
                if long > 0 {
                    head.extend(format!("X-Long: {}\r\n", "x".repeat(long)).bytes());
                }
                head.extend(framing);
                head.extend(end.bytes());
                Request { method, head, body }
            },
        )
}

const ANSWER_FIELDS: &[&[u8]] = &[
    b"Content-Type: text/plain",
    b"Set-Cookie: a=1",
    b"set-cookie: b=2",
    b"Server: me",
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT",
    b"X-A: 1",
    b"X-Tight:1",
    b"X-Blanks: \t 1 \t",
    b"X-Empty:",
    b"X-Octets: a\xffb",
    b"Via: 1.1 me",
    b"X-Request-Id: theirs",
    b"Connection: keep-alive",
    b"Connection: close",
    b"connection: Close",
    b"Connection: X-A",
    b"Connection: close, x-a",
    b"Connection: Content-Length, Transfer-Encoding, Date",
    b"Connection:",
    b"Proxy-Connection: close",
    b"Keep-Alive: timeout=50",
    b"Trailer: X-Sum",
    b"Upgrade: h2c",
    b"Retry-After: 0",
    b"Proxy-Authenticate: Basic",
    b"WWW-Authenticate: Basic",
    b"Content-Encoding: gzip",
    b"TE: trailers",
];

const ODD_ANSWER_FIELDS: &[&[u8]] = &[
    b"X-Folded: a\r\n b",
    b"X-Feed: a\nX-B: 1",
    b"X-Bad : 1",
    b"X Bad: 1",
    b": nothing",
    b"no colon",
    b"X-Nul: a\0b",
    b"X-Return: a\rb",
    b" X-First: 1",
];

fn answer() -> impl Strategy<Value = Answer> {
    let interim = mostly(
        &[""],
        &[
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: X-A\r\nX-A: 1\r\n\r\n",
            "HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 199\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    );
    let version = mostly(
        &["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"],
        &["HTTP/1.2", "HTTP/2.0", "ICY", "HTTP/1.1 "],
    );
    let status = mostly(
        &[
            "200", "200", "200", "201", "404", "204", "304", "206", "301", "500",
        ],
        &["205", "503", "101", "999", "600", "099", "20", "abc", ""],
    );
    let reason = mostly(
        &[&b" OK"[..], b"", b" ", b" Quite  all right"],
        &[b" Tr\xc3\xa8s bien", b" \t", b" a\0b"],
    );
    let end = mostly(&["\r\n"], &["\n"]);
    let fields = prop::collection::vec(mostly(ANSWER_FIELDS, ODD_ANSWER_FIELDS), 0..4);
    let flags = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.1),
    );
    let cut = prop::option::weighted(0.3, 0usize..1_000);
    (
        interim,
        version,
        status,
        reason,
        fields,
        end,
        bodies::of_answer(),
        flags,
        cut,
    )
        .prop_map(
            |(interim, version, status, reason, lines, end, body, flags, cut)| {
                let ((framing, mut body), must_close) = body;
                let (closes, is_early, has_more) = flags;
                let mut fields = Vec::new();
                for line in lines {
                    fields.extend([line, end.as_bytes()].concat());
                }
                fields.extend(framing);
                fields.extend(end.bytes());
                if matches!(status, "204" | "304") {
                    body.clear();
                }
                let has_more = has_more && cut.is_none() && !must_close;
                Answer {
                    interim: interim.into(),
                    line: [version.as_bytes(), b" ", status.as_bytes(), reason, b"\r\n"].concat(),
                    fields,
                    body,
                    closes: closes || must_close || status == "101",
                    is_early,
                    cut,
                    has_more,
                }
            },
        )
}
