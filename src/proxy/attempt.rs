//! One try of a request on one instance: its connection, how far it has come, and the time limits
//! that hold meanwhile.
//!
//! What a limit counts: `request` is about waiting, so the time in which a body arrives from the client
//! is taken off; an upload is not cut because it is long. `first_byte` starts when the last of the
//! request has been passed on. From the head of the response on, `between_bytes` counts the silence
//! of the instance since it was last heard or sent something, see [`watchdog`]. `total` runs from the arrival of the request's head, whatever
//! happens. A connection that has switched protocols belongs to the two ends and has no limits.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorType, Result};

use crate::cluster::policy::Timeouts;

use super::watchdog::{self, Limit, Timer};

/// The most interim answers of one try: far more than anybody needs, and an end to a flood of them.
pub(super) const MAX_INTERIM: u32 = 100;

/// A try that has its connection.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Its connection, unless that carries other requests as well.
    file: Option<RawFd>,
    stage: Stage,
    /// Since when the next part of the request's body is waited for.
    waiting_since: Instant,
    /// How much of the request's body was passed on.
    passed: u64,
    interim: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The head of the response has not come; `whole` once all of the request was passed on.
    Asked { whole: bool },
    /// It has; `until_close` when nothing but the end of the connection ends the body.
    Answering { until_close: bool },
    /// The response is over.
    Answered,
    /// The connection has switched protocols.
    Upgraded,
}

/// What of a request's body has arrived, over all tries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrival {
    /// Bytes.
    pub(super) length: u64,
    /// How long they took.
    pub(super) took: Duration,
}

/// The moments by which a request must be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// The head of the response must have come.
    pub(super) head: (Instant, Timer),
    /// The response must have ended.
    pub(super) total: Option<Instant>,
}

impl Deadlines {
    pub(super) fn new(arrived: Instant, arrival: Arrival, timeouts: &Timeouts) -> Self {
        let request = arrived + timeouts.request + arrival.took;
        let total = timeouts.total.map(|total| arrived + total);
        Self {
            head: match total {
                Some(total) if total < request => (total, Timer::Total),
                _ => (request, Timer::Request),
            },
            total,
        }
    }
}

impl Attempt {
    /// A try whose connection is this file; `None` if other requests share it.
    pub(super) fn new(file: Option<RawFd>, now: Instant) -> Self {
        Self {
            file,
            stage: Stage::Asked { whole: false },
            waiting_since: now,
            passed: 0,
            interim: 0,
        }
    }

    /// Whether its connection carries other requests as well.
    pub(super) fn is_shared(&self) -> bool {
        self.file.is_none()
    }

    /// Whether no head of a response has come.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.stage, Stage::Asked { .. })
    }

    /// Whether all of the request was passed on.
    pub(super) fn has_asked(&self) -> bool {
        self.stage != Stage::Asked { whole: false }
    }

    /// Counts a part of the request's body, which may have been passed on in an earlier try already.
    pub(super) fn pass_request(
        &mut self,
        length: usize,
        ends: bool,
        arrival: &mut Arrival,
        now: Instant,
    ) {
        self.passed += length as u64;
        if self.passed > arrival.length {
            arrival.length = self.passed;
            arrival.took += now.saturating_duration_since(self.waiting_since);
        }
        self.waiting_since = now;
        if let Stage::Asked { whole } = &mut self.stage {
            *whole |= ends;
        }
    }

    /// Sets the limits on the head of the response; `first_byte` counts from `now`.
    pub(super) fn await_head(
        &self,
        deadlines: Deadlines,
        first_byte: Option<Duration>,
        now: Instant,
    ) {
        let Stage::Asked { whole } = self.stage else {
            return;
        };
        let (mut at, mut timer) = deadlines.head;
        if let Some(first_byte) = first_byte.filter(|_| whole)
            && now + first_byte < at
        {
            (at, timer) = (now + first_byte, Timer::FirstByte);
        }
        watchdog::set(self.file, Limit::At(at, timer), now);
    }

    /// Counts an interim answer; says whether there were too many.
    pub(super) fn floods(&mut self) -> bool {
        self.interim += 1;
        self.interim > MAX_INTERIM
    }

    /// The head of a response with this status has come; `until_close` if only the end of a connection
    /// ends it.
    pub(super) fn answer(&mut self, status: StatusCode, until_close: bool) {
        self.stage = if status == StatusCode::SWITCHING_PROTOCOLS {
            watchdog::clear();
            Stage::Upgraded
        } else {
            Stage::Answering {
                until_close: !self.is_shared() && until_close,
            }
        };
    }

    /// A part of the request was passed on to who answers already, and may wait for it: a silence counts
    /// anew.
    pub(super) fn await_more(&self, total: Option<Instant>, silence: Duration, now: Instant) {
        let is_open = matches!(self.stage, Stage::Answering { .. });
        if is_open && (watchdog::fired().is_none() || self.is_shared()) {
            watchdog::set(self.file, Limit::Flow { silence, total }, now);
        }
    }

    /// Sets the limits on the rest of the response. `ends` tells that there is none.
    ///
    /// # Errors
    /// When a limit has been reached that cut the response.
    pub(super) fn await_body(
        &mut self,
        ends: bool,
        total: Option<Instant>,
        silence: Duration,
        now: Instant,
    ) -> Result<()> {
        let Stage::Answering { until_close } = self.stage else {
            return Ok(());
        };
        if ends {
            self.stage = Stage::Answered;
            let cut = until_close && watchdog::fired().is_some();
            watchdog::clear();
            return if cut { Err(cut_off()) } else { Ok(()) };
        }
        if total.is_some_and(|total| total <= now) {
            return Err(cut_off());
        }
        self.await_more(total, silence, now);
        Ok(())
    }
}

