//! The access log: a line for each request.
//!
//! ```text
//! request ─ Record ─▶ line ─ json | combined ─▶ bytes ─ pipe ─▶ writer, a thread ─▶ sink: file | stdout
//! ```
//!
//! A request writes its line into a buffer that its thread keeps and hands the bytes over; nothing it
//! does waits for a disk or for whoever reads standard output. What the writer cannot keep up with is
//! dropped and counted.

mod combined;
mod event;
mod field;
mod json;
mod line;
mod pipe;
mod sink;
mod text;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use log::error;

use super::record::Record;

pub use event::{Connection, Refused};
pub use field::{Field, UnknownField};

use json::Column;
use line::Line;
use pipe::Pipe;

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where lines go.
    pub to: Target,
    /// What they look like.
    pub format: Format,
    /// The fields of [`Format::Json`], in order; empty is [`Field::DEFAULT`].
    pub fields: Vec<Field>,
    /// The share of requests that are logged, 0 to 1. Those that fail always are.
    pub sample: f64,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

/// What lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// The Combined Log Format of Apache httpd.
    Combined,
}

/// Why there is no access log.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {target} (telemetry.access_log.path): {error}")]
pub struct Unopened {
    target: Target,
    error: io::Error,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            to: Target::Stdout,
            format: Format::default(),
            fields: Vec::new(),
            sample: 1.0,
        }
    }
}

impl Settings {
    /// Whether the next request is logged.
    pub(super) fn draw(&self) -> bool {
        self.sample >= 1.0 || fastrand::f64() < self.sample
    }

    fn fields(&self) -> &[Field] {
        if self.fields.is_empty() {
            &Field::DEFAULT
        } else {
            &self.fields
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("on standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What writes the lines.
#[derive(Debug, Default)]
pub struct AccessLog {
    running: ArcSwapOption<Running>,
    tally: Arc<pipe::Tally>,
}

#[derive(Debug)]
struct Running {
    settings: Settings,
    /// What lines of JSON have.
    columns: Vec<Column>,
    pipe: Arc<Pipe>,
}

/// A line is rarely longer, in bytes.
const USUAL_LINE: usize = 1 << 10;
/// What a thread keeps of a buffer that one long line made large, in bytes.
const KEPT_BUFFER: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(USUAL_LINE));
}

impl AccessLog {
    /// Goes by other settings from now on; `None` ends it. What was written before still goes where it
    /// was to.
    ///
    /// # Errors
    /// When the new target cannot be opened. Everything stays as it was.
    pub(super) fn configure(&self, settings: Option<&Settings>) -> Result<(), Unopened> {
        let Some(settings) = settings else {
            self.running.store(None);
            return Ok(());
        };
        let running = self.running.load_full();
        let same = running.filter(|running| running.settings.to == settings.to);
        let pipe = match same {
            Some(running) => Arc::clone(&running.pipe),
            None => {
                let opened = Pipe::open(&settings.to, Arc::clone(&self.tally));
                Arc::new(opened.map_err(|error| Unopened {
                    target: settings.to.clone(),
                    error,
                })?)
            }
        };
        self.running.store(Some(Arc::new(Running {
            columns: settings.fields().iter().map(Column::from).collect(),
            settings: settings.clone(),
            pipe,
        })));
        Ok(())
    }

    pub(super) fn write(&self, record: &Record<'_>) {
        if let Some(running) = &*self.running.load() {
            running.write(&Line::of_request(record));
        }
    }

    /// Logs what was answered to something that was no request.
    pub fn refused(&self, refused: &Refused<'_>) {
        if let Some(running) = &*self.running.load() {
            running.write(&Line::of_refused(refused));
        }
    }

    /// Logs a connection of a TCP listener, if it is drawn or failed.
    pub fn connection(&self, connection: &Connection<'_>) {
        if let Some(running) = &*self.running.load()
            // What a client asked for with a method has no counterpart here.
            && running.settings.format == Format::Json
            && (connection.error.is_some() || running.settings.draw())
        {
            running.write(&Line::of_connection(connection));
        }
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.running.load().is_some()
    }

    /// Has its file opened anew by the name it is configured with, for whoever has moved it away.
    pub fn reopen(&self) {
        if let Some(running) = &*self.running.load() {
            running.pipe.reopen();
        }
    }

    /// Waits until all that was logged is written, for no longer than `within`, and ends it.
    pub fn close(&self, within: Duration) {
        if let Some(running) = self.running.swap(None)
            && !running.pipe.close(within)
        {
            error!(
                "the last lines of the access log {} are lost: they were not taken in time",
                running.settings.to
            );
        }
    }

    /// Lines that were written.
    pub fn lines(&self) -> u64 {
        self.tally.lines()
    }

    /// Bytes that were written.
    pub fn bytes(&self) -> u64 {
        self.tally.bytes()
    }

    /// Lines that were dropped: they came faster than they were taken, or could not be written.
    pub fn dropped(&self) -> u64 {
        self.tally.dropped()
    }
}

impl Running {
    fn write(&self, line: &Line<'_>) {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.clear();
            match self.settings.format {
                Format::Json => json::write(line, &self.columns, buffer),
                Format::Combined => combined::write(line, buffer),
            }
            self.pipe.send(buffer);
            buffer.shrink_to(KEPT_BUFFER);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn to(path: PathBuf) -> Settings {
        Settings {
            to: Target::File(path),
            ..Settings::default()
        }
    }

    fn refuse(log: &AccessLog) {
        log.refused(&Refused {
            status: 400,
            ..Refused::default()
        });
    }

    #[test]
    fn what_was_logged_before_a_change_of_the_target_goes_where_it_was_to() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["a", "b"].map(|name| folder.path().join(name));
        let log = AccessLog::default();
        log.configure(Some(&to(first.clone()))).unwrap();
        refuse(&log);
        log.configure(Some(&to(second.clone()))).unwrap();
        refuse(&log);
        refuse(&log);
        log.close(Duration::from_secs(20));
        while log.lines() < 3 {
            std::thread::yield_now();
        }
        let lines = |path| fs::read_to_string(path).unwrap().lines().count();
        assert_eq!((lines(first), lines(second)), (1, 2));
    }

    #[test]
    fn a_target_that_cannot_be_opened_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = AccessLog::default();
        log.configure(Some(&to(path.clone()))).unwrap();
        let missing = folder.path().join("missing/log");
        let error = log.configure(Some(&to(missing))).unwrap_err().to_string();
        assert!(error.contains("missing/log (telemetry.access_log.path): "));
        refuse(&log);
        log.close(Duration::from_secs(20));
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
        assert_eq!((log.lines(), log.dropped()), (1, 0));
    }
}
