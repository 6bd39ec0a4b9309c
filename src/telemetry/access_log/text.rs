//! What clients say, so that it can neither end a line nor mean something else in it.

use std::cell::Cell;
use std::io::Write;
use std::iter;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The longest value that is written whole, in bytes.
const LONGEST: usize = 8 << 10;

/// RFC 3339 has four digits for a year; this is the last second that needs no more.
const LAST_SECOND: u64 = 253_402_300_799;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The nearest moment to `time` that has a name.
pub(super) fn sayable(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let last = Duration::from_secs(LAST_SECOND);
    SystemTime::UNIX_EPOCH + since.unwrap_or_default().min(last)
}

/// Writes a moment in RFC 3339, to the millisecond.
pub(super) fn time(time: SystemTime, out: &mut Vec<u8>) {
    /// `2026-11-22T15:10:15`.
    const TO_THE_SECOND: usize = 19;
    thread_local! {
        /// The second that was written last. Many lines tell of the same.
        static LAST: Cell<(u64, [u8; TO_THE_SECOND])> = const { Cell::new((u64::MAX, [0; 19])) };
    }
    let since = sayable(time).duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let (mut second, mut text) = LAST.get();
    if second != since.as_secs() {
        second = since.as_secs();
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let written = humantime::format_rfc3339_seconds(whole).to_string();
        // Years have four digits.
        if let Some(written) = written.as_bytes().first_chunk() {
            text = *written;
        }
        LAST.set((second, text));
    }
    out.extend_from_slice(&text);
    out.push(b'.');
    digits(since.subsec_millis(), 3, out);
    out.push(b'Z');
}

/// Writes an address.
pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (place, part) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                integer(part, out);
            }
        }
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Writes a whole number.
pub(super) fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes so many digits of a number, with zeros before it.
pub(super) fn digits(number: u32, count: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number).as_bytes();
    out.extend(iter::repeat_n(b'0', count.saturating_sub(text.len())));
    out.extend_from_slice(text);
}

/// Writes `bytes` as the inside of a JSON string. What is no UTF-8 becomes U+FFFD; what some take for
/// the end of a line, or a terminal for a command, is escaped; what is longer than [`LONGEST`] ends in
/// an ellipsis.
pub(super) fn escape_json(bytes: &[u8], out: &mut Vec<u8>) {
    let kept = &bytes[..bytes.len().min(LONGEST)];
    let is_cut = kept.len() < bytes.len();
    if kept.iter().all(|&byte| is_plain(byte)) && !is_cut {
        return out.extend_from_slice(kept);
    }
    for chunk in kept.utf8_chunks() {
        escape_valid(chunk.valid(), out);
        let is_last = std::ptr::eq(chunk.invalid().as_ptr_range().end, kept.as_ptr_range().end);
        // A letter that was cut in two is no fault of the client's.
        if !(chunk.invalid().is_empty() || is_cut && is_last) {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if is_cut {
        out.extend_from_slice("…".as_bytes());
    }
}

fn escape_valid(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if bytes.iter().all(|&byte| is_plain(byte)) {
        return out.extend_from_slice(bytes);
    }
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // Writing to memory cannot fail.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                drop(write!(out, "\\u{:04x}", u32::from(c)));
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether a byte stands for itself wherever it stands.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Writes `bytes` with all that is not plain as `\xHH`, as nginx does; what is longer than [`LONGEST`]
/// ends in dots.
pub(super) fn escape_hex(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes.iter().take(LONGEST) {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let digit = |half: u8| HEX[usize::from(half & 15)];
            out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
        }
    }
    if bytes.len() > LONGEST {
        out.extend_from_slice(b"...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape_json(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_line_or_a_string_is_escaped() {
        assert_eq!(json(b"a\"b\\c\r\n\t"), r#"a\"b\\c\r\n\t"#);
        assert_eq!(json(b"\0\x1b[31m\x7f"), r"\u0000\u001b[31m\u007f");
        assert_eq!(json("\u{85}\u{2028}é".as_bytes()), r"\u0085\u2028é");
        assert_eq!(json(b"a\xff\xfeb"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn what_is_too_long_is_cut_between_letters_and_says_so() {
        let long = format!("{}é{}", "a".repeat(LONGEST - 1), "b".repeat(9));
        assert_eq!(
            json(long.as_bytes()),
            format!("{}…", "a".repeat(LONGEST - 1))
        );
        assert_eq!(json("a".repeat(LONGEST).as_bytes()).len(), LONGEST);
        let mut out = Vec::new();
        escape_hex(long.as_bytes(), &mut out);
        assert!(out.ends_with(b"a\\xC3..."));
    }

    #[test]
    fn moments_are_written_as_rfc_3339_has_them_whatever_was_written_before() {
        let written = |millis| {
            let mut out = Vec::new();
            time(
                SystemTime::UNIX_EPOCH + Duration::from_millis(millis),
                &mut out,
            );
            String::from_utf8(out).unwrap()
        };
        for (millis, expected) in [
            (1_795_360_215_363, "2026-11-22T15:10:15.363Z"),
            (1_795_360_215_004, "2026-11-22T15:10:15.004Z"),
            (1_795_360_216_000, "2026-11-22T15:10:16.000Z"),
            (0, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(millis), expected);
        }
    }

    #[test]
    fn addresses_are_written_as_everybody_writes_them() {
        for address in ["10.0.200.5", "255.255.255.255", "0.0.0.0", "::1", "fd00::5"] {
            let mut out = Vec::new();
            ip(address.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), address);
        }
    }

    #[test]
    fn a_moment_beyond_all_calendars_is_the_last_one() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 8);
        assert!(sayable(late) < late);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(sayable(early), SystemTime::UNIX_EPOCH);
    }
}
