//! What an operator is told of a file.

use std::fmt;

/// One finding in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// Counted from 1; 0 when the finding is about the file as a whole.
    pub line: usize,
    /// Counted from 1, in characters; 0 when the finding is about the file as a whole.
    pub column: usize,
    /// What is wrong, and in parentheses what was expected.
    pub message: String,
}

impl Diagnostic {
    /// A finding about a file as a whole.
    pub(super) fn whole(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message: message.into(),
        }
    }
}

/// `FILE:LINE:COL: what is wrong (what was expected)`; without line and column when it is about the
/// file as a whole.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            let Self {
                file,
                line,
                column,
                message,
            } = self;
            write!(f, "{file}:{line}:{column}: {message}")
        }
    }
}
