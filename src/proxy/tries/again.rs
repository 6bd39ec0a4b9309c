//! Whether a request is sent again when a try of it has failed, and what that says of its instance.

use std::fmt::Display;
use std::time::Instant;

use log::debug;
use pingora::{Error, ErrorSource, ErrorType, Result};

use crate::cluster::pick::Outcome;
use crate::dial;
use crate::grpc::Code;
use crate::proxy::attempt::Attempt;
use crate::proxy::context::Context;
use crate::proxy::failure::Failure;
use crate::proxy::retry::{self, Fault, MAX_TRIES, Replay};
use crate::proxy::ruling::Ruling;
use crate::proxy::verdict::Verdict;
use crate::proxy::watchdog::{self, Timer};

const NO_TIME: Ruling = Ruling::Over("no time is left");
const TOO_LONG: Ruling = Ruling::Over("its body is longer than retry.buffer");

impl Context {
    /// No connection could be made. Nothing of the request was sent, so any method may go to another
    /// instance, and the number of repetitions and their budget do not matter.
    pub(in crate::proxy) fn unconnected(
        &mut self,
        address: &impl Display,
        error: &mut Error,
        now: Instant,
    ) {
        let timed_out = *error.etype() == ErrorType::ConnectTimedout;
        error.set_retry(false);
        let Some(target) = &self.target else { return };
        let fault = Fault::Connect { timed_out };
        let retry = fault.is_covered(&target.policy.retry.on);
        self.trail.ruled(if retry {
            Ruling::Again(fault)
        } else {
            Ruling::NotCovered(fault)
        });
        let failure = Failure::of_connect(address, error, target.rules.timeouts.connect);
        if timed_out && self.remaining(now).is_zero() {
            // It was given less than `connect`.
            self.trail.ruled(NO_TIME);
            self.failure = Some(self.too_late());
            if let Some(pick) = self.pick.take() {
                pick.withdraw();
            }
            return;
        }
        self.failure = Some(failure);
        self.give_up_pick(Outcome::Unreachable, now);
        error.set_retry(retry);
    }

    /// The head of an answer has come. Fails with an error to be retried when the answer is one that
    /// another instance may do better than, and there is one.
    pub(in crate::proxy) fn weigh(
        &mut self,
        replay: Replay,
        verdict: Verdict,
        now: Instant,
    ) -> Result<()> {
        if verdict.fault.is_none() {
            self.trail.ruled(Ruling::PassedOn);
        }
        let Some(fault) = (verdict.fault).filter(|&fault| self.has_better(replay, fault, now))
        else {
            match (verdict.outcome, &mut self.pick) {
                (Some(outcome), _) => self.report(outcome, now),
                (None, Some(pick)) => pick.report_open(now),
                (None, None) => {}
            }
            return Ok(());
        };
        let (status, said) = match fault {
            Fault::Status(status) => (status, status.to_string()),
            _ => (503, Code::Unavailable.as_str().to_owned()),
        };
        if let Some(pick) = &self.pick {
            self.failure = Some(Failure::answered(&pick.address(), &said));
        }
        if let Some(outcome) = verdict.outcome {
            self.give_up_pick(outcome, now);
        }
        let error = Error::explain(ErrorType::HTTPStatus(status), "to be tried again");
        Err(error.into_up())
    }

    /// Whether an answer with this fault is dropped for that of another instance, which is picked
    /// at once: the answer is gone by the time of the next try. Nobody is waited for, and the request
    /// takes its place under the service's limit along.
    fn has_better(&mut self, replay: Replay, fault: Fault, now: Instant) -> bool {
        if !self.may_repeat(replay, fault, now) {
            return false;
        }
        let (Some(target), Some(pick)) = (&self.target, &self.pick) else {
            return false;
        };
        let mut tried = self.tried.clone();
        tried.add(pick.endpoint());
        let next = target.cluster.pick_instead(target.hash, &tried, now);
        self.tries.next = next.ok();
        if self.tries.next.is_none() {
            self.tries.permit = None;
            self.trail
                .ruled(Ruling::Over("no other instance can be picked"));
        }
        self.tries.next.is_some()
    }

