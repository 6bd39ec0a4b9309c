//! The access log: a line for each request.

use std::path::PathBuf;

use super::record::Record;

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where lines go.
    pub to: Target,
    /// What they look like.
    pub format: Format,
    /// The fields of [`Format::Json`], in order; empty is all that are there by default.
    pub fields: Vec<String>,
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
}

/// What writes the lines.
#[derive(Debug, Default)]
pub struct AccessLog;

impl AccessLog {
    pub(super) fn configure(&self, _settings: Option<&Settings>) {}

    pub(super) fn write(&self, _record: &Record<'_>) {}
}
