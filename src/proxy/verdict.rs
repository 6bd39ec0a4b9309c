//! What the head of an answer says of the instance, and of trying another one.

use std::time::SystemTime;

use http::StatusCode;
use pingora::http::ResponseHeader;

use crate::cluster::pick::Outcome;
use crate::fields::Fields;
use crate::grpc::Code;

use super::grpc::{self, Call, Forbidden, Head};
use super::hints;
use super::retry::Fault;

/// What the head of an answer tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// What another instance may do better.
    pub(super) fault: Option<Fault>,
    /// What it says of the instance; `None` if the rest of the answer has to tell.
    pub(super) outcome: Option<Outcome>,
    /// Whether it is a call's end, before anything of an answer.
    pub(super) is_over: bool,
}

impl Verdict {
    /// What the head of `response` tells; of an answer to `call`, if the request is one. `Retry-After`
    /// may be a date, which is why `now` is one too; it is asked for only then.
    pub(super) fn of(
        call: Option<&Call>,
        response: &ResponseHeader,
        now: impl FnOnce() -> SystemTime,
    ) -> Self {
        let fields = &response.headers;
        match call.map_or(Head::Foreign, |call| call.read(response)) {
            Head::Open => Self {
                fault: None,
                outcome: None,
                is_over: false,
            },
            Head::Over(code) => {
                let pushback = grpc::pushback(fields);
                let is_lost = code == Code::Unavailable && pushback != Some(Err(Forbidden));
                let retry_after = pushback.and_then(Result::ok);
                Self {
                    fault: is_lost.then_some(Fault::Unavailable),
                    outcome: Some(if code.is_fault() {
                        Outcome::Faulted { retry_after }
                    } else {
                        Outcome::Answered
                    }),
                    is_over: true,
                }
            }
            Head::Foreign => Self::of_status(response.status, fields.into(), now),
        }
    }

    /// What an answer that is none of gRPC tells by its status.
    pub(super) fn of_status(
        status: StatusCode,
        fields: Fields<'_>,
        now: impl FnOnce() -> SystemTime,
    ) -> Self {
        Self {
            fault: Some(Fault::Status(status.as_u16())),
            outcome: Some(if status.is_server_error() {
                let retry_after = hints::retry_after(fields, now());
                Outcome::Faulted { retry_after }
            } else {
                Outcome::Answered
            }),
            is_over: false,
        }
    }
}
