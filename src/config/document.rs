//! The text as a tree that remembers where everything stands.
//!
//! Scalars stay text: what `off`, `1` or `1.10` means is decided by the key it belongs to and never
//! by YAML's guesses, so `no`, `off` and `false` say the same, and a header's value `1` needs no
//! quotes. What YAML allows and a configuration does not need (aliases, tags, several documents,
//! keys that are lists) is refused by name: a meaning nobody saw is worse than a line to write out.
//!
//! Architecture invariant: the tree is at most [`MAX_DEPTH`] deep, so whatever walks it may recurse.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};
use serde_yaml::Value;

use super::report::{Finding, Place, is_secret};
use super::scalar::quoted;

/// How deep lists and mappings may nest; the deepest key that exists is at 6.
const MAX_DEPTH: usize = 32;

/// One value and where it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
    /// Whether everything written in it is still there: a faulty part is reported and taken out,
    /// and then what is missing is no second fault.
    pub(super) whole: bool,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A key with no value, `~` or `null`: as if the key were not there.
    Nothing,
    Text(String),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// One item of a list.
#[derive(Debug)]
pub(super) struct Item {
    /// Its position as written, which taking out a sibling does not change.
    pub(super) index: usize,
    pub(super) node: Node,
}

/// One key of a mapping and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    fn new(place: Place, content: Content, whole: bool) -> Self {
        Self {
            place,
            content,
            whole,
        }
    }

    /// How many values there are in it, itself included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.content {
            Content::Nothing | Content::Text(_) => 0,
            Content::List(items) => items.iter().map(|item| item.node.size()).sum(),
            Content::Map(entries) => entries.iter().map(|entry| entry.node.size()).sum::<usize>(),
        }
    }

    /// The same tree without its places.
    pub(super) fn to_value(&self) -> Value {
        match &self.content {
            Content::Nothing => Value::Null,
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(|item| item.node.to_value()).collect(),
            Content::Map(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|entry| (Value::String(entry.key.clone()), entry.node.to_value()))
                    .collect(),
            ),
        }
    }
}

/// Reads a text. `None` when the rest of it made no sense from some point on; everything found is
/// in `findings`.
pub(super) fn parse(text: &str, findings: &mut Vec<Finding>) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        findings,
        around: Vec::new(),
    };
    reader.document().ok()
}

/// What is wrong with the outline of a text: that it nests deeper than a document may, or is no YAML;
/// `None` if neither, whatever else may be wrong with it. Takes time in proportion to the text.
pub(super) fn misshapen(text: &str) -> Option<Finding> {
    let mut depth = 0_usize;
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(next) => next,
            Err(error) => return Some(unreadable(&error)),
        };
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if depth >= MAX_DEPTH => {
                return Some(Finding {
                    place: Place::from(span.start),
                    message: too_deep(),
                });
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth -= 1,
            Event::StreamEnd => break,
            _ => {}
        }
    }
    None
}

fn too_deep() -> String {
    format!("nested too deep (expected at most {MAX_DEPTH} levels)")
}

fn unreadable(error: &ScanError) -> Finding {
    Finding {
        place: Place::from(*error.marker()),
        message: format!("not readable: {} (expected valid YAML)", error.info()),
    }
}

struct Reader<'text, 'findings> {
    parser: Parser<'text, StrInput<'text>>,
    findings: &'findings mut Vec<Finding>,
    /// The keys of the mappings around what is read.
    around: Vec<String>,
}

/// The text cannot be read on from here; a finding says why.
struct Broken;

