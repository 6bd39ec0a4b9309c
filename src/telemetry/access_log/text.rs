//! What clients say, so that it can neither end a line nor mean something else in it.

use std::io::Write;
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

/// Writes `bytes` as the inside of a JSON string. What is no UTF-8 becomes U+FFFD; what some take for
/// the end of a line, or a terminal for a command, is escaped; what is longer than [`LONGEST`] ends in
/// an ellipsis.
pub(super) fn escape_json(bytes: &[u8], out: &mut Vec<u8>) {
    let kept = &bytes[..bytes.len().min(LONGEST)];
    let is_cut = kept.len() < bytes.len();
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
    fn a_moment_beyond_all_calendars_is_the_last_one() {
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) << 8);
        assert!(sayable(late) < late);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(sayable(early), SystemTime::UNIX_EPOCH);
    }
}
