//! The bytes by which a client says, before anything was agreed upon, that it speaks HTTP/2 (RFC 9113,
//! section 3.4). No request of HTTP/1 begins like that.

/// What the client's first bytes are.
pub(in crate::proxy::connection) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes of a connection tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy::connection) enum Said {
    /// That the client speaks HTTP/2.
    Http2,
    /// That it speaks something else.
    Other,
    /// Nothing yet.
    TooLittle,
}

/// What `bytes`, the first of a connection, tell.
pub(in crate::proxy::connection) fn look_at(bytes: &[u8]) -> Said {
    if bytes.starts_with(PREFACE) {
        Said::Http2
    } else if PREFACE.starts_with(bytes) {
        Said::TooLittle
    } else {
        Said::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_tells_of_http_2_and_the_first_other_byte_of_something_else() {
        for length in 0..PREFACE.len() {
            assert_eq!(look_at(&PREFACE[..length]), Said::TooLittle, "{length}");
            let mut other = PREFACE[..=length].to_vec();
            other[length] ^= 1;
            assert_eq!(look_at(&other), Said::Other, "{length}");
        }
        assert_eq!(look_at(PREFACE), Said::Http2);
        assert_eq!(look_at(&[PREFACE, b"\0"].concat()), Said::Http2);
        assert_eq!(look_at(b"POST / HTTP/1.1\r\n"), Said::Other);
    }
}
