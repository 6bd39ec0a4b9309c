//! `tracestate` ([W3C Trace Context, section 3.3](https://www.w3.org/TR/trace-context/#tracestate-header)):
//! what vendors keep of a trace, as `vendor=value` separated by commas.
//!
//! One that cannot be read is dropped, as the standard has it, and so is a longer one than has to be
//! passed on: part of it would be a state that nobody is in. Of two members with the same key, which
//! nobody may write and anybody may pass on, both are.

use crate::fields::Fields;

use super::STATE_NAME;

/// The longest that is passed on, in bytes, all of its lines together. 512 have to be (section 3.3.1.5).
pub(super) const MAX_BYTES: usize = 2_048;
/// The most members (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// The longest key and the longest value, in bytes.
const MAX_PART: usize = 256;

/// Whether `headers` hold a state that can be passed on.
pub(super) fn is_given(headers: Fields<'_>) -> bool {
    let lines = || headers.all(&STATE_NAME);
    if lines().map(|line| line.len() + 1).sum::<usize>() > MAX_BYTES {
        return false;
    }
    let members = lines().flat_map(|line| line.split(|byte| *byte == b','));
    let members = members.map(without_blanks);
    // Members may be empty.
    let mut members = members.filter(|member| !member.is_empty());
    let mut count = 0;
    let are_members = members.all(|member| {
        count += 1;
        is_member(member)
    });
    are_members && (1..=MAX_MEMBERS).contains(&count)
}

fn is_member(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b'=');
    let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
        return false;
    };
    is_key(key) && is_value(value)
}

/// Level 2 of the standard lets a key begin with a digit, and have its `@` anywhere.
fn is_key(text: &[u8]) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_later = |byte: &u8| is_first(byte) || b"_-*/@".contains(byte);
    text.first().is_some_and(is_first) && text.iter().all(is_later) && text.len() <= MAX_PART
}

/// What can be seen, and blanks within it, without a comma or an equals sign.
fn is_value(text: &[u8]) -> bool {
    let may_be = |byte: &u8| matches!(byte, b' '..=b'~') && !b",=".contains(byte);
    !text.is_empty() && text.iter().all(may_be) && text.len() <= MAX_PART
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !is_blank(byte));
    let end = text.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => &text[start..=end],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use std::str::FromStr;

    use http::HeaderValue;
    use opentelemetry::trace::TraceState;
    use proptest::prelude::*;

    use super::*;

    fn is_passed_on(lines: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(&STATE_NAME, HeaderValue::from_bytes(line).unwrap());
        }
        is_given((&headers).into())
    }

    fn members(count: usize) -> String {
        let members: Vec<_> = (0..count).map(|at| format!("v{at}=1")).collect();
        members.join(",")
    }

    #[test]
    fn what_the_standard_allows_is_passed_on() {
        for line in [
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
            "congo=t61rcWkgMzE , \trojo=00f067aa0ba902b7 ",
            "fw529a3039@dt=FfYGuGi4,1tenant@v=1",
            "a_-*/0=! ~:;<>?@[]",
            "a=1,,b=2,",
            "a=1,a=2",
            &format!("{}={}", "k".repeat(256), "v".repeat(256)),
            &members(32),
        ] {
            assert!(is_passed_on(&[line.as_bytes()]), "{line}");
        }
        assert!(is_passed_on(&[b"a=1", b"", b"b=2"]));
    }

    #[test]
    fn what_is_none_is_not() {
        for line in [
            &b"\xff\xfe=,,;;"[..],
            b"",
            b" , ,",
            b"a",
            b"a=",
            b"=1",
            b"A=1",
            b"a b=1",
            b"@a=1",
            b"a=1=2",
            b"a=\xe4",
            b"a=1\t2",
            b"a=1,b",
            "a".repeat(257).as_bytes(),
            format!("{}=1", "k".repeat(257)).as_bytes(),
            format!("a={}", "v".repeat(257)).as_bytes(),
            members(33).as_bytes(),
        ] {
            assert!(!is_passed_on(&[line]), "{:?}", line.escape_ascii());
        }
        let (half, rest) = (members(20), members(13));
        assert!(!is_passed_on(&[half.as_bytes(), rest.as_bytes()]));
        assert!(!is_passed_on(&[]));
    }

    #[test]
    fn it_is_passed_on_only_while_it_is_not_too_long() {
        let member = |length: usize| format!("a={}", "v".repeat(length - 2));
        let long = vec![member(255); MAX_BYTES / 256];
        assert!(is_passed_on(&[long.join(",").as_bytes()]));
        assert!(!is_passed_on(&[long.join(" ,").as_bytes()]));
    }

    proptest! {
        #[test]
        fn collectors_can_read_what_is_passed_on(line in "([a-c1*A]{0,3}[= ]{0,2}[ -~\t]{0,6},?){0,4}") {
            if is_passed_on(&[line.as_bytes()]) {
                let members = line.split(',').map(str::trim).filter(|it| !it.is_empty());
                let line = members.collect::<Vec<_>>().join(",");
                prop_assert!(TraceState::from_str(&line).is_ok(), "{line:?}");
            }
        }
    }
}