impl<'text> Reader<'text, '_> {
    fn document(&mut self) -> Result<Node, Broken> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentEnd, _) => {}
                (Event::StreamEnd, place) => {
                    return Ok(root.unwrap_or(Node::new(place, Content::Nothing, true)));
                }
                (Event::DocumentStart(_), place) if root.is_some() => {
                    return self.broken(place, "a second document starts here (expected one)");
                }
                (Event::DocumentStart(_), _) => {}
                (event, place) => {
                    let node = self.node(event, place, 0)?;
                    root = Some(node.unwrap_or(Node::new(place, Content::Nothing, false)));
                }
            }
        }
    }

    /// The node that `event` starts; `None` when it was reported and is to be left out.
    fn node(
        &mut self,
        event: Event<'text>,
        place: Place,
        depth: usize,
    ) -> Result<Option<Node>, Broken> {
        let (node, tag) = match event {
            Event::Alias(_) => {
                self.report(
                    place,
                    "aliases are not supported (expected the value written out)",
                );
                return Ok(None);
            }
            Event::Scalar(text, style, _, tag) => {
                let nothing = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let content = if nothing {
                    Content::Nothing
                } else {
                    Content::Text(text.into_owned())
                };
                (Node::new(place, content, true), tag)
            }
            Event::SequenceStart(_, tag) => (self.list(place, depth)?, tag),
            Event::MappingStart(_, tag) => (self.map(place, depth)?, tag),
            _ => (Node::new(place, Content::Nothing, true), None),
        };
        if let Some(tag) = tag {
            let tag = self.shown("a tag", || format!("the tag {}", quoted(&tag.to_string())));
            let text = format!("{tag} is not supported (expected a value without a tag)");
            self.report(place, text);
            return Ok(None);
        }
        Ok(Some(node))
    }

    fn list(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        self.limit(place, depth)?;
        let mut items = Vec::new();
        let mut whole = true;
        for index in 0.. {
            match self.next()? {
                (Event::SequenceEnd, _) => break,
                (event, place) => match self.node(event, place, depth + 1)? {
                    Some(node) => items.push(Item { index, node }),
                    None => whole = false,
                },
            }
        }
        Ok(Node::new(place, Content::List(items), whole))
    }

    fn map(&mut self, place: Place, depth: usize) -> Result<Node, Broken> {
        self.limit(place, depth)?;
        let mut entries = Vec::new();
        let mut whole = true;
        let mut seen: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, key_place) = match self.next()? {
                (Event::MappingEnd, _) => break,
                start => start,
            };
            let key = self.node(event, key_place, depth + 1)?;
            let (event, place) = self.next()?;
            let name = key.as_ref().and_then(|node| match &node.content {
                Content::Text(key) => Some(key.as_str()),
                _ => None,
            });
            self.around.push(name.unwrap_or_default().to_owned());
            let value = self.node(event, place, depth + 1)?;
            self.around.pop();

            let key = match key.map(|node| node.content) {
                Some(Content::Text(key)) => key,
                Some(Content::Nothing) => String::new(),
                Some(Content::List(_) | Content::Map(_)) => {
                    self.report(key_place, "a key is a list or mapping (expected a word)");
                    whole = false;
                    continue;
                }
                None => {
                    whole = false;
                    continue;
                }
            };
            if let Some(first) = seen.get(&key) {
                let key = self.shown("a key", || quoted(&key));
                let text =
                    format!("{key} is given a second time, first at {first} (expected once)");
                self.report(key_place, text);
                continue;
            }
            seen.insert(key.clone(), key_place);
            match value {
                Some(node) => entries.push(Entry {
                    key,
                    key_place,
                    node,
                }),
                None => whole = false,
            }
        }
        Ok(Node::new(place, Content::Map(entries), whole))
    }

    fn next(&mut self) -> Result<(Event<'text>, Place), Broken> {
        match self.parser.next_event() {
            Some(Ok((event, Span { start, .. }))) => Ok((event, Place::from(start))),
            Some(Err(error)) => {
                let Finding { place, message } = unreadable(&error);
                self.broken(place, message)
            }
            None => Err(Broken),
        }
    }

    /// What was written, or just what it is if it may be a secret.
    fn shown(&self, what: &str, written: impl FnOnce() -> String) -> String {
        if is_secret(self.around.iter().map(String::as_str)) {
            what.to_owned()
        } else {
            written()
        }
    }

    fn limit(&mut self, place: Place, depth: usize) -> Result<(), Broken> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        self.broken(place, too_deep())
    }

    fn broken<T>(&mut self, place: Place, text: impl Into<String>) -> Result<T, Broken> {
        self.report(place, text);
        Err(Broken)
    }

    fn report(&mut self, place: Place, text: impl Into<String>) {
        self.findings.push(Finding {
            place,
            message: text.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        parse(text, &mut findings);
        findings
            .iter()
            .map(|finding| format!("{}: {}", finding.place, finding.message))
            .collect()
    }

    #[test]
    fn scalars_stay_the_text_that_was_written() {
        let mut found = Vec::new();
        let node = parse(
            "{a: off, b: 1.10, c: ~, d: \"null\", e: [0x1F]}",
            &mut found,
        )
        .unwrap();
        let value: Value =
            serde_yaml::from_str("{a: 'off', b: '1.10', c: null, d: 'null', e: ['0x1F']}").unwrap();
        assert_eq!(node.to_value(), value);
        assert_eq!(found, []);
    }

    #[test]
    fn a_duplicate_key_names_the_first_one_wherever_it_is() {
        insta::assert_debug_snapshot!(
            findings("a: 1\nb:\n  - {c: 1, c: 2}\n\"a\": 2\n"),
            @r#"
        [
            "3:12: \"c\" is given a second time, first at 3:6 (expected once)",
            "4:1: \"a\" is given a second time, first at 1:1 (expected once)",
        ]
        "#
        );
    }

    #[test]
    fn what_a_configuration_does_not_need_of_yaml_is_refused_by_name() {
        insta::assert_debug_snapshot!(
            findings("a: &x 1\nb: *x\nc: !include file\n? [d]\n: 1\n---\ne: 1\n"),
            @r#"
        [
            "2:4: aliases are not supported (expected the value written out)",
            "3:4: the tag \"!include\" is not supported (expected a value without a tag)",
            "4:3: a key is a list or mapping (expected a word)",
            "6:1: a second document starts here (expected one)",
        ]
        "#
        );
    }

    #[test]
    fn text_that_is_not_yaml_says_where() {
        insta::assert_debug_snapshot!(
            ["a: [1, 2", "a: b: c", "a:\n\t- b", "'", "a: 1\n b: 2", "%", "@"].map(findings),
            @r#"
        [
            [
                "2:1: not readable: while parsing a flow sequence, expected ',' or ']' (expected valid YAML)",
            ],
            [
                "1:5: not readable: mapping values are not allowed in this context (expected valid YAML)",
            ],
            [
                "2:2: not readable: tabs disallowed within this context (block indentation) (expected valid YAML)",
            ],
            [
                "1:1: not readable: while scanning a quoted scalar, found unexpected end of stream (expected valid YAML)",
            ],
            [
                "2:3: not readable: mapping values are not allowed in this context (expected valid YAML)",
            ],
            [
                "1:2: not readable: while scanning a directive, could not find expected directive name (expected valid YAML)",
            ],
            [
                "1:1: not readable: unexpected character: `@' (expected valid YAML)",
            ],
        ]
        "#
        );
    }

    #[test]
    fn deep_nesting_ends_with_a_finding_and_not_with_the_stack() {
        for unit in ["[", "{a: ", "- ", "? ", "{", "- a: "] {
            let text = unit.repeat(20_000);
            assert!(!findings(&text).is_empty(), "{unit}");
            assert!(misshapen(&text).is_some(), "{unit}");
        }
    }

    #[test]
    fn empty_texts_are_nothing() {
        for text in [
            "",
            "\n",
            "# only a comment\n",
            "---\n",
            "---\n...\n",
            "~",
            "\u{feff}",
        ] {
            let mut found = Vec::new();
            let node = parse(text, &mut found).unwrap();
            assert!(matches!(node.content, Content::Nothing), "{text:?}");
            assert_eq!(found, [], "{text:?}");
        }
    }
}