    /// The exchange with an instance broke; decides whether the request is sent to another one.
    pub(in crate::proxy) fn broken(
        &mut self,
        replay: Replay,
        address: &impl Display,
        error: &mut Error,
        reused: bool,
        now: Instant,
    ) {
        let fired = watchdog::fired();
        watchdog::clear();
        let attempt = self.attempt.take();
        if self.pick.is_none() {
            // Withdrawn before anything was sent, or given up for its answer's status.
            if let (None, Some(target)) = (&self.failure, &self.target) {
                let service = target.cluster.name().as_str();
                self.failure = Some(Failure::nobody_available(service));
            }
            error.set_retry(true);
            return;
        }
        error.set_retry(false);
        let shared = attempt.as_ref().is_some_and(Attempt::is_shared);
        if shared && fired.is_some() {
            // Whoever listened to the client gave the try up.
            error.as_up();
        }
        if *error.esource() != ErrorSource::Upstream {
            // The client left, or callboard itself failed.
            self.pick = None;
            self.trail.ruled(Ruling::Over("the client left"));
            return;
        }
        // An instance that knows when the time is up may be faster than callboard's own alarm.
        let past_total = self.is_past_total(now).then_some(Timer::Total);
        let fired = past_total.or(fired);
        let asked = attempt.as_ref().is_some_and(Attempt::has_asked);
        if !attempt.as_ref().is_none_or(Attempt::is_unanswered) {
            self.trail.ruled(Ruling::Over("its answer had begun"));
            self.failure = Some(match fired {
                Some(timer) => self.ran_out(timer, Some(address)),
                None => Failure::of_exchange(address, error),
            });
            match fired {
                // That it was taking long was no failure yet.
                Some(Timer::Total) => self.pick = None,
                _ => self.give_up_pick(Outcome::Failed, now),
            }
            return;
        }
        if let Some(timer @ (Timer::Request | Timer::Total)) = fired {
            self.failure = Some(self.ran_out(timer, Some(address)));
            self.trail.ruled(NO_TIME);
            if asked {
                self.give_up_pick(Outcome::Failed, now);
            } else {
                // Who was waited for, the client or the instance, is not known.
                self.pick = None;
            }
            return;
        }
        let (fault, failure) = match (fired, error.etype()) {
            (Some(timer), _) => (Fault::Timeout, self.ran_out(timer, Some(address))),
            (None, ErrorType::WriteTimedout) => {
                (Fault::Timeout, self.ran_out(Timer::Request, Some(address)))
            }
            _ => (Fault::Reset, Failure::of_exchange(address, error)),
        };
        self.failure = Some(failure);
        if fired.is_none() && !reused && is_turned_away(error) {
            self.give_up_pick(Outcome::Unreachable, now);
            let refused = Fault::Connect { timed_out: false };
            let wanted = self.target.as_ref().map(|target| &target.policy.retry.on);
            let again = wanted.is_some_and(|on| refused.is_covered(on));
            let ruling = match (again, self.has_all(replay)) {
                (true, true) => Ruling::Again(refused),
                (true, false) => TOO_LONG,
                (false, _) => Ruling::NotCovered(refused),
            };
            self.trail.ruled(ruling);
            error.set_retry(ruling.is_again());
            return;
        }
        if fired.is_none() && !self.tries.burnt && is_unseen(error) {
            self.spare_pick();
            let ruling = if self.has_all(replay) {
                Ruling::AgainFor("the instance says that it has not looked at the request")
            } else {
                TOO_LONG
            };
            self.trail.ruled(ruling);
            error.set_retry(ruling.is_again());
            return;
        }
        if reused && fired.is_none() && is_closed(error) {
            let ruling = match self.is_repeatable(replay) {
                true if self.tries.burnt => Ruling::Over("a kept connection had failed it before"),
                true => Ruling::AgainFor("the instance had closed the kept connection"),
                false => self.unrepeatable(replay),
            };
            self.trail.ruled(ruling);
            debug!("{}: {} had closed a kept connection", self.name(), address);
            self.spare_pick();
            error.set_retry(ruling.is_again());
            return;
        }
        self.give_up_pick(Outcome::Failed, now);
        error.set_retry(self.may_repeat(replay, fault, now));
    }

