//! `X-Request-Id`: the client's own if it is usable, else a fresh one.

use http::{HeaderName, HeaderValue};

use crate::fields::Fields;

/// The header.
pub(super) const HEADER: &str = "X-Request-Id";

/// The same, to look for.
pub(super) static NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken from a client.
const MAX_LEN: usize = 128;

/// The request's id.
pub(super) fn of(fields: Fields<'_>) -> HeaderValue {
    of_fragment(fields.first(&NAME))
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
    let mut text = [0; 32];
    for (digits, byte) in text
        .chunks_exact_mut(2)
        .zip(fastrand::u128(..).to_ne_bytes())
    {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn request(id: Option<&str>) -> HeaderMap {
        let mut request = HeaderMap::new();
        if let Some(id) = id {
            request.insert(&NAME, id.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_usable_id_is_kept_and_any_other_replaced() {
        assert_eq!(of((&request(Some("abc-1"))).into()), "abc-1");
        let long = "x".repeat(MAX_LEN + 1);
        for id in [None, Some(""), Some("a b"), Some("é"), Some(long.as_str())] {
            let fresh = of((&request(id)).into());
            assert_eq!(fresh.len(), 32, "{id:?}");
        }
        let none = request(None);
        assert_ne!(of((&none).into()), of((&none).into()));
    }
}
