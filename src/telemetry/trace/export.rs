//! The way of spans to a collector: a bounded queue, and a thread that empties it in batches over
//! [OTLP/HTTP](https://opentelemetry.io/docs/specs/otlp/#otlphttp) in protobuf.
//!
//! What a collector does not take within the time for one batch, tries included, is dropped. The thread
//! ends with its [`Exporter`], when what had been given to it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};
use opentelemetry_otlp::{Protocol, RetryPolicy, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use reqwest::redirect::Policy;
use tokio::runtime::Runtime;

use super::warnings::Warnings;
use super::{Counts, Settings, resource};

/// The most requests whose spans wait.
const QUEUE: usize = 2_048;
/// Spans that are not waited with any longer.
const BATCH: usize = 512;
/// How long spans are waited with.
const DELAY: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to look again for room in a queue that is full.
const PATIENCE: Duration = Duration::from_millis(5);

/// The way to one collector.
#[derive(Debug)]
pub(super) struct Exporter {
    endpoint: String,
    name: String,
    queue: SyncSender<Message>,
    /// Nobody gives it spans any more.
    left: Arc<AtomicBool>,
}

enum Message {
    /// The spans of one request.
    Spans(Vec<SpanData>),
    /// Tells when all before it are gone.
    Flush(SyncSender<()>),
}

impl Exporter {
    /// A way to the collector that `settings` name; `None`, and a warning, if there can be none.
    pub(super) fn start(settings: &Settings, counts: &Arc<Counts>) -> Option<Self> {
        let started = Self::try_start(settings, counts);
        started
            .inspect_err(|why| warn!("no traces are exported to {}: {why}", settings.endpoint))
            .ok()
    }

    fn try_start(settings: &Settings, counts: &Arc<Counts>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let mut otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client(&settings.endpoint)?)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint))
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
            .with_retry_policy(RetryPolicy::recommended())
            .build()
            .map_err(|error| error.to_string())?;
        otlp.set_resource(&resource::of(&settings.name));
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let left = Arc::<AtomicBool>::default();
        let work = Work {
            endpoint: settings.endpoint.clone(),
            messages,
            left: Arc::clone(&left),
            otlp,
            runtime,
            counts: Arc::clone(counts),
            warnings: Warnings::default(),
        };
        thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || work.run())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            endpoint: settings.endpoint.clone(),
            name: settings.name.clone(),
            queue,
            left,
        })
    }

    /// Whether it leads where `settings` say.
    pub(super) fn is_for(&self, settings: &Settings) -> bool {
        self.endpoint == settings.endpoint && self.name == settings.name
    }

    /// Takes the spans of a request along, unless too many wait.
    pub(super) fn take(&self, spans: Vec<SpanData>) -> bool {
        self.queue.try_send(Message::Spans(spans)).is_ok()
    }

    /// Waits until what was taken so far is gone, at most `within` this time.
    pub(super) fn flush(&self, within: Duration) {
        let end = Instant::now() + within;
        let (flushed, is_flushed) = mpsc::sync_channel(1);
        let mut message = Message::Flush(flushed);
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = refused;
            thread::sleep(PATIENCE);
        }
        let left = end.saturating_duration_since(Instant::now());
        // Either way there is nothing more to do for them.
        let _ = is_flushed.recv_timeout(left);
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

/// What asks the collector. Where the endpoint is HTTPS, it believes whom the system does.
fn client(endpoint: &str) -> Result<reqwest::Client, String> {
    // Somebody else may have set one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(TIMEOUT);
    let builder = if endpoint.starts_with("https:") {
        builder
    } else {
        // The system need not have any, when nobody asks for them.
        builder.tls_certs_only([])
    };
    builder.build().map_err(|error| error.to_string())
}

/// What the thread does.
struct Work {
    endpoint: String,
    messages: Receiver<Message>,
    left: Arc<AtomicBool>,
    otlp: opentelemetry_otlp::SpanExporter,
    runtime: Runtime,
    counts: Arc<Counts>,
    warnings: Warnings,
}

impl Work {
    fn run(mut self) {
        while let Ok(first) = self.messages.recv() {
            let (batch, flushed) = self.gather(first);
            self.export(batch);
            if let Some(flushed) = flushed {
                // Whoever asked may have given up.
                let _ = flushed.try_send(());
            }
        }
    }

    /// A batch, and whom to tell when it is gone.
    fn gather(&self, first: Message) -> (Vec<SpanData>, Option<SyncSender<()>>) {
        let due = Instant::now() + DELAY;
        let mut batch = Vec::new();
        let mut message = first;
        loop {
            match message {
                Message::Spans(spans) => batch.extend(spans),
                Message::Flush(flushed) => return (batch, Some(flushed)),
            }
            if batch.len() >= BATCH {
                return (batch, None);
            }
            let wait = due.saturating_duration_since(Instant::now());
            message = match self.messages.recv_timeout(wait) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return (batch, None);
                }
            };
        }
    }

    fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        if spans == 0 {
            return;
        }
        // Nobody waits for what is left when it has failed once.
        if self.left.load(Ordering::Relaxed) && self.warnings.is_failing() {
            return self.counts.drop_some(spans);
        }
        match self.runtime.block_on(self.otlp.export(batch)) {
            Ok(()) => {
                self.counts
                    .exported
                    .fetch_add(spans as u64, Ordering::Relaxed);
                if self.warnings.taken() {
                    info!("traces are exported to {} again", self.endpoint);
                }
            }
            Err(error) => {
                self.counts.drop_some(spans);
                if let Some(spans) = self.warnings.lost(spans, Instant::now()) {
                    warn!(
                        "{spans} spans were lost, as traces cannot be exported to {}: {error}; \
                         is a collector there (telemetry.traces.endpoint)?",
                        self.endpoint
                    );
                }
            }
        }
    }
}
