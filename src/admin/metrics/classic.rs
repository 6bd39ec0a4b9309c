//! The format that Prometheus' clients had before OpenMetrics
//! ([text-based format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format)).
//!
//! Samples look the same in both. What differs are the comments: counters have their suffix in the name
//! of the family, and there are neither units nor an end.

use std::fmt::{self, Write};

/// Takes a page in the one format and has it in the other.
#[derive(Debug, Default)]
pub(super) struct Classic {
    page: String,
    /// Where the line begins that is being written.
    line: usize,
    /// Where the last `# HELP` begins.
    help: usize,
}

impl Classic {
    /// The page, in the classic format.
    pub(super) fn into_page(self) -> String {
        self.page
    }

    fn end_line(&mut self) {
        let line = &self.page[self.line..];
        if line.starts_with("# HELP ") {
            self.help = self.line;
        } else if line.starts_with("# UNIT ") || line.starts_with("# EOF") {
            self.page.truncate(self.line);
        } else if line.starts_with("# TYPE ") && line.trim_end().ends_with(" counter") {
            self.rename();
        }
        self.line = self.page.len();
    }

    /// Gives the family its suffix, in the line that has just ended and in the one before.
    fn rename(&mut self) {
        let comments = self.page.split_off(self.help);
        for line in comments.lines() {
            let mut words = line.splitn(4, ' ');
            let [_, kind, name, rest] = std::array::from_fn(|_| words.next().unwrap_or_default());
            self.page
                .extend(["# ", kind, " ", name, "_total ", rest, "\n"]);
        }
    }
}

impl Write for Classic {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive('\n') {
            self.page.push_str(part);
            if part.ends_with('\n') {
                self.end_line();
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
        let mut classic = Classic::default();
        // As a writer gets it: in pieces of any size.
        for piece in page.split_inclusive(['a', ' ', '\n']) {
            classic.write_str(piece).unwrap();
        }
        let expected = "# HELP a_total How many\n# TYPE a_total counter\n\
            a_total{x=\"# TYPE a counter\"} 1\n\
            # HELP b_seconds How long\n# TYPE b_seconds gauge\nb_seconds 1.5\n";
        assert_eq!(classic.into_page(), expected);
    }
}
