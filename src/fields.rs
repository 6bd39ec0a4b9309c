//! The header fields of a message, in whichever form they are kept: as a map, or as lines of the bytes
//! that came. Who decides something by them need not know.

use std::slice;

use http::header::ValueIter;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of one message.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a> {
    /// In a map.
    Map(&'a HeaderMap),
    /// As lines of these bytes.
    Lines(&'a Lines, &'a [u8]),
}

/// Where each field of a message stands in its bytes, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    lines: Vec<Line>,
    /// How long their names are, a bit a length: most names that are asked for are as long as none.
    lengths: u64,
}

/// Where one field stands. A head is far shorter than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    name: (u32, u32),
    value: (u32, u32),
}

/// The values of one field, in the order in which they came.
#[derive(Debug)]
pub enum Values<'a> {
    /// Of a map.
    Map(ValueIter<'a, HeaderValue>),
    /// Of lines: those not looked at yet, their bytes, and the name.
    Lines(slice::Iter<'a, Line>, &'a [u8], &'a str),
}

impl<'a> From<&'a HeaderMap> for Fields<'a> {
    fn from(map: &'a HeaderMap) -> Self {
        Self::Map(map)
    }
}

impl<'a> Fields<'a> {
    /// The first value of the field `name`.
    pub fn first(self, name: &HeaderName) -> Option<&'a [u8]> {
        match self {
            Self::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            Self::Lines(lines, bytes) => {
                let name = name.as_str();
                let mut lines = lines.called(name);
                let line = lines.find(|line| line.is_called(name, bytes))?;
                Some(line.value(bytes))
            }
        }
    }

    /// The first value of the field `name`, if that is visible ASCII.
    pub fn text(self, name: &HeaderName) -> Option<&'a str> {
        let value = self.first(name)?;
        let is_text = |byte: &u8| (b' '..=b'~').contains(byte) || *byte == b'\t';
        str::from_utf8(value)
            .ok()
            .filter(|_| value.iter().all(is_text))
    }

    /// Whether there is a field `name`.
    pub fn has(self, name: &HeaderName) -> bool {
        self.first(name).is_some()
    }

    /// All values of the field `name`.
    pub fn all(self, name: &'a HeaderName) -> Values<'a> {
        match self {
            Self::Map(map) => Values::Map(map.get_all(name).iter()),
            Self::Lines(lines, bytes) => {
                let name = name.as_str();
                Values::Lines(lines.called(name), bytes, name)
            }
        }
    }
}

impl Lines {
    /// No lines, and room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            lines: Vec::with_capacity(count),
            lengths: 0,
        }
    }

    /// Adds a field whose name and value stand at these offsets of the message's bytes.
    pub fn add(&mut self, name: (usize, usize), value: (usize, usize)) {
        let short = |(from, to)| (from as u32, to as u32);
        self.lengths |= bit(name.1 - name.0);
        self.lines.push(Line {
            name: short(name),
            value: short(value),
        });
    }

    /// Every field's line.
    pub fn iter(&self) -> slice::Iter<'_, Line> {
        self.lines.iter()
    }

    /// Whether one of the fields may be called `name`.
    pub fn may_have(&self, name: &str) -> bool {
        self.lengths & bit(name.len()) != 0
    }

    /// The lines of those fields that may be called `name`, and others.
    fn called(&self, name: &str) -> slice::Iter<'_, Line> {
        if self.may_have(name) {
            self.lines.iter()
        } else {
            [].iter()
        }
    }
}

impl Line {
    /// The field's name as it was written.
    pub fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        part(bytes, self.name)
    }

    /// The field's value, without the blanks around it.
    pub fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        part(bytes, self.value)
    }

    /// Where it begins.
    pub fn begins(&self) -> usize {
        self.name.0 as usize
    }

    /// The whole of it, its end included, if it is written as it commonly is.
    pub fn as_common<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let whole = part(bytes, (self.name.0, self.value.1.checked_add(2)?));
        let is_common = self.name.1 + 2 == self.value.0
            && whole.ends_with(b"\r\n")
            && part(bytes, (self.name.1, self.value.0)) == b": ";
        is_common.then_some(whole)
    }

    /// Whether the field has this name.
    pub fn is_called(&self, name: &str, bytes: &[u8]) -> bool {
        (self.name.1 - self.name.0) as usize == name.len()
            && self.name(bytes).eq_ignore_ascii_case(name.as_bytes())
    }
}

