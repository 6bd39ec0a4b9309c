//! What must be the same on both paths, and what need not be.

use std::collections::BTreeMap;
use std::fmt;

use super::exchange::{EVIL, Exchange, Request};
use super::play::{Asked, Outcome};

/// Fields by name, in lower case, with their values in order. The order among different names says
/// nothing (RFC 9110, section 5.3), nor does their case.
type Fields = BTreeMap<String, Vec<String>>;

/// An answer as the client understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reply {
    line: String,
    fields: Fields,
    /// Without its chunks: where these begin and end is for whoever writes them (RFC 9112, section 7.1).
    body: String,
    is_whole: bool,
}

impl Reply {
    fn status(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    fn is_final(&self) -> bool {
        !self.status().starts_with('1') || self.status() == "101"
    }

    fn says(&self, name: &str) -> &str {
        let values = self.fields.get(name);
        values
            .and_then(|values| values.first())
            .map_or("", |value| value)
    }

    fn is_own(&self) -> bool {
        self.says("proxy-status").starts_with("callboard;")
    }
}

/// Says how the two outcomes of `exchange` differ in more than they may.
pub(super) fn compare(exchange: &Exchange, lean: &Outcome, other: &Outcome) -> Result<(), String> {
    for outcome in [lean, other] {
        if outcome.is_stuck {
            return Err("the client was left waiting".to_owned());
        }
        check(exchange, outcome)?;
    }
    // How much of a request that broke off reaches the instance is chance.
    let asked = |outcome: &Outcome| {
        let whole = outcome.asked.iter().filter(|asked| asked.is_whole);
        whole.map(said).collect::<Vec<_>>()
    };
    let (left, right) = (asked(lean), asked(other));
    let (replies, others) = (replies(exchange, lean)?, replies(exchange, other)?);
    if is_raced(exchange)
        || exchange.requests.iter().any(is_undecided)
        || is_stricter(&replies, &others)
    {
        return Ok(());
    }
    differ("the instance was asked", &left, &right)?;
    let normal = |replies: Vec<Reply>| replies.into_iter().map(normal).collect::<Vec<_>>();
    let (left, right) = (normal(replies), normal(others));
    differ("the client was told", &left, &right)
}

/// Says where the two first differ.
fn differ<T: fmt::Debug + PartialEq>(what: &str, lean: &[T], other: &[T]) -> Result<(), String> {
    for place in 0..lean.len().max(other.len()) {
        let (lean, other) = (lean.get(place), other.get(place));
        if lean != other {
            return Err(format!(
                "{what}, as number {place}: {lean:?}\nand not: {other:?}"
            ));
        }
    }
    Ok(())
}

/// What holds on either path, whatever is said: nothing of one message is taken for another.
fn check(exchange: &Exchange, outcome: &Outcome) -> Result<(), String> {
    if outcome.asked.iter().any(|asked| asked.is_after_more) {
        return Err("a connection was kept on which more had come than an answer".to_owned());
    }
    for asked in &outcome.asked {
        let line = asked
            .head
            .split(|&byte| byte == b'\r')
            .next()
            .unwrap_or_default();
        if String::from_utf8_lossy(line).contains("evil") {
            return Err("a body was taken for a request".to_owned());
        }
    }
    for reply in replies(exchange, outcome)? {
        if reply.says("x-mark") == EVIL {
            return Err("what followed an answer was taken for another".to_owned());
        }
    }
    Ok(())
}

/// Whether an answer races its request: which comes first decides whether the connection is kept, and
/// whether the instance sees the body.
fn is_raced(exchange: &Exchange) -> bool {
    exchange.answers.iter().any(|answer| answer.is_early)
}

/// Whether a request wants its connection kept and closed. Pingora heeds the first of the two; closing is
/// what RFC 9112, section 9.3 has come before keeping.
fn is_undecided(request: &Request) -> bool {
    let head = String::from_utf8_lossy(&request.head).to_ascii_lowercase();
    head.contains("connection: keep-alive") && head.contains("connection: close")
}

/// Whether the lean path has refused an answer which Pingora takes, though it could be read in two ways.
/// What comes after that depends on it.
fn is_stricter(lean: &[Reply], other: &[Reply]) -> bool {
    let pairs = lean.iter().zip(other);
    let mut differing = pairs.filter(|(lean, other)| lean.status() != other.status());
    differing.next().is_some_and(|(lean, _)| {
        lean.is_own()
            && lean.status() == "502"
            && lean
                .says("proxy-status")
                .contains("error=http_protocol_error")
    })
}

fn said(asked: &Asked) -> (String, Fields, String) {
    let (line, mut fields) = parted(&asked.head);
    // It is made up for each request that does not bring a proper one.
    if let Some(ids) = fields.get_mut("x-request-id")
        && ids != &["given"]
    {
        *ids = vec!["made up".to_owned(); ids.len()];
    }
    // A request that has met with a kept connection just closed goes over one of its own.
    fields.remove("connection");
    // A client of HTTP/1.0 need not name a host, and each instance is told its own.
    if let Some(hosts) = fields.get_mut("host")
        && hosts[0].starts_with("127.0.0.1:")
    {
        hosts[0] = "the instance".to_owned();
    }
    // The lean path writes the number anew, and Pingora passes its digits on.
    if let Some(lengths) = fields.get_mut("content-length") {
        for length in lengths {
            let digits = length.trim_start_matches('0');
            *length = if digits.is_empty() { "0" } else { digits }.to_owned();
        }
    }
    (line, fields, short(&asked.body))
}

/// A body as it is told of: what is long is told by its beginning, its length and its sum.
fn short(body: &[u8]) -> String {
    let start = body[..body.len().min(100)].escape_ascii();
    let sum: u64 = (1..)
        .zip(body)
        .map(|(place, byte)| place * u64::from(*byte))
        .sum();
    format!("{start} ({} bytes, sum {sum})", body.len())
}

fn normal(mut reply: Reply) -> Reply {
    // The instance's date is passed on, as it should be (RFC 9110, section 6.6.1); Pingora sets its own.
    reply.fields.remove("date");
    if let Some(ids) = reply.fields.get_mut("x-request-id")
        && ids != &["given"]
    {
        *ids = vec!["made up".to_owned(); ids.len()];
    }
    if let Some(codings) = reply.fields.get_mut("transfer-encoding") {
        // Their names are in any case (RFC 9112, section 7).
        codings
            .iter_mut()
            .for_each(|coding| coding.make_ascii_lowercase());
    }
    if reply.is_own() {
        // The words are for people: the reader of each path has its own for what it found wrong.
        let error = reply.says("proxy-status").split("; details").next();
        let error = error.unwrap_or_default().to_owned();
        reply.fields.insert("proxy-status".to_owned(), vec![error]);
        for name in ["content-length", "grpc-message"] {
            reply.fields.remove(name);
        }
        reply.body.clear();
    }
    if !reply.is_whole {
        // How much was passed on before it broke off is chance.
        reply.body.clear();
    }
    reply
}

fn parted(head: &[u8]) -> (String, Fields) {
    let mut lines = head
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .take_while(|line| !line.is_empty());
    let line = lines.next().unwrap_or_default();
    let mut fields = Fields::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let name = name.escape_ascii().to_string().to_ascii_lowercase();
        // Blanks around a value are no part of it (RFC 9110, section 5.5).
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let values = fields.entry(name).or_default();
        values.push(value.escape_ascii().to_string());
    }
    (line.escape_ascii().to_string(), fields)
}

