//! What is known of one thing, a line each: its name and what is said of it.

use std::io;

use super::screen::Screen;
use super::table::cell::{Cell, Tone};

/// Writes lines such as `  weight      10`, indented by `indent`. What is empty is left out.
///
/// # Errors
/// When the output takes no more.
pub(super) fn write(
    screen: &mut Screen<'_>,
    indent: usize,
    facts: &[(&str, Cell)],
) -> io::Result<()> {
    let told = facts.iter().filter(|(_, said)| said.width() > 0);
    let width = told.clone().map(|(name, _)| name.len()).max();
    let mut text = String::new();
    for (name, said) in told {
        let name = format!(
            "{:indent$}{name:<width$}",
            "",
            width = width.unwrap_or_default()
        );
        text += &Cell::new(Tone::Faint, &name).text(screen.look.colored);
        text += "  ";
        text += &said.text(screen.look.colored);
        text.push('\n');
    }
    screen.out.write_all(text.as_bytes())?;
    screen.out.flush()
}
