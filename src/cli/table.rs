//! Aligned columns for people.

pub(super) mod cell;
pub(super) mod fit;

use std::io::{self, Write};

use super::screen::Look;
use cell::{Cell, Tone};
use fit::{Priority, leave_out, shorten};

/// What stands between two columns.
const GAP: &str = "  ";

/// A table that is written as its rows come. A column is as wide as its widest cell so far, so that
/// what is added later lines up unless it is wider than all before.
#[derive(Debug)]
pub(super) struct Table<const COLUMNS: usize> {
    headings: [&'static str; COLUMNS],
    widths: [usize; COLUMNS],
    look: Look,
    priority: Priority,
    sparse: bool,
    begun: bool,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// An empty table. The headings are written above the first row.
    pub(super) fn new(headings: [&'static str; COLUMNS]) -> Self {
        Self {
            headings,
            widths: headings.map(str::len),
            look: Look::default(),
            priority: Priority::default(),
            sparse: false,
            begun: false,
        }
    }

    /// The same, for a terminal: in colour, and with cells cut off where lines would be too long.
    pub(super) fn on(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// The same, without the columns in which the first rows have nothing.
    pub(super) fn sparse(self) -> Self {
        Self {
            sparse: true,
            ..self
        }
    }

    /// The same, with columns that give way in another order than that of their widths. Which of
    /// them are left out is settled by the first rows.
    pub(super) fn by(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Writes rows below those before. Their text may be anybody's.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub(super) fn write<C: Into<Cell>>(
        &mut self,
        out: &mut dyn Write,
        rows: impl IntoIterator<Item = [C; COLUMNS]>,
    ) -> io::Result<()> {
        let rows = rows.into_iter().map(|row| row.map(Into::into));
        let mut rows: Vec<[Cell; COLUMNS]> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let begins = !std::mem::replace(&mut self.begun, true);
        if begins {
            self.begin(&mut rows);
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                // A column that was left out stays so.
                if *width > 0 {
                    *width = (*width).max(cell.width());
                }
            }
        }
        if let Some(most) = self.look.width
            && begins
        {
            leave_out(&mut self.widths, most, GAP.len(), self.priority);
        }
        let mut widths = self.widths;
        if let Some(most) = self.look.width {
            shorten(&mut widths, most, GAP.len(), self.priority);
        }
        let lines: String = rows.iter().map(|row| self.line(row, &widths)).collect();
        out.write_all(lines.as_bytes())?;
        out.flush()
    }

    fn begin(&mut self, rows: &mut Vec<[Cell; COLUMNS]>) {
        if self.sparse {
            for (column, width) in self.widths.iter_mut().enumerate() {
                if rows.iter().all(|row| row[column].width() == 0) {
                    *width = 0;
                }
            }
        }
        let heading = |text| Cell::new(Tone::Strong, text);
        rows.insert(0, self.headings.map(heading));
    }

    fn line(&self, row: &[Cell; COLUMNS], widths: &[usize; COLUMNS]) -> String {
        let mut line = String::new();
        let mut missing = 0;
        for (cell, &width) in row.iter().zip(widths).filter(|(_, width)| **width > 0) {
            // Nothing is written behind the last text of a line.
            if cell.width() > 0 {
                line.extend(std::iter::repeat_n(' ', missing));
                missing = width - cell.write(&mut line, self.look.colored, width);
            } else {
                missing += width;
            }
            missing += GAP.len();
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fit::NARROWEST;
    use super::*;

    fn written(table: &mut Table<2>, batches: &[&[[&str; 2]]]) -> String {
        let mut out = Vec::new();
        for batch in batches {
            table.write(&mut out, batch.iter().copied()).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn table() -> Table<2> {
        Table::new(["NAME", "WHY"])
    }

    fn on(width: usize) -> Table<2> {
        table().on(Look {
            colored: false,
            width: Some(width),
        })
    }

    #[test]
    fn columns_line_up_under_their_headings() {
        let rows = [["a", "weight 1 → 5"], ["überlang", ""], ["日本", "x"]];
        assert_eq!(
            written(&mut table(), &[&rows]),
            "NAME      WHY\na         weight 1 → 5\nüberlang\n日本      x\n"
        );
    }

    #[test]
    fn later_rows_line_up_with_those_before_and_headings_come_once() {
        let text = written(
            &mut table(),
            &[&[], &[["longest", "x"]], &[["b", "y"]], &[]],
        );
        assert_eq!(text, "NAME     WHY\nlongest  x\nb        y\n");
    }

    #[test]
    fn a_cell_cannot_break_its_line() {
        let text = written(&mut table(), &[&[["a\nb", "\u{1b}[2J"]]]);
        assert_eq!(text, "NAME  WHY\na\\nb  \\u{1b}[2J\n");
    }

    #[test]
    fn columns_without_anything_are_left_out_of_a_sparse_table() {
        let mut table = table().sparse();
        let text = written(&mut table, &[&[["", "x"], ["", "y"]], &[["late", "z"]]]);
        assert_eq!(text, "WHY\nx\ny\nz\n");
    }

    #[test]
    fn on_a_terminal_the_widest_column_gives_way() {
        let rows = [["web-1", "connect to 10.0.0.5:8080: connection refused"]];
        assert_eq!(
            written(&mut on(24), &[&rows]),
            "NAME   WHY\nweb-1  connect to 10.0.…\n"
        );
        let wide = written(&mut on(200), &[&rows]);
        assert!(!wide.contains('…'), "{wide}");
    }

    proptest! {
        #[test]
        fn no_line_is_longer_than_the_terminal_is_wide(
            cells in prop::collection::vec(prop::array::uniform2("[a-zé日\u{301} ]{0,30}"), 1..5),
            width in 2 * NARROWEST + GAP.len()..60,
        ) {
            let rows: Vec<_> = cells.iter().map(|row| row.each_ref().map(String::as_str)).collect();
            for line in written(&mut on(width), &[&rows]).lines() {
                prop_assert!(Cell::from(line).width() <= width, "{line:?} in {width}");
            }
        }
    }
}
