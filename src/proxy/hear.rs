//! The head of an answer: what it says of the instance and of the request's tries, whoever has read it.

use std::time::{Instant, SystemTime};

use http::StatusCode;
use pingora::{Error, ErrorType, Result};

use crate::fields::Fields;
use crate::telemetry::record::Outcome;

use super::attempt::Attempt;
use super::context::Context;
use super::retry::Replay;
use super::verdict::Verdict;
use super::{hints, watchdog};

/// The head of an answer, as far as it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    pub(super) status: StatusCode,
    pub(super) fields: Fields<'a>,
    pub(super) verdict: Verdict,
    /// Whether the request asked for another protocol.
    pub(super) may_switch: bool,
}

impl<'a> Heard<'a> {
    /// The head of an answer to what is no call, and asked for no other protocol.
    pub(super) fn of(status: StatusCode, fields: Fields<'a>) -> Self {
        Self {
            status,
            fields,
            verdict: Verdict::of_status(status, fields, SystemTime::now),
            may_switch: false,
        }
    }
}

impl Context {
    /// The head of an answer has come; says whether it is the final one.
    ///
    /// # Errors
    /// When it is no answer to what was asked, comes too late, or another instance is to be asked
    /// instead.
    pub(super) fn hear(&mut self, heard: Heard<'_>, replay: Replay, now: Instant) -> Result<bool> {
        let Heard { status, fields, .. } = heard;
        let switches = status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !heard.may_switch {
            let unasked = "it switched protocols unasked";
            return Err(Error::new_up(ErrorType::Custom(unasked)));
        }
        // An answer to what was not sent in full may have waited behind what was being sent.
        let asked = self.attempt.as_ref().is_some_and(Attempt::has_asked);
        if asked && watchdog::fired().is_some() {
            let late = "the answer crossed its deadline";
            return Err(Error::explain(ErrorType::ReadTimedout, late).into_up());
        }
        if status.is_informational() && !switches {
            if self.attempt.as_mut().is_some_and(Attempt::floods) {
                let endless = "interim answers without end";
                return Err(Error::new_up(ErrorType::Custom(endless)));
            }
            return Ok(false);
        }
        if let Some(pick) = &self.pick
            && let Some(timeout) = hints::keep_alive(fields)
        {
            pick.endpoint().announce_keep_alive(timeout);
        }
        let since = now - self.arrived();
        self.trail.ended(|| Outcome::Answered(status), since);
        if let (Some(pick), Some(counters)) = (&self.pick, self.trail.counters()) {
            counters.heard(now.saturating_duration_since(pick.started()));
        }
        self.weigh(replay, heard.verdict, now)?;
        Ok(true)
    }
}
