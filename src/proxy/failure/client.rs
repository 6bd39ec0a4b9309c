//! What clients do wrong, before a request is known or while its body comes.

use std::time::Duration;

use crate::units::format_duration;

use super::{Failure, Kind};

impl Failure {
    fn malformed(detail: impl Into<String>) -> Self {
        Self {
            kind: Kind::BadRequest,
            detail: detail.into(),
        }
    }

    pub(in crate::proxy) fn not_http(first: u8) -> Self {
        Self::malformed(if first == 0x16 {
            "this looks like TLS, and callboard speaks plain HTTP here".to_owned()
        } else {
            format!("a request cannot begin with the byte {first:#04x} (expected HTTP)")
        })
    }

    pub(in crate::proxy) fn bare_line_feed() -> Self {
        Self::malformed("a line ends in a bare line feed (expected CRLF)")
    }

    pub(in crate::proxy) fn bad_request_line() -> Self {
        Self::malformed("the request line is malformed (expected METHOD target HTTP/1.1)")
    }

    pub(in crate::proxy) fn bad_target() -> Self {
        Self::malformed("the request's target is malformed (expected /path, http://host/path or *)")
    }

    pub(in crate::proxy) fn no_version() -> Self {
        Self::malformed("the request line names no version (expected HTTP/1.1 or HTTP/1.0)")
    }

    pub(in crate::proxy) fn bad_head(what: &str) -> Self {
        Self::malformed(format!("the request's head is malformed: {what}"))
    }

    pub(in crate::proxy) fn bad_length() -> Self {
        Self::malformed("Content-Length is not one number (expected the body's length in bytes)")
    }

    pub(in crate::proxy) fn bad_coding(what: &str) -> Self {
        Self::malformed(format!(
            "the request cannot have this Transfer-Encoding: {what}"
        ))
    }

    pub(in crate::proxy) fn bad_chunk() -> Self {
        Self::malformed("the body is not made of chunks as Transfer-Encoding says")
    }

    pub(in crate::proxy) fn connect() -> Self {
        Self {
            kind: Kind::NotAllowed,
            detail: "CONNECT asks for a tunnel, and callboard passes on requests".to_owned(),
        }
    }

    pub(in crate::proxy) fn unknown_version() -> Self {
        Self {
            kind: Kind::UnknownVersion,
            detail: "this version of HTTP is not spoken here (expected HTTP/2, HTTP/1.1 or \
                     HTTP/1.0)"
                .to_owned(),
        }
    }

    pub(in crate::proxy) fn target_too_long(most: usize) -> Self {
        Self {
            kind: Kind::TargetTooLong,
            detail: format!("the request line is longer than clients.max_head of {most} bytes"),
        }
    }

    pub(in crate::proxy) fn head_too_large(most: usize) -> Self {
        Self {
            kind: Kind::HeadTooLarge,
            detail: format!("the request's head is larger than clients.max_head of {most} bytes"),
        }
    }

    pub(in crate::proxy) fn too_many_headers(most: usize) -> Self {
        Self {
            kind: Kind::HeadTooLarge,
            detail: format!(
                "the request has more header fields than clients.max_headers of {most}"
            ),
        }
    }

    pub(in crate::proxy) fn slow_head(limit: Duration) -> Self {
        Self {
            kind: Kind::TooSlow,
            detail: format!(
                "the request's head took longer than clients.head_timeout of {}",
                format_duration(limit)
            ),
        }
    }

    pub(in crate::proxy) fn slow_body() -> Self {
        Self {
            kind: Kind::TooSlow,
            detail: "the request's body comes slower than clients.min_body_rate allows, or stalls"
                .to_owned(),
        }
    }

    pub(in crate::proxy) fn body_too_long(most: u64) -> Self {
        Self {
            kind: Kind::BodyTooLong,
            detail: format!("the request's body is longer than max_body of {most} bytes"),
        }
    }
}
