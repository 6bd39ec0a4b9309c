//! What can go wrong.

use http::StatusCode;

/// The kinds of failure: their status, their RFC 9209 error type and their title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NoRoute,
    UnknownService,
    BadRequest,
    UnknownCoding,
    NotAllowed,
    UnknownVersion,
    TargetTooLong,
    HeadTooLarge,
    BodyTooLong,
    TooSlow,
    NobodyAvailable,
    OverLimit,
    ConnectionRefused,
    ConnectionTimeout,
    Unreachable,
    ConnectionTerminated,
    ResponseTimeout,
    BadResponse,
    TlsCertificate,
    TlsProtocol,
    TlsAlert,
    Internal,
}

impl Kind {
    /// Its status, its type in `Proxy-Status` and its title.
    pub(super) fn facts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::NoRoute => (S::NOT_FOUND, "destination_not_found", "No route"),
            Self::UnknownService => (S::NOT_FOUND, "destination_not_found", "Unknown service"),
            Self::BadRequest => (S::BAD_REQUEST, "http_request_error", "Bad request"),
            Self::UnknownCoding => (
                S::NOT_IMPLEMENTED,
                "http_request_error",
                "Unknown transfer coding",
            ),
            Self::NotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "http_request_error",
                "Method not allowed",
            ),
            Self::UnknownVersion => (
                S::HTTP_VERSION_NOT_SUPPORTED,
                "http_request_error",
                "Unknown version",
            ),
            Self::TargetTooLong => (S::URI_TOO_LONG, "http_request_error", "Target too long"),
            Self::HeadTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "http_request_error",
                "Head too large",
            ),
            Self::BodyTooLong => (S::PAYLOAD_TOO_LARGE, "http_request_error", "Body too long"),
            Self::TooSlow => (S::REQUEST_TIMEOUT, "http_request_error", "Too slow"),
            Self::NobodyAvailable => (
                S::SERVICE_UNAVAILABLE,
                "destination_unavailable",
                "No available instance",
            ),
            Self::OverLimit => (
                S::SERVICE_UNAVAILABLE,
                "connection_limit_reached",
                "Over a limit",
            ),
            Self::ConnectionRefused => (S::BAD_GATEWAY, "connection_refused", "Connection refused"),
            Self::ConnectionTimeout => (
                S::GATEWAY_TIMEOUT,
                "connection_timeout",
                "Connection timed out",
            ),
            Self::Unreachable => (
                S::BAD_GATEWAY,
                "destination_ip_unroutable",
                "Connection failed",
            ),
            Self::ConnectionTerminated => {
                (S::BAD_GATEWAY, "connection_terminated", "Connection lost")
            }
            Self::ResponseTimeout => (
                S::GATEWAY_TIMEOUT,
                "http_response_timeout",
                "Response timed out",
            ),
            Self::BadResponse => (S::BAD_GATEWAY, "http_protocol_error", "Malformed response"),
            Self::TlsCertificate => (
                S::BAD_GATEWAY,
                "tls_certificate_error",
                "Certificate refused",
            ),
            Self::TlsProtocol => (S::BAD_GATEWAY, "tls_protocol_error", "TLS failed"),
            Self::TlsAlert => (S::BAD_GATEWAY, "tls_alert_received", "TLS refused"),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "proxy_internal_error",
                "Internal error",
            ),
        }
    }
}
