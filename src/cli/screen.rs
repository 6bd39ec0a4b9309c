//! Where commands write, and what can be shown there.

use std::env;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use super::escape;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Even in files and pipes
    Always,
    /// Not at all
    Never,
}

/// The output of a command and what goes beside it.
pub(super) struct Screen<'a> {
    /// What was asked for.
    pub(super) out: &'a mut dyn Write,
    /// What else is worth knowing.
    pub(super) err: &'a mut dyn Write,
    /// How `out` may look.
    pub(super) look: Look,
}

/// How output may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Whether it has colours.
    pub(super) colored: bool,
    /// How many columns there are; `None` when lines may be as long as they like.
    pub(super) width: Option<usize>,
}

impl Look {
    /// What suits standard output, see [no-color.org](https://no-color.org).
    pub(super) fn of_stdout(color: Color) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && !set("NO_COLOR") && !is_dumb,
        };
        let width = is_terminal.then(columns).flatten();
        Self { colored, width }
    }
}

impl Screen<'_> {
    /// Writes a line, which may hold anybody's text.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", escape::for_terminal(text))?;
        self.out.flush()
    }

    /// Writes what the API gave.
    ///
    /// # Errors
    /// When the output takes no more.
    pub(super) fn json(&mut self, body: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(body);
        if !text.is_empty() {
            let lines: Vec<_> = text.lines().map(escape::json).collect();
            writeln!(self.out, "{}", lines.join("\n"))?;
        }
        self.out.flush()
    }

    /// Tells something beside the output.
    pub(super) fn note(&mut self, text: &str) {
        super::remote::note(self.err, text);
    }
}

/// The width of the terminal: what COLUMNS says, or what it has.
fn columns() -> Option<usize> {
    let said = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let has = || {
        Some(usize::from(
            rustix::termios::tcgetwinsize(io::stdout()).ok()?.ws_col,
        ))
    };
    said.or_else(has).filter(|columns| *columns > 0)
}
