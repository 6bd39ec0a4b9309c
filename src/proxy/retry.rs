//! Whether a request is tried again, and when: the rules, with no clock and no dice of their own.
//!
//! The rules are Envoy's and Finagle's: a share of the load as the budget (see
//! [`budget`](crate::cluster::budget)), never an instance that this request has tried, and a pause
//! with full jitter, because clients that wait equally long come back together (M. Brooker,
//! "Exponential Backoff And Jitter", 2015). There is no pause before another instance is asked because
//! one could not be connected to: that one has not been given anything, so nobody is being overwhelmed.
//!
//! A kept connection that its instance closed just as a request was written to it is no failure of the
//! instance (RFC 9112, section 9.3.1). Such a request is sent again once, on a connection of its own,
//! whatever the budget and the settings say; nginx does the same.

use std::time::Duration;

use http::{Method, header};
use pingora_proxy::Session;

use crate::cluster::policy::{Retry, RetryOn};
use crate::fields::Fields;

/// The most instances one request tries, those that could not be connected to included.
pub const MAX_TRIES: usize = 16;

/// What a step of the back-off adds at most.
const STEP: Duration = Duration::from_millis(25);

/// The longest pause.
const LONGEST: Duration = Duration::from_millis(250);

/// Whether a request can be sent once more, as far as it goes by the request alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// Its method is (RFC 9110, section 9.2.2).
    pub(super) is_idempotent: bool,
    /// All that was passed on of its body was kept.
    pub(super) is_kept: bool,
}

impl Replay {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            is_idempotent: session.req_header().method.is_idempotent(),
            is_kept: !session.retry_buffer_truncated(),
        }
    }
}

/// What went wrong with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No connection could be made, in time or at all.
    Connect { timed_out: bool },
    /// The request was sent, and no answer came that could be understood.
    Reset,
    /// The request was sent, and `first_byte` ran out.
    Timeout,
    /// The answer has this status.
    Status(u16),
    /// The call was answered with nothing but [`Code::Unavailable`](crate::grpc::Code::Unavailable),
    /// gRPC's word for 503.
    Unavailable,
}

impl Fault {
    /// Whether the settings want this tried again.
    pub(super) fn is_covered(self, on: &RetryOn) -> bool {
        match self {
            Self::Connect { timed_out } => on.connect || (timed_out && on.timeout),
            Self::Reset => on.reset,
            Self::Timeout => on.timeout,
            Self::Status(status) => on.statuses.iter().any(|range| range.contains(&status)),
            Self::Unavailable => Self::Status(503).is_covered(on),
        }
    }
}

/// How long to wait before the `number`th further try; `chance` is from 0 to 1.
pub(super) fn back_off(number: u32, chance: f64) -> Duration {
    let steps = 2_u32.saturating_pow(number) - 1;
    STEP.saturating_mul(steps).mul_f64(chance).min(LONGEST)
}

/// Whether a request may be sent twice whatever becomes of the first time, as its head tells: its
/// method must be idempotent (RFC 9110, section 9.2.2), and what it brings along must be known to fit
/// into what is kept to send it again.
pub(super) fn is_surely_repeatable(method: &Method, fields: Fields<'_>, retry: &Retry) -> bool {
    if !method.is_idempotent() {
        return false;
    }
    if fields.has(&header::TRANSFER_ENCODING) {
        return false;
    }
    let Some(length) = fields.first(&header::CONTENT_LENGTH) else {
        return true;
    };
    let length = str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse().ok());
    length.is_some_and(|length: usize| length <= retry.buffer)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_fault_is_tried_again_when_the_settings_name_it() {
        let none = RetryOn {
            connect: false,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
        };
        let refused = Fault::Connect { timed_out: false };
        let silent = Fault::Connect { timed_out: true };
        for (on, covered) in [
            (none.clone(), vec![]),
            (
                RetryOn {
                    connect: true,
                    ..none.clone()
                },
                vec![refused, silent],
            ),
            (
                RetryOn {
                    timeout: true,
                    ..none.clone()
                },
                vec![silent, Fault::Timeout],
            ),
            (
                RetryOn {
                    reset: true,
                    ..none.clone()
                },
                vec![Fault::Reset],
            ),
            (
                RetryOn {
                    statuses: vec![429..=429, 502..=504],
                    ..none
                },
                vec![Fault::Status(429), Fault::Status(503), Fault::Unavailable],
            ),
        ] {
            for fault in [
                refused,
                silent,
                Fault::Reset,
                Fault::Timeout,
                Fault::Status(429),
                Fault::Status(500),
                Fault::Status(503),
                Fault::Unavailable,
            ] {
                assert_eq!(fault.is_covered(&on), covered.contains(&fault), "{fault:?}");
            }
        }
    }

    #[test]
    fn only_idempotent_requests_with_bodies_that_fit_are_surely_repeatable() {
        let retry = Retry {
            buffer: 100,
            ..Retry::default()
        };
        for (method, name, value, expected) in [
            (Method::GET, "accept", "*/*", true),
            (Method::PUT, "content-length", "100", true),
            (Method::PUT, "content-length", "101", false),
            (Method::PUT, "content-length", "many", false),
            (Method::PUT, "transfer-encoding", "chunked", false),
            (Method::DELETE, "content-length", "0", true),
            (Method::POST, "content-length", "0", false),
            (Method::PATCH, "content-length", "0", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(
                is_surely_repeatable(&method, (&headers).into(), &retry),
                expected,
                "{method} {name}: {value}"
            );
        }
    }

    proptest! {
        #[test]
        fn pauses_grow_by_doubling_and_never_beyond_the_longest(number: u32, chance in 0.0..1.0) {
            let pause = back_off(number, chance);
            prop_assert!(pause <= LONGEST);
            prop_assert!(pause <= back_off(number.saturating_add(1), chance));
            prop_assert!(back_off(1, chance) < STEP);
            prop_assert!(back_off(2, chance) < 3 * STEP);
        }
    }
}
