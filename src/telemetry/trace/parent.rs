//! `traceparent` ([W3C Trace Context, section 3.2](https://www.w3.org/TR/trace-context/#traceparent-header)):
//!
//! ```text
//! 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//! version ─ trace ─ span of whoever sends it ─ flags
//! ```

use http::{HeaderName, HeaderValue};

use crate::fields::Fields;

use crate::telemetry::hex;

use super::PARENT;

/// [`PARENT`], to look for.
static NAME: HeaderName = HeaderName::from_static(PARENT);

/// Bytes of version 00.
const LENGTH: usize = 55;
/// Whether the sender may have recorded its span.
const SAMPLED: u8 = 0x01;
/// Whether the last seven bytes of the trace's number are random (Level 2 of the standard).
const RANDOM: u8 = 0x02;

/// What the sender says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    /// Its trace, not 0.
    pub(super) trace: u128,
    /// Its span, not 0.
    pub(super) span: u64,
    pub(super) sampled: bool,
    pub(super) random: bool,
}

/// What `headers` say of their sender; `None` without a header that is valid and the only one.
pub(super) fn of(headers: Fields<'_>) -> Option<Parent> {
    let mut lines = headers.all(&NAME);
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    parse(line)
}

/// Reads a header of any version: what follows in one that is yet to come begins with a dash.
fn parse(text: &[u8]) -> Option<Parent> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let version = number(&known[..2])?;
    let is_whole = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    if !is_whole || [known[2], known[35], known[52]] != *b"---" {
        return None;
    }
    let trace = number(&known[3..35])?;
    let span = u64::try_from(number(&known[36..52])?).ok()?;
    let flags = u8::try_from(number(&known[53..])?).ok()?;
    (trace != 0 && span != 0).then_some(Parent {
        trace,
        span,
        sampled: flags & SAMPLED != 0,
        random: flags & RANDOM != 0,
    })
}

/// The number that at most 32 digits make, which have to be lower case.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// The header that says to be in `span` of `trace`.
pub(super) fn header(trace: u128, span: u64, sampled: bool, random: bool) -> HeaderValue {
    let flags = if sampled { SAMPLED } else { 0 } | if random { RANDOM } else { 0 };
    let mut text = *b"00-................................-................-0.";
    text[3..35].copy_from_slice(&hex::long(trace));
    text[36..52].copy_from_slice(&hex::digits(span));
    text[54] = b'0' + flags;
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let parent = |flags| {
            let text = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
            parse(text.as_bytes()).map(|parent| (parent.sampled, parent.random))
        };
        assert_eq!(parent("00"), Some((false, false)));
        assert_eq!(parent("01"), Some((true, false)));
        assert_eq!(parent("03"), Some((true, true)));
        assert_eq!(parent("fe"), Some((false, true)));
        let text = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let parent = parse(text.as_bytes()).unwrap();
        assert_eq!(parent.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span, 0x00f0_67aa_0ba9_02b7);
    }

    #[test]
    fn what_the_standard_calls_invalid_is_no_parent() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_version_yet_to_come_is_read_as_far_as_it_is_known() {
        for rest in ["", "-", "-what-comes-then"] {
            let text = format!("cc-{TRACE}-00f067aa0ba902b7-01{rest}");
            assert!(parse(text.as_bytes()).unwrap().sampled, "{rest}");
        }
    }

    #[test]
    fn of_two_headers_neither_counts() {
        let mut headers = HeaderMap::new();
        headers.append(PARENT, header(1, 2, true, false));
        assert!(of((&headers).into()).is_some());
        headers.append(PARENT, header(1, 2, true, false));
        assert_eq!(of((&headers).into()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            trace in 1u128..,
            span in 1u64..,
            sampled: bool,
            random: bool,
        ) {
            let written = header(trace, span, sampled, random);
            let parent = Parent { trace, span, sampled, random };
            prop_assert_eq!(parse(written.as_bytes()), Some(parent));
        }

        #[test]
        fn nothing_is_read_that_differs_from_what_is_written(text in "[0-9a-f-]{50,60}|\\PC{0,80}") {
            if let Some(parent) = parse(text.as_bytes()) {
                let Parent { trace, span, .. } = parent;
                let written = header(trace, span, false, false);
                prop_assert_eq!(&text.as_bytes()[2..53], &written.as_bytes()[2..53]);
            }
        }
    }
}
