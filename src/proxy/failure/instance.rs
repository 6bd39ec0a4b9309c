//! What goes wrong between callboard and an instance.

use std::fmt::Display;
use std::time::Duration;

use pingora::{Error, ErrorType};

use crate::dial::{self, TlsFault};
use crate::instance::Scheme;
use crate::proxy::watchdog::Timer;
use crate::units::format_duration;

use super::{Failure, Kind};

impl Failure {
    /// A setting ran out before the head of an answer came, while waiting for an instance if one is
    /// named.
    pub(in crate::proxy) fn ran_out(
        timer: Timer,
        limit: Duration,
        address: Option<&impl Display>,
    ) -> Self {
        let setting = match timer {
            Timer::FirstByte => "first_byte",
            Timer::BetweenBytes => "between_bytes",
            Timer::Request => "request",
            Timer::Total => "total",
        };
        let what = format!("{setting} of {} ran out", format_duration(limit));
        Self {
            kind: Kind::ResponseTimeout,
            detail: match address {
                Some(address) => format!("instance at {address}: {what}"),
                None => what,
            },
        }
    }

    /// The time that a client gives its call ran out, while waiting for an instance if one is named.
    pub(in crate::proxy) fn deadline(given: Duration, address: Option<&impl Display>) -> Self {
        let mut failure = Self::ran_out(Timer::Total, given, address);
        failure.detail = failure.detail.replace("total of", "grpc-timeout of");
        failure
    }

    /// An answer was dropped for another instance's, and then nobody else was there.
    pub(in crate::proxy) fn answered(address: &impl Display, said: &str) -> Self {
        Self {
            kind: Kind::NobodyAvailable,
            detail: format!("instance at {address} answered {said}, and no other is available"),
        }
    }

    /// The only instances there are speak something else than HTTP.
    pub(in crate::proxy) fn no_http(address: &impl Display, scheme: Scheme) -> Self {
        Self {
            kind: Kind::BadResponse,
            detail: format!(
                "instance at {address} registered with scheme {}, and this is an HTTP request \
                 (expected scheme http, https, h2c or h2, or a TCP listener)",
                scheme.as_str()
            ),
        }
    }

    /// The handshake of TLS with an instance came to nothing.
    fn of_tls(act: &str, fault: &TlsFault) -> Self {
        Self {
            kind: match fault {
                TlsFault::Certificate(_) => Kind::TlsCertificate,
                TlsFault::Protocol(_) => Kind::TlsProtocol,
                TlsFault::Alert(_) => Kind::TlsAlert,
            },
            detail: format!("{act}: {fault}"),
        }
    }

    /// No connection to an instance could be made; `limit` is how long it may take.
    pub(in crate::proxy) fn of_connect(
        address: &impl Display,
        error: &Error,
        limit: Duration,
    ) -> Self {
        if let Some(fault) = dial::tls_fault(error) {
            return Self::of_tls(&format!("connect to {address}"), &fault);
        }
        let (kind, what) = match error.etype() {
            ErrorType::ConnectRefused => (Kind::ConnectionRefused, "connection refused".to_owned()),
            ErrorType::ConnectTimedout => (
                Kind::ConnectionTimeout,
                format!("connect of {} ran out", format_duration(limit)),
            ),
            ErrorType::ConnectNoRoute => (Kind::Unreachable, "no route to it".to_owned()),
            other => (Kind::Unreachable, other.as_str().to_owned()),
        };
        Self {
            kind,
            detail: format!("connect to {address}: {what}"),
        }
    }

    /// The exchange with an instance broke, or its answer was refused: a [`ErrorType::Custom`] says
    /// what was wrong with it.
    pub(in crate::proxy) fn of_exchange(address: &impl Display, error: &Error) -> Self {
        if let Some(fault) = dial::tls_fault(error) {
            return Self::of_tls(&format!("instance at {address}"), &fault);
        }
        let (kind, what) = match error.etype() {
            ErrorType::InvalidHTTPHeader | ErrorType::H1Error => {
                (Kind::BadResponse, "its answer is not valid HTTP")
            }
            ErrorType::InvalidH2 | ErrorType::H2Downgrade => {
                (Kind::BadResponse, "its answer is not valid HTTP/2")
            }
            ErrorType::H2Error if speaks_otherwise(error) => (
                Kind::BadResponse,
                "its answer is not valid HTTP/2 (is its scheme right?)",
            ),
            ErrorType::Custom(what) => (Kind::BadResponse, *what),
            _ => (
                Kind::ConnectionTerminated,
                "the connection broke before an answer came",
            ),
        };
        Self {
            kind,
            detail: format!("instance at {address}: {what}"),
        }
    }
}

/// Whether what came was taken for a frame that is none.
fn speaks_otherwise(error: &Error) -> bool {
    let cause = error.root_cause().downcast_ref::<h2::Error>();
    cause.is_some_and(|cause| cause.is_go_away() && cause.is_library())
}