/// What stands for names of this length.
fn bit(length: usize) -> u64 {
    1 << (length % 64)
}

/// Where `part` stands in the `bytes` it was cut from. An empty one may be from elsewhere, and stands at
/// their beginning.
pub fn place(part: &[u8], bytes: &[u8]) -> (usize, usize) {
    let from = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    match from.checked_add(part.len()) {
        Some(to) if to <= bytes.len() && !part.is_empty() => (from, to),
        _ => (0, 0),
    }
}

fn part(bytes: &[u8], (from, to): (u32, u32)) -> &[u8] {
    bytes.get(from as usize..to as usize).unwrap_or_default()
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Map(values) => values.next().map(HeaderValue::as_bytes),
            Self::Lines(lines, bytes, name) => lines
                .find(|line| line.is_called(name, bytes))
                .map(|line| line.value(bytes)),
        }
    }
}

impl DoubleEndedIterator for Values<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Map(values) => values.next_back().map(HeaderValue::as_bytes),
            Self::Lines(lines, bytes, name) => lines
                .rfind(|line| line.is_called(name, bytes))
                .map(|line| line.value(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_part_stands_where_it_was_cut_from_and_an_empty_one_nowhere() {
        let bytes = b"name: value".to_vec();
        assert_eq!(place(&bytes[6..], &bytes), (6, 11));
        assert_eq!(place(&bytes, &bytes), (0, 11));
        assert_eq!(place(b"", &bytes), (0, 0));
        assert_eq!(place(&bytes[11..], &bytes), (0, 0));
        assert_eq!(place(b"elsewhere", &bytes), (0, 0));
    }

    #[test]
    fn a_line_is_common_with_one_blank_before_its_value_and_its_end_at_once() {
        for (written, is_common) in [
            ("a: b\r\n", true),
            ("a: b c\r\n", true),
            ("a:b\r\n", false),
            ("a:\tb\r\n", false),
            ("a :b\r\n", false),
            ("a:  b\r\n", false),
            ("a: b \n", false),
            ("a: b\n\n", false),
            ("a: b", false),
        ] {
            let bytes = written.as_bytes();
            let value = memchr::memchr(b'b', bytes).unwrap();
            let ends = 1 + memchr::memrchr2(b'b', b'c', bytes).unwrap();
            let mut lines = Lines::default();
            lines.add((0, 1), (value, ends));
            let line = lines.iter().next().unwrap().as_common(bytes);
            assert_eq!(line, is_common.then_some(bytes), "{written:?}");
        }
    }

    #[test]
    fn both_forms_tell_the_same() {
        let written = [
            ("Host", "a"),
            ("Cookie", "x=1"),
            ("cookie", "y=2"),
            ("X-Odd", "\u{fc}"),
        ];
        let (mut map, mut lines, mut bytes) = (HeaderMap::new(), Lines::default(), Vec::new());
        for (name, value) in written {
            let from = bytes.len();
            bytes.extend_from_slice(name.as_bytes());
            let name_ends = bytes.len();
            bytes.extend_from_slice(b": ");
            let value_begins = bytes.len();
            bytes.extend_from_slice(value.as_bytes());
            lines.add((from, name_ends), (value_begins, bytes.len()));
            bytes.extend_from_slice(b"\r\n");
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let odd = HeaderName::from_static("x-odd");
        for fields in [Fields::from(&map), Fields::Lines(&lines, &bytes)] {
            assert_eq!(fields.text(&header::HOST), Some("a"));
            assert!(fields.has(&header::COOKIE) && !fields.has(&header::TE));
            assert_eq!(fields.first(&odd), Some("\u{fc}".as_bytes()));
            assert_eq!(fields.text(&odd), None);
            let mut values = fields.all(&header::COOKIE);
            assert_eq!(
                fields.all(&header::COOKIE).collect::<Vec<_>>(),
                [b"x=1", b"y=2"]
            );
            assert_eq!(values.next_back(), Some(&b"y=2"[..]));
        }
    }
}
