//! Traces of requests ([W3C Trace Context](https://www.w3.org/TR/trace-context/)), exported over OTLP.
//!
//! A request continues the trace that its `traceparent` names, whoever sent it, or begins one. Each try
//! has a span of its own, which its instance sees as its parent; so has the request. A copy of a request
//! has none: its instance sees the request's, which keeps the trace whole without waiting for an answer
//! that nobody waits for.
//!
//! Whether a trace is sampled is decided where it begins. For those that clients began, that is at most
//! [`Settings::limit`] times a second: beyond, a request's trace goes on as one that is not sampled, and
//! tells instances so, or a client could flood the collector through all who are behind callboard.
//!
//! ```text
//! head  Tracer::begin ─▶ Context ─▶ traceparent of each try      costs a header, no more
//! end   Tracer::export: Record ─▶ spans ─▶ bounded queue ─▶ a thread ─▶ the collector
//! ```

mod export;
mod parent;
mod resource;
mod spans;
mod state;
mod warnings;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderName, HeaderValue};

use crate::fields::Fields;

use super::record::Record;
use export::Exporter;

/// Tells where a request stands in its trace.
pub const PARENT: &str = "traceparent";
/// What vendors keep of a trace along with it.
pub const STATE: &str = "tracestate";
/// [`STATE`], to look for.
pub static STATE_NAME: HeaderName = HeaderName::from_static(STATE);
/// The share of traces begun here that are sampled, unless it is set.
pub const SAMPLE: f64 = 0.01;
/// The most traces begun by clients that are sampled in a second, unless it is set.
pub const LIMIT: u32 = 1_000;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The collector's base URL, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// The share of traces begun here that are sampled, 0 to 1. Those that clients began are as they
    /// say.
    pub sample: f64,
    /// The most traces begun by clients that are sampled in a second.
    pub limit: u32,
    /// What callboard is called in them.
    pub name: String,
}

/// A request's place in a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The span of the request.
    pub span: u64,
    /// The span that it is part of; `None` if the trace begins here.
    pub parent: Option<u64>,
    /// Whether its spans are exported.
    pub sampled: bool,
    /// Whether the trace's number is known to be random (W3C Trace Context Level 2).
    pub random: bool,
    /// Whether what came as `tracestate` belongs to it, and is passed on.
    pub has_state: bool,
}

impl Context {
    /// The place of a request with these `headers`: in the trace that they name, sampled if they say so
    /// and it is `allowed`, or in a new one, sampled if it is `drawn`.
    fn begin(
        headers: Fields<'_>,
        drawn: impl FnOnce() -> bool,
        allowed: impl FnOnce() -> bool,
    ) -> Self {
        let span = fastrand::u64(..).max(1);
        match parent::of(headers) {
            Some(parent) => Self {
                trace: parent.trace,
                span,
                parent: Some(parent.span),
                sampled: parent.sampled && allowed(),
                random: parent.random,
                has_state: state::is_given(headers),
            },
            None => Self {
                trace: fastrand::u128(..).max(1),
                span,
                parent: None,
                sampled: drawn(),
                random: true,
                has_state: false,
            },
        }
    }

    /// The [`PARENT`] of whoever is asked within `span`.
    pub fn parent_for(&self, span: u64) -> HeaderValue {
        parent::header(self.trace, span, self.sampled, self.random)
    }
}

/// What exports spans.
#[derive(Debug, Default)]
pub struct Tracer {
    exporter: ArcSwapOption<Exporter>,
    /// Lets so many clients' traces be sampled.
    limiter: ArcSwapOption<DefaultDirectRateLimiter>,
    counts: Arc<Counts>,
}

/// Spans, since the process began.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counts {
    fn drop_some(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

impl Tracer {
    /// Exports as `settings` say from now on. What is on its way to another collector still gets there.
    pub(super) fn configure(&self, settings: Option<&Settings>) {
        let limit = settings.and_then(|settings| NonZeroU32::new(settings.limit));
        let limiter = limit.map(|limit| RateLimiter::direct(Quota::per_second(limit)));
        self.limiter.store(limiter.map(Arc::new));
        let goes_on = match (&*self.exporter.load(), settings) {
            (Some(exporter), Some(settings)) => exporter.is_for(settings),
            (None, None) => true,
            _ => false,
        };
        if !goes_on {
            let exporter = settings.and_then(|settings| Exporter::start(settings, &self.counts));
            self.exporter.store(exporter.map(Arc::new));
        }
    }

    /// The place of a request with these `headers` in its trace.
    pub(super) fn begin(&self, settings: &Settings, headers: Fields<'_>) -> Context {
        let drawn = || settings.sample >= 1.0 || fastrand::f64() < settings.sample;
        let allowed = || {
            let limiter = self.limiter.load();
            (limiter.as_ref()).is_some_and(|limiter| limiter.check().is_ok())
        };
        Context::begin(headers, drawn, allowed)
    }

    pub(super) fn export(&self, record: &Record<'_>, context: &Context) {
        if let Some(exporter) = &*self.exporter.load() {
            let spans = spans::of(record, context);
            let count = spans.len();
            if !exporter.take(spans) {
                self.counts.drop_some(count);
            }
        }
    }

    /// Exports what there is and nothing after it; gives up `within` this time. Blocks meanwhile.
    pub fn close(&self, within: Duration) {
        if let Some(exporter) = self.exporter.swap(None) {
            exporter.flush(within);
        }
    }

    /// Spans that a collector took, since the process began.
    pub fn exported(&self) -> u64 {
        self.counts.exported.load(Ordering::Relaxed)
    }

    /// Spans that were lost, as no collector took them or not in time, since the process began.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
