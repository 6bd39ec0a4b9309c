//! What gRPC says on top of HTTP/2 ([PROTOCOL-HTTP2]), as far as probes and requests share it: the
//! statuses that calls end with.
//!
//! [PROTOCOL-HTTP2]: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that holds a call's [`Code`], in trailers or in the head of an answer that is nothing
/// but trailers.
pub const STATUS: &str = "grpc-status";
/// [`STATUS`], to look for.
static STATUS_NAME: HeaderName = HeaderName::from_static(STATUS);
/// The field with words for people about the [`STATUS`], [percent-encoded](encode_message).
pub const MESSAGE: &str = "grpc-message";

/// What a call ends with
/// ([statuscodes](https://github.com/grpc/grpc/blob/master/doc/statuscodes.md)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "gRPC documents them")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// Every code with its name, at its number.
const CODES: [(Code, &str); 17] = [
    (Code::Ok, "OK"),
    (Code::Cancelled, "CANCELLED"),
    (Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, "ABORTED"),
    (Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, "INTERNAL"),
    (Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// The code that `fields` end a call with; `None` if they say nothing of it. What is no code is
    /// [`Code::Unknown`].
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let text = fields.get(&STATUS_NAME)?.to_str().ok();
        let number = text.and_then(|text| text.parse::<usize>().ok());
        let code = number.and_then(|number| CODES.get(number));
        Some(code.map_or(Self::Unknown, |&(code, _)| code))
    }

    /// Every code, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.into_iter().map(|(code, _)| code)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        CODES[self as usize].1
    }

    /// Its number, as the field holds it.
    pub fn to_header(self) -> HeaderValue {
        HeaderValue::from(self as u16)
    }

    /// Whether it tells that the server failed, rather than that it turned the call down: what Envoy
    /// and Linkerd count as its failures.
    pub fn is_fault(self) -> bool {
        use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unknown};
        matches!(
            self,
            Unknown | DeadlineExceeded | Internal | Unavailable | DataLoss
        )
    }
}

/// `text` as a [`MESSAGE`]: of printable ASCII without `%`, anything else as `%` and two digits.
pub fn encode_message(text: &str) -> HeaderValue {
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte),
            _ => encoded.extend([
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
        }
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(encoded))
        .unwrap_or(HeaderValue::from_static(""))
}

/// What a [`MESSAGE`] says. As the protocol demands, whatever is no valid encoding stands for itself.
pub fn decode_message(message: &[u8]) -> String {
    let digit = |at: usize| {
        message
            .get(at)
            .and_then(|&byte| char::from(byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(message.len());
    let mut at = 0;
    while at < message.len() {
        match (message[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codes_stand_at_their_numbers() {
        for (number, (code, _)) in CODES.into_iter().enumerate() {
            assert_eq!(code as usize, number);
            let mut fields = HeaderMap::new();
            fields.insert(STATUS, code.to_header());
            assert_eq!(Code::of(&fields), Some(code));
        }
    }

    #[test]
    fn what_is_no_code_is_unknown_and_nothing_is_nothing() {
        assert_eq!(Code::of(&HeaderMap::new()), None);
        for text in ["17", "-1", "", "x", "99999999999999999999"] {
            let mut fields = HeaderMap::new();
            fields.insert(STATUS, text.parse().unwrap());
            assert_eq!(Code::of(&fields), Some(Code::Unknown), "{text}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(encode_message("50% of ü\n"), "50%25 of %C3%BC%0A");
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(text: String) {
            prop_assert_eq!(decode_message(encode_message(&text).as_bytes()), text);
        }

        #[test]
        fn any_bytes_are_a_message(message: Vec<u8>) {
            decode_message(&message);
        }
    }
}
