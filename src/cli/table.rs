//! Aligned columns for people.

use std::io::{self, Write};

use super::escape;

/// A table that is written as its rows come. A column is as wide as its widest cell so far, so that
/// what is added later lines up unless it is wider than all before.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    headings: [&'static str; COLUMNS],
    widths: [usize; COLUMNS],
    begun: bool,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty table. The headings are written above the first row.
    pub(super) fn new(headings: [&'static str; COLUMNS]) -> Self {
        Self {
            headings,
            widths: headings.map(str::len),
            begun: false,
        }
    }

    /// Writes rows below those before. Their text may be anybody's.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub(super) fn write(
        &mut self,
        out: &mut dyn Write,
        rows: impl IntoIterator<Item = [String; COLUMNS]>,
    ) -> io::Result<()> {
        let harmless = |cell: String| escape::for_terminal(&cell).into_owned();
        let mut rows: Vec<_> = rows.into_iter().map(|row| row.map(harmless)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if !self.begun {
            self.begun = true;
            rows.insert(0, self.headings.map(str::to_owned));
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let cells = row.iter().zip(self.widths);
            let line: String = cells
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(batches: &[&[[&str; 2]]]) -> String {
        let (mut out, mut table) = (Vec::new(), Table::new(["NAME", "WHY"]));
        for batch in batches {
            let rows = batch.iter().map(|row| row.map(str::to_owned));
            table.write(&mut out, rows).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_under_their_headings() {
        let rows = [["a", "weight 1 → 5"], ["überlang", ""]];
        assert_eq!(
            written(&[&rows]),
            "NAME      WHY\na         weight 1 → 5\nüberlang\n"
        );
    }

    #[test]
    fn later_rows_line_up_with_those_before_and_headings_come_once() {
        let text = written(&[&[], &[["longest", "x"]], &[["b", "y"]], &[]]);
        assert_eq!(text, "NAME     WHY\nlongest  x\nb        y\n");
    }

    #[test]
    fn a_cell_cannot_break_its_line() {
        let text = written(&[&[["a\nb", "\u{1b}[2J"]]]);
        assert_eq!(text, "NAME  WHY\na\\nb  \\u{1b}[2J\n");
    }
}