/// Whether only the end of the connection tells where a response ends (RFC 9112, section 6.3).
pub(super) fn ends_with_connection(method: &Method, response: &ResponseHeader) -> bool {
    let framed = |name| response.headers.contains_key(name);
    let bodiless = matches!(
        response.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    !bodiless
        && method != Method::HEAD
        && !framed(header::CONTENT_LENGTH)
        && !framed(header::TRANSFER_ENCODING)
}

fn cut_off() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the response took too long").into_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_time_a_body_takes_to_arrive_is_taken_off_once() {
        let start = Instant::now();
        let mut arrival = Arrival::default();
        let mut first = Attempt::new(Some(0), start);
        first.pass_request(10, false, &mut arrival, start + SECOND);
        first.pass_request(10, false, &mut arrival, start + 3 * SECOND);
        assert_eq!((arrival.length, arrival.took), (20, 3 * SECOND));
        assert!(!first.has_asked());
        // The second try is given what was kept, then the rest arrives.
        let mut second = Attempt::new(Some(0), start + 10 * SECOND);
        second.pass_request(20, false, &mut arrival, start + 11 * SECOND);
        assert_eq!((arrival.length, arrival.took), (20, 3 * SECOND));
        second.pass_request(5, true, &mut arrival, start + 12 * SECOND);
        assert_eq!((arrival.length, arrival.took), (25, 4 * SECOND));
        assert!(second.has_asked());
    }

    #[test]
    fn the_earlier_of_request_and_total_limits_the_head() {
        let now = Instant::now();
        let arrival = Arrival {
            length: 1,
            took: 2 * SECOND,
        };
        let timeouts = |total| Timeouts {
            request: SECOND,
            total,
            ..Timeouts::default()
        };
        for (total, expected) in [
            (None, (now + 3 * SECOND, Timer::Request)),
            (Some(5 * SECOND), (now + 3 * SECOND, Timer::Request)),
            (Some(2 * SECOND), (now + 2 * SECOND, Timer::Total)),
        ] {
            let deadlines = Deadlines::new(now, arrival, &timeouts(total));
            assert_eq!(deadlines.head, expected);
            assert_eq!(deadlines.total, total.map(|total| now + total));
        }
    }

    #[test]
    fn a_response_without_a_length_or_chunks_ends_with_its_connection() {
        let response = |status, header: Option<(&'static str, &'static str)>| {
            let mut response = ResponseHeader::build(status, None).unwrap();
            if let Some((name, value)) = header {
                response.insert_header(name, value).unwrap();
            }
            response
        };
        for (method, response, expected) in [
            (Method::GET, response(200, None), true),
            (Method::HEAD, response(200, None), false),
            (Method::GET, response(204, None), false),
            (Method::GET, response(304, None), false),
            (
                Method::GET,
                response(200, Some(("content-length", "0"))),
                false,
            ),
            (
                Method::GET,
                response(200, Some(("transfer-encoding", "chunked"))),
                false,
            ),
        ] {
            assert_eq!(
                ends_with_connection(&method, &response),
                expected,
                "{method} {response:?}"
            );
        }
    }

    #[test]
    fn interim_answers_have_an_end() {
        let mut attempt = Attempt::new(Some(0), Instant::now());
        assert!((0..MAX_INTERIM).all(|_| !attempt.floods()));
        assert!(attempt.floods());
    }
}
