//! `X-Request-Id`: the client's own if it is usable, else a fresh one.

use http::HeaderValue;
use pingora::http::RequestHeader;

/// The header.
pub(super) const HEADER: &str = "X-Request-Id";

/// The longest id taken from a client.
const MAX_LEN: usize = 128;

/// The request's id.
pub(super) fn of(request: &RequestHeader) -> HeaderValue {
    match request.headers.get("x-request-id") {
        Some(id) if is_usable(id.as_bytes()) => id.clone(),
        _ => fresh(),
    }
}

/// The id of something that is not a request, and may name one all the same.
pub(super) fn of_fragment(id: Option<&[u8]>) -> HeaderValue {
    id.filter(|id| is_usable(id))
        .and_then(|id| HeaderValue::from_bytes(id).ok())
        .unwrap_or_else(fresh)
}

/// Printable and without blanks, so that an id can be copied out of a log whole.
fn is_usable(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// 128 random bits in hexadecimal. Ids need to be distinct, not secret.
fn fresh() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bits = fastrand::u128(..);
    let mut text = [0; 32];
    for digit in &mut text {
        *digit = DIGITS[(bits & 15) as usize];
        bits >>= 4;
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: Option<&str>) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        if let Some(id) = id {
            request.insert_header(HEADER, id).unwrap();
        }
        request
    }

    #[test]
    fn a_usable_id_is_kept_and_any_other_replaced() {
        assert_eq!(of(&request(Some("abc-1"))), "abc-1");
        let long = "x".repeat(MAX_LEN + 1);
        for id in [None, Some(""), Some("a b"), Some("é"), Some(long.as_str())] {
            let fresh = of(&request(id));
            assert_eq!(fresh.len(), 32, "{id:?}");
        }
        assert_ne!(of(&request(None)), of(&request(None)));
    }
}
