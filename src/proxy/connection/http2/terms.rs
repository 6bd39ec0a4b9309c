//! What a stream and the request path let each other know.
//!
//! Pingora owns the stream's session and shows it to the request path as one of its own kind, so what is
//! not of that kind stands here, beside the stream's task: as [`Client`](super::super::Client) for
//! HTTP/1, which can be asked itself.

use std::cell::Cell;

use crate::proxy::failure::Failure;

tokio::task_local! {
    static TERMS: Terms;
}

struct Terms {
    /// The longest body that is taken, in bytes.
    most: Cell<u64>,
    fault: Cell<Option<Fault>>,
    was_reset: Cell<bool>,
    passed: Cell<Passed>,
}

/// What has passed of the bodies of a request and its answer, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::proxy) struct Passed {
    /// From the client.
    pub(in crate::proxy) received: u64,
    /// To the client.
    pub(in crate::proxy) sent: u64,
}

/// What a client did wrong while its body came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    TooLong,
    TooSlow,
}

/// Runs what serves one stream; says whether the client reset it.
pub(super) async fn under(work: impl Future<Output = ()>) -> bool {
    let terms = Terms {
        most: Cell::new(u64::MAX),
        fault: Cell::new(None),
        was_reset: Cell::new(false),
        passed: Cell::default(),
    };
    let work = async {
        work.await;
        TERMS.try_with(|terms| terms.was_reset.get())
    };
    TERMS.scope(terms, work).await.unwrap_or(false)
}

/// Refuses a body longer than `most` bytes from now on.
pub(in crate::proxy::connection) fn limit_body(most: u64) {
    let _ = TERMS.try_with(|terms| terms.most.set(most));
}

/// What the client did wrong while its body came.
pub(in crate::proxy::connection) fn failure() -> Option<Failure> {
    let said = TERMS.try_with(|terms| (terms.fault.get(), terms.most.get()));
    let (fault, most) = said.ok()?;
    Some(match fault? {
        Fault::TooLong => Failure::body_too_long(most),
        Fault::TooSlow => Failure::slow_body(),
    })
}

/// What has passed of the request that is served here.
pub(in crate::proxy::connection) fn passed() -> Passed {
    TERMS
        .try_with(|terms| terms.passed.get())
        .unwrap_or_default()
}

/// More of its body came.
pub(super) fn note_received(bytes: usize) {
    note_passed(|passed| passed.received += bytes as u64);
}

/// More of its answer's body was sent.
pub(super) fn note_sent(bytes: usize) {
    note_passed(|passed| passed.sent += bytes as u64);
}

fn note_passed(note: impl FnOnce(&mut Passed)) {
    let _ = TERMS.try_with(|terms| {
        let mut passed = terms.passed.get();
        note(&mut passed);
        terms.passed.set(passed);
    });
}

/// The longest body that is taken, in bytes.
pub(super) fn most() -> u64 {
    TERMS.try_with(|terms| terms.most.get()).unwrap_or(u64::MAX)
}

pub(super) fn blame(fault: Fault) {
    let _ = TERMS.try_with(|terms| terms.fault.set(Some(fault)));
}

/// The client reset the stream.
pub(super) fn note_reset() {
    let _ = TERMS.try_with(|terms| terms.was_reset.set(true));
}
