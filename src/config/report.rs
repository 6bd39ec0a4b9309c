//! What was found in a file, each finding at the place it is about.

use std::fmt;

use saphyr_parser::Marker;

use super::Diagnostic;
use super::document::{Content, Node};
use super::scalar::shortened;

/// How many errors one file is told of.
pub(super) const MAX_ERRORS: usize = 100;
/// How many values are read in search of them: each error may cost another reading of the whole.
const MAX_READ: usize = 1_000_000;
/// How many errors even the largest file is told of.
const MIN_ERRORS: usize = 5;

/// A position in the text; both parts count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl From<Marker> for Place {
    fn from(marker: Marker) -> Self {
        Self {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Something the operator should know and where it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Whether what is written below these keys may be a secret, in its right place or a wrong one, and
/// must not be repeated.
pub(super) fn is_secret<'key>(keys: impl Iterator<Item = &'key str>) -> bool {
    keys.take(2).eq(["registry", "auth"])
}

/// The way from the root to a value.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    /// The position among the items that are left.
    Item(usize),
}

impl Path {
    /// The value of `key` in this mapping.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The item at `position` of this list.
    pub(super) fn item(&self, position: usize) -> Self {
        self.with(Step::Item(position))
    }

    /// As [`is_secret`].
    pub(super) fn is_secret(&self) -> bool {
        is_secret(self.0.iter().map_while(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Item(_) => None,
        }))
    }

    /// The last step, if it is a key.
    pub(super) fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl From<&serde_path_to_error::Path> for Path {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        let steps = path.iter().map_while(|segment| match segment {
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Self(steps.collect())
    }
}

/// Where a path leads: to the value it names or, if there is none, to the nearest one around it.
struct Spot<'tree> {
    node: &'tree Node,
    key_place: Option<Place>,
    /// The path as it is shown, with positions as written.
    shown: String,
}

impl<'tree> Spot<'tree> {
    fn find(root: &'tree Node, steps: &[Step]) -> Self {
        let mut spot = Self {
            node: root,
            key_place: None,
            shown: String::new(),
        };
        for step in steps {
            match (step, &spot.node.content) {
                (Step::Key(key), Content::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else {
                        break;
                    };
                    if !spot.shown.is_empty() {
                        spot.shown.push('.');
                    }
                    spot.shown.push_str(&shortened(key));
                    spot.key_place = Some(entry.key_place);
                    spot.node = &entry.node;
                }
                (Step::Item(position), Content::List(items)) => {
                    let Some(item) = items.get(*position) else {
                        break;
                    };
                    spot.shown.push_str(&format!("[{}]", item.index));
                    spot.key_place = None;
                    spot.node = &item.node;
                }
                // A list of one may be written as that one.
                (Step::Item(0), Content::Map(_)) => {}
                _ => break,
            }
        }
        spot
    }

    /// A message of what is here, with its path in front.
    fn of(&self, message: impl fmt::Display) -> String {
        if self.shown.is_empty() {
            message.to_string()
        } else {
            format!("{}: {message}", self.shown)
        }
    }
}

/// Collects the findings about one document.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) root: Node,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    /// How many of either are told.
    most: usize,
}

impl Report {
    /// Starts with what reading the document found.
    pub(super) fn new(root: Node, errors: Vec<Finding>) -> Self {
        Self {
            most: (MAX_READ / root.size()).clamp(MIN_ERRORS, MAX_ERRORS),
            root,
            errors,
            warnings: Vec::new(),
        }
    }

    /// The value at `path` keeps the file from being used.
    pub(super) fn error(&mut self, path: &Path, message: impl fmt::Display) {
        if self.full() {
            return;
        }
        let finding = self.at_value(path, message);
        self.errors.push(finding);
    }

    /// The key at `path` keeps the file from being used; the message is about the mapping around it.
    pub(super) fn error_at_key(&mut self, path: &Path, message: impl fmt::Display) {
        if self.full() {
            return;
        }
        let around = path.0.split_last().map_or(&[][..], |(_, around)| around);
        let around = Spot::find(&self.root, around);
        let spot = Spot::find(&self.root, &path.0);
        let place = spot.key_place.unwrap_or(spot.node.place);
        let message = around.of(message);
        self.errors.push(Finding { place, message });
    }

    /// The value at `path` is accepted, but not what it may seem.
    pub(super) fn warning(&mut self, path: &Path, message: impl fmt::Display) {
        if self.warnings.len() > self.most {
            return;
        }
        let finding = self.at_value(path, message);
        self.warnings.push(finding);
    }

    /// Where the value at `path` starts.
    pub(super) fn place(&self, path: &Path) -> Place {
        Spot::find(&self.root, &path.0).node.place
    }

    /// Whether nothing was taken out of the mapping or list at `path`. If something was, that is
    /// the fault, and what does not add up without it is none.
    pub(super) fn whole(&self, path: &Path) -> bool {
        Spot::find(&self.root, &path.0).node.whole
    }

    /// Takes the value at `path` out of the document, or the nearest one around it. `false` when
    /// that is the root.
    pub(super) fn take_out(&mut self, path: &Path) -> bool {
        fn remove(node: &mut Node, steps: &[Step]) -> bool {
            let Some((step, rest)) = steps.split_first() else {
                return false;
            };
            match (step, &mut node.content) {
                (Step::Key(key), Content::Map(entries)) => {
                    let Some(at) = entries.iter().position(|entry| entry.key == *key) else {
                        return false;
                    };
                    if !remove(&mut entries[at].node, rest) {
                        entries.remove(at);
                        node.whole = false;
                    }
                    true
                }
                (Step::Item(position), Content::List(items)) if *position < items.len() => {
                    if !remove(&mut items[*position].node, rest) {
                        items.remove(*position);
                        node.whole = false;
                    }
                    true
                }
                _ => false,
            }
        }
        remove(&mut self.root, &path.0)
    }

    /// Whether no further error would be told.
    pub(super) fn full(&self) -> bool {
        self.errors.len() > self.most
    }

    fn at_value(&self, path: &Path, message: impl fmt::Display) -> Finding {
        let spot = Spot::find(&self.root, &path.0);
        let place = match (&spot.node.content, spot.key_place) {
            (Content::Nothing, Some(key)) => key,
            _ => spot.node.place,
        };
        let message = spot.of(message);
        Finding { place, message }
    }

    /// The warnings, or the errors if there are any; each in the order of the file.
    pub(super) fn finish(self, file: &str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        if self.errors.is_empty() {
            Ok(told(file, self.warnings, self.most))
        } else {
            Err(told(file, self.errors, self.most))
        }
    }
}

/// Findings as they are told, in the order of the file, at most [`MAX_ERRORS`] and then how many
/// more there are.
pub(super) fn diagnostics(file: &str, findings: Vec<Finding>) -> Vec<Diagnostic> {
    told(file, findings, MAX_ERRORS)
}

fn told(file: &str, mut findings: Vec<Finding>, most: usize) -> Vec<Diagnostic> {
    findings.sort_by_key(|finding| finding.place);
    let surplus = findings.split_off(findings.len().min(most));
    if let Some(first) = surplus.first() {
        findings.push(Finding {
            place: first.place,
            message: "there is more from here on; correct the above and check again".to_owned(),
        });
    }
    findings
        .into_iter()
        .map(|Finding { place, message }| Diagnostic {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            message,
        })
        .collect()
}
