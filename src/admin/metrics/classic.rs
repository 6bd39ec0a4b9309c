//! The format that Prometheus' clients had before OpenMetrics
//! ([text-based format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format)).
//!
//! Samples look the same in both. What differs are the comments: counters have their suffix in the name
//! of the family, and there are neither units nor an end.

use std::fmt::{self, Write};
use std::mem;

/// Takes a page in the one format and writes it in the other.
#[derive(Debug)]
pub(super) struct Classic<W> {
    out: W,
    /// The line that is being written.
    line: String,
    /// A `# HELP`, until it is known what of.
    help: String,
}

impl<W: Write> Classic<W> {
    /// Writes what it is given to `out`.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            line: String::new(),
            help: String::new(),
        }
    }

    fn end_line(&mut self) -> fmt::Result {
        let line = self.line.as_str();
        if line.starts_with("# HELP ") {
            mem::swap(&mut self.help, &mut self.line);
        } else if line.starts_with("# TYPE ") {
            for comment in [&self.help, &self.line] {
                if line.trim_end().ends_with(" counter") {
                    self.out.write_str(&renamed(comment))?;
                } else {
                    self.out.write_str(comment)?;
                }
            }
            self.help.clear();
        } else if !line.starts_with("# ") {
            self.out.write_str(line)?;
        }
        self.line.clear();
        Ok(())
    }
}

/// A comment about a family, with its suffix behind its name.
fn renamed(comment: &str) -> String {
    let mut words = comment.splitn(4, ' ');
    let [_, kind, name, rest] = std::array::from_fn(|_| words.next().unwrap_or_default());
    format!("# {kind} {name}_total {rest}")
}

impl<W: Write> Write for Classic<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.line.push_str(part);
            if part.ends_with('\n') {
                self.end_line()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_suffix_in_the_comments_and_units_are_left_out() {
        let page = "# HELP a How many\n# TYPE a counter\na_total{x=\"# TYPE a counter\"} 1\n\
            # HELP b_seconds How long\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\n\
            b_seconds 1.5\n# EOF\n";
        let mut written = String::new();
        let mut classic = Classic::new(&mut written);
        // As a writer gets it: in pieces of any size.
        for piece in page.split_inclusive(['a', ' ', '\n']) {
            classic.write_str(piece).unwrap();
        }
        let expected = "# HELP a_total How many\n# TYPE a_total counter\n\
            a_total{x=\"# TYPE a counter\"} 1\n\
            # HELP b_seconds How long\n# TYPE b_seconds gauge\nb_seconds 1.5\n";
        assert_eq!(written, expected);
    }
}
