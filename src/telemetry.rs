//! What callboard tells of the requests it served: a line in the access log, a trace, an explanation.
//! Figures are counted where things happen, see [`figures`](crate::figures).
//!
//! ```text
//! head of a request ─ Telemetry::watch ─▶ Watch: who wants to know of it, drawn once
//! its end           ─ Telemetry::finish ◀─ Record: all there is to know, borrowed
//!                       ├─ access_log   a line, written by a thread of its own
//!                       ├─ trace        spans, exported by a thread of their own
//!                       └─ explain      kept in a ring, to be asked for by the request's id
//! ```
//!
//! A request that nobody wants to know of costs the drawing alone.
//!
//! Architecture invariant: no request waits for any of them. What cannot be kept up with is dropped and
//! counted.

pub mod access_log;
pub mod explain;
mod hex;
pub mod record;
pub mod trace;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;

use crate::fields::Fields;
use crate::figures::statuses::Statuses;
use crate::figures::traffic::Requests;

use access_log::AccessLog;
pub use access_log::Unopened;
use explain::{Explanation, Explanations, Notes};
use record::Record;
use trace::Tracer;

/// What is told, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is counted.
    pub metrics: Metrics,
    /// The access log; `None` is off.
    pub access_log: Option<access_log::Settings>,
    /// Where traces go; `None` is nowhere.
    pub traces: Option<trace::Settings>,
    /// Of which requests explanations are kept; `None` is of none.
    pub explain: Option<explain::Settings>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Whether requests are counted and timed.
    pub requests: bool,
    /// The most instances that have figures of their own.
    pub instances: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: true,
            instances: 2_000,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            metrics: Metrics::default(),
            access_log: None,
            traces: None,
            explain: Some(explain::Settings::default()),
        }
    }
}

/// Takes what is known of requests to whoever wants to know. Its settings can change at any time.
#[derive(Debug)]
pub struct Telemetry {
    settings: ArcSwap<Settings>,
    access_log: AccessLog,
    tracer: Tracer,
    explanations: Explanations,
    unrouted: Arc<Requests>,
    malformed: Statuses,
    unmirrored: AtomicU64,
}

/// Who wants to know of a request; drawn when its head has come.
#[derive(Debug, Default)]
pub struct Watch {
    /// Whether it is counted and timed.
    pub counted: bool,
    /// Whether it is logged.
    pub logged: bool,
    /// Whether it is logged if it fails.
    pub logged_if_failed: bool,
    /// Whether its choices are explained.
    pub explained: bool,
    /// Its place in a trace, if there are traces. One that is not sampled is passed on all the same.
    pub trace: Option<trace::Context>,
}

impl Watch {
    /// Whether anybody wants to know more than what is counted.
    pub fn wants_record(&self) -> bool {
        self.logged_if_failed
            || self.explained
            || self.trace.as_ref().is_some_and(|trace| trace.sampled)
    }
}

impl Telemetry {
    /// Tells what `settings` say.
    ///
    /// # Errors
    /// When the access log cannot be opened.
    pub fn new(settings: Settings) -> Result<Self, Unopened> {
        let telemetry = Self {
            settings: ArcSwap::from_pointee(Settings::default()),
            access_log: AccessLog::default(),
            tracer: Tracer::default(),
            explanations: Explanations::default(),
            unrouted: Arc::default(),
            malformed: Statuses::default(),
            unmirrored: AtomicU64::new(0),
        };
        telemetry.configure(settings)?;
        Ok(telemetry)
    }

    /// Goes by other settings from now on.
    ///
    /// # Errors
    /// When the access log cannot be opened. Everything stays as it was then.
    pub fn configure(&self, settings: Settings) -> Result<(), Unopened> {
        self.access_log.configure(settings.access_log.as_ref())?;
        self.tracer.configure(settings.traces.as_ref());
        self.explanations.configure(settings.explain.as_ref());
        self.settings.store(settings.into());
        Ok(())
    }

    /// What is told now.
    pub fn settings(&self) -> std::sync::Arc<Settings> {
        self.settings.load_full()
    }

    /// Draws who wants to know of the request from `client` with these `headers`.
    pub fn watch(&self, headers: Fields<'_>, client: IpAddr) -> Watch {
        let settings = self.settings.load();
        let access_log = settings.access_log.as_ref();
        Watch {
            counted: settings.metrics.requests,
            logged: access_log.is_some_and(access_log::Settings::draw),
            logged_if_failed: access_log.is_some(),
            explained: (settings.explain.as_ref())
                .is_some_and(|settings| settings.draw(headers, client)),
            trace: (settings.traces.as_ref()).map(|settings| self.tracer.begin(settings, headers)),
        }
    }

    /// A request is over: tells those of it who want to know.
    pub fn finish(&self, record: &Record<'_>, watch: &Watch) {
        if watch.logged || (watch.logged_if_failed && record.has_failed()) {
            self.access_log.write(record);
        }
        if let Some(context) = watch.trace.as_ref().filter(|context| context.sampled) {
            self.tracer.export(record, context);
        }
    }

    /// A request that is explained is over: keeps what was noted of it.
    pub fn explain(&self, record: &Record<'_>, notes: Notes) {
        let settings = self.settings.load();
        let is_asked = (settings.explain.as_ref())
            .is_some_and(|settings| settings.is_asked(record.headers.into(), record.client));
        self.explanations
            .keep(Explanation::new(record, notes, is_asked));
    }

    /// The access log, to reopen it and for its figures.
    pub fn access_log(&self) -> &AccessLog {
        &self.access_log
    }

    /// The traces, for their figures.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// The requests that led to no service.
    pub fn unrouted(&self) -> &Arc<Requests> {
        &self.unrouted
    }

    /// What was answered to clients whose request was none.
    pub fn malformed(&self) -> &Statuses {
        &self.malformed
    }

    /// Copies for mirrors that were to be made and were not.
    pub fn unmirrored(&self) -> &AtomicU64 {
        &self.unmirrored
    }

    /// What is kept of requests.
    pub fn explanations(&self) -> &Explanations {
        &self.explanations
    }
}