    /// Lets go of an endpoint whose kept connection failed the request, which says nothing about it.
    fn spare_pick(&mut self) {
        if let Some(pick) = self.pick.take() {
            self.tried.add(pick.endpoint());
            self.tries.blameless = Some(pick.endpoint().key());
        }
        self.tries.burnt = true;
    }

    /// Whether the request, which was sent, is sent once more; takes its part of the budget if so.
    fn may_repeat(&mut self, replay: Replay, fault: Fault, now: Instant) -> bool {
        let ruling = self.rule(replay, fault, now);
        self.trail.ruled(ruling);
        if ruling.is_again() {
            self.tries.repeats += 1;
            self.tries.pause = retry::back_off(self.tries.repeats, fastrand::f64());
        }
        ruling.is_again()
    }

    fn rule(&mut self, replay: Replay, fault: Fault, now: Instant) -> Ruling {
        let Some(target) = &self.target else {
            return Ruling::Over("it has no target");
        };
        if !fault.is_covered(&target.policy.retry.on) {
            return match fault {
                Fault::Status(_) | Fault::Unavailable => Ruling::PassedOn,
                _ => Ruling::NotCovered(fault),
            };
        }
        if self.tries.repeats >= target.rules.attempts {
            return Ruling::UsedUp(target.rules.attempts);
        }
        if self.tries.made >= MAX_TRIES {
            return Ruling::TooOften;
        }
        // Who says that it is unavailable has not worked on the call, whatever it is.
        let unseen = fault == Fault::Unavailable && self.has_all(replay);
        if !unseen && !self.is_repeatable(replay) {
            return self.unrepeatable(replay);
        }
        if self.remaining(now).is_zero() {
            return NO_TIME;
        }
        self.tries.permit = None;
        self.tries.permit = target.cluster.try_retry();
        if self.tries.permit.is_none() {
            if let Some(counters) = self.trail.counters() {
                counters.denied();
            }
            return Ruling::Over("the budget is used up");
        }
        Ruling::Again(fault)
    }

    /// Why the request may not be sent twice.
    fn unrepeatable(&self, replay: Replay) -> Ruling {
        if replay.is_idempotent {
            TOO_LONG
        } else {
            Ruling::Over("its method is not idempotent")
        }
    }

    /// Whether the request may be sent twice.
    fn is_repeatable(&self, replay: Replay) -> bool {
        replay.is_idempotent && self.has_all(replay)
    }

    /// Whether what was passed on of the request's body is still there.
    fn has_all(&self, replay: Replay) -> bool {
        let buffer = self.target.as_ref().map_or(0, |t| t.policy.retry.buffer);
        replay.is_kept && self.arrival.length <= buffer as u64
    }
}

/// Whether the instance says that it has not looked at the request (RFC 9113, section 8.7): it closes
/// the connection and named the last request it takes, or has too many at a time.
fn is_unseen(error: &Error) -> bool {
    let Some(error) = error.root_cause().downcast_ref::<h2::Error>() else {
        return false;
    };
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || refused)
}

/// Whether the instance ended the handshake of TLS after callboard had taken it for done, and so
/// before it looked at anything else.
fn is_turned_away(error: &Error) -> bool {
    matches!(dial::tls_fault(error), Some(dial::TlsFault::Alert(_)))
}

/// Whether an exchange broke in the way it does when the instance closes the connection.
fn is_closed(error: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    matches!(error.etype(), ConnectionClosed | ReadError | WriteError)
}
