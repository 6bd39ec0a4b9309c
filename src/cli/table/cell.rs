//! What stands in one place of a table: text in colours that mean something.

use clap::builder::styling::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::escape;

/// What a colour means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Worth a look.
    Doubtful,
    /// Not as it should be.
    Bad,
    /// On its way.
    Moving,
    /// Of less interest.
    Faint,
    /// A heading.
    Strong,
}

/// Some text, in parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    parts: Vec<(Tone, String)>,
}

impl Tone {
    /// That of an availability. What is not known is plain.
    pub(in crate::cli) fn of(availability: &str) -> Self {
        match availability {
            "ready" => Self::Good,
            "starting" | "draining" => Self::Moving,
            "suspect" => Self::Doubtful,
            "unhealthy" | "ejected" | "down" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn style(self) -> Style {
        let plain = Style::new();
        match self {
            Self::Plain => plain,
            Self::Good => AnsiColor::Green.on_default(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Moving => AnsiColor::Cyan.on_default(),
            Self::Faint => plain.dimmed(),
            Self::Strong => plain.bold(),
        }
    }
}

impl Cell {
    /// Text in one tone. Whatever a terminal would obey in it is made visible.
    pub(in crate::cli) fn new(tone: Tone, text: &str) -> Self {
        Self::default().and(tone, text)
    }

    /// The same with more text behind it.
    pub(in crate::cli) fn and(mut self, tone: Tone, text: &str) -> Self {
        if !text.is_empty() {
            let text = escape::for_terminal(text).into_owned();
            self.parts.push((tone, text));
        }
        self
    }

    /// The columns it takes on a terminal.
    pub(in crate::cli) fn width(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.width()).sum()
    }

    /// Writes it to `line`, cut off with … if it is wider than `most`; gives the columns it takes.
    pub(in crate::cli) fn write(&self, line: &mut String, colored: bool, most: usize) -> usize {
        let cut = self.width() > most;
        let mut left = if cut { most.saturating_sub(1) } else { most };
        let mut used = 0;
        for (tone, text) in &self.parts {
            let (shown, width) = beginning(text, left);
            paint(line, *tone, shown, colored);
            (left, used) = (left - width, used + width);
            if shown.len() < text.len() {
                break;
            }
        }
        if cut && most > 0 {
            line.push('…');
            used += 1;
        }
        used
    }

    /// All of it.
    pub(in crate::cli) fn text(&self, colored: bool) -> String {
        let mut line = String::new();
        self.write(&mut line, colored, usize::MAX);
        line
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(Tone::Plain, &text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(Tone::Plain, text)
    }
}

/// `text`, cut off with … if it is wider than `most` columns.
pub(in crate::cli) fn shortened(text: &str, most: usize) -> String {
    let mut shown = String::new();
    Cell::from(text).write(&mut shown, false, most);
    shown
}

/// As much of `text` as fits into `most` columns, and how many it takes.
fn beginning(text: &str, most: usize) -> (&str, usize) {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let width = c.width().unwrap_or_default();
        if used + width > most {
            return (&text[..at], used);
        }
        used += width;
    }
    (text, used)
}

fn paint(line: &mut String, tone: Tone, text: &str, colored: bool) {
    use std::fmt::Write;
    let style = tone.style();
    let _ = match colored && tone != Tone::Plain && !text.is_empty() {
        true => write!(line, "{style}{text}{style:#}"),
        false => write!(line, "{text}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(cell: &Cell, colored: bool, most: usize) -> (String, usize) {
        let mut line = String::new();
        let used = cell.write(&mut line, colored, most);
        (line, used)
    }

    #[test]
    fn what_is_too_wide_ends_in_an_ellipsis_and_takes_no_more_than_it_may() {
        let cell = Cell::new(Tone::Good, "ready").and(Tone::Plain, " 日本語");
        assert_eq!(cell.width(), 12);
        for (most, text, used) in [
            (12, "ready 日本語", 12),
            (11, "ready 日本…", 11),
            (10, "ready 日…", 9),
            (6, "ready…", 6),
            (3, "re…", 3),
            (1, "…", 1),
            (0, "", 0),
        ] {
            assert_eq!(written(&cell, false, most), (text.to_owned(), used));
        }
    }

    #[test]
    fn a_colour_ends_where_its_text_does() {
        let cell = Cell::new(Tone::Bad, "down").and(Tone::Plain, " for now");
        let (line, _) = written(&cell, true, usize::MAX);
        assert_eq!(line, "\u{1b}[31mdown\u{1b}[0m for now");
        assert_eq!(written(&cell, true, 3).0, "\u{1b}[31mdo\u{1b}[0m…");
    }

    #[test]
    fn a_cell_cannot_command_the_terminal() {
        let cell = Cell::from("\u{1b}[2J\u{202e}");
        assert_eq!(cell.text(true), "\\u{1b}[2J\\u{202e}");
    }
}