/// The answers that the client got.
fn replies(exchange: &Exchange, outcome: &Outcome) -> Result<Vec<Reply>, String> {
    let mut methods = exchange.requests.iter().map(|request| request.method);
    let mut method = methods.next().unwrap_or("GET");
    let mut rest = &outcome.received[..];
    let mut replies = Vec::new();
    while !rest.is_empty() {
        let broken = || format!("no answer: {}", rest.escape_ascii());
        let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            // It broke off within a head.
            break;
        };
        let (head, after) = rest.split_at(end + 4);
        let (line, fields) = parted(head);
        if !line.starts_with("HTTP/1.1 ") {
            return Err(broken());
        }
        let mut reply = Reply {
            line,
            fields,
            body: short(b""),
            is_whole: true,
        };
        if reply.status() == "101" {
            replies.push(reply);
            break;
        }
        rest = body(&mut reply, method, after).ok_or_else(broken)?;
        if reply.is_final() {
            method = methods.next().unwrap_or("GET");
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// Takes the body of `reply` off `rest`; `None` if that is not how a body is written.
fn body<'a>(reply: &mut Reply, method: &str, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    let has_none = !reply.is_final() || matches!(reply.status(), "204" | "304") || method == "HEAD";
    let (lengths, codings) = (
        reply.fields.get("content-length"),
        reply.fields.get("transfer-encoding"),
    );
    if lengths.is_some() && codings.is_some() || lengths.is_some_and(|all| all.len() > 1) {
        return None;
    }
    let is_unframed = !reply.is_final() || reply.status() == "204";
    if is_unframed && (lengths.is_some() || codings.is_some()) {
        return None;
    }
    if has_none {
        return Some(rest);
    }
    if let Some(length) = lengths {
        let length: usize = length[0].parse().ok()?;
        reply.is_whole = rest.len() >= length;
        let (body, after) = rest.split_at(length.min(rest.len()));
        reply.body = short(body);
        return Some(after);
    }
    if codings.is_none() {
        reply.body = short(rest);
        return Some(&[]);
    }
    let mut data = Vec::new();
    loop {
        let Some(end) = memchr::memmem::find(rest, b"\r\n") else {
            reply.is_whole = false;
            return Some(&[]);
        };
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if rest.len() < size + 2 {
            reply.is_whole = false;
            return Some(&[]);
        }
        data.extend(&rest[..size]);
        if &rest[size..size + 2] != b"\r\n" {
            return None;
        }
        rest = &rest[size + 2..];
        if size == 0 {
            reply.body = short(&data);
            return Some(rest);
        }
    }
}
