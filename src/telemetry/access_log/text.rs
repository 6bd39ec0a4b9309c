//! What clients say, so that it can neither end a line nor mean something else in it.

use std::cell::Cell;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

/// The longest value that is written whole, in bytes.
const LONGEST: usize = 8 << 10;

/// RFC 3339 has four digits for a year; this is the last second that needs no more.
const LAST_SECOND: u64 = 253_402_300_799;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// The nearest moment to `time` that has a name, since 1970.
pub(super) fn sayable(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let last = Duration::from_secs(LAST_SECOND);
    since.unwrap_or_default().min(last)
}

/// Writes a moment in RFC 3339, to the millisecond.
pub(super) fn time(time: SystemTime, out: &mut Vec<u8>) {
    /// Where the milliseconds stand.
    const MILLIS: std::ops::Range<usize> = 20..23;
    const FORM: [u8; 24] = *b"1970-01-01T00:00:00.000Z";
    thread_local! {
        /// The second that was written last. Many lines tell of the same.
        static LAST: Cell<(u64, [u8; 24])> = const { Cell::new((0, FORM)) };
    }
    let since = sayable(time);
    let (second, mut text) = LAST.get();
    if second != since.as_secs() {
        let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
        let written = humantime::format_rfc3339_millis(whole).to_string();
        // Years have four digits.
        if let Some(written) = written.as_bytes().first_chunk() {
            text = *written;
        }
        LAST.set((since.as_secs(), text));
    }
    text[MILLIS].copy_from_slice(&three(since.subsec_millis()));
    out.extend_from_slice(&text);
}

/// Writes an address.
pub(super) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets().map(u32::from);
            for part in [a, b, c] {
                small(part, out);
                out.push(b'.');
            }
            small(d, out);
        }
        // Writing to memory cannot fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Writes an address and port.
pub(super) fn socket(address: &SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(_) => {
            ip(address.ip(), out);
            out.push(b':');
            integer(address.port().into(), out);
        }
        // Writing to memory cannot fail.
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// Writes a whole number.
pub(super) fn integer(number: u64, out: &mut Vec<u8>) {
    match u32::try_from(number) {
        Ok(number) if number < 1_000 => small(number, out),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Writes seconds, to the microsecond.
pub(super) fn seconds(time: Duration, out: &mut Vec<u8>) {
    integer(time.as_secs(), out);
    let micros = time.subsec_micros();
    let ([a, b, c], [d, e, f]) = (three(micros / 1_000), three(micros % 1_000));
    out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
}

/// Writes a number below a thousand.
#[inline]
fn small(number: u32, out: &mut Vec<u8>) {
    let [hundreds, tens, ones] = three(number);
    match number {
        0..=9 => out.push(ones),
        10..=99 => out.extend_from_slice(&[tens, ones]),
        _ => out.extend_from_slice(&[hundreds, tens, ones]),
    }
}

/// The three digits of a number below a thousand.
#[inline]
fn three(number: u32) -> [u8; 3] {
    TRIPLES[number as usize % TRIPLES.len()]
}

/// The digits of every number of three of them.
static TRIPLES: [[u8; 3]; 1_000] = {
    let mut triples = [[b'0'; 3]; 1_000];
    let mut number = 0;
    while number < 1_000 {
        let digits = [number / 100, number / 10 % 10, number % 10];
        let mut place = 0;
        while place < 3 {
            triples[number][place] += digits[place] as u8;
            place += 1;
        }
        number += 1;
    }
    triples
};

/// Writes `bytes` as the inside of a JSON string. What is no UTF-8 becomes U+FFFD; what some take for
/// the end of a line, or a terminal for a command, is escaped; what is longer than [`LONGEST`] ends in
/// an ellipsis.
pub(super) fn escape_json(bytes: &[u8], out: &mut Vec<u8>) {
    let kept = &bytes[..bytes.len().min(LONGEST)];
    let is_cut = kept.len() < bytes.len();
    if are_plain(kept) && !is_cut {
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
    if are_plain(text.as_bytes()) {
        return out.extend_from_slice(text.as_bytes());
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
#[inline]
fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') <= b'~' - b' ') & (byte != b'"') & (byte != b'\\')
}

/// Whether all `bytes` are plain. Looks at many of them at a time, and at some twice.
fn are_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let (blocks, _) = bytes.as_chunks::<16>();
        return are_all_plain(last) && blocks.iter().all(are_all_plain);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return are_all_plain(first) && are_all_plain(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return are_all_plain(first) && are_all_plain(last);
    }
    bytes.iter().all(|&byte| is_plain(byte))
}

/// The same of so many bytes that nothing is gained by stopping early.
#[inline]
fn are_all_plain<const N: usize>(bytes: &[u8; N]) -> bool {
    bytes.iter().fold(true, |all, &byte| all & is_plain(byte))
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
    use proptest::prelude::*;

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
        for address in ["10.0.200.5:1", "[::1]:65535"] {
            let mut out = Vec::new();
            socket(&address.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), address);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_everybody_writes_them(
            number in prop_oneof![0..2_000_u64, any::<u64>()],
            micros in 0..3_000_000_000_u64,
        ) {
            let mut out = Vec::new();
            integer(number, &mut out);
            out.push(b' ');
            seconds(Duration::from_micros(micros), &mut out);
            let expected = format!("{number} {}.{:06}", micros / 1_000_000, micros % 1_000_000);
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }

        #[test]
        fn what_is_plain_is_told_as_byte_by_byte(
            mut bytes in proptest::collection::vec(b' '..=b'~', 0..40),
            place in any::<proptest::sample::Index>(),
            other: u8,
        ) {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = other;
            }
            let expected = bytes.iter().all(|&byte| is_plain(byte));
            prop_assert_eq!(are_plain(&bytes), expected);
        }
    }

    #[test]
    fn a_moment_beyond_all_calendars_is_the_last_one() {
        let late = Duration::from_secs(u64::from(u32::MAX) << 8);
        assert!(sayable(SystemTime::UNIX_EPOCH + late) < late);
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(sayable(early), Duration::ZERO);
    }
}
