//! Lines of the Combined Log Format
//! ([Apache httpd](https://httpd.apache.org/docs/2.4/logs.html#combined)), as nginx writes them:
//!
//! ```text
//! client - - [time] "request line" status bytes "referer" "user agent"
//! ```

use std::io::Write;
use std::time::SystemTime;

use http::header;

use super::line::Line;
use super::text;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Writes `line` and ends it.
pub(super) fn write(line: &Line<'_>, out: &mut Vec<u8>) {
    match line.client {
        Some(client) => text::ip(client, out),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b" - - [");
    time(line.time.unwrap_or(SystemTime::UNIX_EPOCH), out);
    out.extend_from_slice(b"] \"");
    request(line, out);
    out.extend_from_slice(b"\" ");
    text::integer(line.status.unwrap_or(0).into(), out);
    out.push(b' ');
    text::integer(line.sent, out);
    out.extend_from_slice(b" \"");
    value(line.header(&header::REFERER), out);
    out.extend_from_slice(b"\" \"");
    value(line.header(&header::USER_AGENT), out);
    out.extend_from_slice(b"\"\n");
}

/// The request line, as far as there is one.
fn request(line: &Line<'_>, out: &mut Vec<u8>) {
    let parts = [line.method, line.target, line.protocol];
    for (number, part) in parts.into_iter().flatten().enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        text::escape_hex(part, out);
    }
}

fn value(value: Option<&[u8]>, out: &mut Vec<u8>) {
    match value {
        Some(value) if !value.is_empty() => text::escape_hex(value, out),
        _ => out.push(b'-'),
    }
}

/// `10/Oct/2000:13:55:36 +0000`.
fn time(time: SystemTime, out: &mut Vec<u8>) {
    let time = SystemTime::UNIX_EPOCH + text::sayable(time);
    let time = humantime::format_rfc3339_seconds(time).to_string();
    let digits = |from, to| time.get(from..to).unwrap_or_default();
    let month = digits(5, 7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&MONTHS[0]);
    let (year, day, clock) = (digits(0, 4), digits(8, 10), digits(11, 19));
    let _ = write!(out, "{day}/{month}/{year}:{clock} +0000");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn written(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        write(line, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_as_nginx_would_write_it() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "curl/8 \"x\"".parse().unwrap());
        let line = Line {
            time: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(971_186_136)),
            client: Some([127, 0, 0, 1].into()),
            method: Some(b"GET"),
            target: Some(b"/apache_pb.gif?a\\"),
            protocol: Some(b"HTTP/1.0"),
            status: Some(200),
            sent: 2_326,
            headers: Some(&headers),
            ..Line::default()
        };
        assert_eq!(
            written(&line),
            "127.0.0.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /apache_pb.gif?a\\x5C HTTP/1.0\" \
             200 2326 \"-\" \"curl/8 \\x22x\\x22\"\n"
        );
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let line = Line {
            status: Some(400),
            ..Line::default()
        };
        assert_eq!(
            written(&line),
            "- - - [01/Jan/1970:00:00:00 +0000] \"\" 400 0 \"-\" \"-\"\n"
        );
    }

    /// The parts of a line, as tools for the format take it apart.
    fn parts(line: &str) -> Option<Vec<&str>> {
        let (client, rest) = line.strip_suffix('\n')?.split_once(" - - [")?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (numbers, rest) = rest.split_once(" \"")?;
        let (referer, rest) = rest.split_once("\" \"")?;
        let agent = rest.strip_suffix('"')?;
        let quoted = [request, referer, agent];
        (!quoted.concat().contains('"'))
            .then_some(vec![client, time, request, numbers, referer, agent])
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_line_that_can_be_taken_apart(
            target in proptest::collection::vec(any::<u8>(), 0..200),
            agent in proptest::collection::vec(any::<u8>(), 1..60),
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = http::HeaderValue::from_bytes(&agent) {
                headers.insert("user-agent", value);
            }
            let line = Line {
                client: Some([10, 0, 0, 1].into()),
                method: Some(b"GET"),
                target: Some(&target),
                protocol: Some(b"HTTP/1.1"),
                status: Some(200),
                headers: Some(&headers),
                ..Line::default()
            };
            let text = written(&line);
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
            let parts = parts(&text).unwrap();
            prop_assert_eq!(parts[0], "10.0.0.1");
            prop_assert_eq!(parts[3], "200 0");
            prop_assert!(parts[2].starts_with("GET "));
            prop_assert!(parts[2].ends_with(" HTTP/1.1"));
        }
    }
}
